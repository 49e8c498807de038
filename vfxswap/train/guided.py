"""Training of the guided pair: adversarial and unpaired with the mirrored generator as published,
and with an optional supervised term on rendered truth.

Published (seed 000, Fig. 4 and 5): a judge tells changed pictures from pictures of *other*
performers that have those characteristics; the mirrored generator must reconstruct the input,
which a judge of its own compares. The supervised term is this project's addition: it knows the
exact displacement, gain and frames of each sample. A card states which weights it had.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from vfxswap import color
from vfxswap.nets.guided import (
    Guided,
    GuidedJudge,
    GuidedNetSettings,
    GuidedPair,
    applied,
    displaced,
)
from vfxswap.nets.guided_vector import lenses
from vfxswap.ops.normalise import GAIN
from vfxswap.settings import Settings
from vfxswap.train.guided_batch import Batch, collated, draw, fixed, inverse_field
from vfxswap.train.guided_data import GuidedSet
from vfxswap.train.steps import Progress, evaluating, train_steps

if TYPE_CHECKING:
    from collections.abc import Iterator


_WEIGHTS: Final = {"moved": 1.0, "moved_back": 1.0, "lit": 8.0, "unlit": 8.0, "frames": 1.0}
"""Of the supervised losses: a hundredth in light counts like a tenth of a pixel at 8 dpt."""


class GuidedTraining(Settings):
    """How a guided pair is trained."""

    iterations: int = Field(default=20_000, ge=1, description="Optimiser steps in all.")
    batch: int = Field(default=8, ge=2, description="Samples in a step.")
    rate: float = Field(default=1e-3, gt=0, description="Highest learning rate; cosine to 0.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and samples.")
    width: int = Field(default=16, ge=4, le=256, description="Width of the networks.")
    blocks: int = Field(default=3, ge=1, le=12, description="Residual blocks.")
    adversarial: float = Field(default=0.1, ge=0, description="Weight of the judges' term.")
    reconstruction: float = Field(
        default=1.0, ge=0, description="Weight of the mirrored pair's reconstruction."
    )
    supervised: float = Field(
        default=0.0, ge=0, description="Weight of rendered truth; 0 trains unpaired, as published."
    )
    mirror_every: int = Field(
        default=1, ge=1, description="The judges' and the mirrored terms enter every n-th step."
    )
    half: bool = Field(default=True, description="bfloat16 autocast.")
    save_every: int = Field(default=250, ge=1, description="Iterations between checkpoints.")


class Trained(nn.Module):
    """All that a checkpoint holds: the pair and its judges."""

    def __init__(self, settings: GuidedNetSettings) -> None:
        super().__init__()
        self.pair = GuidedPair(settings)
        self.judge = GuidedJudge(settings)
        self.judge_back = GuidedJudge(settings)


def run(
    data: GuidedSet,
    folder: Path,
    *,
    settings: GuidedTraining,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> GuidedPair:
    """Trains on `data` and keeps checkpoints, log and previews in `folder`; resumes as
    `train_steps` does. Returns the pair in eval mode. Raises JobError, CancelledError."""
    device = torch.device(device)
    training, held_out = data.split()
    nets = fresh(settings).to(device)
    optimiser = torch.optim.AdamW(nets.parameters(), lr=settings.rate, weight_decay=1e-4)

    def measure() -> dict[str, float]:
        folder.mkdir(parents=True, exist_ok=True)
        write_preview(folder / "preview.png", nets.pair, data, held_out[:5], device)
        with evaluating(nets):
            batch = moved(draw(data, held_out[:32], np.random.default_rng(1)), device)
            losses = supervised_losses(nets.pair, batch)
        return {f"held_out_{name}": value.item() for name, value in losses.items()}

    train_steps(
        nets,
        optimiser,
        folder,
        iterations=settings.iterations,
        rate=settings.rate,
        save_every=settings.save_every,
        record={**settings.model_dump(mode="json", exclude={"save_every"}), "samples": len(data)},
        step=lambda iteration: step(nets, data, training, iteration, settings, device),
        measure=measure,
        progress=progress,
        stop=stop,
    )
    return nets.pair


def fresh(settings: GuidedTraining) -> Trained:
    """Untrained networks, their weights by the seed."""
    shape = GuidedNetSettings(width=settings.width, blocks=settings.blocks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Trained(shape)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    return Batch(*(tensor.to(device) for tensor in batch))


def step(
    nets: Trained,
    data: GuidedSet,
    training: NDArray[np.int64],
    iteration: int,
    settings: GuidedTraining,
    device: torch.device,
) -> dict[str, float]:
    """Gradients of one step, by seed and number alone; the losses."""
    rng = np.random.default_rng([settings.seed, iteration])
    batch = moved(draw(data, rng.choice(training, settings.batch), rng), device)
    losses: dict[str, Tensor] = {}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.half):
        if settings.supervised > 0:
            found = supervised_losses(nets.pair, batch)
            losses.update(found)
            total = settings.supervised * sum(_WEIGHTS[n] * loss for n, loss in found.items())
            assert isinstance(total, Tensor)
            total.backward()  # type: ignore[no-untyped-call]
        mirrored = settings.adversarial > 0 or settings.reconstruction > 0
        if mirrored and iteration % settings.mirror_every == 0:
            losses.update(_mirrored_step(nets, batch, settings))
    return {name: value.item() for name, value in losses.items()}


def supervised_losses(pair: GuidedPair, batch: Batch) -> dict[str, Tensor]:
    """How far the generators are from rendered truth, both ways."""
    plain = color.to_net(batch.plain)
    area = torch.ones_like(batch.face)
    guided = pair.add(plain, batch.vector, area)
    weight = 0.15 + batch.face
    losses = {
        "moved": _moved(
            guided.displacement,
            batch.displacement,
            batch.known * (0.3 + batch.lenses),
            batch.vector,
        ),
        "lit": _light_error(
            batch.plain * guided.gain + guided.offset, batch.plain * batch.gain, weight
        ),
        "frames": _frames_error(guided, batch, plain),
    }
    # Half of the time real lenses in real frames, half lenses without an edge and light.
    real = (torch.arange(len(plain), device=plain.device) % 2 == 0).view(-1, 1, 1, 1)
    vector = torch.where(real[:, :, 0, 0], batch.worn_vector, batch.vector)
    shown = torch.where(real, batch.worn, batch.changed)
    through = torch.where(real, batch.worn_displacement, batch.displacement)
    seen = torch.where(real, (batch.lenses > 0.5).float(), batch.known)
    back = inverse_field(through * seen)
    inside = displaced(seen, back) * (back.norm(dim=1, keepdim=True) < 8)
    removed = pair.remove(color.to_net(shown), vector, area)
    losses["moved_back"] = _moved(removed.displacement, back, inside, vector)
    lit = (~real).float()
    undone = batch.plain * batch.gain * removed.gain + removed.offset
    losses["unlit"] = _light_error(undone, batch.plain, weight * lit * (1 - batch.frames[:, 3:]))
    return losses


def _moved(found: Tensor, truth: Tensor, known: Tensor, vector: Tensor) -> Tensor:
    """Mean length of the error in pixels where truth is known, over the lenses' strength."""
    strength = lenses(vector).power.norm(dim=1) + 0.05
    error = (found - truth).abs().sum(1, keepdim=True) * known
    mean = error.sum((1, 2, 3)) / (known.sum((1, 2, 3)) + 1.0)
    scaled: Tensor = mean / strength
    return scaled.mean()


