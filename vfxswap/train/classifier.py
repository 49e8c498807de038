"""Training of the classifier whose features measure style: which material, medium or scene is a
crop of?

An iteration depends on seed, settings, pictures and its number alone, so a training that was
stopped and resumed gives the weights of one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from vfxswap.errors import CancelledError
from vfxswap.nets.perceptual import Perceptual, PerceptualSettings, balanced
from vfxswap.settings import Settings
from vfxswap.train.checkpoint import load_checkpoint, save_checkpoint
from vfxswap.train.crops import seeded

_DRAW = 11


class ClassifierTraining(Settings):
    """How a classifier is trained."""

    widths: tuple[int, ...] = Field(default=(32, 64, 96, 128), description="Channels by block.")
    convs: tuple[int, ...] = Field(default=(2, 2, 2, 2), description="Convolutions by block.")
    iterations: int = Field(default=900, ge=1, description="Optimiser steps.")
    batch: int = Field(default=48, ge=2, description="Crops a step.")
    crop_px: int = Field(default=64, ge=16, description="Side of the crops.")
    rate: float = Field(default=2e-3, gt=0, description="Highest learning rate; cosine to 0.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and crops.")
    save_every: int = Field(default=100, ge=1, description="Iterations between checkpoints.")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Pictures [N, S, S, 3] uint8 (net space, see `packed`) with their class by number."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def held_out(self) -> NDArray[np.bool_]:
        """[N]: every sixth picture of a class is for measuring."""
        order = np.zeros(len(self.labels), np.int64)
        for label in range(len(self.names)):
            mine = self.labels == label
            order[mine] = np.arange(mine.sum())
        held: NDArray[np.bool_] = order % 6 == 5
        return held


LOW, HIGH = -0.05, 0.75
"""Net space that a stored byte spans: from below black to 12 stops over mid grey less 6."""


def packed(net: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Net space as bytes; training pictures alone, never plates."""
    return np.rint((net.clip(LOW, HIGH) - LOW) * (255 / (HIGH - LOW))).astype(np.uint8)


def unpacked(pictures: NDArray[np.uint8]) -> Tensor:
    """Bytes [N, H, W, 3] as net space [N, 3, H, W]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    return tensor * ((HIGH - LOW) / 255) + LOW


def run(
    data: Labelled,
    folder: Path,
    settings: ClassifierTraining,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int, float], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Perceptual, dict[str, float]]:
    """Trains, resuming from `folder`; the balanced features without their head, and accuracies.

    Raises CancelledError when `stop()` turns true, JobError as checkpoints do.
    """
    device = torch.device(device)
    net = fresh(settings, len(data.names)).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)
    record = settings.model_dump(mode="json", exclude={"save_every"})
    done = load_checkpoint(folder, net, optimiser, settings=record)
    held_out = data.held_out()
    training = np.flatnonzero(~held_out)
    while done < settings.iterations:
        if stop():
            save_checkpoint(folder, net, optimiser, iteration=done, settings=record)
            raise CancelledError(f"training stopped after {done} iterations", file=folder)
        for group in optimiser.param_groups:
            group["lr"] = rate(done, settings.iterations, settings.rate)
        generator = seeded(settings.seed, _DRAW, done)
        index = training[torch.randint(len(training), (settings.batch,), generator=generator)]
        crops = _crops(data.pictures[index], settings.crop_px, generator).to(device)
        net.train()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            scores = net.scores(crops)
        loss = F.cross_entropy(
            scores.float(), torch.from_numpy(data.labels[index]).to(device), label_smoothing=0.05
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        done += 1
        if done % 10 == 0:
            progress(done, settings.iterations, loss.item())
        if done % settings.save_every == 0 or done == settings.iterations:
            save_checkpoint(folder, net, optimiser, iteration=done, settings=record)
    net.eval()
    found = {
        "accuracy_held_out": accuracy(net, data, np.flatnonzero(held_out), settings),
        "accuracy_training": accuracy(
            net, data, training[:: max(1, len(training) // 200)], settings
        ),
    }
    sample = _crops(data.pictures[training[:: max(1, len(training) // 96)]], 96, seeded(0, 1))
    return balanced(net.float().cpu(), sample), found


def fresh(settings: ClassifierTraining, classes: int) -> Perceptual:
    """An untrained classifier, its weights by the seed."""
    shape = PerceptualSettings(
        widths=settings.widths, convs=settings.convs, classes=classes, batch_norm=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Perceptual(shape)


def rate(iteration: int, iterations: int, highest: float) -> float:
    """Warm-up over the first steps, then a cosine to 0."""
    warm = min(1.0, (iteration + 1) / min(50, iterations))
    return highest * warm * (0.5 + 0.5 * math.cos(math.pi * iteration / iterations))


@torch.inference_mode()
def accuracy(
    net: Perceptual, data: Labelled, index: NDArray[np.int64], settings: ClassifierTraining
) -> float:
    """Share of crops, one a picture, that get their class."""
    right = 0
    for start in range(0, len(index), settings.batch):
        part = index[start : start + settings.batch]
        crops = _crops(data.pictures[part], settings.crop_px, seeded(settings.seed, 12, start))
        scores = net.scores(crops.to(next(net.parameters()).device))
        right += int((scores.argmax(1).cpu().numpy() == data.labels[part]).sum())
    return right / max(1, len(index))


def _crops(pictures: NDArray[np.uint8], size: int, generator: torch.Generator) -> Tensor:
    """Crops [B, 3, size, size] at random places, turns and scales, their colours changed: channels
    mixed, contrast and exposure moved, so that colour alone tells no class."""
    net = unpacked(pictures)
    count, side = len(net), net.shape[-1]
    draw = torch.rand(count, 10, generator=generator)
    angle = (draw[:, 0] - 0.5) * 1.2 + (draw[:, 9] * 4).floor() * (math.pi / 2)
    scale = size / side * 2 ** (draw[:, 1] * 1.0 - 0.7)
    scale = scale.clamp(max=0.98)
    room = 1 - scale
    shift = (draw[:, 2:4] * 2 - 1) * room[:, None]
    mirror = torch.where(draw[:, 4] < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [torch.stack([cos * mirror, -sin, shift[:, 0]], 1),
         torch.stack([sin * mirror, cos, shift[:, 1]], 1)], 1
    )  # fmt: skip
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    crops = F.grid_sample(net, grid, padding_mode="reflection", align_corners=False)
    mean = crops.mean((2, 3), keepdim=True)
    gain = 2 ** (draw[:, 5] * 1.2 - 0.6)
    mix = torch.randn(count, 3, 3, generator=generator) * 0.35 * (draw[:, 6] < 0.7)[:, None, None]
    mix = mix + torch.eye(3)
    mix = mix / mix.sum(2, keepdim=True).clamp(min=0.4)
    colour = torch.einsum("bij,bjhw->bihw", mix, crops - mean) * gain[:, None, None, None]
    offset = (torch.rand(count, 3, 1, 1, generator=generator) - 0.5) * 0.10
    noise = torch.randn(crops.shape, generator=generator) * 0.012 * draw[:, 7, None, None, None]
    return (mean + offset + colour + noise).contiguous(memory_format=torch.channels_last)
