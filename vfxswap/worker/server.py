"""The worker process: a thread that listens, one that computes, one for small questions, and a
heartbeat. `docs/worker-protocol.md` is the specification."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TextIO, cast

import vfxswap
from vfxswap import effects
from vfxswap.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_RETRY, CancelledError, VfxSwapError
from vfxswap.worker import engine
from vfxswap.worker.channel import Channel
from vfxswap.worker.engine import Engine, Options, Outcome
from vfxswap.worker.requests import (
    REQUESTS,
    Cancel,
    Describe,
    Id,
    Refused,
    Request,
    RequestError,
    parse,
)

PROTOCOL = 1
EVENTS: Final = (
    "hello", "accepted", "started", "progress", "frame_done", "warning", "error", "heartbeat",
    "done",
)  # fmt: skip
"""Everything a worker says."""

_LIGHT = ("describe", "models")
"""Answered beside a running job."""


@dataclass(eq=False)
class _Task:
    """A request that was accepted and is not done."""

    request: Request
    cancel: threading.Event = field(default_factory=threading.Event)
    begun: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)


def serve(options: Options, *, heartbeat_s: float) -> int:
    """Serves requests on stdin until it is closed or a `shutdown` comes; the process's exit code.

    0 when it ended in order, 143 when a signal asked for the end. `heartbeat_s`: seconds between
    heartbeats while there is work.
    """
    return Worker(Channel.of_process(), options, heartbeat_s=heartbeat_s).run()


class Worker:
    """Keeps the rule that each accepted request ends with exactly one `done`."""

    def __init__(self, channel: Channel, options: Options, *, heartbeat_s: float) -> None:
        self._channel, self._options, self._heartbeat_s = channel, options, heartbeat_s
        self._engine = Engine(options)
        self._lock = threading.RLock()
        self._tasks: dict[Id, _Task] = {}
        self._running: _Task | None = None
        # SimpleQueue, since signal handlers may put into it.
        self._jobs: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._questions: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._stopping = False
        self._ended = threading.Event()
        self._signal = 0

    def run(self) -> int:
        """Says hello and works until told to stop. Jobs run on the calling thread."""
        self._send(
            "hello",
            protocol=PROTOCOL,
            version=vfxswap.__version__,
            pid=os.getpid(),
            device=self._options.device,
            effects=list(effects.HELP),
            requests=list(REQUESTS),
            heartbeat_s=self._heartbeat_s,
        )
        asked = threading.Thread(target=self._answer, name="questions", daemon=True)
        with self._signals(), self._warnings():
            for thread in (
                asked,
                threading.Thread(target=self._listen, name="requests", daemon=True),
                threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            ):
                thread.start()
            while (task := self._jobs.get()) is not None and not self._stopping:
                self._perform(task)
            self._questions.put(None)
            asked.join()
            self._end_all()
            self._ended.set()
        return EXIT_CANCELLED if self._signal else EXIT_DONE

    # Listening --------------------------------------------------------------------------------

    def _listen(self) -> None:
        for line in self._channel.lines():
            if line is None or line.strip():
                try:
                    self._take(parse(line))
                except Exception as error:
                    self._send("error", id=None, **_unforeseen(error))
        self._stop()

    def _take(self, request: Request | Refused) -> None:
        if isinstance(request, Refused):
            self._refuse(request.id, request.error)
        elif request.name == "ping":
            self._done(request.id, Outcome(EXIT_DONE, self._state()))
        elif request.name == "cancel":
            state = self._cancel(cast(Cancel, request.fields).target)
            self._done(request.id, Outcome(EXIT_DONE, {"target": state}))
        else:
            self._accept(request)

    def _refuse(self, request_id: Id | None, error: RequestError) -> None:
        with self._lock:
            taken = request_id in self._tasks
        if request_id is None or taken:
            self._send("error", id=None, **error.as_json())
            return
        self._send("error", id=request_id, fatal=True, **error.as_json())
        self._done(request_id, Outcome(error.exit_code, {}))

    def _accept(self, request: Request) -> None:
        task = _Task(request)
        with self._lock:
            if request.id in self._tasks:
                error = RequestError("id is in use", got=request.id)
                self._send("error", id=None, **error.as_json())
                return
            self._send("accepted", id=request.id, request=request.name)
            self._tasks[request.id] = task
        if request.name == "shutdown":
            self._stop()
        elif self._stopping:
            self._fail(task, CancelledError("the worker is ending"))
        else:
            (self._questions if request.name in _LIGHT else self._jobs).put(task)

    def _cancel(self, target: Id) -> str:
        """What state the target was in: running, queued or unknown."""
        with self._lock:
            task = self._tasks.get(target)
            if task is None:
                return "unknown"
            task.cancel.set()
            if task is self._running:
                return "running"
            self._fail(task, CancelledError("cancelled before it began"))
            return "queued"

    def _state(self) -> dict[str, Any]:
        with self._lock:
            running = self._running
            queued = [key for key, task in self._tasks.items() if task is not running]
            return {"running": running.request.id if running else None, "queued": queued}

    # Working ----------------------------------------------------------------------------------

    def _perform(self, task: _Task) -> None:
        with self._lock:
            if task.request.id not in self._tasks:
                return
            task.begun = task.heard = time.monotonic()
            self._running = task
        if self._stopping:
            task.cancel.set()

        def say(event: str, **values: Any) -> None:
            task.heard = time.monotonic()
            self._send(event, id=task.request.id, **values)

        try:
            outcome = self._engine.perform(task.request.fields, say=say, cancel=task.cancel)
        except Exception as error:
            self._fail(task, error)
        else:
            self._settle(task, outcome)

    def _answer(self) -> None:
        while (task := self._questions.get()) is not None:
            try:
                if isinstance(task.request.fields, Describe):
                    outcome = engine.describe(task.request.fields)
                else:
                    outcome = engine.models()
            except Exception as error:
                self._fail(task, error)
            else:
                self._settle(task, outcome)

    def _fail(self, task: _Task, error: Exception) -> None:
        """Ends a task by an error; one that nobody foresaw is told as `internal`."""
        values = error.as_json() if isinstance(error, VfxSwapError) else _unforeseen(error)
        with self._lock:
            if task.request.id in self._tasks:
                self._send("error", id=task.request.id, fatal=True, **values)
                self._settle(task, Outcome(values["exit_code"], {}))

    def _settle(self, task: _Task, outcome: Outcome) -> None:
        with self._lock:
            if self._running is task:
                self._running = None
            if self._tasks.pop(task.request.id, None) is not None:
                seconds = round(time.monotonic() - task.begun, 3)
                self._done(task.request.id, outcome, seconds=seconds)

    def _done(self, request_id: Id, outcome: Outcome, **more: Any) -> None:
        code, report = outcome
        self._send("done", id=request_id, exit_code=code, report=report, **more)

    def _send(self, event: str, **values: Any) -> None:
        if not self._channel.send({"event": event, **values}):
            self._stop()

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat_s):
            with self._lock:
                task, waiting = self._running, len(self._tasks)
            if waiting:
                now = time.monotonic()
                values = {"id": None} if task is None else {
                    "id": task.request.id,
                    "busy_s": round(now - task.begun, 3),
                    "quiet_s": round(now - task.heard, 3),
                }  # fmt: skip
                self._send("heartbeat", **values)

    # Ending -----------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Asks the computing thread to end after the frame in hand. Takes no lock, since signal
        handlers call it."""
        self._stopping = True
        running = self._running
        if running is not None:
            running.cancel.set()
        self._jobs.put(None)

    def _end_all(self) -> None:
        with self._lock:
            left = list(self._tasks.values())
        shutdowns = [task for task in left if task.request.name == "shutdown"]
        for task in left:
            if task not in shutdowns:
                self._fail(task, CancelledError("cancelled before it began"))
        for task in shutdowns:
            self._settle(task, Outcome(EXIT_DONE, {}))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM are a shutdown; whatever asked for it, one more ends at once."""

        def ask(number: int, _frame: object) -> None:
            if self._stopping:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self._signal = number
            self._stop()

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _warnings(self) -> Iterator[None]:
        """Warnings of this package become events of the running request, every time."""

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            task = self._running
            if task is not None and category.__module__.partition(".")[0] == "vfxswap":
                self._send("warning", id=task.request.id, message=str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        with warnings.catch_warnings():
            usual = warnings.showwarning
            warnings.filterwarnings("always", module=r"vfxswap\.")
            warnings.showwarning = show
            yield


def _unforeseen(error: Exception) -> dict[str, Any]:
    with suppress(OSError):
        traceback.print_exception(error)
    message = f"vfxswap failed: {type(error).__name__}: {error}"
    return {"kind": "internal", "exit_code": EXIT_RETRY, "message": message}
