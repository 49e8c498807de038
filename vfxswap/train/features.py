"""Training of a feature network: reconstruction, naming parts, transfers with truth, realism.

A step encodes crops and generates them again. Its loss adds, each with a weight of its own:

- absolute and multi-scale structural differences; small parts of the object count more, by the
  root of their area; what is no part of the object is generated as the neutral 0.5;
- cross entropy of a 1×1 convolution that reads parts out of the activations to be clustered, so
  that clusters follow parts (0 leaves activations to themselves, as the source has it);
- of transfers with truth (`features_edits`; no such data leaves it out): the change that a
  transfer makes, and the change that encoding the truth itself makes, against the change that
  replacing the feature made in the rendering;
- the score of a discriminator (non-saturating, Goodfellow et al. 2014; R1, Mescheder et al. 2018).

What is kept is the running mean of the network's weights (Karras et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.errors import JobError
from vfxswap.nets.feature_critic import FeatureCritic
from vfxswap.nets.feature_math import (
    channel_map,
    interpolation_vector,
    pair_map,
    transferred,
)
from vfxswap.nets.features import FeatureNet, FeatureSettings, Generated
from vfxswap.nets.layers import conv
from vfxswap.settings import Settings
from vfxswap.train.crops import Jitter, dressed, seeded
from vfxswap.train.features_data import BACKGROUND, Draw, PartCrops
from vfxswap.train.features_edits import Edits, EditSet
from vfxswap.train.features_measure import measured, write_preview
from vfxswap.train.losses import ms_ssim
from vfxswap.train.steps import Progress, train_steps

NEUTRAL = 0.5
"""What is generated where the object is not."""
_ADAM = (0.9, 0.99)
_GRAIN = Jitter(noise=0.01, blur_share=0.2)
"""How inputs are dressed; targets stay clean."""
_SLIGHT = 0.02
"""Root mean square of a wanted change, in the normalised space, below which it counts less."""
_MEASURED = 96
_SHOWN = 12


class FeatureTraining(Settings):
    """How a feature network is trained."""

    iterations: int = Field(default=3000, ge=1, description="Optimiser steps in all.")
    crops: int = Field(default=16, ge=2, description="Crops in a batch.")
    rate: float = Field(default=1.5e-3, gt=0, description="Highest learning rate; cosine to 0.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and samples.")
    save_every: int = Field(default=200, ge=1, description="Iterations between checkpoints.")
    reach_px: int = Field(default=1, ge=0, description="Pixels that crops are moved by at most.")
    mirror: bool = Field(default=True, description="Mirror half of the crops and transfers.")
    structure: float = Field(
        default=0.5, ge=0, description="Weight of structural beside absolute differences."
    )
    parts: float = Field(
        default=0.05, ge=0, description="Weight of reading parts out of activations."
    )
    edits: float = Field(
        default=0.0, ge=0, description="Weight of transfers with truth; needs such data."
    )
    seeing: float = Field(
        default=0.0,
        ge=0,
        description="Weight of encoding truths of transfers, beside `edits`: how far the "
        "difference of two reconstructions is the difference that one feature made.",
    )
    edit_pairs: int = Field(default=8, ge=1, description="Transfers in a batch.")
    temperature: float = Field(
        default=0.1, gt=0, description="Of the softmax by which transfers in training are made."
    )
    critic: float = Field(default=0.0, ge=0, description="Weight of the discriminator's score.")
    critic_width: int = Field(default=16, ge=2, description="Its channels at the crop's size.")
    r1: float = Field(default=0.5, ge=0, description="Weight of its gradient penalty.")
    r1_every: int = Field(default=8, ge=1, description="Iterations between gradient penalties.")
    average: float = Field(
        default=0.995, ge=0, lt=1, description="How much of the running mean a step keeps."
    )


class Learner(nn.Module):
    """All that a training changes: the network, its running mean, what reads parts out of
    activations, and the discriminator."""

    def __init__(self, net: FeatureNet, parts: int, critic: FeatureCritic) -> None:
        super().__init__()
        self.net = net
        self.average = deepcopy(net).requires_grad_(False)
        self.reader = conv(len(net.cluster_mean), parts, 1, gain=1.0)
        self.critic = critic

    @torch.no_grad()
    def keep(self, share: float) -> None:
        """Moves the running mean towards the network."""
        for mean, weight in zip(self.average.parameters(), self.net.parameters()):
            mean.lerp_(weight, 1 - share)


def run(
    data: PartCrops,
    folder: Path,
    *,
    training: FeatureTraining,
    shape: FeatureSettings,
    edits: EditSet | None = None,
    start: FeatureNet | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> FeatureNet:
    """Trains on crops and keeps checkpoints, log and previews in `folder`; resumes as
    `train_steps` does. `start` gives the first weights. Returns the running mean in eval mode,
    its clusters not fitted yet. Raises JobError, CancelledError."""
    device = torch.device(device)
    _check(data, training, shape, edits)
    if training.edits + training.seeing == 0:
        edits = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        net = FeatureNet(shape)
        if start is not None:
            net.load_state_dict(start.state_dict())
        critic = FeatureCritic(shape.crop_size, width=training.critic_width)
        learner = Learner(net, len(data.parts), critic)
        learner.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    critics = list(learner.critic.parameters()) if training.critic > 0 else []
    optimiser = torch.optim.Adam(
        [
            {"params": [*learner.net.parameters(), *learner.reader.parameters()], "betas": _ADAM},
            *([{"params": critics, "betas": (0.0, 0.99)}] if critics else []),
        ],
        lr=training.rate,
    )
    indices, held_out = data.split()
    weights = part_weights(data, indices).to(device)

    def step(iteration: int) -> dict[str, float]:
        return _step(learner, data, indices, weights, edits, iteration, training, device)

    def measure() -> dict[str, float]:
        write_preview(folder / "preview.png", learner.average, data, held_out[:_SHOWN])
        return measured(learner.average, data, held_out[:_MEASURED])

    train_steps(
        learner,
        optimiser,
        folder,
        iterations=training.iterations,
        rate=training.rate,
        save_every=training.save_every,
        record={
            **training.model_dump(mode="json", exclude={"save_every"}),
            "shape": shape.model_dump(mode="json", exclude={"lasting"}),
        },
        step=step,
        measure=measure,
        progress=progress,
        stop=stop,
    )
    return learner.average.eval()


def part_weights(data: PartCrops, indices: NDArray[np.int64]) -> Tensor:
    """[parts] how much a place of each part counts: by the root of the mean share of the picture
    that the others have more, so small parts are not drowned; 1 on average over all places."""
    sample = data.labels[torch.from_numpy(indices[:: max(1, len(indices) // 500)])]
    shares = torch.bincount(sample.flatten().int(), minlength=len(data.parts)).float()
    shares = shares / shares.sum()
    weights = shares.clamp_min(1e-4).rsqrt()
    return weights / (weights * shares).sum()


def target_of(draw: Draw) -> Tensor:
    """What is to be generated: the crops before the neutral background."""
    return torch.where((draw.labels == BACKGROUND)[:, None], NEUTRAL, draw.crops)


def _check(
    data: PartCrops, training: FeatureTraining, shape: FeatureSettings, edits: EditSet | None
) -> None:
    if data.crop_size != shape.crop_size:
        raise JobError("crops of another size", got=data.crop_size, wanted=shape.crop_size)
    if training.edits + training.seeing > 0 and edits is None:
        raise JobError(
            "no transfers with truth to train on", wanted="their data, or edits = seeing = 0"
        )
    if not all(len(part) for part in data.split()):
        raise JobError("too few identities to hold some out", got=len(set(data.identity)))


def _step(
    learner: Learner,
    data: PartCrops,
    indices: NDArray[np.int64],
    weights: Tensor,
    edits: EditSet | None,
    iteration: int,
    training: FeatureTraining,
    device: torch.device,
) -> dict[str, float]:
    learner.keep(min(training.average, 1 - 1 / (iteration + 1)))
    rng = np.random.default_rng([training.seed, iteration])
    chosen = rng.choice(indices, training.crops)
    draw = data.moved(chosen, rng, reach_px=training.reach_px, mirror=training.mirror)
    grain = seeded(training.seed, 1, iteration)
    crops, target, labels = dressed(draw.crops, _GRAIN, grain), target_of(draw), draw.labels
    batch = None
    if edits is not None:
        batch = edits.drawn(rng, training.edit_pairs, mirror=training.mirror)
        crops = torch.cat([crops, batch.source, batch.reference, batch.changed])
        target = torch.cat([target, batch.target, batch.reference_target, batch.truth])
        labels = torch.cat([labels, batch.memberships.argmax(1)])
    crops, target, labels = crops.to(device), target.to(device), labels.to(device)
    weight = weights[labels][:, None]
    sigma, generated = _generated(learner.net, crops)
    fake, real = generated.picture, target
    losses = {"pixels": ((fake - target).abs() * weight).mean()}
    losses["structure"] = training.structure * (1 - ms_ssim(fake, target, weight=weight).mean())
    losses["parts"] = training.parts * _reading(learner, generated, labels, weights)
    if batch is not None:
        batch = Edits(*(each.to(device) for each in batch))
        error, unseen, moved = _edited(learner.net, batch, sigma, generated, training)
        losses["edits"] = training.edits * error
        losses["seeing"] = training.seeing * unseen
        fake, real = torch.cat([fake, moved]), torch.cat([real, batch.truth])
    if training.critic > 0:
        learner.critic.requires_grad_(False)
        losses["critic"] = training.critic * F.softplus(-learner.critic(fake)).mean()
        learner.critic.requires_grad_(True)
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    if training.critic > 0:
        losses["judging"] = _judged(learner.critic, real, fake.detach(), iteration, training)
    return {name: loss.item() for name, loss in losses.items()}


def _generated(net: FeatureNet, crops: Tensor) -> tuple[Tensor, Generated]:
    with torch.autocast(crops.device.type, torch.bfloat16):
        sigma = net.encode(crops.contiguous(memory_format=torch.channels_last)).float()
        generated = net.generate(sigma)
    return sigma, generated._replace(picture=generated.picture.float())


def _reading(learner: Learner, generated: Generated, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of the parts read out of the activations to be clustered."""
    activations = generated.activations[learner.net.settings.cluster_layer].float()
    logits = learner.reader(activations)
    size = logits.shape[-2:]
    small = F.interpolate(labels[:, None].float(), size=size, mode="nearest")[:, 0].long()
    return F.cross_entropy(logits, small, weight=weights)


