"""Training of the identity network on many performers at two ages each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from vfxswap.errors import JobError
from vfxswap.nets.identity import IdentityNet, IdentitySettings
from vfxswap.settings import Settings
from vfxswap.train.face_crops import dressed_crop
from vfxswap.train.landmark_data import FaceSet
from vfxswap.train.steps import Progress, evaluating, stacked, train_steps

OCCLUDER_CHANCE = 0.2


class IdentityTraining(Settings):
    """How an identity network is trained."""

    iterations: int = Field(default=3000, ge=1, description="Optimiser steps in all.")
    performers: int = Field(default=12, ge=2, description="Performers in a batch.")
    each: int = Field(default=4, ge=2, description="Pictures of each of them.")
    rate: float = Field(default=2e-3, gt=0, description="Highest learning rate; cosine to 0.")
    temperature: float = Field(default=0.1, gt=0, description="Of the softmax over the batch.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and samples.")
    width: int = Field(default=16, ge=4, le=128, description="Width of the network.")
    length: int = Field(default=96, ge=8, le=512, description="Numbers in a descriptor.")
    save_every: int = Field(default=250, ge=1, description="Iterations between checkpoints.")


def run(
    faces: FaceSet,
    folder: Path,
    *,
    settings: IdentityTraining,
    start: IdentityNet | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> IdentityNet:
    """Trains on `faces`, from the weights of `start` if there is one, and keeps checkpoints and
    log in `folder`; resumes as `train_steps` does. Returns the network in eval mode.
    Raises JobError, CancelledError.

    Every picture of a batch must tell the others of its performer from the rest (supervised
    contrastive loss: Khosla et al. 2020).
    """
    device = torch.device(device)
    training, held_out = faces.split()
    if not len(training) or not len(held_out):
        raise JobError("too few performers to hold some out", got=len(set(faces.identity)))
    performers = np.unique(faces.identity[training])
    pictures = {who: training[faces.identity[training] == who] for who in performers}
    if start is not None:
        net = copy.deepcopy(start).requires_grad_(True)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            net = IdentityNet(IdentitySettings(width=settings.width, length=settings.length))
    net.to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=5e-4)

    def step(iteration: int) -> dict[str, float]:
        rng = np.random.default_rng([settings.seed, iteration])
        chosen = [
            int(i)
            for who in rng.choice(performers, settings.performers, replace=False)
            for i in rng.choice(pictures[who], settings.each, replace=False)
        ]
        crops = [
            dressed_crop(faces, i, rng, size=net.SIZE, occluder_chance=OCCLUDER_CHANCE).crop
            for i in chosen
        ]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found = net(stacked(crops, device))
        loss, right = _contrast(found.float(), settings)
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.item(), "right": right.item()}

    train_steps(
        net,
        optimiser,
        folder,
        iterations=settings.iterations,
        rate=settings.rate,
        save_every=settings.save_every,
        record=settings.model_dump(mode="json", exclude={"save_every"}),
        step=step,
        measure=lambda: evaluate(net, faces, held_out, seed=settings.seed, device=device),
        progress=progress,
        stop=stop,
    )
    return net


def _contrast(found: Tensor, settings: IdentityTraining) -> tuple[Tensor, Tensor]:
    """The loss of descriptors [B, L], performer by performer, and how often the nearest other
    picture is of the same one."""
    itself = torch.eye(len(found), dtype=torch.bool, device=found.device)
    owner = torch.arange(settings.performers, device=found.device).repeat_interleave(settings.each)
    alike = (found @ found.T / settings.temperature).masked_fill(itself, -1e4)
    same = (owner[:, None] == owner[None]) & ~itself
    log_share = alike - alike.logsumexp(1, keepdim=True)
    loss = -(log_share * same).sum(1) / same.sum(1)
    return loss.mean(), (owner[alike.argmax(1)] == owner).float().mean()


def evaluate(
    net: IdentityNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """How performers that training never saw are told apart, in pictures dressed as in training.

    `top1`: the nearest other picture is of the same performer (chance is about one in the number
    of performers); `top1_of_5`: the nearest of others' and own means of five pictures, for the
    mean of five other ones; `equal_error`: where as many pairs of one performer are parted as
    pairs of two are joined, at the cosine `threshold`; `same`: the cosine that one in a thousand
    pairs of two performers' means of five exceeds, and `joined` the share of own pairs above it.
    """
    device = torch.device(device)
    vectors = []
    with evaluating(net):
        for start in range(0, len(indices), 40):
            crops = [
                dressed_crop(
                    faces, int(i), np.random.default_rng([seed, 1, int(i)]), size=net.SIZE,
                    occluder_chance=OCCLUDER_CHANCE,
                ).crop
                for i in indices[start : start + 40]
            ]  # fmt: skip
            vectors.append(net(stacked(crops, device)).cpu())
    found = torch.cat(vectors)
    owner = torch.from_numpy(faces.identity[indices])
    cosine = found @ found.T
    same = owner[:, None] == owner[None]
    itself = torch.eye(len(owner), dtype=torch.bool)
    nearest = cosine.masked_fill(itself, -2.0).argmax(1)
    pairs = ~itself
    threshold, error = _equal_error(cosine[pairs & same], cosine[pairs & ~same])
    return {
        "top1": float((owner[nearest] == owner).float().mean()),
        **_of_five(found, owner),
        "equal_error": error,
        "threshold": threshold,
    }


def _equal_error(same: Tensor, other: Tensor) -> tuple[float, float]:
    parted, joined = same.sort().values, other.sort().values
    marks = torch.linspace(-1, 1, 2001)
    missed = torch.searchsorted(parted, marks) / max(1, len(parted))
    wrong = 1 - torch.searchsorted(joined, marks) / max(1, len(joined))
    at = int((missed - wrong).abs().argmin())
    return float(marks[at]), float((missed[at] + wrong[at]) / 2)


def _of_five(found: Tensor, owner: Tensor) -> dict[str, float]:
    first, second, names = [], [], []
    for name in sorted(set(owner.tolist())):
        mine = found[owner == name]
        if len(mine) >= 10:
            # Every other picture, so that both halves show both ages.
            first.append(F.normalize(mine[0::2][:5].mean(0), dim=0))
            second.append(F.normalize(mine[1::2][:5].mean(0), dim=0))
            names.append(name)
    if len(names) < 2:
        return {"top1_of_5": 0.0, "same": 1.0, "joined": 0.0}
    cosine = torch.stack(first) @ torch.stack(second).T
    own = torch.eye(len(names), dtype=torch.bool)
    same = float(cosine[~own].quantile(0.999))
    return {
        "top1_of_5": float((cosine.argmax(1) == torch.arange(len(names))).float().mean()),
        "same": same,
        "joined": float((cosine[own] > same).float().mean()),
    }
