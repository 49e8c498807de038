"""Training of the parsing network on rendered faces with the truth of their parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.nets.parsing import CLASSES, ParsingNet, ParsingSettings
from vfxswap.settings import Settings
from vfxswap.train.face_crops import AlignedCrop, aligned_crop, dressed_crop
from vfxswap.train.landmark_data import FaceSet
from vfxswap.train.steps import Progress, evaluating, stacked, train_steps

_WEIGHTS: Final = {
    "background": 0.6, "skin": 0.7, "brows": 2.0, "eyes": 3.0, "nose": 1.2, "lips": 2.0,
    "mouth": 3.0, "hair": 1.0, "ears": 2.0, "body": 0.8, "glasses": 2.5, "occluder": 1.5,
}  # fmt: skip
COLORS: Final = np.array(
    [
        [40, 40, 40], [214, 120, 96], [96, 60, 160], [250, 210, 60], [250, 160, 140],
        [190, 40, 70], [120, 20, 40], [70, 160, 190], [50, 70, 160], [110, 190, 120],
        [150, 150, 220], [230, 60, 230],
    ],
    np.uint8,
)  # fmt: skip
"""Of the classes in previews, sRGB."""
OCCLUDER_CHANCE: Final = 0.5


class ParsingTraining(Settings):
    """How a parsing network is trained."""

    iterations: int = Field(default=3000, ge=1, description="Optimiser steps in all.")
    faces: int = Field(default=16, ge=1, description="Faces in a batch.")
    rate: float = Field(default=2e-3, gt=0, description="Highest learning rate; cosine to 0.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and samples.")
    width: int = Field(default=16, ge=4, le=128, description="Width of the network.")
    save_every: int = Field(default=250, ge=1, description="Iterations between checkpoints.")


def run(
    data: Path,
    folder: Path,
    *,
    settings: ParsingTraining,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> ParsingNet:
    """Trains on the shards in `data` and keeps checkpoints, log and previews in `folder`; resumes
    as `train_steps` does. Returns the network in eval mode. Raises JobError, CancelledError."""
    device = torch.device(device)
    faces = FaceSet.open(data)
    training, held_out = faces.split()
    if not len(training) or not len(held_out):
        raise JobError("too few performers to hold some out", got=len(set(faces.identity)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = ParsingNet(ParsingSettings(width=settings.width))
    net.to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)

    def measure() -> dict[str, float]:
        write_preview(folder / "preview.png", net, faces, held_out[:18], settings.seed, device)
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
    return net


def _step(
    net: ParsingNet,
    faces: FaceSet,
    training: NDArray[np.int64],
    iteration: int,
    settings: ParsingTraining,
    device: torch.device,
) -> dict[str, float]:
    rng = np.random.default_rng([settings.seed, iteration])
    samples = [
        dressed_crop(faces, int(i), rng, size=net.SIZE, occluder_chance=OCCLUDER_CHANCE)
        for i in rng.choice(training, settings.faces)
    ]
    crops, truth = _batch(samples, device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits = net(crops)
    weights = torch.tensor([_WEIGHTS[name] for name in CLASSES], device=device)
    entropy = F.cross_entropy(logits, truth, weight=weights, label_smoothing=0.02)
    loss = entropy + 0.5 * _dice(logits, truth)
    loss.backward()  # type: ignore[no-untyped-call]
    return {"loss": loss.item(), "entropy": entropy.item()}


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Soft Dice loss (Milletari, Navab & Ahmadi 2016) over the classes that are there: small
    parts count as much as large ones."""
    found = logits.softmax(1)
    wanted = F.one_hot(truth, len(CLASSES)).movedim(-1, 1).float()
    both = (found * wanted).sum((0, 2, 3))
    either = found.sum((0, 2, 3)) + wanted.sum((0, 2, 3))
    there = wanted.sum((0, 2, 3)) > 0
    return (1 - 2 * both / either.clamp_min(1.0))[there].mean()


def evaluate(
    net: ParsingNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Intersection over union of each class, over all pixels of faces dressed as in training
    (`iou_…`), and of faces as they were rendered (`clean_iou_…`); `iou` is the mean of the
    former over classes."""
    device = torch.device(device)
    result = {}
    for prefix, dressed in (("", True), ("clean_", False)):
        table = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
        with evaluating(net):
            for start in range(0, len(indices), 20):
                samples = [
                    _sample(faces, int(i), net.SIZE, seed, dressed=dressed)
                    for i in indices[start : start + 20]
                ]
                crops, truth = _batch(samples, device)
                both = truth * len(CLASSES) + net(crops).argmax(1)
                counts = torch.bincount(both.flatten().cpu(), minlength=table.size)
                table += counts.numpy().reshape(table.shape)
        either = table.sum(0) + table.sum(1) - np.diag(table)
        iou = np.diag(table) / np.maximum(either, 1)
        result.update({f"{prefix}iou_{name}": float(v) for name, v in zip(CLASSES, iou)})
        result[f"{prefix}iou"] = float(iou.mean())
    return result


def write_preview(
    path: Path,
    net: ParsingNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    seed: int,
    device: torch.device,
) -> None:
    """A sheet of crops, truth and what the network says."""
    samples = [_sample(faces, int(i), net.SIZE, seed, dressed=True) for i in indices]
    with evaluating(net):
        found = net(_batch(samples, device)[0]).argmax(1).cpu().numpy()
    columns = [
        np.concatenate([_shown(s.crop), COLORS[s.labels], COLORS[parts]])
        for s, parts in zip(samples, found)
    ]
    rows = [np.concatenate(columns[i : i + 9], 1) for i in range(0, len(columns) - 8, 9)]
    cv2.imwrite(str(path), np.concatenate(rows or [np.concatenate(columns, 1)])[..., ::-1])


def _shown(crop: Pixels) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = np.rint(np.clip(crop * 1.4, 0, 1) * 255).astype(np.uint8)
    return shown


def _sample(faces: FaceSet, index: int, size: int, seed: int, *, dressed: bool) -> AlignedCrop:
    if not dressed:
        return aligned_crop(faces, index, size=size)
    rng = np.random.default_rng([seed, 1, index])
    return dressed_crop(faces, index, rng, size=size, occluder_chance=OCCLUDER_CHANCE)


def _batch(samples: list[AlignedCrop], device: torch.device) -> tuple[Tensor, Tensor]:
    truth = torch.from_numpy(np.stack([s.labels for s in samples])).to(device).long()
    return stacked([s.crop for s in samples], device), truth
