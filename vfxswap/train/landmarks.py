"""Training of the landmark network on rendered faces: resumable, with previews and a held-out
error.

An iteration depends on the seed and its number alone (its samples, its learning rate), so a
training that was stopped and resumed gives the weights of one that was not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from vfxswap.errors import JobError
from vfxswap.geometry import LANDMARK_COUNT, PUPILS
from vfxswap.nets.landmark import Candidates, LandmarkNet, LandmarkSettings, Scanner
from vfxswap.settings import Settings
from vfxswap.train.landmark_data import FaceSet, Sample, draw, draw_faceless, plain
from vfxswap.train.landmark_preview import write_preview
from vfxswap.train.steps import Progress, evaluating, stacked, train_steps

SCAN_SIZE: Final = 48
"""Side of the scanner's training pictures, in pixels."""

GROUPS: Final[dict[str, tuple[int, ...]]] = {
    "jaw": tuple(range(17)),
    "brows": tuple(range(17, 27)),
    "nose": tuple(range(27, 36)),
    "eyes": tuple(range(36, 48)),
    "lips": tuple(range(48, 68)),
    "pupils": tuple(range(PUPILS.start, PUPILS.stop)),
}
_WEIGHTS: Final = {
    "jaw": 0.7, "brows": 0.8, "nose": 1.1, "eyes": 1.4, "lips": 1.2, "pupils": 1.4,
}  # fmt: skip


class LandmarkTraining(Settings):
    """How a landmark network is trained."""

    iterations: int = Field(default=5600, ge=1, description="Optimiser steps in all.")
    faces: int = Field(default=20, ge=1, description="Faces in a batch.")
    others: int = Field(default=5, ge=1, description="Pictures without a face in a batch.")
    rate: float = Field(default=2e-3, gt=0, description="Highest learning rate; cosine to 0.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and samples.")
    width: int = Field(default=24, ge=4, le=128, description="Width of the network.")
    save_every: int = Field(default=250, ge=1, description="Iterations between checkpoints.")


def run(
    faces: FaceSet,
    folder: Path,
    *,
    settings: LandmarkTraining,
    start: LandmarkNet | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> LandmarkNet:
    """Trains on `faces` and keeps checkpoints, log and previews in `folder`; goes on from the
    weights of `start` when there is one (`settings.width` is then not asked for).

    Resumes when `folder` holds a checkpoint of the same settings (which JobError names when they
    differ). Returns the network in eval mode, calibrated on the held-out faces. Writes
    `log.jsonl` (one object an entry) and `preview.png` as it goes. When `stop()` turns true it
    keeps what is done and raises CancelledError.
    """
    device = torch.device(device)
    training, held_out = faces.split()
    if not len(training) or not len(held_out):
        raise JobError("too few performers to hold some out", got=len(set(faces.identity)))
    net = _fresh(settings) if start is None else copy.deepcopy(start)
    net.requires_grad_(True).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)

    def measure() -> dict[str, float]:
        write_preview(folder / "preview.png", net, faces, held_out[:40], settings.seed, device)
        return evaluate(net, faces, held_out[:300], seed=settings.seed, device=device)

    train_steps(
        net,
        optimiser,
        folder,
        iterations=settings.iterations,
        rate=settings.rate,
        save_every=settings.save_every,
        record=settings.model_dump(mode="json", exclude={"save_every"}),
        step=lambda iteration: _step(net, faces, training, iteration, settings, device),
        measure=measure,
        progress=progress,
        stop=stop,
    )
    calibrate(net, faces, held_out, seed=settings.seed, device=device)
    return net


def _fresh(settings: LandmarkTraining) -> LandmarkNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return LandmarkNet(LandmarkSettings(width=settings.width))


def _step(
    net: LandmarkNet,
    faces: FaceSet,
    training: NDArray[np.int64],
    iteration: int,
    settings: LandmarkTraining,
    device: torch.device,
) -> dict[str, float]:
    rng = np.random.default_rng([settings.seed, iteration])
    chosen = rng.choice(training, settings.faces + settings.others)
    sizes = {"size": net.SIZE, "scan_size": SCAN_SIZE}
    samples = [draw(faces, int(i), rng, **sizes) for i in chosen[: settings.faces]]
    samples += [draw_faceless(faces, int(i), rng, **sizes) for i in chosen[settings.faces :]]
    crops = stacked([s.crop for s in samples], device)
    scans = stacked([s.scan for s in samples], device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        log_heat, logit = net.heatmaps(crops)
        candidates = net.scan(scans)
    is_face = torch.tensor([float(s.is_face) for s in samples], device=device)
    target = torch.from_numpy(np.stack([s.points for s in samples[: settings.faces]])).to(device)
    parts = _landmark_losses(net, log_heat, target, settings.faces)
    parts["score"] = F.binary_cross_entropy_with_logits(logit, is_face)
    parts["scan"], parts["scan_box"] = _scan_losses(candidates, samples)
    loss = (
        10.0 * parts["wing"]
        + 0.15 * parts["heat"]
        + 0.02 * parts["flat"]
        + 0.2 * parts["score"]
        + 0.5 * parts["scan"]
        + 0.2 * parts["scan_box"]
    )
    loss.backward()  # type: ignore[no-untyped-call]
    return {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}}


