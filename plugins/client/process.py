"""One life of the engine: its pipes, its threads, its end."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import traceback
from typing import Any, Callable, Mapping, Sequence

from .environment import clean_environment
from .errors import EngineDiedError, EngineError, EngineNotFoundError, Event
from .task import OnEvent, Task

PROTOCOL = 1
_LOG_LINES = 50


class Limits:
    def __init__(self, start_s: float, hang_s: float, stall_s: float | None) -> None:
        self.start_s, self.hang_s, self.stall_s = start_s, hang_s, stall_s
        limits = [start_s, hang_s] + ([] if stall_s is None else [stall_s])
        self.look_s = max(0.02, min(1.0, min(limits) / 5))
        """Seconds between looks at an engine."""


class Process:
    """One life of the engine, with the requests it was given."""

    def __init__(
        self, command: Sequence[str], limits: Limits, log: Callable[[str], None] | None
    ) -> None:
        self._limits, self._log = limits, log
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._tail: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self._hello: Event | None = None
        self._greeted = threading.Event()
        self._reason = ""
        self._silent_s = 0.0
        self._internal = False
        self._hung_up = False
        self._death: EngineDiedError | None = None
        self._over = threading.Event()
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment(),
                # A Ctrl-C in the host's terminal is not meant for the engine.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise EngineNotFoundError(f"{command[0]} cannot be started: {error.strerror}") from None
        self.pid = self._popen.pid
        self._command = command[0]
        self._logger = self._thread(self._read_log, "log")
        self.threads = (self._thread(self._read, "events"), self._thread(self._watch, "watch"))
        self._logger.start()
        for thread in self.threads:
            thread.start()

    def _thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        return threading.Thread(target=target, name=f"vfxswap {name} {self.pid}", daemon=True)

    @property
    def living(self) -> bool:
        """Whether it takes requests."""
        ended = self._over.is_set() or self._popen.poll() is not None
        return not (ended or self._hung_up or self._reason)

    @property
    def spent(self) -> bool:
        """Whether something unforeseen happened in it and nothing else is going on."""
        with self._lock:
            return self._internal and not self._tasks

    def wait_for_hello(self) -> Event:
        self._greeted.wait()
        if self._hello is None:
            self._over.wait()
            raise self._death or EngineError("the engine was closed")
        return self._hello

    def send(self, request: str, fields: Mapping[str, Any], on_event: OnEvent | None) -> Task:
        task = Task(self, request, on_event)
        line = json.dumps(dict(fields, id=task.id, request=request)) + "\n"
        with self._lock:
            if not self._tasks:
                self._silent_s = 0.0
            death = self._death
            if death is None:
                self._tasks[task.id] = task
        if death is not None:
            self._bury(task, death)
            return task
        assert self._popen.stdin is not None
        # Where it fails the engine is ending: the reader notices, and ends the task.
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._popen.stdin.write(line.encode("ascii"))
            self._popen.stdin.flush()
        return task

    # Reading ----------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as pipe:
            for line in pipe:
                self._silent_s = 0.0
                self._hear(line)
        self._end()

    def _hear(self, line: bytes) -> None:
        try:
            event: Event = json.loads(line.decode("utf-8"))
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            self._hear_rubbish(line)
            return
        if not self._greeted.is_set():
            self._greet(event)
        elif kind == "heartbeat":
            self._check_stall(event)
        else:
            self._deliver(event)

    def _hear_rubbish(self, line: bytes) -> None:
        if self._greeted.is_set():
            self._say("not an event: " + line.decode("utf-8", "replace").rstrip())
        else:
            self._kill(f"{self._command} is no vfxswap engine")

    def _greet(self, event: Event) -> None:
        if event["event"] != "hello" or event.get("protocol") != PROTOCOL:
            self._kill(
                f"{self._command} speaks protocol {event.get('protocol')}, this plug-in speaks "
                f"{PROTOCOL}: versions of plug-in and engine do not fit"
            )
            return
        self._hello = event
        self._greeted.set()

    def _deliver(self, event: Event) -> None:
        if event["event"] == "error" and event.get("kind") == "internal":
            self._internal = True
        key = str(event.get("id"))
        with self._lock:
            task = self._tasks.get(key)
            if event["event"] == "done":
                self._tasks.pop(key, None)
        if task is not None:
            self._tell(task, event)
        elif event["event"] == "error":
            self._say("engine: " + str(event.get("message")))

    def _tell(self, task: Task, event: Event) -> None:
        try:
            task._hear(event)
        except Exception:
            self._say("a callback failed:\n" + traceback.format_exc())

    def _read_log(self) -> None:
        assert self._popen.stderr is not None
        with self._popen.stderr as pipe:
            for line in pipe:
                text = line.decode("utf-8", "replace").rstrip()
                self._tail.append(text)
                self._say(text)

    def _say(self, text: str) -> None:
        if self._log is not None:
            try:
                self._log(text)
            except Exception:
                self._log = None

    # Watching ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        limits, before = self._limits, time.monotonic()
        while not self._over.wait(limits.look_s):
            # When the host itself stood still, so did the reader: only what this thread was
            # awake for counts.
            now = time.monotonic()
            self._silent_s += min(now - before, 2 * limits.look_s)
            before = now
            with self._lock:
                busy = bool(self._tasks)
            if not self._greeted.is_set():
                if self._silent_s > limits.start_s:
                    self._kill(f"{self._command} did not start within {limits.start_s:g} s")
            elif busy and self._silent_s > limits.hang_s:
                self._kill(f"the engine hung: nothing heard for {limits.hang_s:g} s")

    def _check_stall(self, event: Event) -> None:
        limit = self._limits.stall_s
        if limit is not None and event.get("quiet_s", 0.0) > limit:
            self._kill(f"the engine hung: no progress for {limit:g} s")

    def _kill(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._signal("SIGKILL")

    def _end(self) -> None:
        """Called when the engine's stdout has ended."""
        try:
            code = self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self._kill("the engine closed its stdout")
            code = self._popen.wait()
        self._logger.join(1.0)
        tail = list(self._tail)
        last = f": {tail[-1]}" if tail and code != 0 else ""
        message = (self._reason or f"the engine ended unexpectedly, {_exit_words(code)}") + last
        death = EngineDiedError(message, exit_code=code, log=tail)
        with self._lock:
            self._death = death
            tasks = list(self._tasks.values())
            self._tasks.clear()
        self._over.set()
        self._greeted.set()
        for task in tasks:
            self._bury(task, death)
        self.hang_up()

    def _bury(self, task: Task, death: EngineDiedError) -> None:
        """Ends a task whose engine is dead, in the form of events as well."""
        task.death = death
        error = {"kind": "engine", "exit_code": 1, "fatal": True, "message": str(death)}
        self._tell(task, dict(error, event="error", id=task.id))
        self._tell(task, {"event": "done", "id": task.id, "exit_code": 1, "report": {}})

    # Ending -----------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Closes the engine's stdin: it ends after the frame in hand."""
        self._hung_up = True
        if self._writing.acquire(timeout=1.0):
            try:
                assert self._popen.stdin is not None
                with contextlib.suppress(OSError):
                    self._popen.stdin.close()
            finally:
                self._writing.release()

    def close(self, grace_s: float) -> None:
        self.hang_up()
        if self._over.wait(grace_s):
            return
        self._reason = self._reason or f"the engine was ended after {grace_s:g} s of grace"
        self._signal("SIGTERM")
        if not self._over.wait(2.0):
            self._signal("SIGKILL")
            self._over.wait(5.0)

    def _signal(self, name: str) -> None:
        """To the engine's whole process group, since a studio's wrapper may stand before it."""
        if self._popen.poll() is not None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, getattr(signal, name))
        else:
            self._popen.kill()


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (memory may have run out)" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"
