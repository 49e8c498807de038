"""The guided generator: a picture and a vector of characteristics in, what changes out.

Encoder, residual blocks, a stack of fully connected layers over the vector whose result joins the
features at the bottleneck and, by skips, at the matching layers of the decoders (seed 000 para. 188
to 192). Instead of a picture it gives where light comes from, a gain, an offset and a layer of
frames, which a caller applies at the plate's own resolution.

A constant plane concatenated before a convolution adds a constant to each of its channels; so the
mapped vector enters as `Linear` beside the convolution, which is the same but at the border.

What each output is multiplied by holds these facts by construction, whatever the weights: a
neutral vector and an area of 0 change nothing, displacement vanishes with the lenses' power, gain
and offset are linear in the lights' levels and light adds up over lights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap import color
from vfxswap.nets.guided_vector import VECTOR, frames, lenses, lights
from vfxswap.nets.layers import Needs, conv, doubled, leaky
from vfxswap.ops.normalise import normalise
from vfxswap.settings import Settings

_FIELDS = 8
"""Displacement is a mixture of these: five move with one component of the power each, the others
with what the vector's layers make of them."""
_TRANSFERS = 12
"""Planes of light transfer that a light's code mixes (precomputed radiance transfer: Sloan, Kautz
& Snyder 2002, with learned coefficients)."""
FACE = (0.5, 0.55, 0.27, 0.34)
"""Ellipse that the crop's colour is normalised by: centre and radii, in crop widths."""


class GuidedNetSettings(Settings):
    """Shape of a guided generator; stored in its model card."""

    size: int = Field(default=128, ge=32, le=1024, description="Side of the crops, pixels.")
    width: int = Field(default=24, ge=4, le=256, description="Channels at half resolution.")
    blocks: int = Field(default=3, ge=1, le=12, description="Residual blocks.")
    mapped: int = Field(default=48, ge=8, le=512, description="Numbers in the mapped vector.")


class Guided(NamedTuple):
    """What a guided change is made of, at the crop's size S; all of it 0 (`gain` 1) where nothing
    changes.

    `displacement` [B, 2, S, S] crop pixels, x right and y down: the lens shows at p what lies at
    p + d(p). It is the field of lenses without an edge: a caller cuts it along the lens.
    `gain` and `offset` [B, 3, S, S] scene-linear: light becomes gain · light + offset.
    `frames` [B, 4, S, S] premultiplied red, green, blue (scene-linear) and alpha.
    """

    displacement: Tensor
    gain: Tensor
    offset: Tensor
    frames: Tensor


