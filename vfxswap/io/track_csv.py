"""Tracks as a table: `view,frame,face,landmark,x,y,confidence`, a row for each landmark.

Coordinates are those of the tracks file: plate pixels, y down, centres at +0.5. What another
program changed comes back as edits.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from pathlib import Path
from typing import Final

from vfxswap.errors import JobError
from vfxswap.geometry import LANDMARK_COUNT
from vfxswap.io.tracks import FaceEdit, Point, Tracks

COLUMNS: Final = ("view", "frame", "face", "landmark", "x", "y", "confidence")
SAME_PX: Final = 0.0015
"""Coordinates that differ by less were rounded, not moved."""


def to_csv(tracks: Tracks) -> str:
    """All faces with the artist's edits applied."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for view in sorted({*tracks.automatic, *tracks.edits}):
        for frame in sorted({*tracks.automatic.get(view, {}), *tracks.edits.get(view, {})}):
            for face in tracks.faces(frame, view):
                for index, ((x, y), sure) in enumerate(
                    zip(face.points.tolist(), face.confidence.tolist(), strict=True)
                ):
                    rows.writerow(
                        (view, frame, face.id, index, f"{x:.3f}", f"{y:.3f}", f"{sure:.4f}")
                    )
    return text.getvalue()


def with_csv(tracks: Tracks, path: Path) -> Tracks:
    """The tracks with what a table says otherwise as edits; what it does not name stays.

    Confidence is not read, and may be left out. A face that the tracks do not have needs all
    its landmarks. Raises JobError with the line that is wrong.
    """
    moved: dict[tuple[str, int, int], dict[int, Point]] = defaultdict(dict)
    for line, (view, frame, face, landmark, point) in _rows(path):
        points = moved[view, frame, face]
        if landmark in points:
            raise JobError(f"line {line} repeats a landmark", got=landmark, file=path)
        points[landmark] = point
    for (view, frame, id_), points in moved.items():
        known = {face.id: face for face in tracks.faces(frame, view)}.get(id_)
        if known is None:
            if len(points) != LANDMARK_COUNT:
                raise JobError(
                    f"face {id_} on frame {frame} is not in the tracks",
                    got=f"{len(points)} landmarks",
                    wanted=f"all {LANDMARK_COUNT}, to add it",
                    file=path,
                )
            changed = points
        else:
            changed = {
                index: point
                for index, point in points.items()
                if math.dist(point, known.points[index]) > SAME_PX
            }
        if changed:
            edits = tracks.edits.get(view, {}).get(frame, ())
            before = next((e for e in edits if id_ == (e.id if e.as_id is None else e.as_id)), None)
            edit = FaceEdit(id=id_, points=changed)
            if before is not None and not before.removed:
                edit = before.model_copy(update={"points": {**before.points, **changed}})
            tracks = tracks.with_edit(frame, edit, view=view)
    return tracks


def _rows(path: Path) -> list[tuple[int, tuple[str, int, int, int, Point]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"table cannot be read: {error}", file=path) from None
    table = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS[:-1] if name not in (table.fieldnames or ())]
    if missing:
        raise JobError(
            "not a table of tracks", got=",".join(table.fieldnames or ()),
            wanted=",".join(COLUMNS), file=path,
        )  # fmt: skip
    rows = []
    try:
        for row in table:
            try:
                frame, face, landmark = (int(row[name]) for name in ("frame", "face", "landmark"))
                point = (float(row["x"]), float(row["y"]))
            except (TypeError, ValueError):
                raise JobError(f"line {table.line_num} is no row of numbers", file=path) from None
            if not (0 <= landmark < LANDMARK_COUNT and all(map(math.isfinite, point))):
                raise JobError(f"line {table.line_num} is no landmark", file=path)
            rows.append((table.line_num, (row["view"] or "", frame, face, landmark, point)))
    except csv.Error as error:
        raise JobError(f"line {table.line_num} cannot be read: {error}", file=path) from None
    return rows
