"""Plates that tracking must stand: without faces, broken frames, cut faces, a crowd."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from vfxswap.align.detect import detect
from vfxswap.align.pose import LandmarkFinder, View
from vfxswap.color import to_net
from vfxswap.geometry import Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image
from vfxswap.io.tracks import Tracks, read_tracks
from vfxswap.io.weights import find_model, load_net
from vfxswap.job import Job, Output, Plate, Tracking
from vfxswap.ops.convert import to_tensor
from vfxswap.render.prepare import track_shot
from vfxswap.synth.background import random_background
from vfxswap.synth.face_plates import Condition, FacePlate, face_plate
from vfxswap.synth.head import Floats

FIRST = 1001


@pytest.fixture(scope="module")
def net() -> LandmarkFinder:
    stored = find_model("landmarks-synthetic")
    return cast(LandmarkFinder, load_net(stored.card, stored.folder, device="cpu"))


@pytest.fixture(scope="module")
def plate() -> FacePlate:
    return face_plate(Condition("middle", face_px=110, full_frame=True), 2, size=(240, 320))


def written(folder: Path, frames: list[Floats]) -> Job:
    """The frames as a shot to be tracked."""
    for n, rgb in enumerate(frames):
        window = Box(0, 0, rgb.shape[1], rgb.shape[0])
        channels = {name: np.ascontiguousarray(rgb[..., i]) for i, name in enumerate("RGB")}
        part = Part(
            channels=channels, data_window=window, display_window=window,
            metadata={"colorInteropID": "lin_rec709_scene"},
        )  # fmt: skip
        write_image(folder / f"plate.{FIRST + n}.exr", Image((part,), ("R", "G", "B"), 0, None))
    return Job(
        plate=Plate(pattern=str(folder / "plate.#.exr")),
        output=Output(pattern=str(folder / "out.#.exr")),
        tracking=Tracking(identify=False),
    )


def tracked(folder: Path, frames: list[Floats]) -> Tracks:
    job = written(folder, frames)
    track_shot(job, folder / "tracks.json", threads=1)
    return read_tracks(folder / "tracks.json")


def test_a_shot_without_faces_has_tracks_without_faces(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    empty = random_background(rng, 120, 160)
    tracks = tracked(tmp_path, [empty, np.zeros_like(empty), empty])
    assert [tracks.faces(FIRST + n) for n in range(3)] == [(), (), ()]


def test_a_frame_of_nothing_finite_is_bridged_with_less_confidence(
    tmp_path: Path, plate: FacePlate
) -> None:
    frames = [np.roll(plate.linear, 2 * n, 1) for n in range(5)]
    frames[2] = np.full_like(frames[2], np.nan)
    frames[2][::3] = np.inf
    tracks = tracked(tmp_path, frames)
    faces = [tracks.faces(FIRST + n) for n in range(5)]
    assert [len(f) for f in faces] == [1] * 5
    assert {f[0].id for f in faces} == {0}
    assert faces[2][0].confidence.mean() < 0.6 * faces[1][0].confidence.mean()
    off = np.linalg.norm(faces[2][0].points - (plate.points + np.array([4, 0])), axis=1).mean()
    assert off < 0.15 * np.linalg.norm(plate.points[45] - plate.points[36])


def test_scattered_broken_pixels_do_not_move_a_face(plate: FacePlate, net: LandmarkFinder) -> None:
    broken = plate.linear.copy()
    rng = np.random.default_rng(3)
    broken[rng.random(broken.shape[:2]) < 0.005] = np.nan
    whole, holed = (detect(View(to_tensor(to_net(p))), net) for p in (plate.linear, broken))
    assert len(whole) == len(holed) == 1
    outer = np.linalg.norm(plate.points[45] - plate.points[36])
    assert np.linalg.norm(whole[0].points - holed[0].points, axis=1).mean() < 0.05 * outer


@pytest.mark.parametrize("side", ["left", "right", "bottom"])
@pytest.mark.parametrize("share", [0.2, 0.35])
def test_a_face_cut_by_the_edge_keeps_its_visible_landmarks(
    plate: FacePlate, net: LandmarkFinder, side: str, share: float
) -> None:
    low, high = plate.points[:68].min(0), plate.points[:68].max(0)
    cut = share * (high - low)
    height, width = plate.linear.shape[:2]
    left = int(low[0] + cut[0]) if side == "left" else 0
    right = int(high[0] - cut[0]) if side == "right" else width
    bottom = int(high[1] - cut[1]) if side == "bottom" else height
    linear, points = plate.linear[:bottom, left:right], plate.points - [left, 0]
    faces = detect(View(to_tensor(to_net(np.ascontiguousarray(linear)))), net)
    assert len(faces) == 1
    assert np.isfinite(faces[0].points).all()
    inside = (points >= 0).all(1) & (points < [right - left, bottom]).all(1)
    off = np.linalg.norm(faces[0].points - points, axis=1)
    outer = np.linalg.norm(points[45] - points[36])
    assert off[inside].mean() < 0.15 * outer
    assert faces[0].confidence[~inside].mean() < faces[0].confidence[inside].mean()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forty_faces_are_found_and_keep_their_ids(tmp_path: Path) -> None:
    performers = [
        face_plate(Condition("crowd", face_px=100, full_frame=True), k, size=(192, 200))
        for k in range(8)
    ]
    linear = np.concatenate(
        [np.concatenate([performers[(r + c) % 8].linear for c in range(8)], 1) for r in range(5)]
    )
    truth = [
        performers[(r + c) % 8].points.mean(0) + np.array([c * 200, r * 192])
        for r in range(5) for c in range(8)
    ]  # fmt: skip
    grain = np.random.default_rng(1)
    frames = [
        (linear * (1 + 0.01 * grain.standard_normal(linear.shape))).astype(np.float32)
        for _ in range(3)
    ]
    tracks = tracked(tmp_path, frames)
    ids: list[dict[int, int]] = []
    for n in range(3):
        faces = tracks.faces(FIRST + n)
        assert len({f.id for f in faces}) == len(faces) <= 40
        near = {
            int(np.argmin([np.linalg.norm(f.points.mean(0) - t) for t in truth])): f.id
            for f in faces
        }
        assert len(near) == len(faces), "one face a place"
        ids.append(near)
    assert len(ids[0]) >= 38
    assert ids[0] == ids[1] == ids[2]
