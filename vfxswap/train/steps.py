"""The loop around a training's steps: resuming, progress, checkpoints, a log.

A step depends on the seed and its number alone (samples, learning rate), so a training that was
stopped and resumed gives the weights of one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vfxswap.errors import CancelledError
from vfxswap.image import Pixels
from vfxswap.train.checkpoint import load_checkpoint, save_checkpoint


class Progress(NamedTuple):
    """Where a training stands: iterations done and wanted, seconds left, losses by name."""

    iteration: int
    iterations: int
    eta_s: float
    losses: dict[str, float]


def train_steps(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    folder: Path,
    *,
    iterations: int,
    rate: float,
    save_every: int,
    record: Mapping[str, Any],
    step: Callable[[int], dict[str, float]],
    measure: Callable[[], dict[str, float]],
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Calls `step(iteration)`, which gives its losses, until `iterations` are done.

    Resumes from a checkpoint in `folder` made with the same `record` of settings (JobError names
    those that differ). `rate` is the highest learning rate, on a cosine to 0. Every `save_every`
    iterations a checkpoint is kept and `log.jsonl` gets an object with what `measure()` gives.
    When `stop()` turns true it keeps what is done and raises CancelledError.
    """
    done = load_checkpoint(folder, net, optimiser, settings=record)
    folder.mkdir(parents=True, exist_ok=True)
    started, first = time.monotonic(), done
    while done < iterations:
        if stop():
            save_checkpoint(folder, net, optimiser, iteration=done, settings=record)
            raise CancelledError(f"training stopped after {done} iterations", file=folder)
        for group in optimiser.param_groups:
            group["lr"] = _rate(done, iterations, rate)
        net.train()
        optimiser.zero_grad(set_to_none=True)
        losses = step(done)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        done += 1
        if progress is not None and (done % 20 == 0 or done == iterations):
            pace = (time.monotonic() - started) / (done - first)
            progress(Progress(done, iterations, pace * (iterations - done), losses))
        if done % save_every == 0 or done == iterations:
            save_checkpoint(folder, net, optimiser, iteration=done, settings=record)
            entry = {
                "iteration": done,
                "seconds": time.monotonic() - started,
                **losses,
                **measure(),
            }
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({k: round(v, 5) for k, v in entry.items()}) + "\n")
    net.eval()


def _rate(iteration: int, iterations: int, rate: float) -> float:
    warm = min(1.0, (iteration + 1) / min(100, iterations))
    return rate * warm * (0.5 + 0.5 * math.cos(math.pi * iteration / iterations))


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """The net in eval mode and without gradients, and back."""
    training = net.training
    net.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        net.train(training)


def stacked(pictures: list[Pixels], device: torch.device) -> Tensor:
    """Pictures [S, S, 3] as one batch [B, 3, S, S], channels last."""
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return batch.to(device).contiguous(memory_format=torch.channels_last)
