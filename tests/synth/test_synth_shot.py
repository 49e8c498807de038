"""Facts about synthetic shots and the files they are written to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from vfxswap.color import ColorManager
from vfxswap.errors import JobError
from vfxswap.geometry import Box
from vfxswap.io.exr import read_image
from vfxswap.synth.command import run
from vfxswap.synth.shot import Shot, ShotSpec, add_grain

SMALL = ShotSpec(width=120, height=90, frames=12, seed=3, texture_rows=192, light="studio")


def test_a_frame_depends_on_its_number_alone() -> None:
    spec = SMALL.model_copy(update={"grain": 0.1, "highlights": True, "occluder": "hand"})
    forward = Shot(spec)
    forward.frame(1001)
    assert np.array_equal(forward.frame(1005)[0].rgb, Shot(spec).frame(1005)[0].rgb)


def test_frames_move() -> None:
    shot = Shot(SMALL)
    first, later = shot.frame(1001)[0], shot.frame(1008)[0]
    assert np.linalg.norm(first.landmarks - later.landmarks, axis=1).mean() > 0.5


def test_overscan_widens_the_data_window_and_leaves_the_picture_inside_alone() -> None:
    plain, wide = Shot(SMALL), Shot(SMALL.model_copy(update={"overscan_px": 8}))
    assert wide.camera.window == Box(-8, -8, 136, 106)
    assert wide.display_window == Box(0, 0, 120, 90)
    a, b = plain.frame(1001)[0], wide.frame(1001)[0]
    assert np.array_equal(a.landmarks, b.landmarks)
    assert np.allclose(a.face_matte, b.face_matte[8:-8, 8:-8], atol=1e-3)


def test_pixel_aspect_squeezes_x_alone() -> None:
    square = Shot(SMALL).frame(1001)[0].landmarks
    squeezed = Shot(SMALL.model_copy(update={"pixel_aspect": 2.0})).frame(1001)[0].landmarks
    assert np.allclose(squeezed[:, 1], square[:, 1])
    assert np.allclose((squeezed[:, 0] - 60) * 2, square[:, 0] - 60)


def test_motion_blur_softens_and_keeps_landmarks_at_the_middle_of_the_shutter() -> None:
    spec = SMALL.model_copy(update={"energy": 3.0, "fps": 6.0})
    sharp = Shot(spec).frame(1004)[0]
    blurred = Shot(spec.model_copy(update={"motion_samples": 6})).frame(1004)[0]
    assert np.array_equal(sharp.landmarks, blurred.landmarks)
    edges = [np.abs(np.diff(t.alpha, axis=1)).max() for t in (sharp, blurred)]
    soft = [((t.alpha > 0.02) & (t.alpha < 0.98)).sum() for t in (sharp, blurred)]
    assert edges[1] <= edges[0]
    assert soft[1] > 1.2 * soft[0]


def test_highlights_exceed_twelve_in_the_face_and_beside_it() -> None:
    shot = Shot(SMALL.model_copy(update={"highlights": True}))
    truth = shot.frame(1001)[0]
    peak = truth.rgb.max(-1)
    assert peak[truth.face_matte > 0.9].max() > 12
    assert peak[truth.alpha == 0].max() > 12


def test_grain_is_zero_mean_repeats_by_frame_and_grows_with_light() -> None:
    flat = np.full((64, 64, 3), 0.18, np.float32)
    grainy = add_grain(flat, 0.1, seed=1, frame=7)
    assert np.array_equal(grainy, add_grain(flat, 0.1, seed=1, frame=7))
    assert not np.array_equal(grainy, add_grain(flat, 0.1, seed=1, frame=8))
    assert grainy.mean() == pytest.approx(0.18, abs=2e-3)
    assert (grainy - flat).std() == pytest.approx(0.018, rel=0.1)
    bright = add_grain(flat * 4, 0.1, seed=1, frame=7) - flat * 4
    assert bright.std() == pytest.approx(2 * (grainy - flat).std(), rel=0.1)


def test_the_cast_can_be_changed_and_background_and_occluder_stay() -> None:
    spec = SMALL.model_copy(update={"occluder": "microphone"})
    own, other = Shot(spec).frame(1002)[0], Shot(spec).frame(1002, cast=("basalt",))[0]
    empty = (own.alpha == 0) & (other.alpha == 0)
    assert np.array_equal(own.rgb[empty], other.rgb[empty])
    assert np.array_equal(own.mattes["occluder"], other.mattes["occluder"])
    assert own.mattes["occluder"].max() > 0.99
    face = (own.face_matte > 0.9) & (other.face_matte > 0.9)
    assert np.abs(own.rgb - other.rgb)[face].mean() > 0.05


def test_performers_of_one_shot_stand_apart_and_act_apart() -> None:
    spec = SMALL.model_copy(update={"personas": ("amber", "cedar"), "width": 200})
    left, right = Shot(spec).frame(1003)
    assert np.array_equal(left.rgb, right.rgb)
    assert right.landmarks[:, 0].min() > left.landmarks[:, 0].max()
    assert (left.face_matte * right.face_matte).max() == 0


def test_written_shots_read_back_with_windows_space_and_truth(tmp_path: Path) -> None:
    spec = SMALL.model_copy(
        update={"frames": 1, "overscan_px": 6, "pixel_aspect": 2.0, "highlights": True}
    )
    pattern = str(tmp_path / "plate.####.exr")
    (plate,) = run(spec, pattern, as_personas=("basalt",))
    image = read_image(plate)
    assert plate.name == "plate.1001.exr"
    assert image.part.data_window == Box(-6, -6, 132, 102)
    assert image.part.display_window == Box(0, 0, 120, 90)
    assert image.part.pixel_aspect == 2.0
    assert image.rgb().max() > 12
    assert ColorManager().resolve(image, plate).space == "Linear Rec.709 (sRGB)"
    truth = read_image(tmp_path / "plate_truth.1001.exr")
    assert {p.name for p in truth.parts} >= {"truth_face", "truth_parts", "truth_depth"}
    other = read_image(tmp_path / "plate_as_basalt.1001.exr")
    assert np.abs(other.rgb() - image.rgb()).max() > 0.05
    stored = json.loads((tmp_path / "plate_landmarks.json").read_text())["1001"][0]
    expected = Shot(spec).frame(1001)[0].landmarks
    assert stored["persona"] == "amber"
    assert np.allclose(stored["points"], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("personas", "output", "others", "message"),
    [
        (("nobody",), "a.####.exr", (), "unknown performer"),
        (("amber",), "a.####.exr", ("nobody",), "unknown performer"),
        (("amber",), "a.####.png", (), "EXR sequences"),
        (("amber",), "a.exr", (), "EXR sequences"),
        (("amber",), "a.####.exr", ("amber+cedar",), "too many or too few"),
    ],
)
def test_bad_shots_are_refused_before_anything_is_written(
    tmp_path: Path,
    personas: tuple[str, ...],
    output: str,
    others: tuple[str, ...],
    message: str,
) -> None:
    spec = SMALL.model_copy(update={"personas": personas})
    with pytest.raises(JobError, match=message):
        run(spec, str(tmp_path / output), as_personas=others)
    assert not list(tmp_path.iterdir())