class _Block(nn.Module):
    """Residual block (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv(channels, channels, 3), conv(channels, channels, 3, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(leaky(self.first(x)))
        return x + change


class _Encoder(nn.Module):
    """Features at a half, a quarter and an eighth of the resolution."""

    def __init__(self, channels: int, settings: GuidedNetSettings) -> None:
        super().__init__()
        w = settings.width
        self.to_half = nn.Conv2d(channels, w, 3, 2, 1)
        self.to_quarter = nn.Conv2d(w, 2 * w, 3, 2, 1)
        self.to_eighth = nn.Conv2d(2 * w, 4 * w, 3, 2, 1)
        self.blocks = nn.Sequential(*[_Block(4 * w) for _ in range(settings.blocks)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = leaky(self.to_half(x))
        quarter = leaky(self.to_quarter(half))
        return half, quarter, self.blocks(leaky(self.to_eighth(quarter)))


class _Mapping(nn.Sequential):
    """The stack of fully connected layers over (a part of) the vector."""

    def __init__(self, numbers: int, mapped: int) -> None:
        super().__init__(
            nn.Linear(numbers, mapped), nn.LeakyReLU(0.2),
            nn.Linear(mapped, mapped), nn.LeakyReLU(0.2),
            nn.Linear(mapped, mapped), nn.LeakyReLU(0.2),
        )  # fmt: skip


class _Decoder(nn.Module):
    """Planes at half resolution; the mapped vector joins at the bottleneck and at both skips."""

    def __init__(self, planes: int, settings: GuidedNetSettings) -> None:
        super().__init__()
        w, m = settings.width, settings.mapped
        self.deep, self.deep_vector = conv(4 * w, 4 * w, 3), nn.Linear(m, 4 * w)
        self.to_quarter, self.quarter_vector = conv(6 * w, 2 * w, 3), nn.Linear(m, 2 * w)
        self.to_half, self.half_vector = conv(3 * w, w, 3), nn.Linear(m, w)
        self.last = conv(w, planes, 3, gain=0.1)

    def forward(self, features: tuple[Tensor, Tensor, Tensor], mapped: Tensor) -> Tensor:
        half, quarter, deep = features
        x = leaky(self.deep(deep) + _planes(self.deep_vector(mapped)))
        x = torch.cat([doubled(x), quarter], 1)
        x = leaky(self.to_quarter(x) + _planes(self.quarter_vector(mapped)))
        x = torch.cat([doubled(x), half], 1)
        x = leaky(self.to_half(x) + _planes(self.half_vector(mapped)))
        planes: Tensor = self.last(x)
        return planes


class GuidedNet(nn.Module):
    """Aligned crops and conditioning vectors to `Guided`.

    One class serves both directions with weights of its own each. `inverse` takes a change away:
    its input is the changed picture and the vector of the change, its displacement leads back,
    its gain is one over that of the added light, it has no frames.
    """

    settings_type = GuidedNetSettings

    def __init__(self, settings: GuidedNetSettings | None = None, *, inverse: bool = False) -> None:
        super().__init__()
        self.settings = settings or GuidedNetSettings()
        self.inverse = inverse
        mapped = self.settings.mapped
        self.encoder = _Encoder(5, self.settings)
        self.lens_mapping = _Mapping(9, mapped)
        self.lens_mixture = nn.Linear(mapped, _FIELDS - 5)
        self.lens_decoder = _Decoder(2 * _FIELDS + 4, self.settings)
        self.light_mapping = _Mapping(4, mapped)
        self.light_mixture = nn.Linear(mapped, _TRANSFERS)
        self.light_decoder = _Decoder(4 * _TRANSFERS, self.settings)

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        size = self.settings.size
        return Needs(size_px=size, channels=3, multiple_of=size, half=True)

    def forward(self, crop: Tensor, vector: Tensor, area: Tensor) -> Guided:
        """Crops [B, 3, S, S] in net space, aligned by `align.crop.crop_matrix`, vectors [B, V]
        (see `guided_vector`) and the area [B or 1, 1, S, S] in 0…1 in which anything may change.

        The area acts on what comes out alone: inside, a change does not depend on its outline.
        Raises ValueError for other shapes.
        """
        size = self.settings.size
        if crop.ndim != 4 or tuple(crop.shape[1:]) != (3, size, size):
            raise ValueError(f"crops of shape {tuple(crop.shape)}, wanted [B, 3, {size}, {size}]")
        if tuple(vector.shape) != (crop.shape[0], VECTOR):
            raise ValueError(f"vectors of shape {tuple(vector.shape)}, wanted [B, {VECTOR}]")
        normal, mean = normalise(crop, face_ellipse(size).to(crop))
        grid = _grid(size).to(crop).expand(crop.shape[0], -1, -1, -1)
        features = self.encoder(torch.cat([normal, grid], 1))
        displacement, layer = self._glass(features, vector)
        gain, offset = self._light(features, vector, color.from_net(mean.float()))
        return Guided(
            displacement * area,
            1 + (gain - 1) * area,
            offset * area,
            layer * area,
        )

    def _glass(
        self, features: tuple[Tensor, Tensor, Tensor], vector: Tensor
    ) -> tuple[Tensor, Tensor]:
        power, place = lenses(vector)
        degree, paint = frames(vector)
        mapped = self.lens_mapping(torch.cat([power, place, paint], 1))
        planes = self.lens_decoder(features, mapped)
        strength = power.norm(dim=1, keepdim=True)
        weights = torch.cat([power, strength * self.lens_mixture(mapped)], 1)
        fields = planes[:, : 2 * _FIELDS].unflatten(1, (_FIELDS, 2)).float()
        moved = (fields * weights[:, :, None, None, None]).sum(1)
        displacement = doubled(moved) * (self.settings.size / 128)
        if self.inverse:
            return displacement, displacement.new_zeros(*displacement.shape[:1], 4, 1, 1)
        alpha = torch.sigmoid(doubled(planes[:, -4:-3].float()) - 3.0) * _planes(degree)
        shade = F.softplus(doubled(planes[:, -3:].float()))
        return displacement, torch.cat([shade * _planes(paint) * alpha, alpha], 1)

    def _light(
        self, features: tuple[Tensor, Tensor, Tensor], vector: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gain and offset; `level` [B, 3, 1, 1] is the face's mean, scene-linear."""
        code, arriving = lights(vector)
        size = self.settings.size
        more = vector.new_zeros(vector.shape[0], 3, size, size)
        offset = torch.zeros_like(more)
        for i in range(code.shape[1]):
            if not bool((arriving[:, i] != 0).any()):
                continue
            mapped = self.light_mapping(code[:, i])
            planes = self.light_decoder(features, mapped).unflatten(1, (_TRANSFERS, 4)).float()
            mixed = (planes * self.light_mixture(mapped)[:, :, None, None, None]).sum(1)
            # A light that is half of what is there already is where an untrained network begins.
            transfer = F.softplus(doubled(mixed) - 0.5)
            here = _planes(arriving[:, i])
            more = more + here * transfer[:, :3]
            offset = offset + here * level * F.softplus(doubled(mixed)[:, 3:] - 4.0)
        if self.inverse:
            return 1 / (1 + more), -offset / (1 + more)
        return 1 + more, offset


