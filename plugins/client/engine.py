"""The engine as a host's plug-in sees it."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, Mapping, Sequence, Union

from .environment import find_engine
from .errors import EngineError, Event
from .process import Limits, Process
from .task import OnEvent, Task

Job = Union[Dict[str, Any], str]
"""A job, or the path of a job file."""


class Engine:
    """An engine, started when it is first asked and again after it died or was restarted.

    All methods may be called from every thread. `setting` is as for `find_engine`, `options` go
    to `vfxswap worker` ("--device", "cuda:1"), `log` is given every line of the engine's stderr.
    An engine that sends nothing for `hang_s` while it has requests, or whose running request says
    nothing but heartbeats for `stall_s`, is ended; so is one that does not say hello in `start_s`.
    """

    def __init__(
        self,
        setting: str = "",
        *,
        options: Sequence[str] = (),
        log: Callable[[str], None] | None = None,
        start_s: float = 60.0,
        hang_s: float = 60.0,
        stall_s: float | None = None,
    ) -> None:
        self._setting, self._options, self._log = setting, list(options), log
        self._limits = Limits(start_s, hang_s, stall_s)
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._closed = False

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The engine's process, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.living else None

    def start(self) -> Event:
        """Starts the engine if need be and returns its hello. Raises EngineNotFoundError,
        EngineDiedError."""
        return self._living().wait_for_hello()

    def send(
        self,
        request: str,
        fields: Mapping[str, Any] | None = None,
        *,
        on_event: OnEvent | None = None,
    ) -> Task:
        """Sends a request and does not wait. `on_event` hears each of its events, `done` last.

        Raises EngineNotFoundError, and EngineError once closed.
        """
        return self._living().send(request, fields or {}, on_event)

    def describe(self, effect: str = "", *, timeout_s: float = 120.0) -> dict[str, Any]:
        """Effects with their settings, and the JSON schema of a job."""
        return self.send("describe", {"effect": effect}).result(timeout_s)

    def models(self, *, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """The installed models that can be read."""
        task = self.send("models")
        report = task.wait(timeout_s)["report"]
        rows: list[dict[str, Any]] = (report if "models" in report else task.result())["models"]
        return rows

    def ping(self, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """What the engine is doing: `running`, `queued`."""
        return self.send("ping").result(timeout_s)

    def check(self, job: Job, *, on_event: OnEvent | None = None) -> Task:
        """What is wrong with a job; the report has `findings`."""
        return self.send("check", {"job": job}, on_event=on_event)

    def render(
        self,
        job: Job,
        *,
        frames: str = "",
        skip_existing: bool = False,
        overwrite: bool = True,
        on_event: OnEvent | None = None,
    ) -> Task:
        """Renders a job, or only some `frames` of it."""
        fields = {
            "job": job,
            "frames": frames,
            "skip_existing": skip_existing,
            "overwrite": overwrite,
        }
        return self.send("render", fields, on_event=on_event)

    def track(self, job: Job, *, tracks: str = "", on_event: OnEvent | None = None) -> Task:
        """Finds and follows the faces of a job's plate into a tracks file."""
        return self.send("track", {"job": job, "tracks": tracks}, on_event=on_event)

    def restart(self, *, grace_s: float = 10.0) -> None:
        """Ends the engine as `close` does; the next request starts a new one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close(grace_s)

    def close(self, *, grace_s: float = 10.0) -> None:
        """Ends the engine after the frame in hand, or after `grace_s` at once; for good."""
        self._closed = True
        self.restart(grace_s=grace_s)

    def _living(self) -> Process:
        with self._lock:
            if self._closed:
                raise EngineError("the engine was closed")
            process = self._process
            if process is not None and process.spent:
                process.hang_up()
                process = None
            if process is None or not process.living:
                command = [find_engine(self._setting), "worker", *self._options]
                process = self._process = Process(command, self._limits, self._log)
            return process
