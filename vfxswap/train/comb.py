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

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from vfxswap.errors import JobError
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
from vfxswap.train.expression import LandmarkReader, part_loss, readings
from vfxswap.train.losses import level_loss
from vfxswap.train.parallel import ALONE, Ranks
from vfxswap.train.schedule import CombTraining, Moment, moment

_DRAW, _ORDER, _INIT = 1, 2, 3


class CombTrainer:
    """A comb on its way: network, optimiser and the iteration it has reached.

    Whatever an iteration does depends on seed, settings, crops and its number alone, so a resumed
    training equals an unbroken one bit for bit (same device, thread count and versions).
    """

    def __init__(
        self,
        training: CombTraining,
        crops: CropSet,
        personas: tuple[str, ...],
        device: str = "cpu",
        *,
        start: Comb | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """`personas` get a decoder each; the crops' other roles are encoded in paired training.

        `start` is a trained comb of level `training.first_level`: its encoder and trunk are taken
        over, and its decoders where they have a persona's name; other personas begin as copies of
        its first. It is not changed. `ranks` share each batch. Raises JobError when it does not
        fit, and when the crops lack a persona, are of another size, not finite, or not paired.
        """
        if missing := [p for p in personas if p not in crops.roles]:
            raise JobError("the crops lack a persona", wanted=", ".join(missing))
        if training.paired and not crops.paired:
            raise JobError("paired training needs paired crops", got="unpaired footage")
        if crops.crop_size != 4 << training.level:
            raise JobError(
                "the crops are of another size", got=crops.crop_size, wanted=4 << training.level
            )
        if start is None and training.first_level > 0:
            raise JobError("a first level above 0 needs a comb to start from",
                           got=training.first_level)  # fmt: skip
        if start is not None:
            _check_start(training, start)
        _check_finite(crops)
        self._start, self.ranks = start, ranks
        self.training, self.crops, self.personas = training, crops, personas
        self.device = torch.device(device)
        self.iteration = 0
        self.losses: dict[str, float] = {}
        self.reader: LandmarkReader | None = None
        self._build(training.first_level)

    def step(self) -> None:
        """One iteration. Raises JobError when the loss is not finite; nothing is changed then."""
        now = self.moment(self.iteration)
        if now.level > self.comb.level:
            self._grow(now.level)
        for group in self.optimiser.param_groups:
            group["lr"] = now.learning_rate
        if self.training.paired:
            losses = [self._paired_loss(p, k, now) for k, p in enumerate(self.personas)]
            values = self._update(torch.stack(losses))
            self.losses = dict(zip(self.personas, values, strict=True))
        else:
            order = torch.randperm(
                len(self.personas), generator=seeded(self.training.seed, _ORDER, self.iteration)
            )
            for k in order.tolist():
                persona = self.personas[k]
                loss = self._own_loss(persona, k, now)
                (self.losses[persona],) = self._update(loss[None])
        self.iteration += 1

    def moment(self, iteration: int) -> Moment:
        """The schedule at an iteration."""
        return moment(self.training, iteration)

    @property
    def total_iterations(self) -> int:
        """How many iterations make a whole training."""
        return self.training.total_iterations

    def iterations_left(self) -> tuple[tuple[int, int], ...]:
        """Levels still to be trained, the one in hand first, and iterations of each."""
        left, before = [], 0
        for level in range(self.training.first_level, self.training.level + 1):
            last = level == self.training.level
            end = self.total_iterations if last else before + self.training.level_iterations(level)
            if end > self.iteration:
                left.append((level, end - max(before, self.iteration)))
            before = end
        return tuple(left)

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint; see `checkpoint.save_checkpoint`."""
        return save_checkpoint(
            folder,
            self._learned,
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
            folder, self._learned, self.optimiser, settings=self._identity()
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
            "level": self.training.first_level,
            "width": self.training.width,
            "latent": self.training.latent,
        }
        settings = validated(CombSettings, shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            self.comb = Comb(settings)
        if self.training.landmark_weight > 0:
            self.reader = LandmarkReader(settings.latent_channels, self._sample_readings())
        if self._start is not None:
            _take_over(self._start, self.comb)
        self._placed()
        for each in range(self.training.first_level + 1, level + 1):
            self._grow(each)

    def _grow(self, level: int) -> None:
        while self.comb.level < level:
            with torch.random.fork_rng(devices=[]):
                generator = seeded(self.training.seed, _INIT, self.comb.level + 1)
                torch.manual_seed(generator.initial_seed())
                self.comb.grow(self.comb.level + 1)
        self._placed()

    def _placed(self) -> None:
        self.comb.recompute_from = self.training.recompute_from
        self.comb.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.reader is not None:
            self.reader.to(self.device)
        self.optimiser = torch.optim.Adam(
            list(self._learning()),
            lr=self.training.learning_rate,
            betas=(0.9, 0.99),
            fused=self.device.type in ("cpu", "cuda"),
        )
        for parameter in self.comb.parameters():
            parameter.grad = None

    def _learning(self) -> Iterator[nn.Parameter]:
        return self._learned.parameters()

    @property
    def _learned(self) -> nn.Module:
        """What a checkpoint keeps."""
        if self.reader is None:
            return self.comb
        return nn.ModuleDict({"comb": self.comb, "reader": self.reader})

    def _identity(self) -> dict[str, object]:
        known: dict[str, object] = {
            "training": self.training.model_dump(mode="json"),
            "personas": list(self.personas),
        }
        return known if self._start is None else {**known, "start": fingerprint(self._start)}

    def _sample_readings(self) -> Tensor:
        """Readings of up to 2000 crops of each role, unmoved."""
        found = []
        for crops in self.crops.roles.values():
            points = crops.points[:2000]
            centred = placements(len(points), None, seeded(0))
            found.append(readings(points, centred, stored_px=crops.pixels.shape[-1]))
        return torch.cat(found)

    def _own_loss(self, persona: str, number: int, now: Moment) -> Tensor:
        """Eq. 1 or 2 of a batch of the persona's own crops: D_p(E(x_p)) against x_p."""
        generator = seeded(self.training.seed, _DRAW, self.iteration, number)
        crops = self.crops.roles[persona]
        count = now.batch
        index = torch.randint(len(crops), (count,), generator=generator)
        placement = placements(count, self.training.jitter, generator)
        part = self.ranks.share(count)
        index, placement = index[part], placement[part]
        own = cut(crops, index, placement, size=self.crops.crop_size)
        wanted = readings(crops.points[index], placement, stored_px=crops.pixels.shape[-1])
        contrast = contrasts(count, self.training.jitter, generator)[part]
        loss = self._loss(own, own, wanted, contrast, persona, now, generator)
        return loss * (len(index) / count)

    def _paired_loss(self, persona: str, number: int, now: Moment) -> Tensor:
        """A batch of performances by anyone (persona or guest) against the persona's own."""
        generator = seeded(self.training.seed, _DRAW, self.iteration, number)
        others = sorted(set(self.crops.roles) - set(self.personas))
        roles = [self.crops.roles[p] for p in (*self.personas, *others)]
        count = now.batch
        index = torch.randint(len(roles[0]), (count,), generator=generator)
        which = torch.randint(len(roles), (count,), generator=generator)
        placement = placements(count, self.training.jitter, generator)
        part = self.ranks.share(count)
        index, which, placement = index[part], which[part], placement[part]
        size = self.crops.crop_size
        target = cut(self.crops.roles[persona], index, placement, size=size)
        given = cut_mixed(roles, which, index, placement, size=size)
        points = torch.stack([roles[w].points[i] for w, i in zip(which, index, strict=True)])
        wanted = readings(points, placement, stored_px=roles[0].pixels.shape[-1])
        contrast = contrasts(count, self.training.jitter, generator)[part]
        loss = self._loss(given, target, wanted, contrast, persona, now, generator)
        return loss * (len(index) / count)

    def _loss(
        self,
        given: Batch,
        target: Batch,
        wanted: Tensor,
        contrast: Tensor,
        persona: str,
        now: Moment,
        generator: torch.Generator,
    ) -> Tensor:
        size = 4 << now.level
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
            each = error.mean((1, 2, 3)) / places.mean((1, 2, 3))
            loss = loss + self.training.pixel_weight * each.mean()
        if self.training.part_weight > 0:
            loss = loss + self.training.part_weight * part_loss(y, decoded)
        if self.reader is not None:
            read = self.reader.loss(z, wanted.to(self.device))
            loss = loss + self.training.landmark_weight * read
        return loss

    def _update(self, losses: Tensor) -> list[float]:
        """A step by the mean of losses [K], of which this process has its share; the losses."""
        whole = self.ranks.total(losses.detach())
        if not bool(torch.isfinite(whole).all()):
            raise JobError(
                f"the loss is not finite at iteration {self.iteration}", got=whole.tolist()
            )
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.mean())
        self.ranks.add_gradients(self._learning())
        self.optimiser.step()
        values: list[float] = whole.tolist()
        return values

    def _sized(self, batch: Batch, size: int) -> Batch:
        return Batch(*(_pooled(t, size) for t in (batch.pixels, batch.polygon, batch.face)))


