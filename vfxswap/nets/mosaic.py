"""Networks of the generative mosaic: encoder E, decoder and generator (one form), critic D.

Source: US 2019/0171908 A1 (see the README on patents), Fig. 7, paragraphs 124–142. A patch is
encoded to a code z; Dec gives the patch back, a theme's G gives a patch of the theme with the
same structure, D tells its patches from real ones. E looks at 32×32 pixels; G writes 32×32, or
64×64 after a further level was added (the stacked variant of paragraph 142): E then looks at the
mean of 2×2, so codes and the other themes stay as they were.

Pixels are those of `as_input`: net space about mid grey. Nothing is clamped.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap.nets.layers import Needs, conv, doubled, leaky
from vfxswap.settings import Settings

CODE_PX = 32
"""Side of the patches that the encoder looks at."""
BASE_PX = 4

_MID, SPAN = 0.34, 0.16
"""Net value that becomes 0, and the step from there to 1: display white is about 1.3."""


def as_input(net: Tensor) -> Tensor:
    """Net-space values as the networks take them."""
    return (net - _MID) / SPAN


def as_net(output: Tensor) -> Tensor:
    """What a network wrote, in net space: undoes `as_input`."""
    return output * SPAN + _MID


class MosaicEncoderSettings(Settings):
    """Shape of an encoder."""

    code: int = Field(default=128, ge=16, le=2048, description="Elements of z.")
    channels: tuple[int, int, int] = Field(
        default=(32, 64, 128), description="After each halving: 16, 8 and 4 pixels."
    )


class MosaicEncoder(nn.Module):
    """E: patches [B, 3, 32, 32] to codes [B, z]."""

    settings_type: ClassVar[type[Settings]] = MosaicEncoderSettings

    def __init__(self, settings: MosaicEncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = (3, *settings.channels)
        self.halvings = nn.ModuleList(_halving(a, b) for a, b in pairwise(widths))
        self.code = nn.Linear(settings.channels[-1] * BASE_PX**2, settings.code)

    @property
    def needs(self) -> Needs:
        return Needs(size_px=CODE_PX, channels=3, multiple_of=CODE_PX, half=True)

    def forward(self, patches: Tensor) -> Tensor:
        h = patches
        for halving in self.halvings:
            h = leaky(halving(h))
        z: Tensor = self.code(h.flatten(1))
        return z


class MosaicGeneratorSettings(Settings):
    """Shape of a decoder or generator, and which encoder its codes come from."""

    code: int = Field(default=128, ge=16, le=2048, description="Elements of z.")
    free: int = Field(
        default=0, ge=0, le=256, description="Random elements beside z, which give variety."
    )
    channels: tuple[int, int, int, int, int] = Field(
        default=(128, 96, 48, 24, 16), description="At 4, 8, 16, 32 and 64 pixels."
    )
    size: Literal[32, 64] = Field(default=32, description="Side of its patches in pixels.")
    encoder: str = Field(default="", description="Model of the encoder.")
    encoder_sha256: str = Field(default="", description="Of the encoder's weights.")


class MosaicGenerator(nn.Module):
    """Dec or G: codes [B, z] to patches [B, 3, size, size].

    Beyond the source, `free` random elements [B, free] of mean 0 and variance 1 may go in beside a
    code: patches of one code then differ. Without them they are 0.
    """

    settings_type: ClassVar[type[Settings]] = MosaicGeneratorSettings

    def __init__(self, settings: MosaicGeneratorSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = settings.channels[: _levels(settings.size)]
        self.spread = nn.Linear(settings.code + settings.free, widths[0] * BASE_PX**2)
        self.doublings = nn.ModuleList(conv(a, b, 3) for a, b in pairwise(widths))
        self.to_rgb = conv(widths[-1], 3, 3, gain=1.0)

    @property
    def size(self) -> int:
        """Side of its patches in pixels."""
        return self.settings.size

    @property
    def needs(self) -> Needs:
        return Needs(size_px=CODE_PX, channels=3, multiple_of=CODE_PX, half=True)

    def _spread(self, z: Tensor, free: Tensor | None) -> Tensor:
        if self.settings.free:
            beside = z.new_zeros((len(z), self.settings.free)) if free is None else free.to(z)
            z = torch.cat([z, beside], 1)
        return leaky(self.spread(z)).reshape(len(z), -1, BASE_PX, BASE_PX)

    def forward(self, z: Tensor, free: Tensor | None = None) -> Tensor:
        h = self._spread(z, free)
        for doubling in self.doublings:
            h = leaky(doubling(_twice(h)))
        patch: Tensor = self.to_rgb(h)
        return patch


class GrowingGenerator(MosaicGenerator):
    """G of 64 pixels while its last level is faded in over the one of 32 pixels."""

    def __init__(self, settings: MosaicGeneratorSettings) -> None:
        super().__init__(settings.model_copy(update={"size": 64}))
        self.old_to_rgb = conv(settings.channels[3], 3, 3, gain=1.0)

    @torch.no_grad()
    def begin(self, small: MosaicGenerator) -> None:
        """Takes over the weights of a trained generator of 32 pixels."""
        mine, theirs = self.state_dict(), small.state_dict()
        for name, value in theirs.items():
            mine[name.replace("to_rgb", "old_to_rgb")].copy_(value)

    def faded(self, z: Tensor, alpha: float, free: Tensor | None = None) -> Tensor:
        """Patches [B, 3, 64, 64]; alpha 0 is the old one enlarged, 1 the new level alone."""
        if alpha >= 1:
            patches: Tensor = self(z, free)
            return patches
        h = self._spread(z, free)
        for doubling in self.doublings[:-1]:
            h = leaky(doubling(_twice(h)))
        old = doubled(self.old_to_rgb(h))
        new = self.to_rgb(leaky(self.doublings[-1](_twice(h))))
        return torch.lerp(old, new, alpha)

    def grown(self) -> MosaicGenerator:
        """The finished generator, without what faded out."""
        done = MosaicGenerator(self.settings)
        state = {k: v for k, v in self.state_dict().items() if not k.startswith("old_")}
        done.load_state_dict(state)
        return done


class MosaicCritic(nn.Module):
    """D: patches [B, 3, size, size] to scores [B]; unbounded, higher for the theme."""

    def __init__(
        self, size: int = 32, channels: tuple[int, int, int, int] = (24, 48, 96, 128)
    ) -> None:
        """`channels` at 32, 16, 8 and 4 pixels."""
        super().__init__()
        self.size = size
        self.from_rgb = _halving(3, channels[0]) if size == 64 else conv(3, channels[0], 3)
        self.halvings = nn.ModuleList(_halving(a, b) for a, b in pairwise(channels))
        # One more map: how alike the patches of a batch are (Karras et al. 2018, section 3).
        self.last = conv(channels[-1] + 1, channels[-1], 3)
        self.score = nn.Linear(channels[-1] * BASE_PX**2, 1)

    def forward(self, patches: Tensor) -> Tensor:
        return self._scored(leaky(self.from_rgb(patches)))

    def _scored(self, h: Tensor) -> Tensor:
        for halving in self.halvings:
            h = leaky(halving(h))
        spread = (h.float().var(0, unbiased=False) + 1e-8).sqrt().mean()
        alike = spread.to(h).expand(h.shape[0], 1, BASE_PX, BASE_PX)
        h = leaky(self.last(torch.cat([h, alike], 1)))
        score: Tensor = self.score(h.flatten(1))
        return score[:, 0]


class GrowingCritic(MosaicCritic):
    """D of 64 pixels while its first level is faded in over that of 32 pixels."""

    def __init__(self) -> None:
        super().__init__(64)
        self.old_from_rgb = conv(3, self.from_rgb.out_channels, 3)

    @torch.no_grad()
    def begin(self, small: nn.Module) -> None:
        """Takes over the weights of a trained critic of 32 pixels."""
        mine = self.state_dict()
        for name, value in small.state_dict().items():
            mine[name.replace("from_rgb", "old_from_rgb")].copy_(value)

    def faded(self, patches: Tensor, alpha: float) -> Tensor:
        """Scores [B]; alpha 0 sees patches reduced to 32 pixels, 1 the new level alone."""
        h = leaky(self.from_rgb(patches))
        if alpha < 1:
            h = torch.lerp(leaky(self.old_from_rgb(F.avg_pool2d(patches, 2))), h, alpha)
        return self._scored(h)


def _halving(channels_in: int, channels_out: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1)
    nn.init.kaiming_normal_(layer.weight, 0.2)
    nn.init.zeros_(layer.bias) if layer.bias is not None else None
    return layer


def _twice(h: Tensor) -> Tensor:
    return F.interpolate(h, scale_factor=2, mode="nearest")


def _levels(size: int) -> int:
    return (size // BASE_PX).bit_length()
