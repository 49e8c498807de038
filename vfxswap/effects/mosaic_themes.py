"""Patches through encoder and generators, and their colours matched to the plate.

Source: US 2019/0171908 A1, paragraphs 148 and 161 (several themes, output fed back).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.effects.base import Models
from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.effects.patches import Whole, unit_hash
from vfxswap.errors import ModelError
from vfxswap.nets.mosaic import CODE_PX, MosaicEncoder, MosaicGenerator, as_input, as_net

PREFIX = "mosaic-"
"""Theme flowers is model mosaic-flowers."""
BATCH = 64
_FREE = 101
"""First salt of a patch's random elements."""
_DARK, _LIGHT = 0.06, 0.5
"""Patches whose mean (net space) lies outside are shifted into this range for the networks."""
_TOP = 0.66
"""Net values above this, 4.8 in linear at the exposure that the networks see, are highlights: cut
off for the networks, and taken from the plate after, from one stop below on."""
_STOP = 1 / 17.52
"""One stop in net space (AMPAS S-2016-001)."""
_LEAST_CONTRAST, _MOST_CONTRAST = 0.2, 2.0
"""How far a patch's contrast is changed at most, as a factor."""


class Themes:
    """The networks of some themes, on one device."""

    def __init__(
        self,
        generators: dict[str, MosaicGenerator],
        encoders: dict[str, MosaicEncoder],
        device: torch.device,
    ) -> None:
        """`encoders` by the name that the generators' settings give."""
        self._generators, self._encoders, self._device = generators, encoders, device

    @classmethod
    def load(cls, names: Iterable[str], models: Models, device: torch.device) -> Themes:
        """Raises ModelError for a theme that is not there, is none, or is of another encoder."""
        generators: dict[str, MosaicGenerator] = {}
        encoders: dict[str, MosaicEncoder] = {}
        for name in names:
            loaded = models.by_name(name if name.startswith(PREFIX) else PREFIX + name)
            net = loaded.net
            if not isinstance(net, MosaicGenerator):
                raise ModelError("model is no theme of a mosaic", got=loaded.card.name)
            wanted = net.settings
            if wanted.encoder not in encoders:
                encoder = models.by_name(wanted.encoder)
                if not isinstance(encoder.net, MosaicEncoder):
                    raise ModelError("model is no encoder of mosaics", got=encoder.card.name)
                if encoder.card.weights_sha256 != wanted.encoder_sha256:
                    raise ModelError(
                        f"theme {name} was trained for another encoder",
                        got=f"{wanted.encoder} {encoder.card.weights_sha256[:12]}",
                        wanted=wanted.encoder_sha256[:12],
                    )
                encoders[wanted.encoder] = encoder.net
            generators[name] = net
        return cls(generators, encoders, device)

    @property
    def size(self) -> int:
        """Side of the patches that `made` gives."""
        return max(net.size for net in self._generators.values())

    def made(
        self, patches: Tensor, themes: Sequence[str], ids: Whole, settings: MosaicSettings
    ) -> Tensor:
        """[N, 3, size, size] in net space of patches [N, 3, 32, 32] of the plate (net space,
        finite), each by its theme, colours matched as the settings ask. What is random about a
        patch goes by its id [N]."""
        if not len(patches):
            return patches.new_empty((0, 3, self.size, self.size))
        shift, seen = _in_range(patches)
        out = patches.new_empty((len(patches), 3, self.size, self.size))
        names = np.array(themes)
        free = self._free(ids, settings)
        for name in dict.fromkeys(themes):
            which = torch.as_tensor(np.flatnonzero(names == name), device=self._device)
            for part in torch.split(which, BATCH):
                out[part] = _sized(
                    self._generated(seen[part], name, free[part], settings), self.size
                )
        matched = _matched(out, seen, settings)
        if settings.highlights > 0:
            held = _sized(patches - shift, self.size)
            share = ((held - _TOP) / _STOP + 1).clamp(0, 1).amax(1, keepdim=True)
            matched = torch.lerp(matched, held, settings.highlights * share)
        return matched + shift

    def _free(self, ids: Whole, settings: MosaicSettings) -> Tensor:
        """[N, most]: the random elements of each patch, of variance 1 times the variety asked."""
        most = max((net.settings.free for net in self._generators.values()), default=0)
        columns = [2 * unit_hash(ids, _FREE + k) - 1 for k in range(most)]
        table = np.stack(columns, 1) if columns else np.zeros((len(ids), 0))
        scale = settings.variety * 3**0.5
        return torch.from_numpy((scale * table).astype(np.float32)).to(self._device)

    def _generated(
        self, patches: Tensor, theme: str, free: Tensor, settings: MosaicSettings
    ) -> Tensor:
        made = self._once(as_input(patches), theme, free)
        for _ in range(settings.feedback):
            again = F.avg_pool2d(made, made.shape[-1] // CODE_PX)
            made = self._once(again, settings.feedback_theme or theme, free)
        return as_net(made)

    def _once(self, patches: Tensor, theme: str, free: Tensor) -> Tensor:
        net = self._generators[theme]
        z = self._encoders[net.settings.encoder](
            patches.contiguous(memory_format=torch.channels_last)
        )
        made: Tensor = net(z, free[:, : net.settings.free])
        return made.float()


def _in_range(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Exposure [N, 1, 1, 1] that is taken off every patch, and what the networks see of the rest.

    In net space a gain of the light is an offset, so what is put back keeps its scale.
    """
    mean = patches.mean((1, 2, 3), keepdim=True)
    shift = mean - mean.clamp(_DARK, _LIGHT)
    return shift, (patches - shift).clamp_max(_TOP)


def _matched(made: Tensor, seen: Tensor, settings: MosaicSettings) -> Tensor:
    """Mean, contrast, and what is seen from afar of every patch towards the plate's."""
    own, plate = made.mean((2, 3), keepdim=True), seen.mean((2, 3), keepdim=True)
    contrast = _contrast(seen) / _contrast(made).clamp_min(1e-4)
    contrast = contrast.clamp(_LEAST_CONTRAST, _MOST_CONTRAST)
    gain = 1 + settings.contrast_match * (contrast - 1)
    held = (made - own) * gain
    if settings.light_match:
        light = from_quarters(seen - plate, made.shape[-1]) - from_quarters(held, made.shape[-1])
        held = held + settings.light_match * light
    return held + torch.lerp(own, plate, settings.color_match)


def from_quarters(patches: Tensor, size: int) -> Tensor:
    """[N, 3, size, size]: patches by the means of quarters of their side, joined smoothly."""
    small = F.adaptive_avg_pool2d(patches, 4)
    return F.interpolate(small, size=size, mode="bicubic", align_corners=False)


def _contrast(patches: Tensor) -> Tensor:
    return patches.mean(1, keepdim=True).std((2, 3), keepdim=True)


def _sized(patches: Tensor, size: int) -> Tensor:
    if patches.shape[-1] == size:
        return patches
    return F.interpolate(patches, size=size, mode="bilinear", align_corners=False)
