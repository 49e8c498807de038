"""Exposure and white balance out of a crop before a network sees it, and back afterwards.

In net space (a log curve) a gain of the light is an offset, so subtracting the face's mean colour
removes exposure and cast, whatever they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

GAIN = 2.5
"""Stretches a face's log range to about that of the 0…1 which networks of this package emit."""


def normalise(crop: Tensor, matte: Tensor) -> tuple[Tensor, Tensor]:
    """`0.5 + GAIN * (crop - mean)` and the mean [B, 3, 1, 1] of the crop under the matte.

    crop [B, 3, H, W] in net space, finite; matte [B or 1, 1, H, W] in 0…1. Never clamped. A crop
    whose matte is empty takes the mean of all its pixels.
    """
    weight = matte.to(crop.dtype).expand(crop.shape[0], -1, -1, -1)
    total = weight.sum((2, 3), keepdim=True)
    weight = torch.where(total > 0, weight, torch.ones_like(weight))
    mean = (crop * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)
    return 0.5 + GAIN * (crop - mean), mean


def denormalise(normalised: Tensor, mean: Tensor) -> Tensor:
    """Undoes `normalise`: net space again, [B, 3, H, W]; mean [B, 3, 1, 1]."""
    return (normalised - 0.5) / GAIN + mean
