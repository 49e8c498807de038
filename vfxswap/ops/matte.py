"""Mattes: [B, 1, H, W] float32 in 0…1, exactly 0 outside and exactly 1 well inside.

Exact zeros matter: where a matte is 0 the comp takes the plate, bit for bit.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.geometry import Array
from vfxswap.ops.filters import convolved

_SUBROWS = 16
_SUBCOLUMNS = 4096


def polygon_matte(
    points: Array | Tensor, size: tuple[int, int], *, device: torch.device | str = "cpu"
) -> Tensor:
    """Antialiased matte [1, 1, H, W] of the closed polygon `points` [N, 2] (x, y), N ≥ 3.

    Pixel coordinates, centres at +0.5; size is (height, width); points may lie outside. A pixel
    holds the share of its area that is inside: exact along x, from 16 sub-rows along y, summed
    in integers, so that it is exactly 0 outside, exactly 1 inside and the same on every device.
    Direction does not matter. Where the outline crosses itself, both loops are inside.

    Raises ValueError for fewer than three points or points that are not finite.
    """
    outline = torch.as_tensor(points, dtype=torch.float64, device="cpu")
    if outline.ndim != 2 or outline.shape[0] < 3 or outline.shape[1] != 2:
        raise ValueError(f"polygon of shape {tuple(outline.shape)}, wanted [N, 2] with N ≥ 3")
    if not bool(torch.isfinite(outline).all()):
        raise ValueError("polygon with points that are not finite")
    height, width = size
    start, end = outline, outline.roll(-1, 0)
    y = (torch.arange(height * _SUBROWS, dtype=torch.float64) + 0.5)[:, None] / _SUBROWS
    falls = (start[:, 1] <= y) & (y < end[:, 1])
    rises = (end[:, 1] <= y) & (y < start[:, 1])
    subrow, edge = torch.nonzero(falls | rises, as_tuple=True)
    down = falls[subrow, edge]
    # Always from the upper to the lower end, so that rounding does not know the direction.
    a = torch.where(down[:, None], start[edge], end[edge])
    b = torch.where(down[:, None], end[edge], start[edge])
    share = (y[subrow, 0] - a[:, 1]) / (b[:, 1] - a[:, 1])
    x = (a[:, 0] + share * (b[:, 0] - a[:, 0])).clamp(0.0, float(width))
    winding = torch.where(down, 1, -1)
    # To the right of a crossing everything counts once; the pixel it falls in counts in part.
    # A running sum along the row turns the two entries into that step.
    steps = torch.round(x * _SUBCOLUMNS).to(torch.int64)
    column, part = steps // _SUBCOLUMNS, steps % _SUBCOLUMNS
    row = torch.div(subrow, _SUBROWS, rounding_mode="floor")
    first = row * (width + 2) + column
    area = torch.zeros(height * (width + 2), dtype=torch.int64)
    area.index_add_(0, first, winding * (_SUBCOLUMNS - part))
    area.index_add_(0, first + 1, winding * part)
    area = area.reshape(height, width + 2).cumsum(1)[:, :width]
    full = float(_SUBROWS * _SUBCOLUMNS)
    return (area.abs().to(torch.float32) / full).clamp_max(1.0)[None, None].to(device)


def grow(matte: Tensor, by_px: float) -> Tensor:
    """The matte dilated (eroded if `by_px` < 0) by a disc, soft values kept; [B, 1, H, W].

    Fractions of a pixel mix the two nearest radii. What lies outside the picture neither
    grows in nor eats away.
    """
    if by_px < 0:
        return 1.0 - grow(1.0 - matte, -by_px)
    whole = math.floor(by_px)
    near = _dilated(matte, whole)
    share = by_px - whole
    return near if share == 0 else torch.lerp(near, _dilated(matte, whole + 1), share)


def feather_inwards(matte: Tensor, width_px: float) -> Tensor:
    """The matte with an edge that fades over `width_px`, inwards only; [B, 1, H, W].

    The result is nowhere above the matte, so outside stays exactly 0 and the outline stays where
    it was. Eroded by half the width, then smoothed by a compact kernel of that radius. Parts
    thinner than the width fade as a whole.
    """
    radius = width_px / 2.0
    if radius <= 0.0:
        return matte
    smooth = smoothed(grow(matte, -radius), radius)
    return torch.minimum(smooth, matte)


def smoothed(image: Tensor, radius_px: float) -> Tensor:
    """`image` [B, C, H, W] smoothed by a separable raised cosine that ends at `radius_px`.

    Compact, unlike a Gaussian. The picture's edge is repeated.
    """
    reach = math.ceil(radius_px) - 1
    if reach < 1 or image.numel() == 0:
        return image
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = 1.0 + torch.cos(offsets * (math.pi / radius_px))
    return convolved(image, kernel / kernel.sum())


def levels(matte: Tensor, *, black: float = 0.0, white: float = 1.0) -> Tensor:
    """Stretches `black`…`white` to 0…1 and clips: a compositor's black and white point.

    Raises ValueError unless black < white.
    """
    if not black < white:
        raise ValueError(f"black point {black} is not below white point {white}")
    if (black, white) == (0.0, 1.0):
        return matte.clamp(0.0, 1.0)
    return ((matte - black) / (white - black)).clamp(0.0, 1.0)


def _dilated(matte: Tensor, radius_px: int) -> Tensor:
    """Grey dilation by a disc: per row of the disc, a running maximum as wide as that row."""
    if radius_px == 0:
        return matte
    height, width = matte.shape[-2:]
    padded = F.pad(matte, (radius_px, radius_px, radius_px, radius_px))
    doubled = [padded]  # doubled[k][x] is the maximum of 2^k pixels from x on
    while 2 ** len(doubled) <= 2 * radius_px + 1:
        last, step = doubled[-1], 2 ** (len(doubled) - 1)
        doubled.append(torch.maximum(last[..., :-step], last[..., step:]))
    result = matte.clone(memory_format=torch.contiguous_format)
    for dy in range(-radius_px, radius_px + 1):
        half = math.floor(math.sqrt((radius_px + 0.25) ** 2 - dy**2))
        span = 2 * half + 1
        run = doubled[span.bit_length() - 1][..., radius_px + dy : radius_px + dy + height, :]
        left, right = radius_px - half, radius_px + half + 1 - 2 ** (span.bit_length() - 1)
        # In place: fresh memory costs ten times what a maximum does.
        torch.maximum(result, run[..., left : left + width], out=result)
        torch.maximum(result, run[..., right : right + width], out=result)
    return result
