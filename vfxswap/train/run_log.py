"""What a training leaves in its folder while it runs, for people and for `train --status`.

`run.json`      what runs, where (host, process) and how far it is to go
`status.json`   the last row of the log with the time left; rewritten whole
`log.jsonl`     a row an interval: iteration, level, losses, seconds an iteration
`curves.png`    the log drawn; `tensorboard/` the same as event files, where the extra is installed

A full disk must not end a training that still has a whole checkpoint: what cannot be written
here is left out until it can.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import CancelledError, OutputError
from vfxswap.files import write_atomically
from vfxswap.train.curves import curves_png

RUN, STATUS, LOG, CURVES, EVENTS = (
    "run.json", "status.json", "log.jsonl", "curves.png", "tensorboard",
)  # fmt: skip


class RunLog:
    """The writer; a context manager that says at the end how the run ended."""

    def __init__(self, folder: Path, *, what: str, iterations: int, first: int = 0) -> None:
        """`first` is the iteration that a resumed run goes on from: what a killed one logged
        beyond its checkpoint is dropped, as those iterations are done again. Raises OutputError
        when the folder cannot be written."""
        self._folder, self._iterations = folder, iterations
        self._rows = [row for row in read_log(folder) if row["iteration"] <= first]
        lines = "".join(json.dumps(row) + "\n" for row in self._rows)
        write_atomically(folder / LOG, lines.encode())
        self._run = {
            "what": what,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "iterations": iterations,
            "began_at": time.time(),
            "state": "running",
        }
        write_atomically(folder / RUN, json.dumps(self._run, indent=1).encode())
        self._events = _event_writer(folder / EVENTS, first)
        self.missed = 0
        """Writings that failed."""

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        stopped = kind is not None and issubclass(kind, CancelledError | KeyboardInterrupt)
        self._run["state"] = "done" if kind is None else "stopped" if stopped else "failed"
        self._run["ended_at"] = time.time()
        if error is not None and not stopped:
            self._run["error"] = f"{type(error).__name__}: {error}"
        self._write(RUN, self._run)
        self.draw()
        if self._events is not None:
            self._events.close()

    def row(self, row: Mapping[str, Any], *, left_s: float) -> None:
        """Logs a row (`iteration`, `loss` by name, …); `left_s` is the time to the end."""
        self._rows.append(dict(row))
        try:
            with (self._folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(row) + "\n")
        except OSError:
            self.missed += 1
        status = {**row, "iterations": self._iterations, "left_s": left_s, "at": time.time()}
        self._write(STATUS, status)
        if self._events is not None:
            for name, value in row["loss"].items():
                self._events.add_scalar(f"loss/{name}", value, row["iteration"])
            for name in ("learning_rate", "level", "alpha"):
                if name in row:
                    self._events.add_scalar(name, row[name], row["iteration"])
            self._events.flush()

    def picture(self, name: str, pixels: NDArray[np.uint8], iteration: int) -> None:
        """[H, W, 3] for TensorBoard, where it is installed."""
        if self._events is not None:
            self._events.add_image(name, pixels, iteration, dataformats="HWC")

    def draw(self) -> None:
        """Draws the curves anew."""
        png = curves_png(self._rows)
        if png:
            try:
                write_atomically(self._folder / CURVES, png)
            except OutputError:
                self.missed += 1

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        try:
            write_atomically(self._folder / name, json.dumps(content, indent=1).encode())
        except OutputError:
            self.missed += 1


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a log; a line that a killed process left half written is passed over."""
    rows = []
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "iteration" in row:
            rows.append(row)
    return rows


def _event_writer(folder: Path, first: int) -> Any:
    """TensorBoard's writer, None without the extra; events after a resume replace later ones."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first + 1)
