"""Tracks land in Nuke's nodes where Nuke counts them: upwards, curve by curve."""

from __future__ import annotations

import tkinter

import numpy as np
import pytest

from vfxswap.align.crop import crop_matrix, template
from vfxswap.errors import JobError
from vfxswap.geometry import LANDMARK_COUNT, Face
from vfxswap.io.track_nuke import NAMES, corner_pin, curve, tracker4
from vfxswap.io.tracks import FaceEdit, PlateIdentity, TrackerModel, Tracks

PLATE = PlateIdentity.of("p.#.exr", "1001-1004", size=(640, 480), origin=(-10, 20))


def face(id_: int, x: float) -> Face:
    return Face(id_, template(200) + np.array([x, 60.0]), np.full(LANDMARK_COUNT, 0.75), 0.9)


@pytest.fixture
def tracks() -> Tracks:
    frames = {n: [face(0, 10.0 * (n - 1000)), face(1, 300)] for n in (1001, 1002)}
    frames[1004] = [face(0, 40.0)]
    return Tracks.of(PLATE, {"": frames}, model=TrackerModel())


def nodes(text: str) -> list[tuple[str, list[str]]]:
    """The nodes of a script as Tcl reads them: class and words of the body."""
    tcl = tkinter.Tcl()
    found = []
    words = list(tcl.splitlist(text.strip().replace("}\n", "} ", 0)))
    while words:
        found.append((words[0], list(tcl.splitlist(words[1]))))
        words = words[2:]
    return found


def knobs(body: list[str]) -> dict[str, str]:
    assert len(body) % 2 == 0
    return dict(zip(body[::2], body[1::2], strict=True))


def test_a_curve_names_only_frames_that_do_not_follow() -> None:
    assert curve([1001, 1002, 1004], np.array([1.0, 2.5, -3.0])) == (
        "{curve L x1001 1.000 2.500 x1004 -3.000}"
    )


def test_a_tracker_has_31_columns_and_a_row_for_each_landmark(tracks: Tracks) -> None:
    tcl = tkinter.Tcl()
    found = nodes(tracker4(tracks))
    assert [kind for kind, _ in found] == ["Tracker4", "Tracker4"]
    held = knobs(found[0][1])
    assert held["name"] == "Face0"
    head, columns, rows = tcl.splitlist(held["tracks"])
    assert tcl.splitlist(head) == ("1", "31", str(len(NAMES)))
    assert len(tcl.splitlist(columns)) == 31
    table = [tcl.splitlist(row) for row in tcl.splitlist(rows)]
    assert len(table) == len(NAMES)
    assert all(len(row) == 31 for row in table)
    nose = next(row for row in table if row[1] == "nose_tip")
    x, y = template(200)[30] + np.array([10.0, 60.0])
    assert nose[2].split()[:4] == ["curve", "L", "x1001", f"{x + 10:.3f}"]
    assert nose[3].split()[3] == f"{20 + 480 - y:.3f}"
    assert nose[9].split()[3] == "0.250"


def test_landmarks_are_chosen_and_wrong_ones_named(tracks: Tracks) -> None:
    assert '"point_5"' in tracker4(tracks, points=(5,))
    with pytest.raises(JobError, match=r"no such landmark.*70"):
        tracker4(tracks, points=(70,))


def test_edits_are_in_the_nodes(tracks: Tracks) -> None:
    edited = tracks.with_edit(1001, FaceEdit(id=0, points={30: (1.5, 20.0)}))
    assert "{curve L x1001 11.500" in tracker4(edited, points=(30,))
    assert "{curve L x1001 480.000" in tracker4(edited, points=(30,))


def test_a_corner_pin_puts_the_aligned_crop_back(tracks: Tracks) -> None:
    held = knobs(nodes(corner_pin(tracks, crop_size=512))[0][1])
    matrix = crop_matrix(tracks.faces(1001)[0].points, size=512)
    tcl = tkinter.Tcl()
    corners = ((0, 512), (512, 512), (512, 0), (0, 0))
    for number, corner in enumerate(corners, 1):
        x, y = (float(c.split()[3]) for c in tcl.splitlist(held[f"to{number}"]))
        plate = np.array([x - 10, 20 + 480 - y])
        np.testing.assert_allclose(matrix[:, :2] @ plate + matrix[:, 2], corner, atol=0.01)
    assert [held[f"from{n}"] for n in (1, 2, 3, 4)] == ["0 0", "512 0", "512 512", "0 512"]


def test_tracks_without_a_face_are_a_sentence() -> None:
    empty = Tracks.of(PLATE, {"": {1001: []}}, model=TrackerModel())
    for export in (tracker4, corner_pin):
        with pytest.raises(JobError, match="no face is in the tracks"):
            export(empty)
