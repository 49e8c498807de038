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

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap import color
from vfxswap.characteristics import HEAD_M
from vfxswap.nets.guided_vector import VECTOR, frames, lenses, lights
from vfxswap.nets.layers import Needs, conv, doubled, leaky
from vfxswap.ops.normalise import normalise
from vfxswap.settings import Settings

_FIELDS = 8
"""Displacement is a mixture of these: five move with one component of the power each, the others
with what the vector's layers make of them."""
_TRANSFERS = 12
"""Planes of light transfer that each light mixes (precomputed radiance transfer: Sloan, Kautz &
Snyder 2002): by 1, its direction, its nearness, and learned coefficients."""
_EYES = (0.3675, 0.6325, 0.3957)
"""x of both pupils and their y in the template of aligned crops, in crop widths."""
_PROFILE_MM = ((0, 14), (30, 14), (40, 17), (50, 22), (60, 35), (70, 70), (116, 70))
"""How far behind a lens the mean face lies, over the distance from its middle."""
FACE = (0.5, 0.55, 0.27, 0.34)
"""Ellipse that the crop's colour is normalised by: centre and radii, in crop widths."""


class GuidedNetSettings(Settings):
    """Shape of a guided generator; stored in its model card."""

    size: int = Field(default=128, ge=32, le=1024, description="Side of the crops, pixels.")
    width: int = Field(default=16, ge=4, le=256, description="Channels at half resolution.")
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

    Lenses and frames condition the decoder as published. Lights do not enter it: each mixes planes
    of light transfer that the decoder gives, by what fully connected layers make of its place, so
    that any number of lights costs one pass and their light adds up exactly.

    The displacement's fields start from those of a thin lens before the mean head (see
    `_thin_lens`), which the network corrects by what it sees of the head.

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
        self.light_mapping = _Mapping(4, mapped)
        self.light_mixture = nn.Linear(mapped, _TRANSFERS - 5)
        self.decoder = _Decoder(2 * _FIELDS + 5 + 4 * _TRANSFERS, self.settings)
        thin = _thin_lens(self.settings.size)
        self.register_buffer("thin", -thin if inverse else thin, persistent=False)
        self.thin: Tensor

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
        level = color.from_net(mean.float())
        grid = _grid(size).to(crop).expand(crop.shape[0], -1, -1, -1)
        power, place = lenses(vector)
        degree, paint = frames(vector)
        mapped = self.lens_mapping(torch.cat([power, place, paint], 1))
        planes = self.decoder(self.encoder(torch.cat([normal, grid], 1)), mapped).float()
        fields, layer, transfers = planes.split([2 * _FIELDS, 5, 4 * _TRANSFERS], 1)
        displacement = self._moved(fields, power, self.lens_mixture(mapped).float())
        gain, offset = self._light(torch.unflatten(transfers, 1, (_TRANSFERS, 4)), vector, level)
        if self.inverse:
            none = torch.zeros_like(displacement[:, :1]).expand(-1, 4, -1, -1)
            return Guided(displacement * area, 1 + (gain - 1) * area, offset * area, none)
        layer = doubled(layer)
        alpha, shade = (torch.sigmoid(layer[:, i : i + 1] - 3.0) * _planes(degree) for i in (0, 4))
        lit = F.softplus(layer[:, 1:4]) * level * _planes(paint)
        return Guided(
            displacement * area,
            1 + (gain * (1 - shade) - 1) * area,
            offset * area,
            torch.cat([lit * alpha, alpha], 1) * area,
        )

    def _moved(self, fields: Tensor, power: Tensor, mixture: Tensor) -> Tensor:
        strength = power.norm(dim=1, keepdim=True)
        weights = torch.cat([power, strength * mixture], 1)[:, :, None, None, None]
        found = doubled((torch.unflatten(fields, 1, (_FIELDS, 2)) * weights).sum(1))
        return (found + (self.thin * weights[:, :5]).sum(1)) * (self.settings.size / 128)

    def _light(self, transfers: Tensor, vector: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset; `level` [B, 3, 1, 1] is the face's mean, scene-linear."""
        code, arriving = lights(vector)
        size = self.settings.size
        more = vector.new_zeros(vector.shape[0], 3, size, size)
        offset = torch.zeros_like(more)
        for i in range(code.shape[1]):
            if not bool((arriving[:, i] != 0).any()):
                continue
            learned = self.light_mixture(self.light_mapping(code[:, i])).float()
            weights = torch.cat([torch.ones_like(learned[:, :1]), code[:, i], learned], 1)
            mixed = doubled((transfers * weights[:, :, None, None, None]).sum(1))
            transfer = F.softplus(mixed[:, :3], beta=4.0)
            here = _planes(arriving[:, i])
            more = more + here * transfer
            offset = offset + here * level * F.softplus(mixed[:, 3:] - 4.0)
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


def _thin_lens(size: int) -> Tensor:
    """[1, 5, 2, S, S] displacement at 128 pixels a crop of each component of the power at 8 dpt or
    pdpt, for thin lenses over the template's eyes before the mean head.

    A ray at r from the optical centre is bent by r times the power (Prentice's rule) and meets the
    face further on; powers are those of Thibos, Wheeler & Horner 1997.
    """
    at = (torch.arange(size) + 0.5) / size
    x = torch.where(at < 0.5, at - _EYES[0], at - _EYES[1]).expand(size, -1)
    y = (at - _EYES[2])[:, None].expand(-1, size)
    out = (at - 0.5).abs() * HEAD_M * 1000
    behind = torch.zeros(size)
    for (a, deep_a), (b, deep_b) in pairwise(_PROFILE_MM):
        share = ((out - a) / (b - a)).clamp(0, 1)
        inside = (out >= a) & (out <= b)
        behind = torch.where(inside, deep_a + share * (deep_b - deep_a), behind)
    bend = -8.0 * behind / 1000 * 128
    shift = (0.08 * behind / 1000 / HEAD_M * 128).expand(size, -1)
    none = torch.zeros_like(x)
    # y counts down: what turns anticlockwise for the viewer changes its sign.
    fields = [(bend * x, bend * y), (bend * x, -bend * y), (-bend * y, -bend * x),
              (shift, none), (none, -shift)]  # fmt: skip
    return torch.stack([torch.stack(field) for field in fields])[None]


def _planes(numbers: Tensor) -> Tensor:
    return numbers[:, :, None, None]
