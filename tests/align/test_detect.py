from typing import NamedTuple, cast

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

from vfxswap.align.detect import detect
from vfxswap.align.pose import LandmarkFinder, View
from vfxswap.color import to_net
from vfxswap.geometry import Face
from vfxswap.io.weights import find_model, load_net
from vfxswap.job import Tracking
from vfxswap.ops.convert import to_tensor
from vfxswap.synth.crops import LANDMARK_CROPS, CropRecipe, render_crops
from vfxswap.synth.face_plates import CONDITIONS, face_plate

Floats = NDArray[np.float32]

PLAIN = CropRecipe(
    yaw_rad=0.5, pitch_rad=0.3, roll_rad=0.25, tightness=(1.9, 1.9), jitter=0.0,
    occluder_chance=0.0, glasses_chance=0.0, mild_light=True,
)  # fmt: skip
WITHOUT_FACES = ("coffee", "chelsea", "rocket", "gravel", "grass", "brick", "moon", "page",
                 "hubble_deep_field")  # fmt: skip


@pytest.fixture(scope="module")
def net() -> LandmarkFinder:
    stored = find_model("landmarks-synthetic")
    return cast(LandmarkFinder, load_net(stored.card, stored.folder, device="cpu"))


class Plate(NamedTuple):
    """`linear` [H, W, 3], and the truth of its faces from the largest to the smallest."""

    linear: Floats
    faces: list[NDArray[np.float64]]


def view(linear: Floats, origin: tuple[int, int] = (0, 0), pixel_aspect: float = 1.0) -> View:
    return View(to_tensor(to_net(linear)), origin, pixel_aspect)


@pytest.fixture(scope="module")
def plate() -> Plate:
    """1280 × 720 with three performers of no training, whose faces measure 300, 130, 55 px."""
    batch = next(iter(render_crops(3, 512, seed=4711, recipe=PLAIN, crops_each=1, processes=0)))
    rng = np.random.default_rng(1)
    grid = rng.uniform(0.02, 0.5, (6, 9, 3)).astype(np.float32)
    linear = np.clip(cv2.resize(grid, (1280, 720), interpolation=cv2.INTER_CUBIC), 0.0, None)
    faces = []
    for k, (face_px, left, top) in enumerate(((300, 40, 60), (130, 700, 330), (55, 1040, 90))):
        side = round(face_px * 1.9)
        picture = cv2.resize(
            batch.rgb[k].astype(np.float32), (side, side), interpolation=cv2.INTER_AREA
        )
        edge = np.clip(np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.08 * side), 0, 1)
        matte = np.minimum(edge, edge[:, None])[..., None].astype(np.float32)
        window = linear[top : top + side, left : left + side]
        window[:] = window * (1 - matte) + picture * matte
        place = np.array([left, top])
        faces.append(batch.landmarks[k].astype(np.float64) * side / 512 + place)
    return Plate(linear, faces)


def nme(face: Face, truth: NDArray[np.float64]) -> float:
    outer = float(np.linalg.norm(truth[36] - truth[45]))
    return float(np.linalg.norm(face.points - truth, axis=1).mean()) / outer


def nearest(faces: tuple[Face, ...], truth: NDArray[np.float64]) -> Face:
    return min(faces, key=lambda f: float(np.linalg.norm(f.points.mean(0) - truth.mean(0))))


def test_faces_of_three_sizes_are_found_and_nothing_else(net: LandmarkFinder, plate: Plate) -> None:
    faces = detect(view(plate.linear), net)
    assert len(faces) == 3
    for truth in plate.faces:
        assert nme(nearest(faces, truth), truth) < 0.12
    assert [f.id for f in faces] == [0, 1, 2]
    assert [f.score for f in faces] == sorted((f.score for f in faces), reverse=True)


def test_when_a_data_window_begins_elsewhere_then_points_are_in_plate_pixels(
    net: LandmarkFinder, plate: Plate
) -> None:
    here, there = (detect(view(plate.linear, o), net) for o in ((0, 0), (-64, 12)))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.points - a.points, np.array([[-64, 12]] * 70), atol=1e-3)