def _light_error(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean difference in net space, stretched as networks see it."""
    error = (color.to_net(found) - color.to_net(truth)).abs().mean(1, keepdim=True)
    mean: Tensor = GAIN * (error * weight).sum() / (weight.sum() + 1.0)
    return mean


def _frames_error(guided: Guided, batch: Batch, plain: Tensor) -> Tensor:
    """Of cover and colour, for samples whose frames the generator is to draw."""
    level = color.from_net(plain.mean((2, 3), keepdim=True)) + 1e-3
    found, wanted = guided.frames[:, 3:], batch.frames[:, 3:]
    both, either = (x.sum((1, 2, 3)) for x in (found * wanted, found + wanted))
    # Frames are thin: by absolute errors alone, drawing nothing would be near enough (Dice loss:
    # Milletari, Navab & Ahmadi 2016); and from drawing nothing only the entropy leads back, whose
    # gradient does not vanish with the cover.
    overlap = 1 - 2 * both / (either + 1.0)
    sure = found.clamp(1e-4, 1 - 1e-4)
    entropy = -(wanted * sure.log() + (1 - wanted) * (1 - sure).log())
    cover = entropy.mean((1, 2, 3))
    paint = (guided.frames[:, :3] - batch.frames[:, :3]).abs() / level
    paint = paint.clamp(max=4).mean((1, 2, 3))
    each: Tensor = (10 * cover + 3 * paint + 2 * overlap) * batch.drawn
    return each.mean()


def _mirrored_step(nets: Trained, batch: Batch, settings: GuidedTraining) -> dict[str, Tensor]:
    """Adds the gradients of the unpaired terms: nothing here knows a sample's own truth."""
    pair, area = nets.pair, torch.ones_like(batch.face)
    plain = color.to_net(batch.plain)
    guided = pair.add(plain, batch.vector, area)
    changed = applied(plain, guided)
    removed = pair.remove(changed, batch.vector, area)
    again = applied(changed, removed, inverse=True)
    # Under frames there is nothing to reconstruct from.
    clear = 1 - guided.frames[:, 3:].detach()
    losses = {"again": GAIN * ((again - plain).abs() * clear).mean()}
    total: Tensor = settings.reconstruction * losses["again"]
    # Other performers with the same characteristics: the next sample's truth with its own vector.
    real = color.to_net(batch.changed).roll(1, 0)
    real_vector = batch.vector.roll(1, 0)
    if settings.adversarial > 0:
        with _frozen(nets.judge), _frozen(nets.judge_back):
            fooled = -nets.judge(changed, batch.vector).mean()
            fooled = fooled - nets.judge_back(again, batch.vector).mean()
        losses["fooled"] = fooled
        total = total + settings.adversarial * fooled
    total.backward()  # type: ignore[no-untyped-call]
    if settings.adversarial > 0:
        judged = _hinge(
            nets.judge(real, real_vector),
            # A true picture with another's vector is as wrong (Reed et al. 2016).
            nets.judge(changed.detach(), batch.vector),
            nets.judge(real, batch.vector),
        ) + _hinge(
            nets.judge_back(plain.roll(1, 0), real_vector),
            nets.judge_back(again.detach(), batch.vector),
        )
        judged.backward()  # type: ignore[no-untyped-call]
        losses["judged"] = judged
    return {name: value.detach() for name, value in losses.items()}


def _hinge(real: Tensor, *fake: Tensor) -> Tensor:
    """Hinge loss of a judge (Lim & Ye 2017)."""
    wrong = torch.stack([F.relu(1 + scores).mean() for scores in fake]).mean()
    return F.relu(1 - real).mean() + wrong


@contextmanager
def _frozen(net: nn.Module) -> Iterator[None]:
    """Gradients pass through the net but not into its weights."""
    net.requires_grad_(False)
    try:
        yield
    finally:
        net.requires_grad_(True)


def write_preview(
    path: Path, pair: GuidedPair, data: GuidedSet, indices: NDArray[np.int64], device: torch.device
) -> None:
    """A sheet: plain, changed truth, changed by the network, taken back, displacement of both."""
    rows = [fixed(data, int(i), field=0, lights={0: 0.8}) for i in indices]
    batch = moved(collated(rows), device)
    with evaluating(pair):
        area = torch.ones_like(batch.face)
        plain = color.to_net(batch.plain)
        guided = pair.add(plain, batch.vector, area)
        cut = guided._replace(displacement=guided.displacement * batch.known)
        changed = applied(plain, cut)
        removed = pair.remove(color.to_net(batch.changed), batch.vector, area)
        removed = removed._replace(displacement=removed.displacement * batch.known)
        again = applied(color.to_net(batch.changed), removed, inverse=True)
    fields = [
        (0.5 + d[:, :1] / 6).expand(-1, 3, -1, -1)
        for d in (batch.displacement, cut.displacement, removed.displacement)
    ]
    shown = [x * 1.5 - 0.1 for x in (plain, color.to_net(batch.changed), changed, again)] + fields
    sheet = torch.cat(list(torch.cat(shown, 3)), 1).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(sheet[..., ::-1] * 255).astype(np.uint8))
