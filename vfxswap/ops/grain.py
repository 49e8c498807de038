"""What a network's smooth output lacks of its plate: highlights and film grain.

All functions take tensors [B, 3, H, W] in net space (log), where a stop is the same step at
every exposure.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vfxswap.ops.filters import convolved

STOP = 1.0 / 17.52
"""One stop in net space: the slope of the ACEScct curve above its toe (AMPAS S-2016-001)."""

MAD_TO_SIGMA = 1.4826


HIGHLIGHT_STOPS = 3.0
"""How far above the face's mean a highlight begins; one stop higher it counts in full."""


def restore_highlights(image: Tensor, plate: Tensor, mean: Tensor, *, amount: float) -> Tensor:
    """Puts glints of `plate` back on `image`, at full scale.

    A pixel counts as a highlight by how far its brightest channel lies above `mean` [B, 3, 1, 1],
    the face's mean colour.
    """
    above = (plate - mean).amax(1, keepdim=True) / STOP - HIGHLIGHT_STOPS
    weight = torch.nan_to_num(above, nan=0.0).clamp(0, 1)
    weight = amount * weight * weight * (3 - 2 * weight)
    return torch.where(weight > 0, image + weight * (plate - image), image)


def without_highlights(plate: Tensor, mean: Tensor) -> Tensor:
    """`plate` with what `restore_highlights` would put back cut off: glints then leave no halo in
    a blend's coarse levels."""
    return torch.minimum(plate, mean + STOP * (HIGHLIGHT_STOPS + 0.5))


def grain_of(plate: Tensor, matte: Tensor) -> Tensor:
    """The grain of `plate` inside `matte` [B, 1, H, W], without its detail; [B, 3, H, W].

    Grain is what a 5 × 5 binomial blur removes. Its sigma comes from the median absolute
    deviation inside the matte (robust against detail: Donoho & Johnstone 1994); residuals
    beyond it are detail, and fade out.
    """
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=plate.dtype, device=plate.device) / 16
    finite = torch.nan_to_num(plate, nan=0.0, posinf=2.0, neginf=-2.0)
    residual = finite - convolved(finite, kernel)
    inside = matte[:, 0] > 0.5
    grain = torch.zeros_like(residual)
    for b in range(len(plate)):
        if not bool(inside[b].any()):
            continue
        sample = residual[b][:, inside[b]].abs()
        sigma = (MAD_TO_SIGMA * sample.median(1).values)[:, None, None]
        ratio = (residual[b] / (4 * sigma + 1e-9)).square_()
        grain[b] = residual[b] / ratio.square_().add_(1)
    return grain
