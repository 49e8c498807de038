"""Damage that restoration learns to undo: the domain is the undamaged pictures, degraded.

Source: US 2019/0171908 A1, Table 2 (colourise, de-noise, super-resolve, de-blur).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vfxswap.settings import Settings

_LUMA = (0.2722287, 0.6740818, 0.0536895)
"""Luminance of ACEScg primaries."""


class Damage(Settings):
    """What is done to a patch; several may come together, in this order."""

    grey: bool = Field(default=False, description="Colour is lost.")
    blur_px: float = Field(default=0.0, ge=0, description="Sigma of a Gaussian blur.")
    reduce: int = Field(default=1, ge=1, le=8, description="Reduced so many times, enlarged again.")
    noise: float = Field(default=0.0, ge=0, description="Sigma of noise, in net space by its span.")

    @property
    def any(self) -> bool:
        """Whether anything is done."""
        return self != Damage()


def damaged(patches: Tensor, damage: Damage, rng: np.random.Generator) -> Tensor:
    """Patches [B, 3, H, W] as networks take them, degraded; the same tensor without damage."""
    if damage.grey:
        weights = torch.tensor(_LUMA, dtype=patches.dtype, device=patches.device)
        patches = (patches * weights[:, None, None]).sum(1, keepdim=True).expand_as(patches)
    if damage.blur_px > 0:
        patches = _blurred(patches, damage.blur_px)
    if damage.reduce > 1:
        small = F.avg_pool2d(patches, damage.reduce)
        patches = F.interpolate(small, scale_factor=damage.reduce, mode="bilinear")
    if damage.noise > 0:
        noise = rng.standard_normal(tuple(patches.shape), np.float32)
        patches = patches + damage.noise * torch.from_numpy(noise).to(patches)
    return patches


def _blurred(patches: Tensor, sigma_px: float) -> Tensor:
    reach = max(1, round(3 * sigma_px))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma_px) ** 2)
    kernel = (taps / taps.sum()).to(patches).repeat(3, 1, 1, 1)
    padded = F.pad(patches, (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=3)
    return F.conv2d(rows, kernel.transpose(2, 3), groups=3)
