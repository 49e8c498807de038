"""Boxes, similarities and landmarks. Pixel coordinates: x right, y down, pixel centres at +0.5.

Plate coordinates are those of the EXR display window's system (a data window may start
elsewhere, also below zero), so overscan does not move a track.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LANDMARK_COUNT = 70
"""iBUG-68 (subject's right first) and two pupils: 68 = subject's right, 69 = left."""

JAW = slice(0, 17)
BROWS = slice(17, 27)
NOSE = slice(27, 36)
RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
MOUTH = slice(48, 68)
PUPILS = slice(68, 70)
STABLE = (36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35)
"""Points that expression moves least: eye corners and the nose."""

MIRROR = (
    *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)),
    *(69, 68),
)
"""`points[list(MIRROR)]` renames the landmarks of a mirrored picture: right becomes left."""


@dataclass(frozen=True, slots=True)
class Box:
    """Integer pixel window: left, top (inclusive), width, height. May be empty or start below 0."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column outside."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row outside."""
        return self.y + self.height

    @property
    def empty(self) -> bool:
        return self.width <= 0 or self.height <= 0

    def intersection(self, other: Box) -> Box:
        """Common pixels; width or height 0 when there are none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(x, y, max(0, right - x), max(0, bottom - y))

    def union(self, other: Box) -> Box:
        """Smallest box around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right, bottom = max(self.right, other.right), max(self.bottom, other.bottom)
        return Box(x, y, right - x, bottom - y)

    def grown(self, by_px: int) -> Box:
        """Grown by `by_px` on every side (shrunk if negative, never below empty)."""
        width, height = self.width + 2 * by_px, self.height + 2 * by_px
        return Box(self.x - by_px, self.y - by_px, max(0, width), max(0, height))

    def slices_in(self, outer: Box) -> tuple[slice, slice]:
        """Row and column slices of this box in an array that covers `outer`."""
        y, x = self.y - outer.y, self.x - outer.x
        return slice(y, y + self.height), slice(x, x + self.width)


@dataclass(frozen=True, slots=True)
class Similarity:
    """`q = scale * R(angle) p + shift`: no shear, no flip. Angles turn x towards y (clockwise
    on screen)."""

    scale: float
    angle_rad: float
    shift_x: float
    shift_y: float

    @classmethod
    def fit(cls, source: Array, target: Array) -> Self:
        """Least-squares similarity that maps `source` [N, 2] on `target` [N, 2], N ≥ 2.

        Umeyama 1991, without reflection. Raises ValueError when the source points coincide.
        """
        if source.shape != target.shape or source.ndim != 2 or len(source) < 2:
            raise ValueError(f"point sets of shapes {source.shape} and {target.shape}")
        mean_s, mean_t = source.mean(0), target.mean(0)
        s, t = source - mean_s, target - mean_t
        spread = float((s**2).sum())
        if spread <= 0.0:
            raise ValueError("source points coincide")
        a = float((s * t).sum()) / spread
        b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
        shift = mean_t - np.array([a * mean_s[0] - b * mean_s[1], b * mean_s[0] + a * mean_s[1]])
        return cls(float(np.hypot(a, b)), float(np.arctan2(b, a)), float(shift[0]), float(shift[1]))

    @property
    def matrix(self) -> Array:
        """[2, 3] matrix that acts on columns (x, y, 1)."""
        a = self.scale * np.cos(self.angle_rad)
        b = self.scale * np.sin(self.angle_rad)
        return np.array([[a, -b, self.shift_x], [b, a, self.shift_y]])

    def apply(self, points: Array) -> Array:
        """Maps points [..., 2]."""
        matrix = self.matrix
        return points @ matrix[:, :2].T + matrix[:, 2]

    def inverse(self) -> Similarity:
        """The similarity that undoes this one."""
        scale, angle = 1.0 / self.scale, -self.angle_rad
        back = scale * np.array(
            [
                np.cos(angle) * self.shift_x - np.sin(angle) * self.shift_y,
                np.sin(angle) * self.shift_x + np.cos(angle) * self.shift_y,
            ]
        )
        return Similarity(scale, angle, -float(back[0]), -float(back[1]))


@dataclass(frozen=True)
class Face:
    """A face on one frame: `points` [70, 2] in plate pixels, `confidence` [70] in 0…1.

    `id` keeps to one performer through a shot. `score` in 0…1 says how sure the detector is.
    `descriptor` [L] is a unit vector that says who it looks like, where somebody looked.
    """

    id: int
    points: Array
    confidence: Array
    score: float
    descriptor: Array | None = None

    def __post_init__(self) -> None:
        if self.points.shape != (LANDMARK_COUNT, 2) or self.confidence.shape != (LANDMARK_COUNT,):
            raise ValueError(f"landmarks of shape {self.points.shape}, {self.confidence.shape}")
