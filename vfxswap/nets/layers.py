"""Building blocks that several networks share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of every LeakyReLU (comb source, para. 31)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a network asks of its input: `size_px` square crops of `channels` channels, or, where
    it is 0, any size that is a `multiple_of`; `half` says whether 16-bit floats are good enough.
    """

    size_px: int
    channels: int
    multiple_of: int
    half: bool


def conv(
    channels_in: int, channels_out: int, kernel: int, *, pad: bool = True, gain: float | None = None
) -> nn.Conv2d:
    """A convolution with He weights for the LeakyReLU behind it (or for `gain`) and zero bias.

    Plain weights, no equalised learning rate: the tables' parameters are the stored ones. Padded
    with zeros to keep the size, or valid (`pad=False`).
    """
    layer = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2 if pad else 0)
    spread = nn.init.calculate_gain("leaky_relu", SLOPE) if gain is None else gain
    nn.init.normal_(layer.weight, std=spread / math.sqrt(channels_in * kernel**2))
    nn.init.zeros_(layer.bias) if layer.bias is not None else None
    return layer


def spread_from_point(channels_in: int, channels_out: int, size: int) -> nn.ConvTranspose2d:
    """A 1×1 latent to size×size, the mirror of a valid size×size convolution.

    Each output sees every input channel once, so He's fan-in is `channels_in` alone.
    """
    layer = nn.ConvTranspose2d(channels_in, channels_out, size)
    gain = nn.init.calculate_gain("leaky_relu", SLOPE)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(channels_in))
    nn.init.zeros_(layer.bias) if layer.bias is not None else None
    return layer


def leaky(x: Tensor) -> Tensor:
    """LeakyReLU 0.2; overwrites its input when no gradient is asked for."""
    return F.leaky_relu(x, SLOPE, inplace=not x.requires_grad)


def halved(x: Tensor) -> Tensor:
    """Half the size: mean of 2×2."""
    return F.avg_pool2d(x, 2)


def doubled(x: Tensor) -> Tensor:
    """Twice the size, bilinear (pixel centres at +0.5): smooth where nearest leaves blocks."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def parameter_count(module: nn.Module) -> int:
    """Numbers stored in a module; shared ones count once."""
    return sum(p.numel() for p in module.parameters())