def _edited(
    net: FeatureNet, batch: Edits, sigma: Tensor, plain: Generated, training: FeatureTraining
) -> tuple[Tensor, Tensor, Tensor]:
    """Against truth the loss of transfers, `wrong_energy`, and that of encoding the truths,
    `unseen_energy`; and the pictures of the transfers.

    `sigma` and `plain` end with those of the batch's sources, references, then truths.
    """
    count = len(batch.source)
    sources, references, truths = (
        slice(-3 * count, -2 * count), slice(-2 * count, -count), slice(-count, None),
    )  # fmt: skip
    pair = slice(-3 * count, -count)
    maps = channel_map([a[pair] for a in plain.activations], batch.memberships[: 2 * count])
    q = interpolation_vector(
        pair_map(maps[:count], maps[count:]),
        temperature=training.temperature,
        layers=net.layers,
    )
    chosen = q[torch.arange(count, device=q.device), batch.feature]
    with torch.autocast(sigma.device.type, torch.bfloat16):
        moved = net.generate(transferred(sigma[sources], sigma[references], chosen)).picture
    moved = moved.float()
    before = plain.picture[sources]
    wrong = wrong_energy(moved - before, batch.change, batch.region).mean()
    unseen = unseen_energy(plain.picture[truths] - before, batch.change, batch.region).mean()
    return wrong, unseen, moved


