"""Persona swap: align, encode and decode with a comb network, blend back.

Source: US 2020/0372621 A1 (see the README on patents), paragraphs 52–58, Fig. 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, nn

from vfxswap import color
from vfxswap.effects.aligned import (
    Alignment,
    Canvas,
    Patch,
    fitting_size,
    in_front,
    matte_of,
    mixed,
    resized,
    settled,
)
from vfxswap.effects.base import EffectResult, Frame, LoadedNet, Models, Prepared
from vfxswap.effects.outputs import SWAP_CONF, SWAP_FACE, SWAP_ID, SWAP_MATTE, SWAP_UV
from vfxswap.effects.swap_settings import SwapSettings
from vfxswap.geometry import Face
from vfxswap.image import Pixels
from vfxswap.nets.parsing import ParsingNet
from vfxswap.nets.run import FastComb, accelerated
from vfxswap.ops.blend import multiband_blend
from vfxswap.ops.convert import to_pixels
from vfxswap.ops.grain import grain_of, restore_highlights, without_highlights
from vfxswap.ops.matte import feather_inwards, grow, levels
from vfxswap.ops.normalise import denormalise
from vfxswap.persona import ModelCard
from vfxswap.settings import Settings

__all__ = ["Swap", "SwapSettings"]

RIM_SHARE = 64
"""Share of the crop over which the plate's own pixels hand over to the resampled blend, inside
the outline: there the blend is close to the plate, but not as sharp."""


class Swap:
    """Effect `swap`. Layers: swap_face, swap_matte, swap_conf, swap_id, swap_uv."""

    name: ClassVar[str] = "swap"
    settings_type: ClassVar[type[Settings]] = SwapSettings
    needs_faces: ClassVar[bool] = True

    def __init__(
        self, combs: Mapping[str, LoadedNet], parser: ParsingNet | None, device: torch.device
    ) -> None:
        """`combs` by persona; their networks are `FastComb`s on `device`."""
        self._combs = combs
        self._parser = parser
        self._device = device

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        wanted = {p for s in settings for p in cls.likenesses(s)}
        combs: dict[str, LoadedNet] = {}
        fast: dict[int, nn.Module] = {}
        for persona in sorted(wanted):
            loaded = models.for_persona(persona)
            net = fast.setdefault(id(loaded.net), accelerated(loaded.net))
            combs[persona] = LoadedNet(loaded.card, net)
        parser = None
        if any(s.occluders or s.hair for s in cast(Sequence[SwapSettings], settings)):
            parser = cast(ParsingNet, models.for_stage("parsing").net)
        return cls(combs, parser, device)

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        swap = cast(SwapSettings, settings)
        return tuple(sorted({swap.persona, *swap.faces.values()} - {""}))

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        return {}

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        swap = cast(SwapSettings, settings)
        canvas = Canvas(frame, mattes=3, labels=2)
        notes: list[str] = []
        for face in sorted(frame.faces, key=lambda f: f.id):
            persona = swap.persona_of(face.id)
            if not persona:
                notes.append(f"face {face.id} has no persona and is left alone")
            elif face.score < swap.min_score:
                notes.append(f"face {face.id} scores {face.score:.2f} and is left alone")
            elif (patch := self._swap_face(canvas.rgb, frame, face, persona, swap)) is not None:
                canvas.put(patch, face.confidence.mean(), face.id + 1)
        if not frame.faces:
            notes.append("no face found: the plate goes through")
        layers = (
            SWAP_FACE.of(canvas.face),
            SWAP_MATTE.of(canvas.mattes),
            SWAP_CONF.of(canvas.labels[..., :1]),
            SWAP_ID.of(canvas.labels[..., 1:]),
            SWAP_UV.of(canvas.uv),
        )
        return EffectResult(canvas.rgb, canvas.matte, layers, tuple(notes))

    def _swap_face(
        self, rgb: Pixels, frame: Frame, face: Face, persona: str, swap: SwapSettings
    ) -> Patch | None:
        """One face of `rgb`, aligned, decoded as `persona` and blended in the crop; None when it
        lies off the plate."""
        loaded = self._combs[persona]
        comb = cast(FastComb, loaded.net)
        size = swap.crop_size or fitting_size(face, comb.size, frame.pixel_aspect)
        crop = Alignment.of(face, rgb, frame, size=size, device=self._device)
        if crop is None:
            return None
        normal, mean, level = crop.seen(comb.size)
        own = persona.rpartition("/")[2]  # a model may be named before the persona
        step = _color_step(loaded.card, own, mean, swap)
        source = denormalise(comb.swap(normal, own), mean + step)
        source = resized(source, size)

        whole = crop.polygon()
        matte = grow(whole, crop.px * swap.matte_grow_px)
        matte = feather_inwards(matte, crop.px * swap.matte_feather_px)
        matte = levels(matte, black=swap.matte_black, white=swap.matte_white)

        matt = without_highlights(crop.target, level)
        blended = multiband_blend(
            source, matt, matte, target_levels=swap.plate_levels, bands=swap.blend_bands or None
        )
        inner = feather_inwards(matte, size / RIM_SHARE)
        front = in_front(self._parser, crop)
        back = torch.cat([blended, source, whole, matte, inner, front], 1)
        box = crop.touched(torch.maximum(whole, matte))
        if box.empty:
            return None
        back = crop.back(back, box)
        (linear, beneath), outlines = crop.beneath(box), settled(back[:, 6:8])
        # At the plate's own resolution: two resamplings would leave little of either.
        grain = swap.grain * grain_of(beneath, outlines[:, 1:])
        blended, source = (
            restore_highlights(colour + grain, beneath, level, amount=swap.highlights)
            for colour in (back[:, :3], back[:, 3:6])
        )
        inner, front = back[:, 8:9].clamp(0, 1), settled(back[:, 9:])
        blended = torch.where(inner == 1, blended, torch.lerp(beneath, blended, inner))
        holdout = matte_of(frame, "holdout", box, self._device)
        before = torch.maximum(holdout, swap.occluders * front[:, :1])
        keep = (1 - before) * (1 - swap.hair * front[:, 1:])
        keep = keep * (1 - matte_of(frame, "garbage", box, self._device))
        skin, matte = outlines[:, :1], settled(outlines[:, 1:] * keep)
        comp = mixed(linear, color.from_net(blended), swap.amount * keep)
        planes = [comp, color.from_net(source) * matte, matte, skin * keep]
        planes += [skin * torch.maximum(holdout, front[:, :1]), front[:, 1:]]
        patch = to_pixels(torch.cat(planes, 1))
        return Patch(
            box,
            rgb=patch[..., :3],
            face=patch[..., 3:7],
            mattes=patch[..., 7:],
            square=crop.square,
            uv=crop.uv(),
        )


def _color_step(card: ModelCard, persona: str, mean: Tensor, swap: SwapSettings) -> Tensor:
    """Net-space step from the performer's skin to the persona's, [1, 3, 1, 1]."""
    own = _mean_of(card, persona, mean)
    if card.persona(swap.performer) is not None:
        step = own - _mean_of(card, swap.performer, mean)
    else:
        # Exposure of an unknown performer is unknown: only the hue may change.
        step = (own - mean) - (own - mean).mean(1, keepdim=True)
    return (1 - swap.color_match) * step


def _mean_of(card: ModelCard, persona: str, otherwise: Tensor) -> Tensor:
    """A persona's mean colour [1, 3, 1, 1] in net space; `otherwise` where the card has none."""
    found = card.persona(persona)
    if found is None or found.net_mean is None:
        return otherwise
    mean = torch.tensor(found.net_mean, dtype=otherwise.dtype, device=otherwise.device)
    return mean.view(1, 3, 1, 1)
