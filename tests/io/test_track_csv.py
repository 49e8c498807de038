"""Tracks go to other programs as a table, and what was changed there comes back as edits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vfxswap.align.crop import template
from vfxswap.errors import JobError
from vfxswap.geometry import LANDMARK_COUNT, Face
from vfxswap.io.track_csv import to_csv, with_csv
from vfxswap.io.tracks import FaceEdit, PlateIdentity, TrackerModel, Tracks

PLATE = PlateIdentity.of("p.#.exr", "1-2", size=(640, 480))


def face(id_: int, x: float) -> Face:
    place = np.array([x + 1 / 3, 60.0])
    return Face(id_, template(200) + place, np.full(LANDMARK_COUNT, 0.75), 0.9)


@pytest.fixture
def tracks() -> Tracks:
    frames = {1: [face(0, 0), face(1, 300)], 2: [face(0, 10)]}
    return Tracks.of(PLATE, {"left": frames, "right": frames}, model=TrackerModel())


def changed(tracks: Tracks, path: Path, old: str, new: str) -> Tracks:
    text = to_csv(tracks)
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return with_csv(tracks, path)


def test_an_unchanged_table_makes_no_edits(tracks: Tracks, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(to_csv(tracks))
    assert with_csv(tracks, table) == tracks


def test_a_moved_landmark_is_an_edit_of_it_alone(tracks: Tracks, tmp_path: Path) -> None:
    x, y = tracks.faces(1, "right")[1].points[30]
    old = f"right,1,1,30,{x:.3f},{y:.3f},0.7500"
    after = changed(tracks, tmp_path / "t.csv", old, "right,1,1,30,5.25,6.5,")
    assert after.edits == {"right": {1: (FaceEdit(id=1, points={30: (5.25, 6.5)}),)}}
    assert after.automatic == tracks.automatic
    np.testing.assert_array_equal(after.faces(1, "right")[1].points[30], [5.25, 6.5])


def test_edits_of_renamed_faces_stay_with_them(tracks: Tracks, tmp_path: Path) -> None:
    renamed = tracks.with_edit(2, FaceEdit(id=0, as_id=7, points={1: (3.0, 3.0)}), view="left")
    x, y = renamed.faces(2, "left")[0].points[30]
    old = f"left,2,7,30,{x:.3f},{y:.3f},0.7500"
    after = changed(renamed, tmp_path / "t.csv", old, "left,2,7,30,1,2,1")
    assert after.edits["left"][2] == (
        FaceEdit(id=0, as_id=7, points={1: (3.0, 3.0), 30: (1.0, 2.0)}),
    )


def test_a_table_may_add_a_whole_face_but_not_a_part(tracks: Tracks, tmp_path: Path) -> None:
    rows = [f"left,2,4,{n},{n}.5,20" for n in range(LANDMARK_COUNT)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["view,frame,face,landmark,x,y", *rows]))
    assert [f.id for f in with_csv(tracks, table).faces(2, "left")] == [0, 4]
    table.write_text("\n".join(["view,frame,face,landmark,x,y", *rows[:-1]]))
    with pytest.raises(JobError, match=r"face 4 on frame 2 is not in the tracks.*69.*all 70"):
        with_csv(tracks, table)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "not a table of tracks"),
        ("", "not a table of tracks"),
        ("view,frame,face,landmark,x,y\n,1,0,thirty,1,2\n", "line 2 is no row of numbers"),
        ("view,frame,face,landmark,x,y\n,1,0\n", "line 2 is no row of numbers"),
        ("view,frame,face,landmark,x,y\n,1,0,70,1,2\n", "line 2 is no landmark"),
        ("view,frame,face,landmark,x,y\n,1,0,7,nan,2\n", "line 2 is no landmark"),
        ("view,frame,face,landmark,x,y\n,1,0,7,1,2\n,1,0,7,1,2\n", "line 3 repeats a landmark"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(
    tracks: Tracks, tmp_path: Path, text: str, says: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(JobError, match=says) as raised:
        with_csv(tracks, table)
    assert str(table) in str(raised.value)
