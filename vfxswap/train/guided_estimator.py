"""Training of the estimator on rendered performers with and without glasses: of what it sees of
the whole face; its lens reader is trained by `guided_lenses`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from vfxswap.color import to_net
from vfxswap.image import Pixels
from vfxswap.nets.guided_estimator import (
    FACE_SIZE,
    FACE_VALUES,
    GuidedEstimator,
    GuidedEstimatorSettings,
)
from vfxswap.nets.guided_vector import lenses
from vfxswap.settings import Settings
from vfxswap.train.guided_batch import FURTHEST_PX
from vfxswap.train.guided_data import GuidedSet
from vfxswap.train.photo import faceless, occluded, photographed
from vfxswap.train.steps import Progress, evaluating, stacked, train_steps

OCCLUDER_CHANCE = 0.2
FACELESS_CHANCE = 0.04
PHOTOGRAPHED = 0.7
REGLAZED = 0.8
"""Share of training glasses whose lenses are exchanged for others."""
_NOT_OF_FACES = {"save_every", "lens_iterations", "lens_pairs", "lens_rate", "lens_width"}


class EstimatorTraining(Settings):
    """How an estimator is trained."""

    iterations: int = Field(default=6000, ge=1, description="Optimiser steps in all.")
    batch: int = Field(default=16, ge=2, description="Crops in a step.")
    rate: float = Field(default=2e-3, gt=0, description="Highest learning rate; cosine to 0.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and samples.")
    width: int = Field(default=16, ge=4, le=128, description="Width of the network.")
    lens_iterations: int = Field(
        default=5000, ge=1, description="Optimiser steps of the lens reader."
    )
    lens_pairs: int = Field(
        default=8, ge=2, description="Pictures in such a step, each with two lenses."
    )
    lens_rate: float = Field(default=3e-3, gt=0, description="Its highest learning rate.")
    lens_width: int = Field(default=16, ge=4, le=128, description="Its width.")
    save_every: int = Field(default=250, ge=1, description="Iterations between checkpoints.")


class Sample(NamedTuple):
    """`crop` [S, S, 3] net space; `worn` and `area` [S, S] 0 or 1; `values` as `FACE_VALUES`;
    `face` 1 where a head's angles are known."""

    crop: Pixels
    worn: float
    area: NDArray[np.float32]
    values: NDArray[np.float32]
    face: float


