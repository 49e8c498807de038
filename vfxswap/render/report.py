"""What a render says while it runs and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vfxswap.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_RETRY, VfxSwapError

EventKind = Literal["begin", "done", "skipped", "failed", "note", "step"]


@dataclass(frozen=True)
class Event:
    """Something happened in a stage ("prepare", "render"; other work counts in "step"s): `finished`
    of `total` frame files are behind us.

    `message` is one sentence: the error of "failed", the text of "note". `error` is that error.
    `faces` counts those on a frame that is done, where the shot was tracked.
    """

    stage: str
    kind: EventKind
    finished: int
    total: int
    frame: int | None = None
    view: str = ""
    message: str = ""
    path: Path | None = None
    seconds: float | None = None
    faces: int | None = None
    error: VfxSwapError | None = None

    @property
    def percent(self) -> float:
        """How much of the stage is behind us, 0…100."""
        return 100.0 * self.finished / max(self.total, 1)

    def as_json(self) -> dict[str, Any]:
        """The event for programs: `event` is progress, frame_done (a file is there), warning or
        error; only what is known is in it."""
        kinds = {"failed": "error", "note": "warning"}
        finished = "frame_done" if self.path is not None else "progress"
        values: dict[str, Any] = {
            "event": kinds.get(self.kind, finished),
            "stage": self.stage,
            "finished": self.finished,
            "total": self.total,
            "percent": round(self.percent, 2),
        }
        if self.message:
            values["message"] = self.message
        if self.error is not None:
            values.update(self.error.as_json())
        if self.frame is not None:
            values.update(frame=self.frame, view=self.view)
        if self.path is not None:
            values["path"] = str(self.path)
        if self.kind == "skipped":
            values["skipped"] = True
        if self.seconds is not None:
            values["seconds"] = round(self.seconds, 4)
        if self.faces is not None:
            values["faces"] = self.faces
        return values


Listener = Callable[[Event], None]
"""Called from one thread at a time; must be quick."""


def silent(event: Event) -> None:
    """A listener that says nothing."""


@dataclass(frozen=True)
class Written:
    """A frame file that was written; `seconds` is what reading, effects and writing took."""

    frame: int
    view: str
    path: Path
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A frame that did not render, and why."""

    frame: int
    view: str
    error: VfxSwapError

    def as_json(self) -> dict[str, Any]:
        """The failure for programs."""
        return {**self.error.as_json(), "frame": self.frame, "view": self.view}


@dataclass
class Report:
    """The outcome of a render. `notes` are (frame, view, sentence)."""

    written: list[Written] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    notes: list[tuple[int, str, str]] = field(default_factory=list)
    not_reached: list[int] = field(default_factory=list)
    cancelled: bool = False

    @property
    def exit_code(self) -> int:
        """0 all frames are there, 1 some are not, 143 cancelled after the frame in hand."""
        if self.cancelled:
            return EXIT_CANCELLED
        if self.failed or self.not_reached:
            return EXIT_RETRY
        return EXIT_DONE

    @property
    def paths(self) -> list[Path]:
        """Frame files written, in order of frame and view."""
        ordered = sorted(self.written, key=lambda w: (w.frame, w.view))
        return [written.path for written in ordered]

    def as_json(self) -> dict[str, Any]:
        """The outcome for programs."""
        return {
            "written": [str(path) for path in self.paths],
            "skipped": [str(path) for path in self.skipped],
            "failed": [failure.as_json() for failure in self.failed],
            "not_reached": self.not_reached,
            "cancelled": self.cancelled,
        }
