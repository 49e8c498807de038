"""`vfxswap bench train`: iterations of a comb's training beside an eager float32 loop of the same
network, losses and optimiser.

The plain loop is what one would write first: float32, contiguous tensors, Adam as it comes.
Times are medians of runs that take turns, so that a busy machine hits both sides.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from vfxswap.bench import Row, machine
from vfxswap.nets.comb import Comb, CombSettings, crop_px
from vfxswap.train.comb_plan import comb_settings, step
from vfxswap.train.losses import level_loss
from vfxswap.train.schedule import CombTraining

WANTED = 1.7
"""Wanted on CPUs with bfloat16 instructions, from level 4 (64²) on."""
_PERSONAS = ("amber", "basalt")


def bench_train(
    *,
    levels: tuple[int, ...] = (4, 5, 6),
    width: float = 0.25,
    batch: int = 4,
    repeats: int = 3,
    device: str = "cpu",
) -> list[Row]:
    """A row for the machine and one a level: the ratio, with both medians in its settings."""
    rows = [machine(torch.device(device))]
    for level in levels:
        training = CombTraining(level=level, width=width, batch=batch)
        settings = comb_settings(training, _PERSONAS, level)
        fast = step(training, settings, device)
        plain = plain_step(settings, batch=batch, device=device)
        fast_s, plain_s = _in_turns(fast, plain, repeats)
        rows.append(
            {
                "name": f"training, level {level} ({crop_px(level)}²), over eager float32",
                "value": round(plain_s / fast_s, 3),
                "unit": "x",
                "wanted": f">= {WANTED} with bf16 instructions",
                "settings": {
                    "batch": batch,
                    "width": width,
                    "personas": len(_PERSONAS),
                    "seconds an iteration": round(fast_s, 4),
                    "seconds of the plain loop": round(plain_s, 4),
                },
            }
        )
    return rows


def plain_step(
    settings: CombSettings, *, batch: int, device: str, seed: int = 0
) -> Callable[[], Any]:
    """The reference: same network, losses and updates in float32, nothing arranged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        comb = Comb(settings).to(device)
        x = torch.rand(batch, 3, settings.crop_px, settings.crop_px).to(device)
    optimiser = torch.optim.Adam(comb.parameters(), lr=1e-6)
    matte = torch.ones_like(x[:, :1])

    def iterate() -> None:
        for persona in settings.personas:
            loss = level_loss(x, comb(x, persona), matte, level=settings.level).mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        if x.is_cuda:
            torch.cuda.synchronize(x.device)

    return iterate


def _in_turns(
    one: Callable[[], Any], other: Callable[[], Any], repeats: int
) -> tuple[float, float]:
    """Median seconds of each, after one run that does not count."""
    one(), other()
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, times in zip((one, other), took, strict=True):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
    return statistics.median(took[0]), statistics.median(took[1])
