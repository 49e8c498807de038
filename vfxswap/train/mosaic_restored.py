"""How well a restoration undoes damage: held-out pictures, damaged, then through the effect.

Source: US 2019/0171908 A1, Table 2. A picture counts whole, by the peak signal-to-noise ratio in
net space, beside the damaged one: a restoration that does not come nearer is worth nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.effects.mosaic import Mosaic
from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.effects.mosaic_themes import Themes
from vfxswap.image import Pixels
from vfxswap.nets.mosaic import MosaicEncoder, MosaicGenerator, as_input, as_net
from vfxswap.ops.convert import to_tensor
from vfxswap.persona import Metric
from vfxswap.train.losses import ssim
from vfxswap.train.mosaic_degrade import Damage, damaged
from vfxswap.train.mosaic_evaluate import NET_RANGE, for_encoder, framed
from vfxswap.train.mosaic_pictures import read_pictures

SETTINGS = MosaicSettings(
    layout="overlapping",
    size_min_px=32,
    size_max_px=32,
    overlap=0.5,
    shape="soft",
    contrast_match=0,
    variety=0,
)
"""How a restoration is used: every network pixel is one of the plate."""


def evaluate_restored(
    encoder: MosaicEncoder,
    generators: Mapping[str, MosaicGenerator],
    damage: Damage,
    *,
    plates: Sequence[str],
    command: str,
) -> dict[str, dict[str, Metric]]:
    """Metrics of each restoration on held-out `plates` (as a recipe names pictures): PSNR and
    SSIM of the restored picture, and of the damaged one beside it. Raises JobError, PlateError.
    """
    pictures = read_pictures(
        plates, smallest=1, least=1, what="held-out plates", drawn_count=1, seed=0, folder=Path()
    ).pictures
    device = torch.device("cpu")
    themes = Themes(
        {t: for_encoder(net, "held") for t, net in generators.items()}, {"held": encoder}, device
    )
    found = {}
    for theme in generators:
        settings = SETTINGS.model_copy(
            update={"themes": theme, "color_match": 0.0 if damage.grey else 1.0}
        )
        values: dict[str, list[float]] = {}
        for number, picture in enumerate(pictures):
            rows = _one(Mosaic(themes, [settings], device), settings, picture, damage, number)
            for name, value in rows.items():
                values.setdefault(name, []).append(value)
        found[theme] = {
            name: Metric(
                value=round(float(np.mean(each)), 4),
                unit="dB" if name.startswith("psnr") else "",
                command=command,
                note="whole held-out pictures, net space",
            )
            for name, each in values.items()
        }
    return found


@torch.inference_mode()
def _one(
    effect: Mosaic, settings: MosaicSettings, picture: np.ndarray, damage: Damage, number: int
) -> dict[str, float]:
    clean = framed(color.from_net(picture.astype(np.float32)))
    true = color.to_net(to_tensor(clean.rgb))
    worse = as_net(damaged(as_input(true), damage, np.random.default_rng([8, number])))
    plate: Pixels = color.from_net(worse)[0].permute(1, 2, 0).contiguous().numpy()
    made = color.to_net(to_tensor(effect(framed(plate), settings, {}).rgb))
    found = {}
    for suffix, net in (("restored", made), ("damaged", worse)):
        found[f"psnr_{suffix}"] = _psnr(net, true)
        found[f"ssim_{suffix}"] = float(ssim(net / NET_RANGE, true / NET_RANGE).mean())
    return found


def _psnr(net: Tensor, true: Tensor) -> float:
    return float(-10 * torch.log10(((net - true) / NET_RANGE).square().mean()))
