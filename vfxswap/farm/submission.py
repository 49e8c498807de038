"""What is submitted, and what a scheduler's module offers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfxswap.settings import Settings

if TYPE_CHECKING:
    from vfxswap.job import Job
    from vfxswap.nets.run import Precision
    from vfxswap.render.report import Listener, Report


def _silent() -> Listener:
    # Networks come with it, and the command line wants schedulers' options without them.
    from vfxswap.render.report import silent

    return silent


def forget(report: Report) -> None:
    """For a caller that needs the exit code alone."""


@dataclass(frozen=True)
class Submission:
    """A job and how its frames are shared out, alike for every scheduler.

    Schedulers run three commands on `job_file`, which all machines see under this path:
    `vfxswap prepare`, `vfxswap render --frames CHUNK --skip-existing` and `vfxswap report`.
    """

    job: Job
    job_file: Path
    frames: tuple[int, ...]
    """In the order in which they are wanted."""
    chunk: int
    """Frames a task."""
    selection: str = ""
    """Range that `frames` were asked for by; "" where they are all of the job's."""
    retries: int = 2
    """How often a task that may be tried again is tried again."""
    device: str = "auto"
    precision: Precision = "half"
    threads: int | None = None
    """Of one engine; None leaves it to the scheduler's module."""
    dry_run: bool = False
    """Say, or write, what would be submitted; submit nothing."""
    progress: Listener = field(default_factory=_silent)
    finished: Callable[[Report], None] = forget
    """Told the outcome of the frames, by a scheduler that waits for them."""
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Target:
    """A scheduler: its help, its own settings, and the function that submits."""

    help: str
    settings_type: type[Settings]
    submit: Callable[[Submission, Any], int]
    """Takes the submission and settings of that type; gives the exit code."""