def fingerprint(comb: Comb) -> str:
    """Hash of all weights of a comb."""
    digest = hashlib.sha256()
    for name, value in sorted(comb.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _check_finite(crops: CropSet) -> None:
    for role, each in crops.roles.items():
        for start in range(0, len(each), 256):
            part = each.pixels[start : start + 256]
            bad = (~torch.isfinite(part).flatten(1).all(1)).nonzero().flatten()
            if len(bad):
                found = ", ".join(str(start + int(i)) for i in bad[:5])
                raise JobError(f"crops of {role} have pixels that are not finite",
                               got=f"crop {found}")  # fmt: skip


def _check_start(training: CombTraining, start: Comb) -> None:
    asked = (training.first_level, training.width, training.latent)
    shape = start.settings
    if asked != (shape.level, shape.width, shape.latent):
        raise JobError("the comb to start from is of another shape (level, width, latent)",
                       got=(shape.level, shape.width, shape.latent), wanted=asked)  # fmt: skip


def _take_over(start: Comb, comb: Comb) -> None:
    comb.encoder.load_state_dict(start.encoder.state_dict())
    comb.trunk.load_state_dict(start.trunk.state_dict())
    for persona in comb.settings.personas:
        like = persona if persona in start.settings.personas else start.settings.personas[0]
        comb.load_decoder(persona, start.decoder_state(like))


def _pooled(image: Tensor, size: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(image, image.shape[-1] // size)
