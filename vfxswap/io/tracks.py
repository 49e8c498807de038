"""Tracks of a shot as a JSON file that an artist can correct.

The file holds, beside `"format": "vfxswap-tracks"` and `"version": 2`,

* `plate`: which plate was tracked: file pattern (name without folder, frame number as `#`),
  frame range, width and height of the display window, pixel aspect;
* `model`: name and SHA-256 of the landmark weights, SHA-256 of the identity weights;
* `state`: hash of the plate's files at tracking time, "" where nobody keeps track of it;
* `cuts`: view → frames at which another take begins;
* `automatic`: view → frame → list of faces. A face has `id` (one performer through the shot),
  `score` 0…1, `points` 70 × [x, y] in plate pixels (x right, y down, centres at +0.5; iBUG-68,
  then the subject's right and left pupil) and `confidence` 70 × 0…1. A tracked frame without a
  face is an empty list; a frame that is absent was not tracked. A face that was not seen but
  filled in between two sightings has confidence and score halved for each frame to the nearer;
* `edits`: view → frame → list of corrections, in the same words, never touched by tracking.

Edits win over `automatic` on reading. Version 1 had no cuts and is read as well. The view of a
single-view plate is `""`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from vfxswap.errors import JobError, OutputError
from vfxswap.files import write_atomically
from vfxswap.geometry import LANDMARK_COUNT, Face
from vfxswap.settings import Settings, validated

FORMAT: Final = "vfxswap-tracks"
VERSION: Final = 2

Point = tuple[FiniteFloat, FiniteFloat]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
_FRAME_TOKEN = re.compile(r"(%0?\d*d|#+|@+|\$F\d?)")
_POINT_DIGITS = 3
"""Decimals of a stored coordinate: a thousandth of a pixel, below what any tracker resolves."""


class PlateIdentity(Settings):
    """What tells one shot's plate from another's; folders are left out, so mounts may differ."""

    pattern: str = Field(description="File name with the frame number as #.")
    frames: str = Field(description="Tracked frame range, as in 1001-1100.")
    width: int = Field(gt=0, description="Width of the display window.")
    height: int = Field(gt=0, description="Height of the display window.")
    x: int = Field(default=0, description="First column of the display window.")
    y: int = Field(default=0, description="First row of the display window.")
    pixel_aspect: float = Field(default=1.0, gt=0, description="Width of a pixel over its height.")

    @classmethod
    def of(
        cls,
        pattern: str,
        frames: str,
        *,
        size: tuple[int, int],
        origin: tuple[int, int] = (0, 0),
        pixel_aspect: float = 1.0,
    ) -> Self:
        """Identity of a plate named by any pattern (`#`, `@`, `%04d`, `$F4`) or one file;
        size = (width, height) and origin = (x, y) of the display window."""
        return cls(
            pattern=_FRAME_TOKEN.sub("#", Path(pattern).name),
            frames=frames,
            width=size[0],
            height=size[1],
            x=origin[0],
            y=origin[1],
            pixel_aspect=pixel_aspect,
        )

    def difference(self, other: PlateIdentity) -> str | None:
        """The first thing that makes `other` another shot, in words; the range may differ."""
        if self.pattern != other.pattern:
            return f"plate {self.pattern}, not {other.pattern}"
        if (self.width, self.height) != (other.width, other.height):
            return f"size {self.width}x{self.height}, not {other.width}x{other.height}"
        if abs(self.pixel_aspect - other.pixel_aspect) > 1e-4:
            return f"pixel aspect {self.pixel_aspect:g}, not {other.pixel_aspect:g}"
        return None


class TrackerModel(Settings):
    """Which weights tracked the shot; `identity` is empty when looks did not count."""

    name: str = ""
    sha256: str = ""
    identity: str = ""


class FaceRecord(Settings):
    """A face as tracked."""

    id: int
    score: Unit
    points: tuple[Point, ...] = Field(min_length=LANDMARK_COUNT, max_length=LANDMARK_COUNT)
    confidence: tuple[Unit, ...] = Field(min_length=LANDMARK_COUNT, max_length=LANDMARK_COUNT)

    @classmethod
    def of(cls, face: Face) -> Self:
        """Rounds to what the file keeps, so that reading back gives the same pixels."""
        points = np.round(face.points, _POINT_DIGITS).tolist()
        return cls(
            id=face.id,
            score=round(float(np.clip(face.score, 0.0, 1.0)), 4),
            points=tuple((float(x), float(y)) for x, y in points),
            confidence=tuple(np.round(np.clip(face.confidence, 0.0, 1.0), 4).tolist()),
        )

    def face(self) -> Face:
        return Face(self.id, np.array(self.points), np.array(self.confidence), self.score)


class FaceEdit(Settings):
    """An artist's word on one face of one frame.

    `removed` drops it; `as_id` gives it to another performer; `points` moves single landmarks
    (index → [x, y]). A face that tracking missed is added by stating all 70 points.
    """

    id: int
    removed: bool = False
    as_id: int | None = None
    points: dict[Annotated[int, Field(ge=0, lt=LANDMARK_COUNT)], Point] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if not (self.removed or self.points or self.as_id is not None):
            raise ValueError(f"edit of face {self.id} changes nothing")
        if self.removed and (self.points or self.as_id is not None):
            raise ValueError(f"edit of face {self.id} removes and changes it at once")
        return self

    def apply(self, face: Face | None) -> Face | None:
        """The face after this edit; None when it is gone. `face` is None when tracking has none.

        Points set by hand get confidence 1.
        """
        if self.removed:
            return None
        if face is None:
            if len(self.points) != LANDMARK_COUNT:
                return None
            blank = np.zeros((LANDMARK_COUNT, 2))
            face = Face(self.id, blank, np.zeros(LANDMARK_COUNT), 1.0)
        points, confidence = face.points.copy(), face.confidence.copy()
        for index, point in self.points.items():
            points[index], confidence[index] = point, 1.0
        return Face(face.id if self.as_id is None else self.as_id, points, confidence, face.score)


class Tracks(Settings):
    """All faces of a shot. Immutable; `with_automatic` and `with_edit` give changed copies."""

    format: Literal["vfxswap-tracks"] = FORMAT
    version: Literal[2] = VERSION
    plate: PlateIdentity
    model: TrackerModel = TrackerModel()
    state: str = ""
    cuts: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    automatic: dict[str, dict[int, tuple[FaceRecord, ...]]] = Field(default_factory=dict)
    edits: dict[str, dict[int, tuple[FaceEdit, ...]]] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plate: PlateIdentity,
        faces: Mapping[str, Mapping[int, Iterable[Face]]],
        *,
        model: TrackerModel,
        cuts: Mapping[str, Iterable[int]] | None = None,
    ) -> Self:
        """Tracks from faces by view and frame, in plate pixels, and cuts by view."""
        automatic = {
            view: {n: tuple(FaceRecord.of(f) for f in found) for n, found in by_frame.items()}
            for view, by_frame in faces.items()
        }
        begins = {view: tuple(frames) for view, frames in (cuts or {}).items()}
        return cls(plate=plate, model=model, automatic=automatic, cuts=begins)

    def covers(self, frame: int, view: str = "") -> bool:
        """Whether this frame was tracked or edited."""
        return frame in self.automatic.get(view, {}) or frame in self.edits.get(view, {})

    def faces(self, frame: int, view: str = "") -> tuple[Face, ...]:
        """The faces of a frame with the artist's edits applied, ordered by id."""
        found = {r.id: r.face() for r in self.automatic.get(view, {}).get(frame, ())}
        edits = {e.id: e for e in self.edits.get(view, {}).get(frame, ())}
        kept = [face for id_, face in found.items() if id_ not in edits]
        for id_, edit in edits.items():
            face = edit.apply(found.get(id_))
            if face is not None:
                kept.append(face)
        return tuple(sorted(kept, key=lambda face: face.id))

    def with_automatic(self, newer: Tracks) -> Tracks:
        """These edits over a newer tracking."""
        return newer.model_copy(update={"edits": self.edits})

    def with_edit(self, frame: int, edit: FaceEdit, *, view: str = "") -> Tracks:
        """One more correction; it replaces an earlier one of the same face and frame."""
        by_frame = dict(self.edits.get(view, {}))
        others = tuple(e for e in by_frame.get(frame, ()) if e.id != edit.id)
        by_frame[frame] = (*others, edit)
        return self.model_copy(update={"edits": {**self.edits, view: by_frame}})


