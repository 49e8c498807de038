"""Enhanced multi-band blending: a swapped face into its plate, in the aligned crop.

Source: the comb networks' Fig. 5 and para. 56–58, with five points settled here.
- The blend is done in net space, a log curve: there a change of light is an offset, which is what
  a pyramid's coarsest levels can carry over. In linear light it would be a gain, which they cannot;
  in display space highlights would be gone.
- Mattes are smoothed *inwards only*, as the text asks; the figure's Gaussian would soften the
  outline.
- On the coarsest levels a face is a few pixels wide, and an inward fade would leave nothing of
  it. The bands above `_deepest_fade` are therefore faded together, at that level.
- A pyramid is linear, so one pyramid of the difference source - target does the work of two, and
  "from the target" is a 0. The picture is put together once, after the loop.
- A source says nothing outside the face: what a network paints there must not reach the face by
  way of the coarse levels. The difference outside is continued from inside (a pyramid weighted by
  the matte; Knutsson & Westin 1993, normalised convolution).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vfxswap.ops.matte import feather_inwards, smoothed
from vfxswap.ops.pyramid import expand, gaussian_pyramid

LEAST_WEIGHT = 1e-4
"""A coarsest level that holds less of the matte counts as empty."""


def level_count(size: tuple[int, int], bands: int | None = None) -> int:
    """Pyramid levels for a picture of `size`: log2 of the shorter side (Fig. 5), or `bands` where
    that is less; at least 1."""
    most = max(1, math.floor(math.log2(max(2, min(size)))))
    return most if bands is None else max(1, min(bands, most))


def multiband_blend(
    source: Tensor,
    target: Tensor,
    matte: Tensor,
    *,
    target_levels: int = 2,
    bands: int | None = None,
    smooth_px: float = 3.0,
) -> Tensor:
    """`source` over `target` inside `matte`, with the target's light: [B, 3, H, W].

    source, target [B, C, H, W] in net space, finite; matte [B or 1, 1, H, W] in 0…1, the face's
    polygon. Where the matte is 0 the result is the target, bit for bit.

    target_levels: how many of the coarsest levels of the face come from the target (Fig. 5: 2);
        kept below the number of levels, so that small crops still show the source.
    bands: number of levels; log2 of the shorter side if not set, never more.
    smooth_px: depth of the matte's inward fade on every level, in pixels of that level. A last
        fade at full size, as deep or 1/64 of the crop, keeps coarse levels from ending in a step.

    Raises ValueError for shapes that do not fit.
    """
    if source.shape != target.shape or matte.shape[-2:] != target.shape[-2:]:
        raise ValueError(
            f"blend of {tuple(source.shape)}, {tuple(target.shape)}, {tuple(matte.shape)}"
        )
    count = level_count((target.shape[-2], target.shape[-1]), bands)
    from_target = min(target_levels, count - 1)
    top = count - 1 - from_target
    deepest = min(top, _deepest_fade(min(target.shape[-2:]), smooth_px))
    mattes = gaussian_pyramid(matte, count)
    bands_of_difference = _bands((source - target).mul_(matte), mattes)
    change = bands_of_difference[top]
    for level in range(top, -1, -1):
        band = bands_of_difference[level]
        if level < deepest:
            band.mul_(_faded_inwards(mattes[level], smooth_px))
        if level < top:
            change = expand(change, (band.shape[-2], band.shape[-1])).add_(band)
        if level == deepest:
            change.mul_(_faded_inwards(mattes[level], smooth_px))
    rim_px = max(smooth_px, min(target.shape[-2:]) / 64.0)
    change.mul_(feather_inwards(matte, rim_px)).add_(target)
    return torch.where(matte > 0, change, target)


def _bands(image: Tensor, mattes: list[Tensor]) -> list[Tensor]:
    """Laplacian pyramid of a picture that is known inside the matte, where it was multiplied by it,
    and continued outside. `image` is not needed any more: big frames spend their time on fresh
    memory, so the bands take the place of the levels."""
    levels = gaussian_pyramid(image, len(mattes))
    levels[-1].div_(mattes[-1].clamp_min(LEAST_WEIGHT))
    coarse = levels[-1]
    for level, weight in zip(reversed(levels[:-1]), reversed(mattes[:-1])):
        known = expand(coarse, (level.shape[-2], level.shape[-1]))
        level.sub_(known * weight)
        coarse = known.add_(level)
    return levels


def _deepest_fade(side: int, smooth_px: float) -> int:
    """Coarsest level with a fade of its own: there it is a tenth of the crop deep."""
    return max(0, math.floor(math.log2(max(1.0, side / (10.0 * max(smooth_px, 1.0))))))


def _faded_inwards(matte: Tensor, depth_px: float) -> Tensor:
    """0 on a straight outline and beyond, 1 from `depth_px` inside; cheap enough for each level.

    A smoothing kernel on the outline sees one half inside. The upper third is what is stretched,
    since expanding a level to the next carries it about a third of a kernel outwards.
    """
    if depth_px <= 1.0:
        return matte
    return torch.minimum(matte, smoothed(matte, depth_px).mul_(3.0).sub_(2.0).clamp_min_(0.0))
