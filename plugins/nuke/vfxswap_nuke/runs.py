"""A render that is going on, as buttons, status lines and the panel see it."""

from __future__ import annotations

import collections
import threading
import time
from typing import Any, Callable, Mapping, Sequence

from vfxswap_nuke.inputs import Unit

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
_LOG_LINES = 2000


class Run:
    """State of a render. Every method may be called from every thread."""

    kind = "render"

    def __init__(self, node: str, title: str, total: int) -> None:
        self.node = node
        """Full name of its node."""
        self.title = title
        self.total = total
        """Frame files that are wanted."""
        self.finished = 0
        self.state = WAITING
        self.message = ""
        """One sentence: what is going on, or how it ended."""
        self.cache_words = ""
        """What the store of results holds, once it was looked at."""
        self.folder = ""
        """Where its files lie."""
        self.began = time.time()
        self.ended = 0.0
        self.log: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self.cancelled = threading.Event()
        self._over = threading.Event()
        self._listeners: list[Callable[[Run], None]] = []

    @property
    def over(self) -> bool:
        """Whether it ended, well or not."""
        return self._over.is_set()

    @property
    def percent(self) -> int:
        """How much of it is behind us."""
        return int(100 * self.finished / max(self.total, 1))

    @property
    def seconds(self) -> float:
        """How long it runs, or ran."""
        return (self.ended or time.time()) - self.began

    def status(self) -> str:
        """For one line: frames and message."""
        if self.state == RUNNING and self.finished and self.finished < self.total:
            left = self.seconds / self.finished * (self.total - self.finished)
            about = f", about {duration(left)} left"
        else:
            about = ""
        counted = f"{self.finished} of {self.total} frames{about}"
        return f"{counted}: {self.message}" if self.message else counted

    def listen(self, listener: Callable[[Run], None]) -> None:
        """Has `listener` called after every change, on whatever thread it happens."""
        self._listeners.append(listener)

    def cancel(self) -> None:
        """Asks for its end after the frame in hand."""
        self.cancelled.set()
        self.say("cancelled: the frame in hand is finished")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it was over in time."""
        return self._over.wait(timeout_s)

    def say(self, message: str, *, note: str = "") -> None:
        """A new message, which the log keeps as well; `note` goes to the log alone."""
        if message:
            self.message = message
        self.log.append(time.strftime("%H:%M:%S ") + (note or message))
        self._changed()

    def advance(self, finished: int) -> None:
        """So many frames are there."""
        self.state = RUNNING
        self.finished = finished
        self._changed()

    def end(self, state: str, message: str) -> None:
        """It is over; only the first word counts."""
        if self._over.is_set():
            return
        self.state, self.ended = state, time.time()
        self.message = message
        self.log.append(time.strftime("%H:%M:%S ") + message)
        self._over.set()
        self._changed()

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener(self)


class Runs:
    """All renders of this session, newest first."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._lock = threading.Lock()

    def add(self, run: Run) -> None:
        with self._lock:
            self._runs.insert(0, run)

    def replace(self, old: Run, new: Run) -> None:
        """Puts a render in the place of another."""
        with self._lock:
            self._runs = [new if run is old else run for run in self._runs]

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs)

    def of(self, node: str) -> list[Run]:
        """Those of a node that go on."""
        return [run for run in self.all() if run.node == node and not run.over]

    def clear_ended(self) -> None:
        """Forgets what is over."""
        with self._lock:
            self._runs = [run for run in self._runs if not run.over]


def summary(
    *, made: int, kept: int, failed: Sequence[Mapping[str, Any]], not_reached: int, cancelled: bool
) -> str:
    """How a render ended, in one sentence."""
    parts = [f"{made} rendered"]
    parts += [f"{kept} from the cache"] if kept else []
    parts += [f"{len(failed)} failed"] if failed else []
    parts += [f"{not_reached} not reached"] if not_reached else []
    text = ", ".join(parts)
    if cancelled:
        text = "cancelled; " + text
    return "{}: {}".format(text, failed[0].get("message", "")) if failed else text


def stage_text(event: Mapping[str, Any]) -> str:
    """How far work before the first frame is, as in `prepare 3 of 40`."""
    return "{stage} {finished} of {total}".format(**event)


def frames_text(units: Sequence[Unit]) -> str:
    """The frames of units as a range: 1001-1004,1007."""
    spans: list[list[int]] = []
    for frame in sorted({frame for frame, _ in units}):
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def duration(seconds: float) -> str:
    """A time in words: 42 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
