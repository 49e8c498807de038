"""What a face set covers: heads turned how, doing what, in which light; and what it lacks."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from vfxswap.train.face_set import SetFace
from vfxswap.train.face_set_expression import Expression

YAW_EDGES_DEG: Final = (-35.0, -12.0, 12.0, 35.0)
PITCH_EDGES_DEG: Final = (-12.0, 12.0)
YAWS: Final = ("far left", "left", "front", "right", "far right")
"""Where in the picture the face looks."""
PITCHES: Final = ("up", "level", "down")
ACTINGS: Final = (
    "at rest", "mouth open", "smile", "pucker", "corners down", "eyes closed", "brows raised",
)  # fmt: skip
LIGHTS: Final = ("flat", "from left", "from front", "from right")
"""Sides are the picture's."""

FLAT_CONTRAST: Final = 0.35
SIDE_DEG: Final = 25.0
NO_LIGHT: Final = "from front"
"""Where the light could not be told."""

_OPEN: Final = 0.10
_SMILE, _PUCKER, _DOWN = 0.05, -0.09, -0.04
_CLOSED: Final = 0.55
_RAISED: Final = 0.045


@dataclass(frozen=True, order=True)
class Bin:
    """A cell of pose × expression × light: indices into `YAWS`, `PITCHES`, `ACTINGS`, `LIGHTS`."""

    yaw: int
    pitch: int
    acting: int
    light: int

    @property
    def words(self) -> str:
        return f"{pose_words(self.yaw, self.pitch)}, {ACTINGS[self.acting]}, {LIGHTS[self.light]}"


class Parts(NamedTuple):
    """Some parts of a bin; None leaves one open. `pose` is indices into `YAWS` and `PITCHES`."""

    pose: tuple[int, int] | None = None
    acting: int | None = None
    light: int | None = None

    def hold(self, cell: Bin) -> bool:
        """Whether a bin is among those meant."""
        own = Parts((cell.yaw, cell.pitch), cell.acting, cell.light)
        return all(mine in (None, its) for mine, its in zip(self, own, strict=True))

    def cover(self, other: Parts) -> bool:
        """Whether all that `other` means is meant here as well."""
        return all(mine in (None, its) for mine, its in zip(self, other, strict=True))

    @property
    def words(self) -> str:
        said = [
            "" if self.pose is None else f"head {pose_words(*self.pose)}",
            "" if self.acting is None else ACTINGS[self.acting],
            "" if self.light is None else f"light {LIGHTS[self.light]}",
        ]
        return ", ".join(filter(None, said))


@dataclass(frozen=True)
class Lack:
    """What one set lacks, and the other's faces of it, the sharpest first."""

    parts: Parts
    faces: tuple[SetFace, ...]

    @property
    def words(self) -> str:
        return self.parts.words


class Coverage:
    """Faces of one persona by bin, the sharpest first."""

    def __init__(self, faces: Iterable[SetFace]) -> None:
        self.faces = tuple(faces)
        self.rest = rest_of([face.expression for face in self.faces])
        self.bins: dict[Bin, list[SetFace]] = {}
        for face in sorted(self.faces, key=_sharpness):
            self.bins.setdefault(bin_of(face, self.rest), []).append(face)

    def of(self, parts: Parts) -> list[SetFace]:
        """Faces of all bins that are meant, the sharpest first."""
        found = [face for cell, faces in self.bins.items() if parts.hold(cell) for face in faces]
        return sorted(found, key=_sharpness)


def rest_of(expressions: Sequence[Expression]) -> dict[str, float]:
    """A persona's face at rest, as far as its faces tell: the middle, but lips as they are in the
    quarter that opens them least, lids as in the quarter that opens them most."""
    if not expressions:
        return {}
    names = tuple(Expression.model_fields)
    values = np.array([[getattr(e, name) for name in names] for e in expressions])
    quantiles = {"mouth_open": 25, "lid_right": 75, "lid_left": 75}
    return {
        name: float(np.percentile(values[:, i], quantiles.get(name, 50)))
        for i, name in enumerate(names)
    }


def acting_of(expression: Expression, rest: Mapping[str, float]) -> int:
    """The expression that a face shows most, as an index into `ACTINGS`."""
    off = {name: getattr(expression, name) - value for name, value in rest.items()}
    lids = [getattr(expression, n) / max(rest[n], 1e-6) for n in ("lid_right", "lid_left")]
    smile = off["corners_up"] + 0.5 * off["mouth_width"]
    # How far beyond what counts; the first of equals.
    shown = [
        ("eyes closed", (1 - max(lids)) / (1 - _CLOSED)),
        ("mouth open", off["mouth_open"] / _OPEN),
        ("smile", smile / _SMILE),
        ("pucker", off["mouth_width"] / _PUCKER),
        ("corners down", off["corners_up"] / _DOWN),
        ("brows raised", off["brows"] / _RAISED),
    ]
    name, most = max(shown, key=lambda each: each[1])
    if shown[0][1] >= 1:
        name, most = shown[0]
    return ACTINGS.index(name) if most >= 1 else 0


def bin_of(face: SetFace, rest: Mapping[str, float]) -> Bin:
    """The bin of a face."""
    light = LIGHTS.index(NO_LIGHT)
    if face.light is not None:
        if face.light.contrast < FLAT_CONTRAST:
            light = 0
        else:
            light = 1 + bisect.bisect([-SIDE_DEG, SIDE_DEG], face.light.azimuth_deg)
    return Bin(
        bisect.bisect(YAW_EDGES_DEG, face.yaw_deg),
        bisect.bisect(PITCH_EDGES_DEG, face.pitch_deg),
        acting_of(face.expression, rest),
        light,
    )


def pose_words(yaw: int, pitch: int) -> str:
    """A pose as people say it."""
    return YAWS[yaw] if PITCHES[pitch] == "level" else f"{YAWS[yaw]} and {PITCHES[pitch]}"


def lacking(own: Coverage, other: Coverage) -> list[Lack]:
    """What `own` has no face of and `other` has, the plainest first: whole poses, expressions and
    lights; then pairs of them; then bins that nothing before explains."""
    found: list[Lack] = []
    for count in (1, 2, 3):
        meant = {
            Parts(**{name: getattr(whole, name) for name in chosen})
            for whole in (Parts((c.yaw, c.pitch), c.acting, c.light) for c in other.bins)
            for chosen in itertools.combinations(Parts._fields, count)
        }
        level = [
            Lack(parts, tuple(other.of(parts)))
            for parts in meant
            if not own.of(parts) and not any(lack.parts.cover(parts) for lack in found)
        ]
        found += sorted(level, key=lambda lack: (-len(lack.faces), lack.words))
    return found


def _sharpness(face: SetFace) -> tuple[object, ...]:
    return (face.blur if face.blur is not None else 99.0, -face.resolution, face.place)
