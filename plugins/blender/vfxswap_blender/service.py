# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine, kept alive between frames, and frames asked of it; without bpy.

The client is `plugins/client`, which the built extension carries.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .sequences import filled, ranges
from .store import file_state, key_of, write_whole

if TYPE_CHECKING:
    from client import Engine, EngineDiedError, EngineError, RequestFailedError, Task, find_engine
else:
    from .client import (
        Engine,
        EngineDiedError,
        EngineError,
        RequestFailedError,
        Task,
        find_engine,
    )

STALL_S = 900.0
"""An engine that makes no progress for so long is taken for hung."""
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """A frame's file, or why there is none. `lasting` says that no other frame will fare better:
    the job or the engine is bad."""

    path: str = ""
    message: str = ""
    lasting: bool = False


class Service:
    """One engine process for everything that Blender asks for.

    `identity` is what the engine's pixels depend on: its version and its models' weights.
    """

    def __init__(self, setting: str, device: str, log: Callable[[str], None] | None) -> None:
        options = ["--device", device] if device else []
        self.setting, self.device = setting, device
        self.calls = 0
        """Render requests so far."""
        self._engine = Engine(setting, options=options, log=log, stall_s=STALL_S)
        self._identity: dict[str, Any] | None = None
        self._pid: int | None = None

    def find(self) -> str:
        """The engine's executable. Raises EngineNotFoundError."""
        return find_engine(self.setting)

    def hello(self) -> dict[str, Any]:
        """The engine's greeting; starts it. Raises EngineError."""
        return self._engine.start()

    def catalogue(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Its `describe` and its models. Raises EngineError, RequestFailedError."""
        return self._engine.describe(), self._engine.models()

    def identity(self) -> dict[str, Any]:
        """Version and weights of the engine; asked once a life. Raises EngineError."""
        hello = self.hello()
        if self._identity is None or self._engine.pid != self._pid:
            models = sorted((m["name"], m["sha256"]) for m in self._engine.models())
            self._identity = {"version": hello["version"], "models": key_of(models)}
            self._pid = self._engine.pid
        return self._identity

    def fetch(self, job: Mapping[str, Any], frames: Sequence[int], folder: str) -> Batch:
        """Asks for frames of a job, which is given its output here, in a new folder of `folder`."""
        return Batch(self, job, frames, folder)

    def render(
        self, job: dict[str, Any], frames: str, on_event: Callable[[dict[str, Any]], None]
    ) -> Task:
        """One render request. Raises EngineError."""
        self.calls += 1
        return self._engine.render(job, frames=frames, on_event=on_event)

    def close(self) -> None:
        """Ends the engine: after the frame in hand, or soon."""
        self._engine.close(grace_s=3.0)


class Batch:
    """Frames on their way: the engine works ahead while Blender composites.

    When the engine dies the frames that are left are asked for once more, of a new one.
    """

    def __init__(
        self, service: Service, job: Mapping[str, Any], frames: Sequence[int], folder: str
    ) -> None:
        os.makedirs(folder, exist_ok=True)
        self.frames = tuple(frames)
        self._service = service
        self._folder = tempfile.mkdtemp(prefix=f"{os.getpid()}-{next(_NUMBERS)}-", dir=folder)
        pattern = os.path.join(self._folder, "frame.####.exr")
        output = {"pattern": pattern, "single_part": True, "layers": True, "sidecar": True}
        self._job = {**job, "output": output}
        self._pattern = pattern
        self._changed = threading.Condition()
        self._outcomes: dict[int, Outcome] = {}
        self.notes: list[tuple[int | None, str]] = []
        """Warnings of the engine: frame and sentence."""
        self._task: Task | None = None
        self._end: Outcome | None = None
        self._lives = 2
        self._asked = 0
        self._discarded = self._working = False
        self._ask()

    def wait(self, frame: int, timeout_s: float | None = None) -> Outcome | None:
        """What became of a frame; None when `timeout_s` is over first."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: frame in self._outcomes or self._end is not None, timeout_s
                )
                if frame in self._outcomes:
                    return self._outcomes[frame]
                if self._end is None:
                    return None
                if self._lives == 0 or self._end.lasting:
                    return self._end
            self._ask()

    @property
    def finished(self) -> int:
        """How many frames are settled."""
        with self._changed:
            return len(self._outcomes)

    def cancel(self) -> None:
        """Lets go of the frames that are left, after the one in hand."""
        self._lives = 0
        if self._task is not None:
            with contextlib.suppress(EngineError):
                self._task.cancel()

    def discard(self) -> None:
        """Cancels, and removes the frames that nobody took: at once, or when the engine is through
        with the one in hand, for which nobody waits."""
        self.cancel()
        with self._changed:
            self._discarded = True
            over = not self._working
        if over:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self) -> None:
        self._lives -= 1
        left = [frame for frame in self.frames if frame not in self._outcomes]
        with self._changed:
            self._asked += 1
            asked = self._asked
            self._end, self._working = None, True

        def hear(event: dict[str, Any]) -> None:
            """What an engine that died still says is not of this request."""
            if asked == self._asked:
                self._hear(event)

        try:
            self._task = self._service.render(self._job, ranges(left), hear)
        except EngineError as error:
            with self._changed:
                self._working = False
                self._end = Outcome(message=str(error), lasting=True)
                self._changed.notify_all()

    def _hear(self, event: dict[str, Any]) -> None:
        """Called on the client's thread."""
        kind: str = event["event"]
        if kind == "done":
            with self._changed:
                self._working = False
                discarded = self._discarded
            if discarded:
                shutil.rmtree(self._folder, ignore_errors=True)
        frame: Any = event.get("frame")
        with self._changed:
            if kind == "frame_done":
                self._outcomes[frame] = Outcome(path=filled(self._pattern, frame))
            elif kind == "warning":
                self.notes.append((frame, str(event["message"])))
            elif kind == "error":
                self._hear_error(event, frame)
            elif kind == "done" and self._end is None:
                code = event["exit_code"]
                words = "cancelled" if code == 143 else "the engine gave no such frame"
                self._end = Outcome(message=words, lasting=True)
            else:
                return
            self._changed.notify_all()

    def _hear_error(self, event: dict[str, Any], frame: int | None) -> None:
        message = str(event["message"])
        if not event.get("fatal"):
            # While tracking, a frame that cannot be read is only said so; rendering says it again.
            if frame is not None and event.get("stage") == "render":
                self._outcomes[frame] = Outcome(message=message)
            return
        died = event.get("kind") in ("engine", "internal")
        self._end = Outcome(message=message, lasting=not (died and self._lives > 0))


class LastIdentity:
    """The engine's identity as last seen with a cache, for when there is no engine to ask."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "engine.json")

    def read(self) -> dict[str, Any] | None:
        try:
            with open(self._path, encoding="utf-8") as file:
                known: dict[str, Any] = json.load(file)
        except (OSError, ValueError):
            return None
        return known

    def write(self, identity: Mapping[str, Any]) -> None:
        """Raises OSError."""
        if self.read() != identity:
            write_whole(self._path, json.dumps(identity).encode())


__all__ = [
    "Batch",
    "EngineDiedError",
    "EngineError",
    "LastIdentity",
    "Outcome",
    "RequestFailedError",
    "Service",
    "file_state",
]
