"""Style pass: a plate redrawn in a style, a blend of styles, or styles by area.

Source: CN 116823593 A (see the README on patents); network by Dumoulin, Shlens & Kudlur 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap import color
from vfxswap.effects.base import EffectResult, Frame, LoadedNet, Models, Prepared
from vfxswap.effects.outputs import STYLE_IMAGE, STYLE_MATTE
from vfxswap.effects.style_settings import AREAS, StylePassSettings
from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.nets.style import StyleNet
from vfxswap.nets.style_strips import styled
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.grain import restore_highlights
from vfxswap.settings import Settings, nearest

__all__ = ["StylePass", "StylePassSettings"]

MID_GREY = float(color.to_net(np.full(1, 0.18, np.float32))[0])
LEAST_SIDE = 16
"""Pixels: a smaller picture has no statistics to speak of, and cannot be mirrored at its edges."""
_LUMA = (0.2722287168, 0.6740817658, 0.0536895174)
"""Of AP1 primaries, applied to net space: a weighting of its channels, no luminance."""


class StylePass:
    """Effect `style`. Layers: style_image, style_matte."""

    name: ClassVar[str] = "style"
    settings_type: ClassVar[type[Settings]] = StylePassSettings
    needs_faces: ClassVar[bool] = False

    def __init__(self, nets: Mapping[str, LoadedNet], device: torch.device) -> None:
        """`nets` by model name; their networks are `StyleNet`s on `device`."""
        self._nets = nets
        self._device = device

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        """Raises JobError for an unknown style, or when none is named; ModelError."""
        nets: dict[str, LoadedNet] = {}
        for each in settings:
            wanted = cast(StylePassSettings, each)
            loaded = nets.setdefault(wanted.model, models.by_name(wanted.model))
            if not isinstance(loaded.net, StyleNet):
                raise JobError("not a model of styles", got=wanted.model)
            known = loaded.net.styles
            if not wanted.style:
                raise JobError("no style is named", wanted=f"style={nearest('', known)}")
            for name in wanted.styles:
                if name not in known:
                    raise JobError(
                        f"model {wanted.model} has no such style",
                        got=name,
                        wanted=nearest(name, known),
                    )
        return cls(nets, device)

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        return ()

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        return {}

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        chosen = cast(StylePassSettings, settings)
        if min(frame.rgb.shape[:2]) < LEAST_SIDE:
            raise JobError(
                "the plate is too small to style",
                got=f"{frame.rgb.shape[1]}x{frame.rgb.shape[0]}",
                wanted=f"{LEAST_SIDE} pixels a side",
                frame=frame.number,
            )
        notes: list[str] = []
        finite = np.isfinite(frame.rgb).all(-1)
        linear = to_tensor(frame.rgb, device=self._device)
        if not finite.all():
            count = int(finite.size - finite.sum())
            notes.append(f"{count} pixels are not finite and are left as they are")
            linear = torch.nan_to_num(linear, nan=0.0, posinf=0.0, neginf=0.0)
        plate = color.to_net(linear)
        shares = self._areas(frame, chosen)
        made = self._made(plate, shares, chosen, frame.pixel_aspect)
        if chosen.keep_color > 0:
            made = _with_color_of(plate, made, chosen.keep_color)
        grey = plate.new_full((1, 3, 1, 1), MID_GREY)
        made = restore_highlights(made, plate, grey, amount=chosen.highlights)

        keep = self._kept(frame)
        keep = keep.expand(1, 1, *plate.shape[-2:]) * torch.from_numpy(finite).to(self._device)
        matte = chosen.strength * keep
        style = color.from_net(made)
        comp = torch.where(matte == 1, style, linear + matte * (style - linear))
        image = to_pixels(torch.cat([style * matte, matte], 1))
        spread = self._shown_areas(shares, matte)
        layers = (STYLE_IMAGE.of(image), STYLE_MATTE.of(to_pixels(torch.cat([matte, spread], 1))))
        return EffectResult(to_pixels(comp), image[..., 3], layers, tuple(notes))

    def _made(
        self, plate: Tensor, shares: Tensor | None, chosen: StylePassSettings, pixel_aspect: float
    ) -> Tensor:
        """The plate [1, 3, H, W] in net space, styled; strokes are drawn in square pixels."""
        net = cast(StyleNet, self._nets[chosen.model].net)
        size = plate.shape[-2:]
        scale = chosen.stroke_scale
        work = (
            max(LEAST_SIDE, round(size[0] / scale)),
            max(LEAST_SIDE, round(size[1] * pixel_aspect / scale)),
        )
        weights = net.row(chosen.style)
        if shares is not None:
            weights = _by_area(net, weights, _resized(shares, work), chosen)
        made = styled(net, _resized(plate, work), weights)
        return _resized(made, size)

    def _areas(self, frame: Frame, chosen: StylePassSettings) -> Tensor | None:
        """Shares [1, 3, H, W] of the styles by area; those that overlap share the place. None
        when no matte is given. Raises JobError for a matte without a style or the reverse."""
        planes = []
        for role in AREAS:
            style, matte = getattr(chosen, role), frame.mattes.get(role)
            if matte is not None and not style:
                raise JobError(f"matte {role} has no style", wanted=f"setting {role}")
            if style and matte is None:
                raise JobError(f"{role} is {style}, but there is no matte {role}")
            planes.append(np.zeros_like(frame.rgb[..., 0]) if matte is None else matte)
        if not any(role in frame.mattes for role in AREAS):
            return None
        shares = to_tensor(np.stack(planes, -1), device=self._device).clamp(0, 1)
        return shares / shares.sum(1, keepdim=True).clamp(min=1)

    def _shown_areas(self, shares: Tensor | None, matte: Tensor) -> Tensor:
        if shares is None:
            return matte.new_zeros(1, 3, *matte.shape[-2:])
        return shares * (matte > 0)

    def _kept(self, frame: Frame) -> Tensor:
        """1 where the style may be, [1, 1, H, W] or [1, 1, 1, 1]."""
        keep = torch.ones(1, 1, 1, 1, device=self._device)
        for role in ("holdout", "garbage"):
            if (matte := frame.mattes.get(role)) is not None:
                keep = keep * (1 - to_tensor(matte, device=self._device).clamp(0, 1))
        return keep


def _by_area(net: StyleNet, base: Tensor, shares: Tensor, chosen: StylePassSettings) -> Tensor:
    """Blend weights [1, S, h, w]: each area's style by its share, the blend in what is left."""
    rest = 1 - shares.sum(1, keepdim=True)
    weights = base[..., None, None] * rest
    for index, role in enumerate(AREAS):
        if style := getattr(chosen, role):
            row = net.row({style: 1.0})[..., None, None]
            weights = weights + row * shares[:, index : index + 1]
    return weights


