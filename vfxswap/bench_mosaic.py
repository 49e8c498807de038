"""`vfxswap bench mosaic`: what a frame of 2,000 patches costs, by sampling, network, assembly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from vfxswap import color
from vfxswap.effects.base import Frame
from vfxswap.effects.mosaic import Mosaic, MosaicSettings, placed_matrices
from vfxswap.effects.mosaic_motion import patches_at
from vfxswap.effects.mosaic_themes import Themes
from vfxswap.geometry import Box
from vfxswap.nets.mosaic import (
    CODE_PX,
    MosaicEncoder,
    MosaicEncoderSettings,
    MosaicGenerator,
    MosaicGeneratorSettings,
)
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.patches import sampled

T = TypeVar("T")


def mosaic_rows(
    *,
    size: tuple[int, int] = (1080, 1920),
    count: int = 2000,
    device: torch.device | str = "cpu",
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """Medians of processor time on a CPU, of time elsewhere, so that a busy machine counts less.

    Sampling takes in laying out the patches and reading them from the plate; the network encoder,
    generator and colour matching; assembly everything from patches to the pasted picture with its
    id and UV planes. Weights are random: time does not depend on them.
    """
    place = torch.device(device)
    torch.manual_seed(0)
    encoder = MosaicEncoder(MosaicEncoderSettings()).to(place).eval()
    generator = (
        MosaicGenerator(MosaicGeneratorSettings(size=64, free=16, encoder="e")).to(place).eval()
    )
    themes = Themes({"bench": generator}, {"e": encoder}, place)
    scale = size[0] / 1080
    settings = MosaicSettings(
        themes="bench",
        count=count,
        size_min_px=32 * scale,
        size_max_px=64 * scale,
        rotation_deg=20,
    )
    effect = Mosaic(themes, [settings], place)
    frame = _frame(size)
    spent: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        begun = _clock(place)
        result = work()
        spent.setdefault(name, []).append(_clock(place) - begun)
        return result

    def once() -> None:
        plate = color.to_net(to_tensor(frame.rgb, device=place))
        patches = timed("lay out", partial(patches_at, settings, {}, frame))
        matrices = placed_matrices(patches, frame)
        seen = timed("read", partial(sampled, plate, matrices, CODE_PX))
        names = ("bench",) * len(patches)
        tiles = timed("network", partial(themes.made, seen, names, patches.ids, settings))
        order = np.argsort(patches.random(1))
        timed("assembly", partial(effect.assemble, tiles, matrices, order, frame, settings))
        timed("frame", partial(effect, frame, settings, {}))

    with torch.inference_mode():
        for _ in range(repeats + 1):
            once()
    median = {name: statistics.median(values[1:]) for name, values in spent.items()}
    sampling = median["lay out"] + median["read"]
    parts = {"sampling": sampling, "network": median["network"], "assembly": median["assembly"]}
    whole = sum(parts.values())
    used = {"frame": f"{size[1]}x{size[0]}", "patches": count, "device": str(place)}
    rows = [_row(f"mosaic, {name}", value, "s", used) for name, value in parts.items()]
    share = parts["assembly"] / whole
    rows.append(_row("mosaic, share of assembly", share, "", used, wanted="< 0.33"))
    rows.append(_row("mosaic of a frame with its layers", median["frame"], "s", used))
    return rows


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def _frame(size: tuple[int, int]) -> Frame:
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(1, 3, max(2, size[0] // 40), max(2, size[1] // 40), generator=generator)
    rgb = F.interpolate(noise, size=size, mode="bicubic")[0].permute(1, 2, 0).contiguous().numpy()
    window = Box(0, 0, size[1], size[0])
    return Frame(1, rgb, window, window, seed=0)


def _row(
    name: str, value: float, unit: str, settings: dict[str, Any], *, wanted: str = ""
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "wanted": wanted, "settings": settings}