def read_tracks(path: Path, *, plate: PlateIdentity | None = None) -> Tracks:
    """Tracks from a file. With `plate`, they must be of that shot.

    Raises JobError: no such file, not tracks, another version, another shot.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(f"cannot read tracks: {error.strerror}", file=path) from error
    except (ValueError, RecursionError) as error:
        raise JobError("not a tracks file", got=f"broken JSON ({error})", file=path) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise JobError("not a tracks file", wanted=f'"format": "{FORMAT}"', file=path)
    if data.get("version") == 1:
        data["version"] = VERSION
    if data.get("version") != VERSION:
        got = f"version {data.get('version')}"
        raise JobError("tracks of another version", got=got, wanted=f"version {VERSION}", file=path)
    tracks = validated(Tracks, data, file=path)
    if plate is not None and (difference := tracks.plate.difference(plate)):
        raise JobError(f"tracks of another shot: they are of {difference}", file=path)
    return tracks


def write_tracks(path: Path, tracks: Tracks) -> None:
    """Writes atomically. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=path) from error
    write_atomically(path, _compact(tracks.model_dump(mode="json")).encode())


def _compact(data: dict[str, Any]) -> str:
    """JSON with one line a face, so that a difference of two files can be read."""
    text = json.dumps(data, indent=1)
    flat = re.sub(r"\[\s+(-?[\d.e+-]+),\s+(-?[\d.e+-]+)\s+\]", r"[\1, \2]", text)
    return re.sub(r"(?<=[\d\]]),\n\s+(?=[\[\d-])", ", ", flat) + "\n"
