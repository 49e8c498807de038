"""The loop around `mosaic.MosaicTrainer`: checkpoints, a log, previews, stopping and resuming."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from vfxswap.errors import CancelledError
from vfxswap.train.mosaic import MosaicTrainer


def train(
    trainer: MosaicTrainer,
    folder: Path,
    *,
    checkpoint_every: int = 250,
    log_every: int = 20,
    preview: Callable[[MosaicTrainer, Path], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Trains to the end, resuming what stands in `folder`.

    Writes checkpoints, `log.jsonl` and, by `preview`, a sheet at each checkpoint. When `stop()`
    turns true the iteration in hand ends, a checkpoint is written and CancelledError raised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer.resume(folder)
    total = trainer.training.total_iterations
    began, first = time.monotonic(), trainer.iteration
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        while trainer.iteration < total:
            trainer.step()
            done = trainer.iteration
            if done % log_every == 0 or done == total:
                seconds = (time.monotonic() - began) / (done - first)
                row = {
                    "iteration": done,
                    "stage": trainer.stage,
                    "loss": {name: round(value, 5) for name, value in trainer.losses.items()},
                    "seconds_an_iteration": round(seconds, 4),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress(done, total)
            cancelled = stop()
            if done % checkpoint_every == 0 or done == total or cancelled:
                trainer.save(folder)
                if preview is not None:
                    preview(trainer, folder / "preview.png")
            if cancelled and done < total:
                raise CancelledError("training was stopped; it resumes from its checkpoint")
