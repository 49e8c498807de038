"""The discriminator of feature networks; it is trained beside them and not shipped."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from vfxswap.nets.features import BASE_PX
from vfxswap.nets.layers import conv, leaky


class FeatureCritic(nn.Module):
    """D: crops [B, 3, S, S] to scores [B], unbounded, higher for rendered than for generated."""

    def __init__(self, crop_size: int, *, width: int = 16, widest: int = 96) -> None:
        """`crop_size` is a power of two, at least 8; channels double from `width` to `widest`."""
        super().__init__()
        steps = (crop_size // BASE_PX).bit_length() - 1
        widths = [min(widest, width << k) for k in range(steps + 1)]
        self.from_rgb = conv(3, widths[0], 3)
        self.halvings = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)
        )
        # One more map: how alike the crops of a batch are (Karras et al. 2018, section 3).
        self.last = conv(widths[-1] + 1, widths[-1], 3)
        self.score = nn.Linear(widths[-1] * BASE_PX**2, 1)

    def forward(self, crops: Tensor) -> Tensor:
        h = leaky(self.from_rgb(crops - 0.5))
        for halving in self.halvings:
            h = leaky(halving(h))
        spread = (h.float().var(0, unbiased=False) + 1e-8).sqrt().mean()
        alike = spread.to(h).expand(h.shape[0], 1, BASE_PX, BASE_PX)
        h = leaky(self.last(torch.cat([h, alike], 1)))
        score: Tensor = self.score(h.flatten(1))
        return score[:, 0]
