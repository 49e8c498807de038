"""The loop of a comb's training: resuming, checkpoints, log, previews, time left, stopping."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vfxswap.errors import CancelledError, OutputError
from vfxswap.files import write_atomically
from vfxswap.nets.comb import Comb
from vfxswap.train.comb import CombTrainer
from vfxswap.train.evaluate import display
from vfxswap.train.run_log import RunLog

CHECKPOINT_S = 600.0
"""A checkpoint at least so often, however slow an iteration is."""
PREVIEW_CROPS = (0, 7, 23)
"""Stored crops that every preview shows."""
_MID_GREY = 0.41
"""Net space of 0.18."""
_PREVIEW_FACE_PX = 96
PREVIEW, PREVIEWS = "preview.png", "previews"


def train(
    trainer: CombTrainer,
    folder: Path,
    *,
    checkpoint_every: int = 250,
    checkpoint_s: float = CHECKPOINT_S,
    log_every: int = 20,
    preview_every: int = 1000,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int, dict[str, float]], None] = lambda *_: None,
) -> Comb:
    """Trains to the end, resuming what stands in `folder`; the settled comb, in eval mode.

    Leaves checkpoints and what `run_log` lists, `preview.png` (everybody as everybody on fixed
    crops, see `CombTrainer.preview`) and one more in `previews` every `preview_every` iterations.
    A checkpoint that cannot be written (a full disk) is tried again at the next interval; the
    last one must succeed. When `stop()` turns true the iteration in hand ends, a checkpoint is
    written and CancelledError raised. Raises as `CombTrainer` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer.resume(folder)
    if not trainer.ranks.first:
        return _follow(trainer, stop)
    total = trainer.total_iterations
    pace = Pace(trainer)
    saved = time.monotonic()
    with RunLog(folder, what="comb", iterations=total, first=trainer.iteration) as log:
        while trainer.iteration < total:
            now = trainer.moment(trainer.iteration)
            with pace:
                trainer.step()
            done = trainer.iteration
            if done % log_every == 0 or done == total:
                row = {
                    "iteration": done,
                    "level": now.level,
                    "alpha": round(now.alpha, 4),
                    "learning_rate": now.learning_rate,
                    "loss": {p: round(v, 5) for p, v in trainer.losses.items()},
                    "seconds_an_iteration": round(pace.seconds, 4),
                    "level_left_s": round(pace.level_left_s(), 1),
                }
                log.row(row, left_s=round(pace.left_s(), 1))
                progress(done, total, trainer.losses)
            cancelled = trainer.ranks.any(stop())
            late = time.monotonic() - saved > checkpoint_s
            if done % checkpoint_every == 0 or done == total or cancelled or late:
                _save(trainer, folder, log, must=done == total or cancelled)
                saved = time.monotonic()
            if done % preview_every == 0 or done == total or cancelled:
                write_preview(trainer, folder, log, keep=done % preview_every == 0)
                log.draw()
            if cancelled and done < total:
                raise CancelledError("training was stopped; it resumes from its checkpoint")
    trainer.comb.settle()
    return trainer.comb.eval()


def _follow(trainer: CombTrainer, stop: Callable[[], bool]) -> Comb:
    """The same steps in a process that writes nothing."""
    total = trainer.total_iterations
    while trainer.iteration < total:
        trainer.step()
        if trainer.ranks.any(stop()) and trainer.iteration < total:
            raise CancelledError("training was stopped; it resumes from its checkpoint")
    trainer.comb.settle()
    return trainer.comb.eval()


def _save(trainer: CombTrainer, folder: Path, log: RunLog, *, must: bool) -> None:
    try:
        trainer.save(folder)
    except OutputError:
        if must:
            raise
        log.missed += 1


def write_preview(trainer: CombTrainer, folder: Path, log: RunLog, *, keep: bool) -> None:
    """`preview.png`, and with `keep` a copy by its iteration; a full disk is passed over."""
    picture = preview(trainer)
    png = bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    files = [folder / PREVIEW]
    if keep:
        files.append(folder / PREVIEWS / f"preview-{trainer.iteration:09d}.png")
    for file in files:
        try:
            write_atomically(file, png)
        except OutputError:
            log.missed += 1
    log.picture("preview", picture, trainer.iteration)


def preview(trainer: CombTrainer) -> NDArray[np.uint8]:
    """[H, W, 3] display bytes of `PREVIEW_CROPS`: a block each, rows as `CombTrainer.preview`."""
    rows = torch.cat([trainer.preview(index) for index in PREVIEW_CROPS], 1)
    shown = display(rows[None] + _MID_GREY)[0]
    times = max(1, _PREVIEW_FACE_PX // (4 << trainer.comb.level))
    shown = np.kron(shown, np.ones((times, times, 1), np.float32))
    picture: NDArray[np.uint8] = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return picture


class Pace:
    """Seconds an iteration at the level in hand, and from the work of each level the time left.

    A context around each iteration. The first ones of a level do not count: kernels are chosen
    then. Levels to come are reckoned by their multiplications (`Comb.operations`).
    """

    SKIPPED = 2

    def __init__(self, trainer: CombTrainer) -> None:
        self._trainer = trainer
        self._level = -1
        self._count, self._sum, self._last, self._start = 0, 0.0, 0.0, 0.0

    def __enter__(self) -> None:
        level = self._trainer.moment(self._trainer.iteration).level
        if level != self._level:
            self._level, self._count, self._sum = level, 0, 0.0
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._last = time.monotonic() - self._start
        self._count += 1
        if self._count > self.SKIPPED:
            self._sum += self._last

    @property
    def seconds(self) -> float:
        """Mean at this level."""
        counted = self._count - self.SKIPPED
        return self._sum / counted if counted > 0 else self._last

    def level_left_s(self) -> float:
        """Until the level in hand is done."""
        trainer = self._trainer
        ends = trainer.iteration
        for level, count in trainer.iterations_left():
            if level == self._level:
                ends += count
        return self.seconds * (ends - trainer.iteration)

    def left_s(self) -> float:
        """Until the training is done."""
        here = self._trainer.comb.operations(self._level)
        left = self._trainer.iterations_left()
        weighted = sum(count * self._trainer.comb.operations(level) for level, count in left)
        return self.seconds * weighted / here
