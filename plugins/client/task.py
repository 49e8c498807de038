"""A request on its way."""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator

from .errors import EngineDiedError, EngineError, EngineTimeoutError, Event, RequestFailedError

if TYPE_CHECKING:
    from .process import Process

OnEvent = Callable[[Event], None]

_ENDS = {1: "some frames did not render", 2: "the job is bad", 143: "cancelled"}


class Task:
    """A request on its way."""

    def __init__(self, process: Process, name: str, on_event: OnEvent | None) -> None:
        self._process = process
        self._on_event = on_event
        self._ended = threading.Event()
        self.id = next(_IDS)
        self.name = name
        self.frames: list[Event] = []
        """Its `frame_done` events so far."""
        self.errors: list[Event] = []
        """Its `error` events so far; those with `fatal` ended it."""
        self.done: Event | None = None
        """Its `done` event."""
        self.death: EngineDiedError | None = None
        """Set when it ended because the engine did."""

    @property
    def finished(self) -> bool:
        """Whether it is over, well or not."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Asks for its end after the frame in hand; `done` comes with exit code 143."""
        if not self.finished:
            self._process.send("cancel", {"target": self.id}, None)

    def wait(self, timeout_s: float | None = None) -> Event:
        """The `done` event, whatever its exit code. Raises EngineDiedError, EngineTimeoutError."""
        if threading.current_thread() in self._process.threads:
            raise EngineError(f"{self.name}: a callback cannot wait")
        if not self._ended.wait(timeout_s):
            raise EngineTimeoutError(f"{self.name}: no answer within {timeout_s:g} s")
        if self.death is not None:
            raise self.death
        assert self.done is not None
        return self.done

    def result(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The report of the `done` event. Raises RequestFailedError unless its exit code is 0,
        EngineDiedError, EngineTimeoutError."""
        done = self.wait(timeout_s)
        if done["exit_code"] != 0:
            ends = [e for e in self.errors if e.get("fatal")] or self.errors
            message = ends[-1]["message"] if ends else _ENDS.get(done["exit_code"], "it failed")
            raise RequestFailedError(f"{self.name}: {message}", done, self.errors)
        report: dict[str, Any] = done["report"]
        return report

    def _hear(self, event: Event) -> None:
        kind = event["event"]
        if kind == "frame_done":
            self.frames.append(event)
        elif kind == "error":
            self.errors.append(event)
        elif kind == "done":
            self.done = event
        try:
            if self._on_event is not None:
                self._on_event(event)
        finally:
            if kind == "done":
                self._ended.set()


def _ids() -> Iterator[str]:
    # Random at the front: requests of two hosts can be told apart in logs.
    first = f"{os.getpid():x}-"
    return (first + str(number) for number in itertools.count(1))


_IDS = _ids()
