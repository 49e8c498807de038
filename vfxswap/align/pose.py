"""Where a face sits on the plate and how a network's crop is cut there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vfxswap.align.crop import crop_matrix, template
from vfxswap.geometry import Array, Face, Similarity
from vfxswap.ops.warp import filled, inverted, warp_affine

CROP_SHARE: Final = 1.45
"""Side of a landmark network's crop over the face size, as it was trained."""


class Located(Protocol):
    """What a landmark network returns for B crops: `points` [B, 70, 2] in crop pixels,
    `confidence` [B, 70] and `score` [B] in 0…1."""

    @property
    def points(self) -> Tensor: ...
    @property
    def confidence(self) -> Tensor: ...
    @property
    def score(self) -> Tensor: ...


class Scanned(Protocol):
    """Map of a scanned picture: `logit` [B, h, w]; `box` [B, 3, h, w]: offset x, y and log2 of
    the size of a face, in scanned face sizes."""

    @property
    def logit(self) -> Tensor: ...
    @property
    def box(self) -> Tensor: ...


class LandmarkFinder(Protocol):
    """A network in eval mode that finds landmarks in crops of `SIZE` pixels, in net space, and
    scans small pictures for faces of 16 pixels on a map with a stride of 4. A crop is `SHARE`
    times as wide as the face (the larger side of its landmarks' box). `likely` maps the confidence
    that localisation ends with, rising, to how likely a landmark is near its place."""

    @property
    def SIZE(self) -> int: ...  # noqa: N802
    @property
    def SHARE(self) -> float: ...  # noqa: N802
    def __call__(self, crops: Tensor, /) -> Located: ...
    def scan(self, picture: Tensor, /) -> Scanned: ...
    def likely(self, confidence: Array, /) -> Array: ...


@dataclass(frozen=True, eq=False)
class View:
    """A plate as the aligners see it: `pixels` [1, 3, H, W] in net space, whose first pixel lies
    at `origin` (x, y) of the plate, with the plate's pixel aspect.

    Keep one for a frame: it remembers the halved pictures that crops of large faces are cut from.
    """

    pixels: Tensor
    origin: tuple[int, int] = (0, 0)
    pixel_aspect: float = 1.0

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[:2] != (1, 3):
            raise ValueError(f"picture of shape {tuple(self.pixels.shape)}, wanted [1, 3, H, W]")
        if not self.pixel_aspect > 0.0:
            raise ValueError(f"pixel aspect {self.pixel_aspect}")

    @cached_property
    def halvings(self) -> tuple[Tensor, ...]:
        """The picture (inf and nan filled from around) and its halvings by 2×2 means, down to
        about 32 pixels."""
        levels = [filled(self.pixels)]
        while min(levels[-1].shape[2:]) >= 64:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return tuple(levels)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in square pixels."""
        height, width = self.pixels.shape[2:]
        return width * self.pixel_aspect, float(height)

    def to_square(self, points: Array) -> Array:
        """Plate pixels [..., 2] to square pixels counted from the picture's corner."""
        square: Array = (points - np.array(self.origin)) * [self.pixel_aspect, 1.0]
        return square

    def to_plate(self, points: Array) -> Array:
        """Undoes `to_square`."""
        plate: Array = points / [self.pixel_aspect, 1.0] + np.array(self.origin)
        return plate


@dataclass(frozen=True, slots=True)
class Pose:
    """Place of a face in a view's square pixels: centre, size (larger side of the upright box
    around its 68 landmarks, the w of the nine-shift rule) and roll."""

    x: float
    y: float
    face_px: float
    roll_rad: float = 0.0

    @classmethod
    def of(cls, points: Array) -> Self:
        """The pose of landmarks [70, 2] in square pixels. Raises ValueError when they coincide."""
        roll = -Similarity.fit(points[:68], template(1)[:68]).angle_rad
        cos, sin = np.cos(roll), np.sin(roll)
        turn = np.array([[cos, sin], [-sin, cos]])
        upright = points[:68] @ turn.T
        low, high = upright.min(0), upright.max(0)
        centre = (low + high) / 2 @ turn
        return cls(float(centre[0]), float(centre[1]), float((high - low).max()), float(roll))

    def moved(self, right: float, down: float) -> Pose:
        """Shifted in the plane of the image, in face sizes."""
        return replace(self, x=self.x + right * self.face_px, y=self.y + down * self.face_px)

    def matrix(self, size: int, *, share: float = CROP_SHARE) -> Array:
        """[2, 3] from pixels of a crop of `size` that is `share` faces wide to square pixels."""
        step = self.face_px * share / size
        a, b = step * np.cos(self.roll_rad), step * np.sin(self.roll_rad)
        linear = np.array([[a, -b], [b, a]])
        shift = np.array([self.x, self.y]) - linear @ np.array([size / 2, size / 2])
        return np.concatenate([linear, shift[:, None]], 1)


def cut(view: View, poses: Sequence[Pose], size: int, *, share: float = CROP_SHARE) -> Tensor:
    """Crops [B, 3, size, size] around the poses; beyond the picture its edge is repeated."""
    return cut_out(view, [pose.matrix(size, share=share) for pose in poses], size)


def cut_aligned(view: View, faces: Sequence[Face], size: int) -> Tensor:
    """Aligned crops [B, 3, size, size] of faces (see `crop_matrix`), as `cut` cuts them."""
    square = [crop_matrix(view.to_square(face.points), size=size) for face in faces]
    return cut_out(view, [inverted(matrix) for matrix in square], size)


def cut_out(view: View, matrices: Sequence[Array], size: int) -> Tensor:
    """Crops [B, 3, size, size] by [2, 3] matrices from their pixels to square pixels."""
    crops = []
    for to_square in matrices:
        matrix = to_square.copy()
        matrix[0] /= view.pixel_aspect
        finest = float(np.hypot(matrix[:, 0], matrix[:, 1]).min())
        level = int(np.clip(np.floor(np.log2(finest)), 0, len(view.halvings) - 1))
        picture = view.halvings[level]
        crop = warp_affine(
            picture, matrix / 2**level, (size, size), filter="bilinear", border="clamp"
        )
        crops.append(crop)
    return torch.cat(crops)


def in_square(
    poses: Sequence[Pose], points: Tensor, size: int, *, share: float = CROP_SHARE
) -> Array:
    """Landmarks [B, 70, 2] in pixels of crops (see `cut`) to square pixels of the view."""
    found = points.detach().to("cpu", torch.float64).numpy()
    return np.stack(
        [
            each @ (matrix := pose.matrix(size, share=share))[:, :2].T + matrix[:, 2]
            for pose, each in zip(poses, found, strict=True)
        ]
    )
