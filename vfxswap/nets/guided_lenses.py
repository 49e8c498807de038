"""Reads the power of lenses from both eyes and their frames: how far rims break what passes below
them, and how large the eyes are."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from vfxswap.nets.layers import leaky

POWERS: Final = 3
"""Numbers of a power vector: M, J0, J45 (Thibos, Wheeler & Horner 1997), 1 at 8 dpt."""
_CONTRAST_FLOOR: Final = 0.01
_NARROW: Final = 12


class Strip(NamedTuple):
    """A piece of an aligned crop of side `crop`, pixels; each lens has the `lens_width` columns
    at its own end."""

    crop: int
    x: int
    y: int
    width: int
    height: int
    lens_width: int


STRIP: Final = Strip(crop=512, x=72, y=120, width=368, height=176, lens_width=192)
"""Both eyes with frames around them, large enough that a dioptre moves contours by half a pixel."""


class Powers(NamedTuple):
    """`values` [B, 3] power vectors of both lenses together, `each` [B, 2, 3] of the right and the
    left one (in the picture: left, right), and natural logs of the errors that are expected."""

    values: Tensor
    log_error: Tensor
    each: Tensor
    each_log_error: Tensor


def step(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def contrasted(crop: Tensor) -> Tensor:
    """Pictures [B, C, H, W] in net space with a mean of 0 and a contrast of about 1."""
    centred = crop - crop.mean((1, 2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + _CONTRAST_FLOOR)


class LensReader(nn.Module):
    """One network for either lens, the left one mirrored; both count by how sure they are.
    What it says is set right by performers that were held out: powers are multiplied by `scale`
    and moved by `shift`, `log_factor` is added to the logs of expected errors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.features = nn.Sequential(
            step(3, w, 2), step(w, w), step(w, 2 * w, 2), step(2 * w, 2 * w),
            step(2 * w, 4 * w, 2), step(4 * w, 4 * w), step(4 * w, 6 * w, 2),
            step(6 * w, 6 * w), nn.Conv2d(6 * w, _NARROW, 1), nn.LeakyReLU(0.2), nn.Flatten(),
        )  # fmt: skip
        places = (STRIP.lens_width // 16) * (STRIP.height // 16)
        self.spread = nn.Linear(_NARROW * places, 96)
        self.read = nn.Linear(96, 2 * POWERS)
        self.doubt = nn.Linear(96, POWERS)
        for name, start in (("scale", 1.0), ("shift", 0.0), ("log_factor", 0.0)):
            self.register_buffer(name, torch.full((POWERS,), start))
        self.scale: Tensor
        self.shift: Tensor
        self.log_factor: Tensor

    def forward(self, strips: Tensor) -> Powers:
        """Strips [B, 3, 176, 368] of `STRIP` in net space. Raises ValueError for other shapes."""
        wanted = (3, STRIP.height, STRIP.width)
        if strips.ndim != 4 or tuple(strips.shape[1:]) != wanted:
            raise ValueError(f"strips of shape {tuple(strips.shape)}, wanted [B, 3, 176, 368]")
        x, wide = contrasted(strips), STRIP.lens_width
        eyes = torch.cat([x[..., :wide], x[..., -wide:].flip(-1)])
        seen = leaky(self.spread(self.features(eyes)))
        found = torch.stack(self.read(seen).float().chunk(2), 1)
        # What leans to one side leans to the other in a mirror.
        mirror = found.new_tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
        each = found[..., :POWERS] * mirror * self.scale + self.shift
        log_error = found[..., POWERS:].clamp(-5, 2)
        share = (-log_error).softmax(1)
        doubt = self.doubt(torch.stack(seen.chunk(2)).mean(0)).float().clamp(-5, 2)
        return Powers((each * share).sum(1), doubt + self.log_factor, each, log_error)