def _with_color_of(plate: Tensor, made: Tensor, amount: float) -> Tensor:
    """`made` with the plate's colour: its own light, the plate's differences of channels.

    In net space these differences are ratios of light, so they hold at every exposure.
    """
    luma = plate.new_tensor(_LUMA).view(1, 3, 1, 1)
    # What the style cannot reach in brightness would keep its full colour contrast and clip.
    step = ((made - plate) * luma).sum(1, keepdim=True)
    return torch.lerp(made, plate + step, amount)


def _resized(picture: Tensor, size: tuple[int, ...]) -> Tensor:
    """[1, C, H, W] at another size: areas averaged on the way down, bilinear on the way up."""
    if tuple(picture.shape[-2:]) == tuple(size):
        return picture
    return F.interpolate(
        picture, size=(size[0], size[1]), mode="bilinear", align_corners=False, antialias=True
    )


def every_style(net: StyleNet, rgb: Pixels) -> list[tuple[str, Pixels]]:
    """A small plate [H, W, 3] (scene-linear working pixels) in each style of a network.

    All styles go through the network in one batch. Returns names with working pixels [H, W, 3].
    """
    device = net.gamma.device
    linear = np.nan_to_num(rgb, nan=0.0, posinf=0.0, neginf=0.0)
    plate = color.to_net(to_tensor(linear, device=device))
    with torch.inference_mode():
        made = net(plate, torch.eye(len(net.styles), device=device))
        grey = plate.new_full((1, 3, 1, 1), MID_GREY)
        made = restore_highlights(made, plate.expand_as(made), grey, amount=1.0)
    return [(n, to_pixels(color.from_net(m))) for n, m in zip(net.styles, made)]
