"""The comb: one encoder, one decoder ("tooth") a persona, grown level by level from 4×4.

Layers are those of the source's Fig. 3A and 3B (comb networks, para. 29–36). Two of the figure's
cells are misprints: the encoder's level 6 begins 64 → 64 (its 37 k parameters say so, not the 32
printed), and the 513 on the latent row is no layer. Sizes change by the mean of 2×2 and by
bilinear doubling, which the source leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vfxswap.nets.layers import Needs, conv, doubled, halved, leaky, spread_from_point
from vfxswap.settings import Settings

MAX_LEVEL = 8
TIED_LEVELS = 2
"""Decoder levels below this are one module for all personas (para. 35, 36)."""

_FULL_WIDTH = (512, 512, 512, 512, 256, 128, 64, 32, 16)
_LATENT = 512
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class CombSettings(Settings):
    """Shape of a comb; stored in its model card."""

    personas: tuple[str, ...] = Field(
        description="Names of the personas, one decoder each: lower-case letters, digits, _ and -."
    )
    level: int = Field(ge=0, le=MAX_LEVEL, description="Last level; crops are 4·2^level pixels.")
    width: float = Field(
        default=1.0, gt=0.0, le=1.0, description="Share of the published channels, in steps of 8."
    )
    latent: int | None = Field(
        default=None, ge=1, description="Numbers in the latent vector; 512·width if not set."
    )

    @field_validator("personas")
    @classmethod
    def _usable_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _NAME.fullmatch(name) or hasattr(nn.ModuleDict, name):
                raise ValueError(f"persona name {name!r} cannot be used")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"persona names {names}: wanted one or more, each once")
        return names

    @property
    def crop_px(self) -> int:
        """Side of the square crops."""
        return crop_px(self.level)

    def channels(self, level: int) -> int:
        """Channels at the crop side of a level."""
        return _scaled(_FULL_WIDTH[level], self.width)

    @property
    def latent_channels(self) -> int:
        return _scaled(_LATENT, self.width) if self.latent is None else self.latent


def crop_px(level: int) -> int:
    """Side of the crops of a level: 4 at level 0, 1024 at level 8."""
    return 4 << level


def _scaled(channels: int, width: float) -> int:
    # Vector units and bf16 kernels work on eight channels at a time.
    return max(8, round(channels * width / 8) * 8)


class EncoderLevel(nn.Module):
    """Two convolutions and a halving; level 0 ends in a valid 4×4 convolution to the latent."""

    def __init__(self, settings: CombSettings, level: int) -> None:
        super().__init__()
        here = settings.channels(level)
        self.level = level
        self.first = conv(here, here, 3)
        if level == 0:
            self.second = conv(here, settings.latent_channels, 4, pad=False)
        else:
            self.second = conv(here, settings.channels(level - 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky(self.second(leaky(self.first(x))))
        return x if self.level == 0 else halved(x)


class DecoderLevel(nn.Module):
    """A doubling and two convolutions; level 0 starts by spreading the latent over 4×4."""

    def __init__(self, settings: CombSettings, level: int) -> None:
        super().__init__()
        here = settings.channels(level)
        self.level = level
        self.first: nn.Module
        if level == 0:
            self.first = spread_from_point(settings.latent_channels, here, 4)
        else:
            self.first = conv(settings.channels(level - 1), here, 3)
        self.second = conv(here, here, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.level == 0 else doubled(x)
        return leaky(self.second(leaky(self.first(x))))


class Head(nn.Module):
    """Colour in (3 → channels, LeakyReLU) or out (channels → 3, sigmoid), by 1×1."""

    def __init__(self, channels: int, *, out: bool) -> None:
        super().__init__()
        self.out = out
        self.colour = conv(channels, 3, 1, gain=1.0) if out else conv(3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.colour(x)
        return torch.sigmoid(x) if self.out else leaky(x)


class Stack(nn.Module):
    """Levels and colour heads by their number: the encoder, the tied trunk, or one decoder."""

    def __init__(self, settings: CombSettings, levels: range, *, decoder: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.blocks = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        for level in levels:
            self.add_level(settings, level)
        if levels and levels[-1] == settings.level:
            self.add_head(settings, settings.level)

    def add_level(self, settings: CombSettings, level: int) -> None:
        kind = DecoderLevel if self.decoder else EncoderLevel
        self.blocks[str(level)] = kind(settings, level)

    def add_head(self, settings: CombSettings, level: int) -> None:
        self.heads[str(level)] = Head(settings.channels(level), out=self.decoder)


class Comb(nn.Module):
    """Faces [B, 3, r, r] in, the same performance as a persona out, r = 4·2^level.

    Input is a normalised crop (see `ops.normalise`, about 0…1, not clamped); output is in 0…1.
    Levels 0 and 1 of all decoders, their heads too, are one module `trunk`; so their weights are
    tied for good and stored once. State keys: `encoder.…`, `trunk.…`, `decoders.<persona>.…`.

    A finished comb has the colour heads of its last level only. While growing it keeps those of
    the level before as well, which `alpha` < 1 fades from; `settle` drops them.
    """

    settings_type = CombSettings

    def __init__(self, settings: CombSettings) -> None:
        super().__init__()
        self.settings = settings
        self.recompute_from = MAX_LEVEL + 1
        """Levels from here on keep no activations while training; backward computes them again
        (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost")."""
        self.encoder = Stack(settings, range(settings.level + 1), decoder=False)
        self.trunk = Stack(settings, range(min(settings.level + 1, TIED_LEVELS)), decoder=True)
        self.decoders = nn.ModuleDict({p: self._new_decoder() for p in settings.personas})

    @property
    def needs(self) -> Needs:
        """What the network asks of its input."""
        size = self.settings.crop_px
        return Needs(size_px=size, channels=3, multiple_of=size, half=True)

    @property
    def level(self) -> int:
        return self.settings.level

    @property
    def size(self) -> int:
        """Side of the square crops in pixels."""
        return self.settings.crop_px

    def forward(self, x: Tensor, persona: str, *, alpha: float = 1.0) -> Tensor:
        """`decode(encode(x))`: [B, 3, r, r] → [B, 3, r, r] in 0…1. Raises as those do."""
        return self.decode(self.encode(x, alpha=alpha), persona, alpha=alpha)

    @torch.inference_mode()
    def swap(self, x: Tensor, persona: str) -> Tensor:
        """`forward` without gradients, for any number of crops; the plain reference of
        `nets.run.FastComb.swap`."""
        face: Tensor = self(x, persona)
        return face

    def encode(self, x: Tensor, *, alpha: float = 1.0) -> Tensor:
        """Crops [B, 3, r, r] to latent vectors [B, latent, 1, 1].

        `alpha` in 0…1 fades the last level in, linearly (para. 35). Raises ValueError for crops
        of another size and for a fade after `settle`.
        """
        side = self.settings.crop_px
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, side, side):
            raise ValueError(f"crops of shape {tuple(x.shape)}, wanted [B, 3, {side}, {side}]")
        top = self.level
        h: Tensor = self.encoder.heads[str(top)](x)
        for level in range(top, -1, -1):
            h = self._block(self.encoder, level, h)
            if level == top and self._fades(alpha):
                before = self.encoder.heads[str(top - 1)](halved(x))
                h = torch.lerp(before, h, alpha)
        return h

    def decode(self, z: Tensor, persona: str, *, alpha: float = 1.0) -> Tensor:
        """Latent vectors [B, latent, 1, 1] to faces [B, 3, r, r] in 0…1 as `persona`.

        Raises KeyError for a persona that the comb does not hold, ValueError as `encode`.
        """
        top, h = self.level, z
        before = None
        for level in range(top + 1):
            if level == top and self._fades(alpha):
                before = doubled(self._decoder(persona, top - 1).heads[str(top - 1)](h))
            h = self._block(self._decoder(persona, level), level, h)
        face: Tensor = self._decoder(persona, top).heads[str(top)](h)
        return face if before is None else torch.lerp(before, face, alpha)

    def operations(self, level: int) -> float:
        """Multiplications of encoder and one decoder for a crop of a level, forwards."""
        total = 0.0
        for each in range(level + 1):
            here = self.settings.channels(each)
            below = self.settings.channels(each - 1) if each else self.settings.latent_channels
            area = 16.0 if each == 0 else float(crop_px(each)) ** 2
            inner = here * below * (16 if each == 0 else 9 * area)
            total += 2 * (9 * here * here * area + inner)
        return total

    def grow(self, level: int) -> None:
        """Adds the next level to the encoder and all decoders, with fresh colour heads.

        Build the optimiser anew afterwards. Raises ValueError unless `level` is the next one.
        """
        if level != self.level + 1 or level > MAX_LEVEL:
            raise ValueError(f"cannot grow from level {self.level} to {level}")
        self.settle()
        self.settings = self.settings.model_copy(update={"level": level})
        grows = [self.encoder]
        grows += [self.trunk] if level < TIED_LEVELS else self._teeth()
        for stack in grows:
            stack.add_level(self.settings, level)
            stack.add_head(self.settings, level)
            stack.to(next(self.parameters()).device)

    def settle(self) -> None:
        """Drops the colour heads of earlier levels: no fade any more, a finished network."""
        for stack in (self.encoder, self.trunk, *self._teeth()):
            for level in list(stack.heads):
                if int(level) != self.level:
                    del stack.heads[level]

    def add_persona(self, name: str, *, like: str | None = None) -> None:
        """Adds a decoder, fresh or as a copy of persona `like`; the others stay untouched.

        Train `persona_parameters(name)` alone to leave the others' results bit-identical. Raises
        ValueError for a name that is taken or cannot be used, KeyError for an unknown `like`.
        """
        personas = (*self.settings.personas, name)
        settings = CombSettings(**{**self.settings.model_dump(), "personas": personas})
        decoder = self._new_decoder().to(next(self.parameters()).device)
        if like is not None:
            decoder.load_state_dict(self.decoders[like].state_dict())
        self.settings = settings
        self.decoders[name] = decoder

    def persona_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """The weights of one persona alone, without what all share."""
        return self.decoders[name].parameters()

    def decoder_state(self, name: str) -> dict[str, Tensor]:
        """Weights of one decoder (levels from the third on), to be kept in a file of their own."""
        return dict(self.decoders[name].state_dict())

    def load_decoder(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Loads one decoder; the persona is added when the comb does not hold it.

        Raises RuntimeError, as torch does, when `weights` do not fit.
        """
        fresh = self._new_decoder()
        fresh.load_state_dict(dict(weights))
        if name not in self.settings.personas:
            self.add_persona(name)
        self.decoders[name].load_state_dict(fresh.state_dict())

    def _new_decoder(self) -> Stack:
        return Stack(self.settings, range(TIED_LEVELS, self.level + 1), decoder=True)

    def _teeth(self) -> list[Stack]:
        return [self._decoder(p, MAX_LEVEL) for p in self.settings.personas]

    def _decoder(self, persona: str, level: int) -> Stack:
        stack = self.decoders[persona]
        assert isinstance(stack, Stack)
        return self.trunk if level < TIED_LEVELS else stack

    def _block(self, stack: Stack, level: int, h: Tensor) -> Tensor:
        block = stack.blocks[str(level)]
        if level >= self.recompute_from and torch.is_grad_enabled():
            done: Tensor = checkpoint(block, h, use_reentrant=False, preserve_rng_state=False)
        else:
            done = block(h)
        return done

    def _fades(self, alpha: float) -> bool:
        if alpha >= 1.0 or self.level == 0:
            return False
        if str(self.level - 1) not in self.encoder.heads:
            raise ValueError(f"fade of {alpha}, but the comb has settled at level {self.level}")
        return True
