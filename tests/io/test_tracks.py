"""Tracks keep what was tracked and what an artist said, apart and exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vfxswap.errors import JobError, OutputError
from vfxswap.geometry import LANDMARK_COUNT, Face
from vfxswap.io.tracks import (
    FaceEdit,
    PlateIdentity,
    TrackerModel,
    Tracks,
    read_tracks,
    write_tracks,
)

PLATE = PlateIdentity.of("/shows/a/sh010.%04d.exr", "1001-1004", size=(640, 360))


def face(id_: int, seed: int = 0, at: float = 100.0) -> Face:
    rng = np.random.default_rng(seed)
    points = np.round(at + 40 * rng.random((LANDMARK_COUNT, 2)), 3)
    return Face(id_, points, np.round(rng.random(LANDMARK_COUNT), 4), 0.9)


def tracks() -> Tracks:
    faces = {"": {1001: [face(1), face(0, 1)], 1002: [], 1003: [face(0, 2, -250.5)]}}
    return Tracks.of(PLATE, faces, model=TrackerModel(name="landmarks", sha256="ab" * 32))


def test_when_written_and_read_then_faces_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "sh010.tracks.json"
    write_tracks(path, tracks())
    again = read_tracks(path, plate=PLATE)
    assert again == tracks()
    assert [f.id for f in again.faces(1001)] == [0, 1]
    assert np.array_equal(again.faces(1003)[0].points, face(0, 2, -250.5).points)
    assert again.faces(1002) == () and again.covers(1002)
    assert not again.covers(1004)
    assert list(path.parent.iterdir()) == [path]


@given(st.lists(st.floats(-1e6, 1e6), min_size=140, max_size=140))
def test_stored_points_stay_within_half_a_thousandth_of_a_pixel(values: list[float]) -> None:
    points = np.array(values).reshape(-1, 2)
    given_face = Face(3, points, np.ones(LANDMARK_COUNT), 0.5)
    kept = Tracks.of(PLATE, {"": {1: [given_face]}}, model=TrackerModel())
    text = json.dumps(kept.model_dump(mode="json"))
    back = Tracks.model_validate(json.loads(text)).faces(1)[0].points
    assert np.abs(back - points).max() <= 0.0005 + 1e-9
    assert np.array_equal(back, kept.faces(1)[0].points)


def test_edits_win_and_the_automatic_values_stay_in_the_file(tmp_path: Path) -> None:
    edit = FaceEdit(id=0, points={36: (12.5, 13.25)})
    path = tmp_path / "t.json"
    write_tracks(path, tracks().with_edit(1001, edit))
    read = read_tracks(path)
    edited = read.faces(1001)[0]
    assert edited.points[36].tolist() == [12.5, 13.25] and edited.confidence[36] == 1.0
    others = np.arange(LANDMARK_COUNT) != 36
    assert np.array_equal(edited.points[others], face(0, 1).points[others])
    assert read.automatic == tracks().automatic


def test_an_edit_can_remove_rename_and_add_a_face() -> None:
    added = {i: (float(i), 2.0 * i) for i in range(LANDMARK_COUNT)}
    edited = (
        tracks()
        .with_edit(1001, FaceEdit(id=1, removed=True))
        .with_edit(1001, FaceEdit(id=0, as_id=7))
        .with_edit(1002, FaceEdit(id=4, points=added))
    )
    assert [f.id for f in edited.faces(1001)] == [7]
    assert [f.id for f in edited.faces(1002)] == [4]
    assert edited.faces(1002)[0].points[5].tolist() == [5.0, 10.0]


def test_new_tracking_keeps_the_edits() -> None:
    edited = tracks().with_edit(1001, FaceEdit(id=1, removed=True))
    newer = Tracks.of(PLATE, {"": {1001: [face(1, 9)]}}, model=TrackerModel(sha256="cd" * 32))
    both = edited.with_automatic(newer)
    assert both.automatic == newer.automatic and both.edits == edited.edits


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 0},
        {"id": 0, "removed": True, "as_id": 2},
        {"id": 0, "points": {70: (1, 1)}},
        {"id": 0, "points": {3: (float("nan"), 1)}},
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FaceEdit.model_validate(wrong)


@pytest.mark.parametrize(
    "pattern", ["sh010.#.exr", "sh010.####.exr", "sh010.@@@.exr", "x/sh010.$F4.exr"]
)
def test_the_same_plate_in_another_notation_or_folder_is_the_same_shot(pattern: str) -> None:
    assert PLATE.difference(PlateIdentity.of(pattern, "1001-1002", size=(640, 360))) is None


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (PlateIdentity.of("sh020.#.exr", "1-2", size=(640, 360)), "sh010"),
        (PlateIdentity.of("sh010.#.exr", "1-2", size=(641, 360)), "640x360"),
        (PlateIdentity.of("sh010.#.exr", "1-2", size=(640, 360), pixel_aspect=2.0), "aspect"),
    ],
)
def test_tracks_of_another_shot_are_refused(
    tmp_path: Path, other: PlateIdentity, says: str
) -> None:
    write_tracks(tmp_path / "t.json", tracks())
    with pytest.raises(JobError, match=says):
        read_tracks(tmp_path / "t.json", plate=other)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "broken JSON"),
        ("[]", "not a tracks file"),
        ('{"format": "vfxswap-tracks", "version": 3}', "version 3"),
        ('{"format": "vfxswap-tracks", "version": 1}', "plate"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(JobError, match=says) as raised:
        read_tracks(path)
    assert "t.json" in str(raised.value) and "\n" not in str(raised.value)


def test_when_a_face_lacks_points_then_the_sentence_says_where(tmp_path: Path) -> None:
    data = tracks().model_dump(mode="json")
    data["automatic"][""]["1001"][0]["points"].pop()
    path = tmp_path / "t.json"
    path.write_text(json.dumps(data))
    with pytest.raises(JobError, match=r"automatic\..*1001\.0\.points"):
        read_tracks(path)


def test_when_tracks_cannot_be_written_then_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_tracks(tmp_path / "file" / "t.json", tracks())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_tracks_of_version_1_are_read_and_have_no_cuts(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_tracks(path, tracks())
    path.write_text(path.read_text().replace('"version": 2', '"version": 1'))
    assert read_tracks(path) == tracks()
    assert read_tracks(path).cuts == {}