def _landmark_losses(
    net: LandmarkNet, log_heat: Tensor, target: Tensor, faces: int
) -> dict[str, Tensor]:
    """Wing loss of the points (Feng et al. 2018, in crop widths), cross-entropy of the heatmaps
    to a Gaussian, and towards flat heatmaps where there is no face."""
    weights = target.new_ones(LANDMARK_COUNT)
    for name, indices in GROUPS.items():
        weights[list(indices)] = _WEIGHTS[name]
    points, _ = net.moments(log_heat[:faces].exp())
    low, high = float(net.grid[0]), float(net.grid[-1])
    target = target.clamp(low, high)
    distance = (points - target).abs()
    wing, curve = 0.06, 0.012
    offset = wing - wing * math.log(1 + wing / curve)
    error = torch.where(
        distance < wing, wing * torch.log1p(distance / curve), distance - offset
    ).mean(-1)
    sigma = 0.038
    gauss_x = torch.exp(-((net.grid - target[..., :1]) ** 2) / (2 * sigma**2))
    gauss_y = torch.exp(-((net.grid - target[..., 1:]) ** 2) / (2 * sigma**2))
    gauss = gauss_y[..., :, None] * gauss_x[..., None, :]
    gauss = gauss / gauss.sum((2, 3), keepdim=True)
    entropy = -(gauss * log_heat[:faces]).sum((2, 3))
    uniform = -log_heat[faces:].mean() - math.log(log_heat[0, 0].numel())
    return {
        "wing": (error * weights).mean(),
        "heat": (entropy * weights).mean(),
        "flat": uniform,
    }


def _scan_losses(candidates: Candidates, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Focal loss of the scanner's map (Lin et al. 2017) and L1 of its boxes near faces."""
    logit, box = candidates
    device = logit.device
    is_face = torch.tensor([s.is_face for s in samples], device=device)[:, None, None]
    centre = torch.from_numpy(np.stack([s.centre for s in samples])).to(device)
    size = torch.tensor([s.face_px for s in samples], device=device)
    octave = torch.log2(size / Scanner.FACE)[:, None, None]
    cells = (torch.arange(logit.shape[-1], device=device) + 0.5) * Scanner.STRIDE
    dx = (centre[:, 0, None, None] - cells[None, None, :]) / Scanner.FACE
    dy = (centre[:, 1, None, None] - cells[None, :, None]) / Scanner.FACE
    away = torch.maximum(dx.abs(), dy.abs())
    positive = is_face & (away <= 0.16) & (octave.abs() <= 0.4)
    near = is_face & (away <= 0.32) & (octave.abs() <= 0.7)
    probability = torch.sigmoid(logit)
    missed = torch.where(positive, 1 - probability, probability)
    entropy = F.binary_cross_entropy_with_logits(logit, positive.float(), reduction="none")
    balance = torch.where(positive, 1.0, 0.35)
    counted = (positive | ~near).float()
    loss = (balance * missed.square() * entropy * counted).sum() / positive.sum().clamp_min(1)
    wanted = torch.stack([dx.expand_as(away), dy.expand_as(away), octave.expand_as(away)], 1)
    distance = (box - wanted).abs().sum(1)
    box_loss = (distance * near).sum() / near.sum().clamp_min(1)
    return loss, box_loss


def evaluate(
    net: LandmarkNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Normalised mean error on faces as a detector would crop them: distance from the truth over
    the outer interocular distance, mean and median over faces, and the mean of each group."""
    device = torch.device(device)
    errors = []
    with evaluating(net):
        for first in range(0, len(indices), 50):
            part = indices[first : first + 50]
            rngs = [np.random.default_rng([seed, 1, int(i)]) for i in part]
            drawn = [plain(faces, int(i), r, size=net.SIZE) for i, r in zip(part, rngs)]
            found = net(stacked([crop for crop, _ in drawn], device)).points.cpu().numpy()
            truth = np.stack([points for _, points in drawn])
            outer = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
            errors.append(np.linalg.norm(found - truth, axis=2) / outer[:, None])
    error = np.concatenate(errors)
    by_face = error.mean(1)
    result = {"nme": float(by_face.mean()), "nme_median": float(np.median(by_face))}
    for name, group in GROUPS.items():
        result[f"nme_{name}"] = float(error[:, list(group)].mean())
    return result


def calibrate(
    net: LandmarkNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Sets the net's typical spreads, the medians over faces dressed as in training; returns how
    the score separates faces from other pictures (shares at a score of one half)."""
    device = torch.device(device)
    spreads: list[Tensor] = []
    scores: dict[bool, list[Tensor]] = {True: [], False: []}
    with evaluating(net):
        for start in range(0, len(indices), 40):
            part = indices[start : start + 40]
            rng = np.random.default_rng([seed, 2, start])
            for kind, draws in ((True, draw), (False, draw_faceless)):
                samples = [
                    draws(faces, int(i), rng, size=net.SIZE, scan_size=SCAN_SIZE) for i in part
                ]
                found = net(stacked([s.crop for s in samples], device))
                scores[kind].append(found.score)
                if kind:
                    spreads.append(found.spread)
        net.calibrate(torch.cat(spreads).median(0).values)
    return {
        "faces_kept": float((torch.cat(scores[True]) > 0.5).float().mean()),
        "others_kept": float((torch.cat(scores[False]) > 0.5).float().mean()),
    }
