"""Tracks as text that is pasted into Nuke: `Tracker4` and `CornerPin2D` nodes.

Nuke counts y upwards from the format's bottom, whole numbers on pixel edges: a point at (x, y)
of a plate of height H is (x, H - y) there. The table of a Tracker4 has 31 columns, as scripts
saved by Nuke show; nobody has loaded these nodes in Nuke itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from vfxswap.align.crop import crop_matrix
from vfxswap.errors import JobError
from vfxswap.geometry import LANDMARK_COUNT, Array, Face
from vfxswap.io.tracks import Tracks
from vfxswap.ops.warp import inverted

NAMES: Final = {
    36: "right_eye_outer", 39: "right_eye_inner", 42: "left_eye_inner", 45: "left_eye_outer",
    68: "right_pupil", 69: "left_pupil", 30: "nose_tip", 33: "nose_base",
    48: "mouth_right", 54: "mouth_left", 51: "lip_upper", 57: "lip_lower", 8: "chin",
}  # fmt: skip
"""Landmarks that artists ask for, by index; right is the subject's."""

_COLUMNS: Final = (
    "{ 5 1 20 enable e 1 }", "{ 3 1 75 name name 1 }", "{ 2 1 58 track_x track_x 1 }",
    "{ 2 1 58 track_y track_y 1 }", "{ 2 1 63 offset_x offset_x 1 }",
    "{ 2 1 63 offset_y offset_y 1 }", "{ 4 1 27 T T 1 }", "{ 4 1 27 R R 1 }", "{ 4 1 27 S S 1 }",
    "{ 2 0 45 error error 1 }", "{ 1 1 0 error_min error_min 1 }",
    "{ 1 1 0 error_max error_max 1 }",
    *(f"{{ 1 1 0 {a}_{b} {a}_{b} 1 }}" for a in ("pattern", "search") for b in "xyrt"),
    "{ 2 1 0 key_track key_track 1 }",
    *(f"{{ 2 1 0 key_{a}_{b} key_{a}_{b} 1 }}" for a in ("search", "track") for b in "xyrt"),
    *(f"{{ 2 1 0 key_centre_offset_{b} key_centre_offset_{b} 1 }}" for b in "xy"),
)  # fmt: skip
_PATTERN: Final = "-15 -15 15 15 -22 -22 22 22"


def tracker4(tracks: Tracks, *, points: Sequence[int] = tuple(NAMES)) -> str:
    """A Tracker4 node for every face and view, with a track for each of the landmarks `points`.

    Raises JobError when no face was tracked, or a landmark does not exist.
    """
    for index in points:
        if not 0 <= index < LANDMARK_COUNT:
            raise JobError("no such landmark", got=index, wanted=f"0 to {LANDMARK_COUNT - 1}")
    nodes = []
    for view, id_, faces in _by_face(tracks):
        frames = list(faces)
        first = frames[0]
        places = np.stack([_upwards(tracks, face.points) for face in faces.values()])
        doubt = 1 - np.stack([face.confidence for face in faces.values()])
        rows = []
        for index in points:
            x, y = (curve(frames, places[:, index, axis]) for axis in (0, 1))
            error = curve(frames, doubt[:, index])
            still = f"{{curve K x{first} 0}}"
            rows.append(
                f' {{ {{curve K x{first} 1}} "{NAMES.get(index, f"point_{index}")}" {x} {y}'
                f" {still} {still} 1 1 1 {error} 0 1 {_PATTERN} {'{} ' * 11}}}"
            )
        table = "\n".join(rows)
        nodes.append(
            f"Tracker4 {{\n inputs 0\n tracks {{ {{ 1 31 {len(rows)} }}\n"
            f"{{ {chr(10).join(_COLUMNS)} }}\n{{\n{table}\n}} }}\n"
            f" reference_frame {first}\n name {_node_name('Face', view, id_)}\n}}\n"
        )
    return "".join(nodes)


def corner_pin(tracks: Tracks, *, crop_size: int = 1024) -> str:
    """A CornerPin2D node for every face and view, that pins a picture of `crop_size` pixels in
    the place of the aligned crop: what is painted over an upright face follows the performer.

    Raises JobError when no face was tracked.
    """
    side = float(crop_size)
    corners = np.array([[0, side], [side, side], [side, 0], [0, 0]])
    nodes = []
    for view, id_, faces in _by_face(tracks):
        frames = list(faces)
        pinned = []
        for face in faces.values():
            matrix = inverted(
                crop_matrix(face.points, size=crop_size, pixel_aspect=tracks.plate.pixel_aspect)
            )
            pinned.append(_upwards(tracks, corners @ matrix[:, :2].T + matrix[:, 2]))
        places = np.stack(pinned)
        lines = ["CornerPin2D {", " inputs 0"]
        for number in range(4):
            x, y = (curve(frames, places[:, number, axis]) for axis in (0, 1))
            lines.append(f" to{number + 1} {{{x} {y}}}")
        for number, (x0, y0) in enumerate(((0, 0), (side, 0), (side, side), (0, side)), 1):
            lines.append(f" from{number} {{{x0:g} {y0:g}}}")
        lines += [f" name {_node_name('FacePin', view, id_)}", "}"]
        nodes.append("\n".join(lines) + "\n")
    return "".join(nodes)


def curve(frames: Sequence[int], values: Array) -> str:
    """A Nuke curve with a key at each frame, straight between: a frame is named where it does
    not follow the one before."""
    words = ["curve L"]
    for before, frame, value in zip([None, *frames], frames, values.tolist(), strict=False):
        if before is None or frame != before + 1:
            words.append(f"x{frame}")
        words.append(f"{value:.3f}")
    return f"{{{' '.join(words)}}}"


def _by_face(tracks: Tracks) -> Iterable[tuple[str, int, dict[int, Face]]]:
    """View, id and faces by frame, edits applied."""
    found = False
    for view in sorted({*tracks.automatic, *tracks.edits}):
        by_frame = {*tracks.automatic.get(view, {}), *tracks.edits.get(view, {})}
        seen = [(face.id, frame, face) for frame in by_frame for face in tracks.faces(frame, view)]
        seen.sort(key=lambda each: each[:2])
        for id_, each in itertools.groupby(seen, key=lambda entry: entry[0]):
            found = True
            yield view, id_, {frame: face for _, frame, face in each}
    if not found:
        raise JobError("no face is in the tracks", file=tracks.plate.pattern)


def _upwards(tracks: Tracks, points: Array) -> Array:
    plate = tracks.plate
    return np.stack([points[:, 0] - plate.x, plate.y + plate.height - points[:, 1]], 1)


def _node_name(kind: str, view: str, id_: int) -> str:
    return f"{kind}{id_}" + (f"_{view}" if view else "")
