"""Who a face is, as a short vector: faces of one performer point the same way."""

from __future__ import annotations

from typing import Final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.nets.layers import Needs
from vfxswap.settings import Settings

_CONTRAST_FLOOR: Final = 0.01


class IdentitySettings(Settings):
    """Shape of an identity network; stored in its model card."""

    width: int = Field(default=16, ge=4, le=128, description="Channels at half resolution.")
    length: int = Field(default=96, ge=8, le=512, description="Numbers in a descriptor.")


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return F.relu(y + self.short(F.avg_pool2d(x, 2)))


class IdentityNet(nn.Module):
    """Descriptors of aligned crops. Works in float32 and, under autocast, bfloat16."""

    SIZE: Final = 64
    """Side of the crops (those of `align.crop.crop_matrix`), in pixels."""

    settings_type = IdentitySettings

    def __init__(self, settings: IdentitySettings | None = None) -> None:
        super().__init__()
        self.settings = settings or IdentitySettings()
        w = self.settings.width
        self.body = nn.Sequential(
            nn.Conv2d(3, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(),
            _Residual(w, 2 * w), _Residual(2 * w, 4 * w),
            _Residual(4 * w, 6 * w), _Residual(6 * w, 8 * w),
        )  # fmt: skip
        cells = (self.SIZE // 16) ** 2
        self.head = nn.Linear(8 * w * cells, self.settings.length, bias=False)
        self.head_norm = nn.BatchNorm1d(self.settings.length, affine=False)
        self.register_buffer("same", torch.tensor(0.5))
        self.same: Tensor
        """Cosine above which the means of two tracks are of one performer."""

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        return Needs(size_px=self.SIZE, channels=3, multiple_of=self.SIZE, half=True)

    def forward(self, crop: Tensor) -> Tensor:
        """Unit vectors [B, length] float32 of crops [B, 3, 64, 64] in net space; each crop is
        standardised, so that exposure does not count."""
        size = self.SIZE
        if crop.ndim != 4 or crop.shape[1:] != (3, size, size):
            raise ValueError(f"crops of shape {tuple(crop.shape)}, wanted [B, 3, {size}, {size}]")
        centred = crop - crop.mean((1, 2, 3), keepdim=True)
        x = centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + _CONTRAST_FLOOR)
        features = self.body(x).flatten(1)
        return F.normalize(self.head_norm(self.head(features)).float(), dim=1)

    def calibrate(self, same: float) -> None:
        """Sets the cosine from which two tracks are taken for one performer."""
        self.same.fill_(same)
