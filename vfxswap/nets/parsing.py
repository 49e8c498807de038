"""Which part of the face each pixel of an aligned crop shows."""

from __future__ import annotations

from typing import Final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.nets.layers import Needs
from vfxswap.settings import Settings

CLASSES: Final = (
    "background", "skin", "brows", "eyes", "nose", "lips", "mouth", "hair", "ears", "body",
    "glasses", "occluder",
)  # fmt: skip
"""In the order of the network's planes; neck and clothes are body, teeth and tongue mouth."""

_CONTRAST_FLOOR: Final = 0.01


class ParsingSettings(Settings):
    """Shape of a parsing network; stored in its model card."""

    width: int = Field(default=16, ge=4, le=128, description="Channels at half resolution.")


def _conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ParsingNet(nn.Module):
    """A U-shaped network (Ronneberger, Fischer & Brox 2015) from crops to class logits.

    Crops are those of `align.crop.crop_matrix`; skips end at half resolution, the last doubling
    is bilinear. Works in float32 and, under autocast, bfloat16.
    """

    SIZE: Final = 128
    """Side of the crops, in pixels."""

    settings_type = ParsingSettings

    def __init__(self, settings: ParsingSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or ParsingSettings()
        w = self.settings.width
        self.to_half = nn.Sequential(_conv(3, w, 2), _conv(w, w))
        self.to_quarter = nn.Sequential(_conv(w, 2 * w, 2), _conv(2 * w, 2 * w))
        self.to_eighth = nn.Sequential(_conv(2 * w, 4 * w, 2), _conv(4 * w, 4 * w))
        self.deep = nn.Sequential(
            _conv(4 * w, 6 * w, 2), _conv(6 * w, 6 * w), _conv(6 * w, 6 * w, dilation=2)
        )
        self.up_eighth = _conv(10 * w, 4 * w)
        self.up_quarter = _conv(6 * w, 2 * w)
        self.up_half = nn.Sequential(_conv(3 * w, 2 * w), _conv(2 * w, 2 * w))
        self.parts = nn.Conv2d(2 * w, len(CLASSES), 1)

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        return Needs(size_px=self.SIZE, channels=3, multiple_of=self.SIZE, half=True)

    def forward(self, crop: Tensor) -> Tensor:
        """Logits [B, 12, 128, 128] float32 of crops [B, 3, 128, 128] in net space; each crop is
        standardised, so that no range is needed."""
        size = self.SIZE
        if crop.ndim != 4 or crop.shape[1:] != (3, size, size):
            raise ValueError(f"crops of shape {tuple(crop.shape)}, wanted [B, 3, {size}, {size}]")
        centred = crop - crop.mean((1, 2, 3), keepdim=True)
        x = centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + _CONTRAST_FLOOR)
        half = self.to_half(x)
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        up = self.up_eighth(torch.cat([eighth, _double(self.deep(eighth))], 1))
        up = self.up_quarter(torch.cat([quarter, _double(up)], 1))
        up = self.up_half(torch.cat([half, _double(up)], 1))
        logits = self.parts(up).float()
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
