"""Training of a comb: progressive levels, fader, one gradient step per persona (or paired).

Published method (comb networks, para. 33–43): levels are added one at a time; the fader α blends
a new level in (see `schedule`). One iteration shuffles the personas and takes one batch and one
gradient step for each, so shared weights get P updates and a decoder of its own one.

Options beyond the source, each off in a plain `CombTraining()`: `paired` (footage whose index i is
the same performance by every persona: any performer is encoded, the persona's own frame is the
target, one gradient step an iteration), `pixel_weight` (absolute differences beside similarity),
`surroundings` (a face extended beyond its matte), `feature_gain` (eyes and mouth count more).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from vfxswap.errors import CancelledError, JobError
from vfxswap.nets.comb import Comb, CombSettings
from vfxswap.ops.normalise import GAIN
from vfxswap.settings import validated
from vfxswap.train.checkpoint import load_checkpoint, newest_iteration, save_checkpoint
from vfxswap.train.crops import (
    Batch,
    CropSet,
    contrasts,
    cut,
    cut_mixed,
    dressed,
    edge_extended,
    feature_weight,
    placements,
    seeded,
)
from vfxswap.train.losses import level_loss
from vfxswap.train.schedule import CombTraining, Moment, moment

_DRAW, _ORDER, _INIT = 1, 2, 3


class CombTrainer:
    """A comb on its way: network, optimiser and the iteration it has reached.

    Whatever an iteration does depends on seed, settings, crops and its number alone, so a resumed
    training equals an unbroken one bit for bit (same device, thread count and versions).
    """

    def __init__(
        self, training: CombTraining, crops: CropSet, personas: tuple[str, ...], device: str = "cpu"
    ) -> None:
        """`personas` get a decoder each; the crops' other roles are encoded in paired training.

        Raises JobError when the crops lack a persona, are of another size, or are not paired.
        """
        if missing := [p for p in personas if p not in crops.roles]:
            raise JobError("the crops lack a persona", wanted=", ".join(missing))
        if training.paired and not crops.paired:
            raise JobError("paired training needs paired crops", got="unpaired footage")
        if crops.crop_size != 4 << training.level:
            raise JobError(
                "the crops are of another size", got=crops.crop_size, wanted=4 << training.level
            )
        self.training, self.crops, self.personas = training, crops, personas
        self.device = torch.device(device)
        self.iteration = 0
        self.losses: dict[str, float] = {}
        self._build(0)

    def step(self) -> None:
        """One iteration. Raises JobError when the loss is not finite; nothing is changed then."""
        now = self.moment(self.iteration)
        if now.level > self.comb.level:
            self._grow(now.level)
        for group in self.optimiser.param_groups:
            group["lr"] = now.learning_rate
        if self.training.paired:
            losses = [self._paired_loss(p, k, now) for k, p in enumerate(self.personas)]
            self._update(torch.stack(losses).mean())
            values = torch.stack(losses).tolist()
            self.losses = dict(zip(self.personas, values, strict=True))
        else:
            order = torch.randperm(
                len(self.personas), generator=seeded(self.training.seed, _ORDER, self.iteration)
            )
            for k in order.tolist():
                persona = self.personas[k]
                loss = self._own_loss(persona, k, now)
                self._update(loss)
                self.losses[persona] = loss.item()
        self.iteration += 1

    def moment(self, iteration: int) -> Moment:
        """The schedule at an iteration."""
        return moment(self.training, iteration)

    @property
    def total_iterations(self) -> int:
        """How many iterations make a whole training."""
        return self.training.total_iterations

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint; see `checkpoint.save_checkpoint`."""
        return save_checkpoint(
            folder,
            self.comb,
            self.optimiser,
            iteration=self.iteration,
            settings=self._identity(),
        )

    def resume(self, folder: Path) -> bool:
        """Goes on from the newest checkpoint in `folder`; False when there is none.

        Raises as `checkpoint.load_checkpoint` does.
        """
        reached = newest_iteration(folder)
        if reached == 0:
            return False
        self._build(self.moment(reached - 1).level)
        self.iteration = load_checkpoint(
            folder, self.comb, self.optimiser, settings=self._identity()
        )
        return True

    @torch.no_grad()
    def preview(self, index: int) -> Tensor:
        """[3, P·S, (P+1)·S] net space relative to the mean: a row a performer, its crop first,
        then as every persona. All of stored crop `index`."""
        now = self.moment(max(0, self.iteration - 1))
        size = 4 << now.level
        rows = []
        for performer in self.personas:
            crops = self.crops.roles[performer]
            at = torch.tensor([index % len(crops)])
            batch = self._sized(
                cut(crops, at, placements(1, None, seeded(0)), size=self.crops.crop_size), size
            )
            normal, _ = batch.normalised()
            z = self.comb.encode(normal.to(self.device), alpha=now.alpha)
            faces = [self.comb.decode(z, p, alpha=now.alpha).cpu() for p in self.personas]
            rows.append(torch.cat([normal, *faces], 3)[0])
        return (torch.cat(rows, 1) - 0.5) / GAIN

    def _build(self, level: int) -> None:
        shape = {
            "personas": self.personas,
            "level": 0,
            "width": self.training.width,
            "latent": self.training.latent,
        }
        settings = validated(CombSettings, shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            self.comb = Comb(settings)
        self._placed()
        for each in range(1, level + 1):
            self._grow(each)

    def _grow(self, level: int) -> None:
        while self.comb.level < level:
            with torch.random.fork_rng(devices=[]):
                generator = seeded(self.training.seed, _INIT, self.comb.level + 1)
                torch.manual_seed(generator.initial_seed())
                self.comb.grow(self.comb.level + 1)
        self._placed()

    def _placed(self) -> None:
        self.comb.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(
            list(self._learning()), lr=self.training.learning_rate, betas=(0.9, 0.99)
        )
        for parameter in self.comb.parameters():
            parameter.grad = None

    def _learning(self) -> Iterator[nn.Parameter]:
        return self.comb.parameters()

    def _identity(self) -> dict[str, object]:
        return {"training": self.training.model_dump(mode="json"), "personas": list(self.personas)}

    def _own_loss(self, persona: str, number: int, now: Moment) -> Tensor:
        """Eq. 1 or 2 of a batch of the persona's own crops: D_p(E(x_p)) against x_p."""
        generator = seeded(self.training.seed, _DRAW, self.iteration, number)
        crops = self.crops.roles[persona]
        count = now.batch
        index = torch.randint(len(crops), (count,), generator=generator)
        placement = placements(count, self.training.jitter, generator)
        own = cut(crops, index, placement, size=self.crops.crop_size)
        return self._loss(own, own, persona, now, generator)

    def _paired_loss(self, persona: str, number: int, now: Moment) -> Tensor:
        """A batch of performances by anyone (persona or guest) against the persona's own."""
        generator = seeded(self.training.seed, _DRAW, self.iteration, number)
        others = sorted(set(self.crops.roles) - set(self.personas))
        roles = [self.crops.roles[p] for p in (*self.personas, *others)]
        count = now.batch
        index = torch.randint(len(roles[0]), (count,), generator=generator)
        which = torch.randint(len(roles), (count,), generator=generator)
        placement = placements(count, self.training.jitter, generator)
        size = self.crops.crop_size
        target = cut(self.crops.roles[persona], index, placement, size=size)
        given = cut_mixed(roles, which, index, placement, size=size)
        return self._loss(given, target, persona, now, generator)

    def _loss(
        self, given: Batch, target: Batch, persona: str, now: Moment, generator: torch.Generator
    ) -> Tensor:
        size = 4 << now.level
        contrast = contrasts(len(given.pixels), self.training.jitter, generator)
        x = 0.5 + contrast * (given.normalised()[0] - 0.5)
        y = 0.5 + contrast * (target.normalised()[0] - 0.5)
        x = dressed(x, self.training.jitter, generator)
        matte = torch.maximum(target.face, target.polygon)
        if self.training.surroundings > 0:
            y = edge_extended(y, matte)
        x, y, matte = (_pooled(t, size).to(self.device) for t in (x, y, matte))
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.half):
            z = self.comb.encode(x, alpha=now.alpha)
            decoded = self.comb.decode(z, persona, alpha=now.alpha)
        decoded = decoded.float()
        weight = feature_weight(size, gain=now.feature_gain).to(self.device)
        loss = level_loss(
            y,
            decoded,
            matte,
            level=now.level,
            weight=weight,
            background_invariant=self.training.background_invariant,
        ).mean()
        if self.training.pixel_weight > 0:
            places = weight * torch.lerp(
                torch.full_like(matte, self.training.surroundings), matte, matte
            )
            error = (decoded - y).abs() * places
            loss = loss + self.training.pixel_weight * error.mean() / places.mean()
        return loss

    def _update(self, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise JobError(f"the loss is not finite at iteration {self.iteration}", got=loss.item())
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()

    def _sized(self, batch: Batch, size: int) -> Batch:
        return Batch(*(_pooled(t, size) for t in (batch.pixels, batch.polygon, batch.face)))


def _pooled(image: Tensor, size: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(image, image.shape[-1] // size)


def train(
    trainer: CombTrainer,
    folder: Path,
    *,
    checkpoint_every: int = 250,
    log_every: int = 20,
    preview: Callable[[CombTrainer, Path], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
) -> Comb:
    """Trains to the end, resuming what stands in `folder`; the settled comb, in eval mode.

    Writes checkpoints, `log.jsonl` (a line every `log_every` iterations) and, by `preview`, sheets
    at each checkpoint. When `stop()` turns true the iteration in hand ends, a checkpoint is
    written and CancelledError raised. Raises as `CombTrainer` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer.resume(folder)
    total = trainer.total_iterations
    began, first = time.monotonic(), trainer.iteration
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        while trainer.iteration < total:
            now = trainer.moment(trainer.iteration)
            trainer.step()
            done = trainer.iteration
            if done % log_every == 0 or done == total:
                seconds = (time.monotonic() - began) / (done - first)
                row = {
                    "iteration": done,
                    "level": now.level,
                    "alpha": round(now.alpha, 4),
                    "learning_rate": now.learning_rate,
                    "loss": {p: round(v, 5) for p, v in trainer.losses.items()},
                    "seconds_an_iteration": round(seconds, 4),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress(done, total, trainer.losses)
            cancelled = stop()
            if done % checkpoint_every == 0 or done == total or cancelled:
                trainer.save(folder)
                if preview is not None:
                    preview(trainer, folder / "preview.png")
            if cancelled and done < total:
                raise CancelledError("training was stopped; it resumes from its checkpoint")
    trainer.comb.settle()
    return trainer.comb.eval()