def fresh(settings: EstimatorTraining) -> GuidedEstimator:
    """An untrained network, its weights by the seed."""
    shape = GuidedEstimatorSettings(width=settings.width, lens_width=settings.lens_width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return GuidedEstimator(shape)


def train_face(
    net: GuidedEstimator,
    data: GuidedSet,
    folder: Path,
    *,
    settings: EstimatorTraining,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains all but the lens reader on `data` and keeps checkpoints and log in `folder`; resumes
    as `train_steps` does. Leaves the network in eval mode. Raises JobError, CancelledError."""
    device = torch.device(device)
    training, held_out = data.split()
    net.to(device)
    learning = [p for n, p in net.named_parameters() if not n.startswith("lenses.")]
    optimiser = torch.optim.AdamW(learning, lr=settings.rate, weight_decay=1e-3)
    train_steps(
        net,
        optimiser,
        folder,
        iterations=settings.iterations,
        rate=settings.rate,
        save_every=settings.save_every,
        record={**settings.model_dump(mode="json", exclude=_NOT_OF_FACES), "samples": len(data)},
        step=lambda iteration: _step(net, data, training, iteration, settings, device),
        measure=lambda: evaluate(net, data, held_out[:64], device=device),
        progress=progress,
        stop=stop,
    )


def _step(
    net: GuidedEstimator,
    data: GuidedSet,
    training: NDArray[np.int64],
    iteration: int,
    settings: EstimatorTraining,
    device: torch.device,
) -> dict[str, float]:
    rng = np.random.default_rng([settings.seed, iteration])
    rows = [
        dressed(data, int(i), rng, worn=bool(n % 2), reglazed=REGLAZED)
        for n, i in enumerate(rng.choice(training, settings.batch))
    ]
    crops = stacked([row.crop for row in rows], device)
    worn, face = (
        torch.tensor([getattr(row, n) for row in rows], device=device) for n in ("worn", "face")
    )
    area = torch.from_numpy(np.stack([row.area for row in rows]))[:, None].to(device)
    values = torch.from_numpy(np.stack([row.values for row in rows])).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        raw = net.raw(crops)
    # A Laplace likelihood: absolute errors over what the network expects, and the price of that.
    wide = raw.log_error.exp()
    error = (raw.values - values).abs() / wide + raw.log_error
    counts = torch.cat([worn[:, None], face[:, None].expand(-1, 3)], 1)
    losses = {
        "worn": F.binary_cross_entropy_with_logits(raw.worn, worn),
        "area": _area_loss(raw.area, area),
        "values": (error * counts).sum() / counts.sum().clamp_min(1.0),
    }
    total: Tensor = losses["worn"] + 2 * losses["area"] + 0.5 * losses["values"]
    total.backward()  # type: ignore[no-untyped-call]
    return {name: value.item() for name, value in losses.items()}


def _area_loss(logits: Tensor, truth: Tensor) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    found = torch.sigmoid(logits)
    both, either = (found * truth).sum((1, 2, 3)), (found + truth).sum((1, 2, 3))
    # Dice (Milletari, Navab & Ahmadi 2016), where there is something to find.
    there = (truth.sum((1, 2, 3)) > 0).float()
    dice = 1 - 2 * both / either.clamp_min(1.0)
    return entropy + 0.5 * (dice * there).sum() / there.sum().clamp_min(1.0)


def dressed(
    data: GuidedSet, index: int, rng: np.random.Generator, *, worn: bool, reglazed: float = 0.0
) -> Sample:
    """A crop as training shows it: mirrored, moved a little, behind objects, photographed; now and
    then no face at all. A share of `reglazed` of the worn glasses gets other lenses."""
    if not worn and rng.random() < FACELESS_CHANCE / 0.5:
        nothing = np.zeros((FACE_SIZE, FACE_SIZE), np.float32)
        crop = photographed(faceless(FACE_SIZE, rng), rng)
        return Sample(crop, 0.0, nothing, np.zeros(len(FACE_VALUES), np.float32), 0.0)
    if worn and rng.random() < reglazed:
        row = _reglazed(data, index, rng)
    else:
        lit = float(rng.uniform(0, 1.5)) * (rng.random() < 0.4)
        row = _sample(data, index, worn=worn, lit=lit)
    linear, area, values = row.crop, row.area, row.values.copy()
    size = linear.shape[0]
    if rng.random() < 0.5:
        linear, area = linear[:, ::-1], area[:, ::-1]
        values *= np.array([1, -1, 1, -1], np.float32)
    turn, stretch = float(rng.normal(0, 0.03)), float(np.exp(rng.normal(0, 0.03)))
    matrix = cv2.getRotationMatrix2D((size / 2 - 0.5, size / 2 - 0.5), -np.rad2deg(turn), stretch)
    matrix[:, 2] += rng.normal(0, 0.012, 2) * size
    values[3] += turn
    linear = cv2.warpAffine(
        np.ascontiguousarray(linear), matrix, (size, size), borderMode=cv2.BORDER_REPLICATE
    )
    area = cv2.warpAffine(np.ascontiguousarray(area), matrix, (size, size))
    if rng.random() < OCCLUDER_CHANCE:
        points = rng.uniform(0.2, 0.8, (68, 2)).astype(np.float32) * size
        linear, cover = occluded(np.asarray(linear, np.float32), points, rng)
        area = area * (1 - cover)
    linear = np.maximum(np.asarray(linear, np.float32), 0)
    crop = photographed(linear, rng) if rng.random() < PHOTOGRAPHED else to_net(linear)
    return Sample(
        np.ascontiguousarray(crop), row.worn, (area > 0.5).astype(np.float32), values, 1.0
    )


def _sample(data: GuidedSet, index: int, *, worn: bool, lit: float = 0.0) -> Sample:
    """`crop` stays scene-linear here; `lit` adds one of the sample's lights, at most."""
    linear = data.read("worn" if worn else "plain", index).astype(np.float32)
    if lit > 0:
        # Behind glasses light would be bent as well; the error is a fraction of a pixel.
        linear = linear + np.float32(lit) * data.read("light", index)[0].astype(np.float32)
    area = data.read("lenses", index).astype(np.float32) / 255 * float(worn)
    return Sample(
        linear, float(worn), (area > 0.5).astype(np.float32), _values(data, index, 0), 1.0
    )


def _reglazed(data: GuidedSet, index: int, rng: np.random.Generator) -> Sample:
    """The same frames with lenses of another power, evenly drawn: what lenses show is moved by a
    traced field times a factor, since fields are proportional to power but for a few per cent."""
    glasses = torch.from_numpy(data.values["glasses"][index])
    powers = lenses(glasses).power[:, 0].numpy() * 8
    field = int(rng.integers(len(powers)))
    wanted = float(rng.uniform(-8, 6))
    factor = wanted / powers[field] if abs(powers[field]) > 1.0 else float(rng.uniform(0, 1))
    factor = float(np.clip(factor, -2.5, 2.5))
    shade = data.read("shade", index).astype(np.float32)[..., None]
    below = data.read("plain", index).astype(np.float32) * shade
    frames = data.read("frames", index).astype(np.float32)
    known = data.read("known", index)[field] > 127
    moved = data.read("field", index)[field].astype(np.float32) * known[..., None]
    moved = np.clip(moved * factor, -FURTHEST_PX, FURTHEST_PX)
    y, x = np.mgrid[0 : moved.shape[0], 0 : moved.shape[1]].astype(np.float32)
    shown = cv2.remap(
        below, x + moved[..., 0], y + moved[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    clear = 1 - frames[..., 3:]
    area = data.read("lenses", index).astype(np.float32) / 255
    share = np.clip(area[..., None] / np.maximum(clear, 0.05), 0, 1)
    passed = 0.92 * (rng.uniform(0.1, 1.0, 3) if rng.random() < 0.2 else np.ones(3))
    linear = frames[..., :3] + clear * (below + share * (shown * passed.astype(np.float32) - below))
    return Sample(
        np.asarray(linear, np.float32), 1.0, (area > 0.5).astype(np.float32),
        _values(data, index, field), 1.0,
    )  # fmt: skip


def _values(data: GuidedSet, index: int, field: int) -> NDArray[np.float32]:
    seen = lenses(torch.from_numpy(data.values["glasses"][index][field : field + 1]))
    return np.concatenate([seen.place[0].numpy(), data.values["angles"][index]]).astype(np.float32)


def evaluate(
    net: GuidedEstimator,
    data: GuidedSet,
    indices: NDArray[np.int64],
    *,
    device: torch.device | str = "cpu",
    seed: int = 1,
) -> dict[str, float]:
    """Of held-out performers, dressed as in training, each once with and once without glasses:
    `accuracy` of telling them apart, `false_glasses` and `missed_glasses` shares, `area_iou`; mean
    absolute errors `pd` in mm (`guessing_pd`: of always saying the mean) and `angle` in degrees."""
    device = torch.device(device)
    rows: dict[str, list[Any]] = {"worn": [], "found": [], "error": [], "truth": []}
    both = either = 0.0
    with evaluating(net):
        for start in range(0, len(indices), 16):
            part = indices[start : start + 16]
            samples = [
                dressed(data, int(i), np.random.default_rng([seed, int(i), worn]), worn=bool(worn))
                for i in part
                for worn in (0, 1)
            ]
            raw = net.raw(stacked([s.crop for s in samples], device))
            area = torch.sigmoid(raw.area[:, 0]).cpu().numpy() > 0.5
            for k, s in enumerate(samples):
                if s.face == 0:
                    continue
                rows["worn"].append(s.worn > 0)
                rows["found"].append(float(raw.worn[k]) > 0)
                rows["error"].append((raw.values[k].cpu().numpy() - s.values, s.worn > 0))
                if s.worn > 0:
                    rows["truth"].append(s.values[0])
                    both += float((area[k] & (s.area > 0)).sum())
                    either += float((area[k] | (s.area > 0)).sum())
    worn, found = np.array(rows["worn"]), np.array(rows["found"])
    glasses = np.abs(np.array([e for e, w in rows["error"] if w]))
    everyone = np.abs(np.array([e for e, _ in rows["error"]]))
    truth = np.array(rows["truth"])
    return {
        "accuracy": float((worn == found).mean()),
        "false_glasses": float((found & ~worn).sum() / max(1, (~worn).sum())),
        "missed_glasses": float((~found & worn).sum() / max(1, worn.sum())),
        "area_iou": both / max(either, 1.0),
        "pd": 13 * float(glasses[:, 0].mean()),
        "guessing_pd": 13 * float(np.abs(truth - np.median(truth)).mean()),
        "angle": float(np.rad2deg(everyone[:, 1:]).mean()),
    }
