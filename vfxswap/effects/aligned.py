"""A face's aligned crop and the way back: what every effect on faces shares.

The plate is resampled once into the crop and once back; mattes that come back are settled, so
that they are exactly 0 where nothing was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.align.crop import apply, crop_matrix, outline
from vfxswap.effects.aligned_settings import MAX_CROP
from vfxswap.effects.base import Frame
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Pixels
from vfxswap.nets.parsing import CLASSES, ParsingNet
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.guided import guided_matte
from vfxswap.ops.matte import levels, polygon_matte
from vfxswap.ops.normalise import normalise
from vfxswap.ops.warp import between_windows, covered_window, inverted, warp_affine

REACH_PX = 128
"""Plate pixels around the crop that its resampling may look at; whole steps of half of it keep
the grids on which the plate is decimated."""
FILTER_PX = 4
"""How far the resampling filter spreads a matte on the plate."""
BLACK = float(color.to_net(np.zeros(1, np.float32))[0])
"""Linear 0 in net space."""
EDGE_NOISE = 0.03
"""Standard deviation in net space that is grain, not an edge."""
UNTOUCHED = 1e-3
"""Mattes below this are 0: resampling leaves crumbs that would mark plate pixels as changed."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A changed face on its piece of the plate: [h, w, C] over `box`, scene-linear.

    `rgb` is the comp, `face` the premultiplied patch with its alpha, which is the matte; `mattes`
    are the effect's further ones. `uv` covers the whole crop `square`.
    """

    box: Box
    rgb: Pixels
    face: Pixels
    mattes: Pixels
    square: Box
    uv: Pixels


class Canvas:
    """A frame's pixels and planes while faces are put on it one after the other.

    `rgb` [H, W, 3], `matte` [H, W], `face` [H, W, 4] premultiplied, `mattes` [H, W, 1 + `mattes`]
    with the matte first, `labels` [H, W, `labels`] and `uv` [H, W, 2].
    """

    def __init__(self, frame: Frame, *, mattes: int, labels: int = 0) -> None:
        height, width = frame.rgb.shape[:2]
        self._window = frame.data_window
        self.rgb = frame.rgb.copy()
        self.matte = np.zeros((height, width), np.float32)
        self.face = np.zeros((height, width, 4), np.float32)
        self.mattes = np.zeros((height, width, 1 + mattes), np.float32)
        self.labels = np.zeros((height, width, labels), np.float32)
        self.uv = np.zeros((height, width, 2), np.float32)

    def put(self, patch: Patch, *labels: float) -> None:
        """Adds a face over those before it; where it is, `labels` hold its numbers."""
        area = patch.box.slices_in(self._window)
        alpha = patch.face[..., 3]
        inside = (alpha > 0)[..., None]
        np.copyto(self.rgb[area], patch.rgb, where=inside)
        below = self.face[area]
        below *= 1 - alpha[..., None]
        below += patch.face
        for plane, value in (
            (self.matte[area], alpha),
            (self.mattes[area][..., 0], alpha),
            (self.mattes[area][..., 1:], patch.mattes),
        ):
            np.maximum(plane, value, out=plane)
        if labels:
            np.copyto(self.labels[area], np.array(labels, np.float32), where=inside)
        area = patch.square.slices_in(self._window)
        np.copyto(self.uv[area], patch.uv, where=patch.uv[..., :1] >= 0)


@dataclass(frozen=True, eq=False)
class Alignment:
    """A face's square crop of `size` pixels, and the piece `reach` of the plate around it.

    `linear` [1, 3, h, w] holds the piece in the working space and `plate` in net space; `matrix`
    [2, 3] maps plate pixels to the crop, `square` is the part of the plate that the crop covers.
    """

    points: Array
    pixel_aspect: float
    matrix: Array
    size: int
    square: Box
    reach: Box
    window: Box
    linear: Tensor
    plate: Tensor

    @classmethod
    def of(
        cls, face: Face, rgb: Pixels, frame: Frame, *, size: int, device: torch.device
    ) -> Alignment | None:
        """The crop of `face` on `rgb` [H, W, 3] over the frame's data window; None when it lies
        off the plate."""
        matrix = crop_matrix(face.points, size=size, pixel_aspect=frame.pixel_aspect)
        square = covered_window(inverted(matrix), (size, size)).intersection(frame.data_window)
        if square.empty:
            return None
        reach = _reach(square, frame.data_window)
        linear = to_tensor(rgb[reach.slices_in(frame.data_window)], device=device)
        return cls(
            face.points,
            frame.pixel_aspect,
            matrix,
            size,
            square,
            reach,
            frame.data_window,
            linear,
            color.to_net(linear),
        )

    @property
    def px(self) -> float:
        """Crop pixels a plate pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def matrix_of(self, size: int) -> Array:
        """[2, 3] from plate pixels to the same crop at another size."""
        if size == self.size:
            return self.matrix
        return crop_matrix(self.points, size=size, pixel_aspect=self.pixel_aspect)

    @cached_property
    def target(self) -> Tensor:
        """The plate in the crop, [1, 3, size, size] in net space."""
        return to_crop(self.plate, self.matrix, self.size, self.reach)

    def crop(self, size: int) -> Tensor:
        """The same at another size; one resampling of the plate, too."""
        if size == self.size:
            return self.target
        return to_crop(self.plate, self.matrix_of(size), size, self.reach)

    def polygon(self, size: int | None = None) -> Tensor:
        """The face's outline as a matte [1, 1, size, size]."""
        size = size or self.size
        points = torch.as_tensor(apply(self.matrix_of(size), outline(self.points)))
        return polygon_matte(points, (size, size)).to(self.plate.device)

    def seen(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """What networks see: the normalised crop [1, 3, size, size] and its mean; and the level
        [1, 3, 1, 1] above which highlights are told."""
        crop, polygon = self.crop(size), self.polygon(size)
        normal, mean = normalise(crop, polygon)
        # Below 0 net space is steep: a few negative pixels would make the rest look like glints.
        level = normalise(crop.clamp_min(BLACK), polygon)[1]
        return normal, mean, level

    def touched(self, matte: Tensor) -> Box:
        """Plate pixels that the part of the crop's matte [1, 1, s, s] above 0 may reach."""
        return _touched(matte, self.matrix).intersection(self.window)

    def back(self, planes: Tensor, box: Box) -> Tensor:
        """Planes [1, C, s, s] of the crop on the plate, [1, C, h, w] over `box`."""
        to_crop = between_windows(self.matrix, output=(box.x, box.y))
        return warp_affine(planes, to_crop, (box.height, box.width))

    def beneath(self, box: Box) -> tuple[Tensor, Tensor]:
        """The plate over `box`: linear and in net space."""
        here = (..., *box.slices_in(self.reach))
        return self.linear[here], self.plate[here]

    def uv(self) -> Pixels:
        """ST map [h, w, 2] of the crop over `square`: (0, 0) bottom left; -1 outside the crop."""
        return _crop_uv(self.matrix, self.size, self.square)


def fitting_size(face: Face, least: int, pixel_aspect: float) -> int:
    """Smallest crop, a power of two times `least`, that loses no plate resolution."""
    matrix = crop_matrix(face.points, size=least, pixel_aspect=pixel_aspect)
    # Rows of the linear part are crop pixels a plate pixel; on a squeezed plate x counts most.
    scale = float(np.linalg.norm(matrix[:, :2], axis=0).min())
    size = least
    while scale < 1 and size < MAX_CROP:
        size, scale = 2 * size, 2 * scale
    return size


def in_front(parser: ParsingNet | None, crop: Alignment) -> Tensor:
    """What is before a face and its hair, [1, 2, size, size] in the crop; 0 without a parser."""
    size = crop.size
    if parser is None:
        return crop.target.new_zeros(1, 2, size, size)
    small = parser.SIZE
    parts = parser(crop.crop(small)).softmax(1)
    before = parts[:, [CLASSES.index("occluder"), CLASSES.index("glasses")]].sum(1)[:, None]
    planes = [before, parts[:, CLASSES.index("hair")][:, None]]
    guide = crop.target.mean(1, keepdim=True)
    radius = max(1, round(size / small))
    refined = [
        guided_matte(resized(plane, size), guide, radius_px=radius, noise=EDGE_NOISE)
        for plane in planes
    ]
    return levels(torch.cat(refined, 1), black=0.1, white=0.9)


def matte_of(frame: Frame, role: str, box: Box, device: torch.device) -> Tensor:
    """An input matte over `box`, [1, 1, h, w] in 0…1; 0 where there is none."""
    matte = frame.mattes.get(role)
    if matte is None:
        return torch.zeros(1, 1, 1, 1, device=device)
    area = np.ascontiguousarray(matte[box.slices_in(frame.data_window)])
    return to_tensor(area, device=device).clamp(0, 1)


def resized(image: Tensor, size: int) -> Tensor:
    """[B, C, s, s] to the crop's size, by the same filter as every other resampling."""
    ratio = image.shape[-1] / size
    if ratio == 1:
        return image
    matrix = np.array([[ratio, 0, 0], [0, ratio, 0]], np.float64)
    return warp_affine(image, matrix, (size, size), border="clamp")


def to_crop(plate: Tensor, matrix: Array, size: int, window: Box) -> Tensor:
    """A piece of the plate over `window` in a crop, [1, C, size, size]."""
    to_plate = between_windows(inverted(matrix), input=(window.x, window.y))
    return warp_affine(plate, to_plate, (size, size), border="clamp")


def in_primaries(crop: Tensor, primaries: Array | None) -> Tensor:
    """A crop [1, 3, h, w] in net space as a network sees it that was trained in other primaries:
    `primaries` [3, 3] takes linear pixels there; None leaves it as it is."""
    if primaries is None:
        return crop
    matrix = torch.as_tensor(primaries, dtype=torch.float32, device=crop.device)
    return color.to_net(torch.einsum("ij,bjhw->bihw", matrix, color.from_net(crop)))


def mixed(plate: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """Linear mix [1, 3, h, w]; a share of 1 gives `made` also where the plate is not finite."""
    return torch.where(share == 1, made, plate + share * (made - plate))


def settled(matte: Tensor) -> Tensor:
    """Clipped to 0…1, with resampling crumbs set to exactly 0."""
    clipped = matte.clamp(0, 1)
    return torch.where(clipped < UNTOUCHED, 0, clipped)


def _reach(square: Box, window: Box) -> Box:
    """What of the plate is looked at: `square` with room for filters, on a coarse grid."""
    step = REACH_PX // 2
    wide = square.grown(REACH_PX)
    x = window.x + (wide.x - window.x) // step * step
    y = window.y + (wide.y - window.y) // step * step
    return Box(x, y, wide.right - x, wide.bottom - y).intersection(window)


def _touched(matte: Tensor, matrix: Array) -> Box:
    rows, columns = (matte[0, 0] > 0).any(1).nonzero(), (matte[0, 0] > 0).any(0).nonzero()
    if len(rows) == 0:
        return Box(0, 0, 0, 0)
    x, y = int(columns[0]), int(rows[0])
    size = (int(rows[-1]) + 1 - y, int(columns[-1]) + 1 - x)
    back = between_windows(inverted(matrix), output=(x, y))
    return covered_window(back, size, margin_px=FILTER_PX)


def _crop_uv(matrix: Array, size: int, box: Box) -> Pixels:
    x, y = np.arange(box.width) + box.x + 0.5, np.arange(box.height) + box.y + 0.5
    (a, b, c), (d, e, f) = matrix / size
    uv = np.empty((box.height, box.width, 2), np.float32)
    np.add.outer(b * y + c, a * x, out=uv[..., 0], casting="same_kind")
    np.add.outer(1 - f - e * y, -d * x, out=uv[..., 1], casting="same_kind")
    np.copyto(uv, np.float32(-1), where=((uv < 0) | (uv > 1)).any(-1, keepdims=True))
    return uv
