"""Training of a style network: content and Gram losses from a classifier, many styles at once.

An iteration depends on seed, settings, pictures and its number alone, so a training that was
stopped and resumed gives the weights of one that was not (same device and thread count).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from vfxswap.errors import CancelledError, JobError
from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.style import Place, StyleNet, StyleSettings
from vfxswap.settings import Settings
from vfxswap.train.checkpoint import load_checkpoint, save_checkpoint
from vfxswap.train.classifier import rate, unpacked
from vfxswap.train.crops import seeded
from vfxswap.train.style_losses import (
    StyleTarget,
    coarse,
    content_loss,
    stacked,
    style_loss,
    temporal_loss,
    total_variation,
    window_loss,
    windowed,
)
from vfxswap.train.style_motion import moved

MOVED_CELL_PX = 16
"""Cells by which the later frame of a moving pair is compared with its drawing."""
_DRAW, _CUT, _MOVE, _GRAIN = 21, 22, 23, 24


class StyleTraining(Settings):
    """How a style network is trained. Published: 40,000 steps of 16 pictures of 256 px."""

    widths: tuple[int, int, int] = Field(
        default=(32, 64, 128), description="Channels at full and half size, and in the blocks."
    )
    blocks: int = Field(default=5, ge=1, le=16, description="Residual blocks.")
    trunk: Literal[2, 4] = Field(
        default=4, description="By what the picture's side is divided in the blocks."
    )
    screens: bool = Field(
        default=False, description="The network sees still screens, as drawn counterparts do."
    )
    iterations: int = Field(default=5000, ge=1, description="Optimiser steps.")
    batch: int = Field(default=4, ge=1, description="Pictures a step, each in a style of its own.")
    crop_px: int = Field(default=96, ge=32, multiple_of=4, description="Side of the pictures.")
    rate: float = Field(default=1.5e-3, gt=0, description="Highest learning rate; cosine to 0.")
    row_rate: float = Field(
        default=5.0, gt=0, description="Learning rate of γ and β, in rates: each row learns rarely."
    )
    content_weight: float = Field(default=1.0, ge=0, description="λ_c, of the content loss.")
    style_weight: float = Field(default=2.0, ge=0, description="λ_s, of the style loss.")
    variation_weight: float = Field(default=0.0, ge=0, description="Of the total variation.")
    temporal_weight: float = Field(default=0.0, ge=0, description="Of the temporal term.")
    pairs: bool = Field(
        default=False,
        description="Draw moving pairs also where the temporal weight is 0: a control.",
    )
    content_layers: tuple[str, ...] = Field(
        default=("relu3_2",), description="Features of the classifier that content is judged by."
    )
    content_grey: bool = Field(
        default=True, description="Judge content by its light alone: colour is the style's."
    )
    style_layers: tuple[str, ...] = Field(
        default=("pixels", "relu1_2", "relu2_2", "relu3_2", "relu4_2"),
        description="Features whose Gram matrices are the style.",
    )
    windows: int = Field(
        default=2, ge=1, description="Gram matrices a side, where the drawn counterpart is known."
    )
    cell_px: int = Field(
        default=8, ge=1, description="Cells whose mean features content is compared by there."
    )
    cell_layers: tuple[str, ...] = Field(
        default=("pixels", "relu2_2", "relu3_2"), description="Those features."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights and draws.")
    save_every: int = Field(default=250, ge=1, description="Iterations between checkpoints.")


@dataclass(frozen=True, eq=False)
class StyleData:
    """What is learnt from: contents [N, 3, S, S] in net space, S at least the crop's side, the
    targets by style, and, of styles that are drawn, every content so drawn: [N, S, S, 3] as
    `classifier.packed` bytes, with the screens from its place of `places` on ((0, 0) without)."""

    contents: Tensor
    targets: Mapping[str, StyleTarget]
    drawn: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    places: Sequence[Place] = ()

    @property
    def paired(self) -> bool:
        """True where every style has its contents drawn."""
        return bool(self.targets) and set(self.targets) <= set(self.drawn)


def _check_windows(training: StyleTraining) -> None:
    """Raises JobError for a crop whose windows do not divide at the deepest layer of style."""
    stages = [int(name[4]) for name in training.style_layers if name.startswith("relu")]
    step = training.windows * 2 ** max(0, max(stages, default=1) - 1)
    if training.crop_px % step:
        raise JobError(
            "the crop does not divide into the windows of style",
            got=f"crop_px {training.crop_px}, windows {training.windows}",
            wanted=f"a multiple of {step}",
        )


class StyleTrainer:
    """A style network on its way; styles without a target stay bit for bit."""

    def __init__(
        self,
        training: StyleTraining,
        data: StyleData,
        classifier: Perceptual,
        *,
        start: StyleNet | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """`start` is a network to go on from (its layout counts); else a fresh one.

        Raises JobError when the classifier lacks a layer, contents are too small, the crop does
        not divide into windows, or `start` has other styles than the data.
        """
        self.training, self.data = training, data
        self.device = torch.device(device)
        self.iteration = 0
        self.losses: dict[str, float] = {}
        wanted = (*training.content_layers, *training.style_layers)
        if data.paired:
            wanted = (*wanted, *training.cell_layers)
        if missing := [name for name in wanted if name not in classifier.layers]:
            known = ", ".join(classifier.layers)
            raise JobError("the classifier has no such layer", got=missing[0], wanted=known)
        if min(data.contents.shape[-2:]) < training.crop_px:
            raise JobError(
                "contents are smaller than the crop",
                got=tuple(data.contents.shape[-2:]),
                wanted=training.crop_px,
            )
        if data.paired:
            _check_windows(training)
        self._start = start
        self.net = self._built(start)
        if not set(data.targets) <= set(self.net.styles):
            raise JobError("the network has other styles", got=", ".join(self.net.styles))
        self.styles = tuple(name for name in self.net.styles if name in data.targets)
        self.rows = torch.tensor([self.net.styles.index(name) for name in self.styles])
        frozen = classifier.eval().requires_grad_(False)
        self.classifier = frozen.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        grams = stacked([data.targets[name] for name in self.styles])
        self.grams = {k: v.to(self.device) for k, v in grams.items()}
        self.optimiser = torch.optim.Adam(self._groups(), lr=training.rate)

    def step(self) -> None:
        """One iteration. Raises JobError when the loss is not finite; nothing is changed then."""
        s = self.training
        for group, factor in zip(self.optimiser.param_groups, (1.0, s.row_rate)):
            group["lr"] = factor * rate(self.iteration, s.iterations, s.rate)
        pictures, counterparts, numbers, origins = self._drawn()
        weights = F.one_hot(self.rows[numbers], len(self.net.styles)).float().to(self.device)
        target = {k: v[numbers.to(self.device)] for k, v in self.grams.items()}
        loss, parts = self._loss(pictures, counterparts, weights, target, origins)
        if not bool(torch.isfinite(loss)):
            raise JobError(f"the loss is not finite at iteration {self.iteration}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update()
        self.losses = {name: float(value.detach().mean()) for name, value in parts.items()}
        self.iteration += 1

    def measure(self, pictures: Tensor, style: str) -> tuple[float, float]:
        """Mean content and style loss over pictures [N, 3, H, W] in net space."""
        row = self.rows[self.styles.index(style)]
        with torch.inference_mode():
            losses = []
            for picture in pictures.to(self.device).unbind():
                weights = F.one_hot(row[None], len(self.net.styles)).float().to(self.device)
                target = {k: v[[self.styles.index(style)]] for k, v in self.grams.items()}
                made = self.net(picture[None], weights)
                losses.append(self._perceived(made, picture[None], target))
        content = sum(float(c) for c, _ in losses) / len(losses)
        return content, sum(float(s) for _, s in losses) / len(losses)

    def measure_drawn(self, pictures: Tensor, drawings: Tensor, style: str) -> tuple[float, float]:
        """Mean losses against the same pictures drawn in the style, both [N, 3, H, W] in net space
        with screens from (0, 0) on: by what is where, and by what it is made of there."""
        row = self.rows[self.styles.index(style)]
        weights = F.one_hot(row[None], len(self.net.styles)).float().to(self.device)
        with torch.inference_mode():
            losses = [
                self._compared(
                    self.net(picture[None].to(self.device), weights), drawing[None], False
                )
                for picture, drawing in zip(pictures, drawings, strict=True)
            ]
        content = sum(float(c) for c, _ in losses) / len(losses)
        return content, sum(float(s) for _, s in losses) / len(losses)

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint; see `checkpoint.save_checkpoint`."""
        return save_checkpoint(
            folder, self.net, self.optimiser, iteration=self.iteration, settings=self._identity()
        )

    def resume(self, folder: Path) -> bool:
        """Goes on from the newest checkpoint in `folder`; False when there is none."""
        self.iteration = load_checkpoint(
            folder, self.net, self.optimiser, settings=self._identity()
        )
        return self.iteration > 0

    def _loss(
        self,
        pictures: Tensor,
        counterparts: Tensor | None,
        weights: Tensor,
        target: dict[str, Tensor],
        origins: list[Place],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.training
        paired = s.pairs or s.temporal_weight > 0
        if paired:
            both = pictures if counterparts is None else torch.cat([pictures, counterparts], 1)
            pair = moved(both, seeded(s.seed, _MOVE, self.iteration))
            frames = torch.cat([pair.before, pair.now])
            pictures = frames[:, :3]
            counterparts = None if counterparts is None else frames[:, 3:]
            weights = torch.cat([weights, weights])
            target = {k: torch.cat([v, v]) for k, v in target.items()}
            origins = origins + origins
        pictures = pictures.to(self.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            made = self.net(pictures, weights, origins=origins)
        if counterparts is None:
            content, style = self._perceived(made, pictures, target)
        else:
            content, style = self._compared(made, counterparts, paired)
        parts = {"content": content, "style": style}
        loss = s.content_weight * content.mean() + s.style_weight * style.mean()
        if s.variation_weight:
            parts["variation"] = total_variation(made)
            loss = loss + s.variation_weight * parts["variation"].mean()
        if paired:
            before, now = made.chunk(2)
            flow, seen = pair.flow_px.to(self.device), pair.visible.to(self.device)
            parts["temporal"] = temporal_loss(now, before, flow, seen)
            loss = loss + s.temporal_weight * parts["temporal"].mean()
        return loss, parts

    def _compared(self, made: Tensor, counterparts: Tensor, paired: bool) -> tuple[Tensor, Tensor]:
        """Content and style loss against the same contents drawn in the style: mean features of
        cells, and Gram matrices of windows.

        The later frames of moving pairs have drawings whose marks moved with the picture, while
        screens stand still: their cells are large enough to hold a mark wherever it lies.
        """
        s = self.training
        layers = tuple(dict.fromkeys((*s.style_layers, *s.cell_layers)))
        drawn = counterparts.to(self.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            with torch.no_grad():
                wanted = self.classifier(drawn, layers)
            found = self.classifier(made, layers)
        side, parts = made.shape[-2], 2 if paired else 1
        contents = []
        for part, cell_px in zip(range(parts), (s.cell_px, max(s.cell_px, MOVED_CELL_PX))):
            each = [{k: f[k].chunk(parts)[part] for k in s.cell_layers} for f in (found, wanted)]
            cells = [coarse(f, cell_px, side) for f in each]
            contents.append(content_loss(*cells))
        grams = windowed({k: found[k] for k in s.style_layers}, s.windows)
        with torch.no_grad():
            aims = windowed({k: wanted[k] for k in s.style_layers}, s.windows)
        return torch.cat(contents), window_loss(grams, aims)

    def _perceived(
        self, made: Tensor, pictures: Tensor, target: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        s = self.training
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            with torch.no_grad():
                wanted = self.classifier(self._judged(pictures), s.content_layers)
            kept = self.classifier(self._judged(made), s.content_layers)
            found = self.classifier(made, s.style_layers)
        return content_loss(kept, wanted), style_loss(found, target)

    def _judged(self, pictures: Tensor) -> Tensor:
        """What content is judged by: the pictures, or their light (the mean in net space)."""
        if not self.training.content_grey:
            return pictures
        return pictures.mean(1, keepdim=True).expand_as(pictures)

    def _drawn(self) -> tuple[Tensor, Tensor | None, Tensor, list[Place]]:
        """Contents [B, 3, crop, crop], the same drawn in its style where that is known, the number
        of a style and a place in the plane of screens for each; every style comes up once before
        any comes up again."""
        s, count = self.training, len(self.styles)
        generator = seeded(s.seed, _DRAW, self.iteration)
        index = torch.randint(len(self.data.contents), (s.batch,), generator=generator)
        numbers = []
        for turn in range(self.iteration * s.batch, (self.iteration + 1) * s.batch):
            deck = torch.randperm(count, generator=seeded(s.seed, _CUT, turn // count))
            numbers.append(deck[turn % count])
        contents, chosen = self.data.contents[index], torch.stack(numbers)
        if not self.data.paired:
            anywhere = torch.randint(4096, (2,), generator=seeded(s.seed, _GRAIN, self.iteration))
            x, y = anywhere.tolist()
            return _cut(contents, s.crop_px, generator), None, chosen, [(x, y)] * s.batch
        drawn = [self.data.drawn[self.styles[int(n)]][int(i)] for n, i in zip(numbers, index)]
        both = torch.cat([contents, unpacked(np.stack(drawn))], 1)
        room = contents.shape[-1] - s.crop_px + 1
        corners = torch.randint(room, (s.batch, 2), generator=generator).tolist()
        crops = torch.stack(
            [p[:, y : y + s.crop_px, x : x + s.crop_px] for p, (x, y) in zip(both, corners)]
        )
        places = [self.data.places[int(i)] if self.data.places else (0, 0) for i in index]
        origins = [(left + x, top + y) for (left, top), (x, y) in zip(places, corners)]
        lift = (torch.rand(s.batch, 1, 1, 1, generator=generator) - 0.5) * 0.06
        return crops[:, :3] + lift, crops[:, 3:], chosen, origins

    def _built(self, start: StyleNet | None) -> StyleNet:
        s = self.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed)
            if start is None:
                names = tuple(self.data.targets)
                shape = s.model_dump(include={"widths", "blocks", "trunk", "screens"})
                net = StyleNet(StyleSettings(styles=names, **shape))
                # Quiet at first: a style finds the few that are its own.
                net.gamma.data[:, net.screen_columns] = 0.25
                for conv in net.convs.values():
                    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # type: ignore[arg-type]
            else:
                net = StyleNet(start.settings)
                net.load_state_dict(start.state_dict())
        net.train()
        return net.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _groups(self) -> list[dict[str, Any]]:
        """What learns: the shared weights, then γ and β."""
        rows = {"params": [self.net.gamma, self.net.beta]}
        return [{"params": list(self.net.shared())}, rows]

    def _update(self) -> None:
        self.optimiser.step()

    def _identity(self) -> dict[str, Any]:
        said = self.training.model_dump(mode="json", exclude={"save_every"})
        identity = {"training": said, "styles": list(self.net.styles)}
        if self._start is not None:
            identity["start"] = state_hash(self._start)
        return identity


def state_hash(net: nn.Module) -> str:
    """SHA-256 over a module's tensors by name, in their own types."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train(
    trainer: StyleTrainer,
    folder: Path,
    *,
    preview: Callable[[StyleTrainer, Path], None] | None = None,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StyleNet:
    """Runs to the end, resuming from `folder`; checkpoints, `log.jsonl` and `preview.png` there.

    Raises CancelledError when `stop()` turns true (what is done is kept), JobError as `step`.
    """
    trainer.resume(folder)
    s, began, first = trainer.training, time.monotonic(), trainer.iteration
    while trainer.iteration < s.iterations:
        if stop():
            trainer.save(folder)
            raise CancelledError(
                f"training stopped after {trainer.iteration} iterations", file=folder
            )
        trainer.step()
        done = trainer.iteration
        if done % 10 == 0 or done == s.iterations:
            progress(done, s.iterations, trainer.losses)
        if done % s.save_every == 0 or done == s.iterations:
            trainer.save(folder)
            pace = (time.monotonic() - began) / (done - first)
            entry = {"iteration": done, "seconds_per_step": pace, **trainer.losses}
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({k: round(v, 5) for k, v in entry.items()}) + "\n")
            if preview is not None:
                preview(trainer, folder / "preview.png")
    return trainer.net


def _cut(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random squares of [B, 3, S, S] at `size`: between the whole picture and a bit more than a
    crop's own pixels, half of them mirrored, exposure moved by up to a stop."""
    count, side = len(pictures), pictures.shape[-1]
    draw = torch.rand(count, 5, generator=generator)
    least = min(1.0, 0.9 * size / side)
    share = least + (1 - least) * draw[:, 0]
    shift = (draw[:, 1:3] * 2 - 1) * (1 - share[:, None])
    mirror = torch.where(draw[:, 3] < 0.5, -1.0, 1.0)
    zero = torch.zeros(count)
    theta = torch.stack(
        [torch.stack([share * mirror, zero, shift[:, 0]], 1),
         torch.stack([zero, share, shift[:, 1]], 1)], 1
    )  # fmt: skip
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    cut = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    return cut + (draw[:, 4, None, None, None] - 0.6) * 0.1


def contents_of(pictures: Sequence[Any]) -> Tensor:
    """Net-space pictures [S, S, 3] as [N, 3, S, S]."""
    planes = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
    return torch.stack(planes).float().contiguous()
