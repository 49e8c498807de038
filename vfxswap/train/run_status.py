"""How a training stands, read from its folder by another process, whether it still runs or not."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vfxswap.errors import JobError
from vfxswap.train.checkpoint import PREFIX
from vfxswap.train.run_log import RUN, STATUS, read_log

SILENT_S = 600.0
"""A run on another machine that logged nothing for so long is taken for dead."""


@dataclass(frozen=True)
class RunStatus:
    """One run. `state`: running, done, stopped (it was asked to), failed, dead (killed)."""

    folder: str
    what: str
    state: str
    iteration: int
    iterations: int
    level: int | None
    alpha: float | None
    loss: Mapping[str, float]
    seconds_an_iteration: float | None
    left_s: float | None
    level_left_s: float | None
    logged_s_ago: float | None
    checkpoint_iteration: int | None
    checkpoint_s_ago: float | None
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """As people read it."""
        share = 100 * self.iteration / max(1, self.iterations)
        said = [
            f"{self.folder}: {self.what}, {self.state}",
            f"iteration {self.iteration} of {self.iterations} ({share:.1f} %)",
        ]
        if self.level is not None:
            fading = f", fading in ({self.alpha:.2f})" if (self.alpha or 0) < 1 else ""
            said.append(f"level {self.level}, {4 << self.level} px{fading}")
        if self.state == "running" and self.left_s is not None:
            level = f", level {span(self.level_left_s)}" if self.level_left_s is not None else ""
            said.append(f"left {span(self.left_s)}{level}, {self.seconds_an_iteration:.3g} s each")
        if self.loss:
            said.append("loss " + ", ".join(f"{k} {v:.4g}" for k, v in self.loss.items()))
        if self.logged_s_ago is not None:
            said.append(f"last line {span(self.logged_s_ago)} ago")
        if self.checkpoint_iteration is None:
            said.append("no checkpoint yet")
        else:
            age = span(self.checkpoint_s_ago or 0.0)
            said.append(f"checkpoint of iteration {self.checkpoint_iteration}, {age} old")
        if self.error:
            said.append(self.error)
        return said


def run_status(folder: Path, *, now: float | None = None) -> RunStatus:
    """How the run in `folder` (or in its subfolder `training`) stands. Raises JobError when there
    is none."""
    if not (folder / RUN).exists() and (folder / "training" / RUN).exists():
        folder = folder / "training"
    now = time.time() if now is None else now
    run = _read(folder / RUN)
    if run is None:
        raise JobError("no training has run here", file=folder)
    rows = read_log(folder)
    status = _read(folder / STATUS) or (rows[-1] if rows else {})
    logged_at = status.get("at")
    checkpoint = max(
        (p for p in folder.glob(f"{PREFIX}*") if (p / "state.json").exists()), default=None
    )
    return RunStatus(
        folder=str(folder),
        what=str(run["what"]),
        state=_state(run, logged_at, now),
        iteration=int(status.get("iteration", 0)),
        iterations=int(run["iterations"]),
        level=status.get("level"),
        alpha=status.get("alpha"),
        loss=status.get("loss", {}),
        seconds_an_iteration=status.get("seconds_an_iteration"),
        left_s=status.get("left_s"),
        level_left_s=status.get("level_left_s"),
        logged_s_ago=None if logged_at is None else now - logged_at,
        checkpoint_iteration=(
            None if checkpoint is None else int(checkpoint.name.removeprefix(PREFIX))
        ),
        checkpoint_s_ago=None if checkpoint is None else now - checkpoint.stat().st_mtime,
        error=run.get("error"),
    )


def span(seconds: float | None) -> str:
    """A stretch of time: 45 s, 12 min, 3 h 20 min, 4 d 2 h."""
    if seconds is None:
        return "?"
    minutes = int(seconds // 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _state(run: Mapping[str, Any], logged_at: float | None, now: float) -> str:
    state = str(run.get("state", "running"))
    if state != "running":
        return state
    if run.get("host") == socket.gethostname():
        return "running" if _alive(int(run["process"]), float(run["began_at"])) else "dead"
    last = logged_at if logged_at is not None else float(run["began_at"])
    return "running" if now - last < SILENT_S else "dead"


def _alive(process: int, began_at: float) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # A number that was given to another process since is not the run; Linux tells.
        born = Path(f"/proc/{process}").stat().st_mtime
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z" and born <= began_at + 5


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