class GuidedPair(nn.Module):
    """The mirrored pair (Fig. 4 and 5): `add` puts a change into a picture, `remove` takes it out
    again. Both work as `GuidedNet`."""

    settings_type = GuidedNetSettings

    def __init__(self, settings: GuidedNetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or GuidedNetSettings()
        self.add = GuidedNet(self.settings)
        self.remove = GuidedNet(self.settings, inverse=True)

    @property
    def needs(self) -> Needs:
        """What the networks ask of their crops."""
        return self.add.needs

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return self.settings.size


class GuidedJudge(nn.Module):
    """Patch discriminator: picture features and the mapped vector, concatenated over space, to one
    score a patch (seed 000 para. 208). Crops as for `GuidedNet`; scores [B, 1, S/8, S/8]."""

    def __init__(self, settings: GuidedNetSettings) -> None:
        super().__init__()
        w, m = settings.width, settings.mapped
        self.features = nn.Sequential(
            nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(w, 2 * w, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * w, 4 * w, 4, 2, 1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.mapping = _Mapping(9 + 1 + 3 * 7, m)
        self.scores = nn.Sequential(
            conv(4 * w + m, 2 * w, 3), nn.LeakyReLU(0.2), conv(2 * w, 1, 3, gain=1.0)
        )

    def forward(self, crop: Tensor, vector: Tensor) -> Tensor:
        normal, _ = normalise(crop, face_ellipse(crop.shape[-1]).to(crop))
        seen = self.features(normal.clamp(-2, 3))
        power, place = lenses(vector)
        code, level = lights(vector)
        parts = [power, place, *frames(vector), code.flatten(1), level.flatten(1)]
        mapped = _planes(self.mapping(torch.cat(parts, 1)))
        mapped = mapped.expand(-1, -1, *seen.shape[2:])
        scores: Tensor = self.scores(torch.cat([seen, mapped], 1))
        return scores


def applied(crop: Tensor, guided: Guided, *, inverse: bool = False) -> Tensor:
    """Crops [B, 3, S, S] in net space with a change put in, or (`inverse`) taken out.

    Light first, then what the lenses show of the lit face, then frames over it; taken out in the
    other order. A caller with a larger picture does the same at its own size.
    """
    linear = color.from_net(crop.float())
    if inverse:
        return color.to_net(displaced(linear, guided.displacement) * guided.gain + guided.offset)
    lit = displaced(linear * guided.gain + guided.offset, guided.displacement)
    alpha = guided.frames[:, 3:]
    return color.to_net(guided.frames[:, :3] + (1 - alpha) * lit)


def displaced(picture: Tensor, displacement: Tensor) -> Tensor:
    """`picture` [B, C, S, S] looked up, bilinear, at p + d(p); its edge repeats beyond it."""
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=picture.device) + 0.5,
        torch.arange(width, device=picture.device) + 0.5,
        indexing="ij",
    )
    u = (x + displacement[:, 0]) * (2 / width) - 1
    v = (y + displacement[:, 1]) * (2 / height) - 1
    return F.grid_sample(
        picture, torch.stack([u, v], -1).to(picture), padding_mode="border", align_corners=False
    )


def face_ellipse(size: int) -> Tensor:
    """[1, 1, S, S], 1 where the face of an aligned crop certainly is."""
    at = (torch.arange(size) + 0.5) / size
    inside = ((at - FACE[0]) / FACE[2]) ** 2 + ((at[:, None] - FACE[1]) / FACE[3]) ** 2 <= 1
    return inside.float()[None, None]


def _grid(size: int) -> Tensor:
    """[1, 2, S, S]: x and y from -1 to 1, so that convolutions know where they are (Liu et al.
    2018)."""
    at = (torch.arange(size) + 0.5) * (2 / size) - 1
    return torch.stack([at.expand(size, -1), at[:, None].expand(-1, size)])[None]


def _planes(numbers: Tensor) -> Tensor:
    return numbers[:, :, None, None]