def test_squeezed_plate_gives_the_same_faces(net: LandmarkFinder, plate: Plate) -> None:
    squeezed = cv2.resize(plate.linear, (640, 720), interpolation=cv2.INTER_AREA)
    faces = detect(view(squeezed, pixel_aspect=2.0), net)
    assert len(faces) == 3
    for truth in plate.faces[:2]:
        half = truth * [0.5, 1.0]
        found = nearest(faces, half)
        square = Face(0, found.points * [2.0, 1.0], found.confidence, found.score)
        assert nme(square, truth) < 0.12


def test_a_face_does_not_depend_on_the_others(net: LandmarkFinder, plate: Plate) -> None:
    alone = plate.linear.copy()
    alone[:, :690] = 0.18
    truth = plate.faces[1]
    one, all_ = (nearest(detect(view(p), net), truth) for p in (alone, plate.linear))
    np.testing.assert_allclose(one.points, all_.points, atol=0.05)


def test_small_faces_are_left_out_when_not_wanted(net: LandmarkFinder, plate: Plate) -> None:
    found = detect(view(plate.linear), net, Tracking(max_faces=1))
    assert len(found) == 1
    larger = detect(view(plate.linear), net, Tracking(min_face_px=110))
    assert all(float(np.ptp(f.points[:68], axis=0).max()) > 90 for f in larger)


def test_broken_pixels_do_not_hide_faces(net: LandmarkFinder, plate: Plate) -> None:
    broken = plate.linear.copy()
    broken[::97, ::89] = np.inf
    broken[50::97, 40::89, 1] = np.nan
    assert len(detect(view(broken), net)) == 3


@pytest.mark.parametrize("name", WITHOUT_FACES)
def test_pictures_without_a_face_have_none(net: LandmarkFinder, name: str) -> None:
    picture = getattr(skimage.data, name)()
    coded = np.stack([picture] * 3, -1) if picture.ndim == 2 else picture[..., :3]
    assert detect(view((coded / 255.0).astype(np.float32) ** np.float32(2.2)), net) == ()


def test_portrait_photograph_has_its_one_face(net: LandmarkFinder) -> None:
    coded = skimage.data.astronaut()
    faces = detect(view((coded / 255.0).astype(np.float32) ** np.float32(2.2)), net)
    assert len(faces) == 1
    pupils = faces[0].points[68:]
    np.testing.assert_allclose(pupils, [[203, 101], [246, 103]], atol=5)


@pytest.mark.parametrize("name", ["roll 45 degrees", "yaw 60 degrees", "24 px", "full frame"])
def test_faces_are_found_turned_tiny_and_huge(net: LandmarkFinder, name: str) -> None:
    condition = next(c for c in CONDITIONS if c.name == name)
    plate = face_plate(condition, 1)
    smallest = min(48, max(16, round(0.9 * condition.face_px)))
    faces = detect(view(plate.linear), net, Tracking(min_face_px=smallest))
    assert len(faces) == 1
    size = float(np.ptp(plate.points[:68], axis=0).max())
    off = np.linalg.norm(faces[0].points - plate.points, axis=1).mean()
    assert off < 0.06 * size


def test_noise_and_empty_frames_have_no_face(net: LandmarkFinder) -> None:
    rng = np.random.default_rng(0)
    for frame in (
        np.zeros((270, 480, 3)),
        np.full((270, 480, 3), 0.18),
        rng.uniform(0, 1, (270, 480, 3)),
        np.repeat(rng.gamma(1.0, 0.2, (270, 480, 1)), 3, 2),
        np.full((20, 20, 3), 0.5),
    ):
        assert detect(view(frame.astype(np.float32)), net) == ()


def test_held_out_performers_have_a_small_error(net: LandmarkFinder) -> None:
    recipe = CropRecipe(
        yaw_rad=LANDMARK_CROPS.yaw_rad, tightness=(1.45, 1.45), jitter=0.0, occluder_chance=0.0
    )
    batches = render_crops(24, 96, seed=4712, recipe=recipe, crops_each=2, processes=0)
    errors = []
    for batch in batches:
        crops = torch.from_numpy(to_net(batch.rgb.astype(np.float32))).permute(0, 3, 1, 2)
        with torch.inference_mode():
            found = net(crops.contiguous()).points.numpy()
        outer = np.linalg.norm(batch.landmarks[:, 36] - batch.landmarks[:, 45], axis=1)
        errors.append(np.linalg.norm(found - batch.landmarks, axis=2).mean(1) / outer)
    assert np.median(np.concatenate(errors)) < 0.08
