"""Mattes whose edges follow those of a picture."""

from __future__ import annotations

import torch
from torch import Tensor

from vfxswap.ops.filters import convolved


def guided_matte(matte: Tensor, guide: Tensor, *, radius_px: int, noise: float) -> Tensor:
    """`matte` [B, 1, H, W] in 0…1, made where it is coarse to end where `guide` [B, 1, H, W] has
    an edge: within windows of `radius_px` it becomes a line in the guide's values, and its ramp
    is made twice as steep.

    `radius_px` is best as many pixels as one of the coarse matte was; `noise` is the standard
    deviation of the guide, in its units, that counts as no edge. Guided filter: He, Sun & Tang
    2013.
    """
    window = torch.full((2 * radius_px + 1,), 1.0 / (2 * radius_px + 1))
    planes = torch.cat([guide, matte, guide * guide, guide * matte], 1)
    mean_g, mean_m, mean_gg, mean_gm = torch.chunk(convolved(planes, window), 4, 1)
    variance = (mean_gg - mean_g**2).clamp_min(0.0)
    slope = (mean_gm - mean_g * mean_m) / (variance + noise**2)
    offset = mean_m - slope * mean_g
    slope, offset = torch.chunk(convolved(torch.cat([slope, offset], 1), window), 2, 1)
    return (2.0 * (slope * guide + offset) - 0.5).clamp(0.0, 1.0)