def wrong_energy(change: Tensor, wanted: Tensor, region: Tensor) -> Tensor:
    """[B]: energy of what changes [B, 3, S, S] do wrong anywhere over the energy of those wanted,
    so a nose, which changes little, counts as much as hair: 0 is the truth, 1 doing nothing.

    Wanted changes of less than 0.02 on average over their region [B, 1, S, S] count less.
    """
    wrong = (change - wanted).square().mean(1).sum((1, 2))
    slight = _SLIGHT**2 * region.sum((1, 2, 3)).clamp_min(1)
    return wrong / (wanted.square().mean(1).sum((1, 2)) + slight)


def unseen_energy(change: Tensor, wanted: Tensor, region: Tensor) -> Tensor:
    """[B]: `wrong_energy` of the region alone. Beside it reconstructions are free: a hairline that
    trembles has more energy than a nose, and would be blurred for its sake."""
    return wrong_energy(change * region, wanted, region)


def _judged(
    critic: FeatureCritic, real: Tensor, fake: Tensor, iteration: int, training: FeatureTraining
) -> Tensor:
    """A step of the discriminator's loss, backward; crops are single precision in R1."""
    with torch.autocast(real.device.type, torch.bfloat16):
        scores = critic(torch.cat([real, fake])).float()
    loss = F.softplus(-scores[: len(real)]).mean() + F.softplus(scores[len(real) :]).mean()
    if iteration % training.r1_every == 0:
        crops = real.requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(crops).sum(), crops, create_graph=True)
        penalty = slope.square().sum((1, 2, 3)).mean()
        loss = loss + 0.5 * training.r1 * training.r1_every * penalty
    torch.autograd.backward(loss)
    return loss.detach()
