"""Rendering with an engine of its own, which goes on when panels, and Nuke itself, are closed.

It is `vfxswap render` on a job file; what it says goes to files beside the results, by which any
later session finds it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import time
from typing import Any, Mapping, Sequence

from vfxswap_nuke.engine_client import clean_environment, find_engine
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.files import read_json, write_json
from vfxswap_nuke.foreground import Wanted
from vfxswap_nuke.inputs import Unit
from vfxswap_nuke.results import Results
from vfxswap_nuke.runs import CANCELLED, DONE, FAILED, Run, frames_text, stage_text, summary
from vfxswap_nuke.settings import PluginSettings
from vfxswap_nuke.snapshot import NodeState
from vfxswap_nuke.store import Store

_LIVES = 2
_CANCELLED_CODE = 143


class BackgroundRun(Run):
    """A render by a process of its own. `poll` now and then; it alone moves the state on."""

    kind = "background"

    def __init__(
        self,
        folder: str,
        record: dict[str, Any],
        *,
        settings: PluginSettings,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        keys = record["keys"]
        title = "{} {}".format(record["effect"], record["frames"])
        super().__init__(record["node"], title, len(keys))
        self.folder = folder
        self.began = record["began"]
        self._record = record
        self._process = process
        self._seen = process is not None
        """Whether this session saw it run: what ended before is told, not started again."""
        self._settings = settings
        self._keys: dict[Unit, str] = {
            (int(k.split(" ")[0]), k.split(" ")[1]): keys[k] for k in keys
        }
        store = Store(record["store"], int(settings.store_gb * 1e9))
        self._results = Results(record["output"], record["index"], store)
        self._read = 0
        self._heard = time.time()
        self._made: dict[Unit, bool] = {}
        self._failed: dict[Unit, Mapping[str, Any]] = {}
        self._done: Mapping[str, Any] | None = None
        self._kept = len(keys) - int(record["wanted"])
        self.advance(self._kept)

    # Looking --------------------------------------------------------------------------------

    def poll(self) -> None:
        """Reads what the engine said since, and notices its end."""
        if self.over:
            return
        living = self._lives()
        self._seen = self._seen or living
        for event in self._news():
            self._heard = time.time()
            self._hear(event)
        if self._done is not None:
            self._finish(self._done)
        elif not living:
            self._died("the engine ended unexpectedly" + self._last_words())
        elif self._settings.stall_s and time.time() - self._heard > self._settings.stall_s:
            self._signal("SIGKILL")
            self._died(f"the engine hung: no progress for {self._settings.stall_s:g} s")

    def cancel(self) -> None:
        """Asks for its end after the frame in hand."""
        super().cancel()
        self._signal("SIGTERM")

    def _news(self) -> list[Mapping[str, Any]]:
        """Events of whole lines that were not read yet."""
        try:
            with open(os.path.join(self.folder, "events.jsonl"), "rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        events: list[Mapping[str, Any]] = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line.decode("utf-8", "replace"))
                if isinstance(event, dict) and "event" in event:
                    events.append(event)
        return events

    def _hear(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        unit = (int(event["frame"]), str(event.get("view", ""))) if "frame" in event else None
        if kind == "frame_done" and unit in self._keys and unit is not None:
            self._made[unit] = True
            self._results.made(unit, self._keys[unit])
            self.message = "rendering in the background"
            self.advance(self._kept + len(self._made))
        elif kind == "error":
            if unit is not None:
                self._failed[unit] = event
            self.say(str(event.get("message")))
        elif kind == "warning":
            self.say("", note=str(event.get("message")))
        elif kind == "done":
            self._done = event
        elif kind == "progress" and event.get("stage") != "render":
            self.say(stage_text(event))

    # Ending ---------------------------------------------------------------------------------

    def _finish(self, done: Mapping[str, Any]) -> None:
        left = int(self._record["wanted"]) - len(self._made)
        text = summary(
            made=len(self._made),
            kept=self._kept,
            failed=list(self._failed.values()),
            not_reached=max(0, left - len(self._failed)),
            cancelled=bool(done.get("cancelled")),
        )
        code = int(done.get("exit_code", 1))
        self._close({0: DONE, _CANCELLED_CODE: CANCELLED}.get(code, FAILED), text)

    def _died(self, message: str) -> None:
        if self.cancelled.is_set():
            self._close(CANCELLED, f"cancelled; {len(self._made)} rendered")
            return
        # A refused job ends with exit code 2 and a sentence: asking again does not help.
        code = self._process.poll() if self._process is not None else None
        if code == 2 or not self._seen or self._record["life"] + 1 >= _LIVES:
            self._close(FAILED, message)
            return
        self.say(message)
        self._results.save()
        left = [unit for unit in self._keys if not self._results.holds(unit, self._keys[unit])]
        record = dict(self._record, life=self._record["life"] + 1)
        try:
            self._process = _spawn(self.folder, record, left)
        except (OSError, NodeError) as error:
            self._close(FAILED, f"{message}; it cannot be started again: {error}")
            return
        self._record, self._heard = record, time.time()
        self.say("a new engine goes on")

    def _close(self, state: str, message: str) -> None:
        self.cache_words = self._results.save()
        write_json(os.path.join(self.folder, "run.json"), dict(self._record, ended=message))
        self.end(state, message)

    def _last_words(self) -> str:
        lines = self.engine_log()
        return ": " + lines[-1] if lines else ""

    def engine_log(self) -> list[str]:
        """The last lines that the engine wrote for people."""
        try:
            with open(os.path.join(self.folder, "log.txt"), "rb") as file:
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-50:]

    # The process ----------------------------------------------------------------------------

    def _lives(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return alive(int(self._record["pid"]), str(self._record["mark"]))

    def _signal(self, name: str) -> None:
        if not self._lives():
            return
        pid = int(self._record["pid"])
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(pid, getattr(signal, name))
            else:
                os.kill(pid, signal.SIGTERM)


def start(state: NodeState, wanted: Wanted, *, settings: PluginSettings) -> BackgroundRun:
    """Starts an engine of its own on what is wanted. Raises NodeError, EngineError, OSError."""
    layout = state.layout
    folder = layout.background(state.proxy)
    job_file = layout.job(state.proxy)
    write_job(job_file, wanted.job)
    missing = wanted.results.missing(wanted.keys)
    wanted.results.save()
    record = {
        "node": state.name,
        "effect": state.effect,
        "frames": wanted.job["frames"],
        "job": job_file,
        "output": wanted.job["output"]["pattern"],
        "index": layout.index(state.proxy),
        "store": layout.store,
        "keys": {"{} {}".format(*unit): key for unit, key in wanted.keys.items()},
        "wanted": len(missing),
        "command": [find_engine(settings.engine), "render", job_file, *settings.options()],
        "began": time.time(),
        "machine": platform.node(),
        "life": 0,
    }
    os.makedirs(folder, exist_ok=True)
    for name in ("events.jsonl", "log.txt"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    if not missing:
        run = BackgroundRun(folder, dict(record, pid=0, mark=""), settings=settings)
        run.end(DONE, summary(made=0, kept=run.total, failed=[], not_reached=0, cancelled=False))
        return run
    process = _spawn(folder, record, missing)
    return BackgroundRun(folder, record, settings=settings, process=process)


def write_job(path: str, job: Mapping[str, Any]) -> None:
    """Writes a job file, as `vfxswap render` and `vfxswap submit` read it."""
    write_json(path, job)


def attach(state: NodeState, *, settings: PluginSettings) -> BackgroundRun | None:
    """The background render of a node that an earlier session on this machine started and that was
    not seen to its end; None where there is none."""
    folder = state.layout.background(state.proxy)
    record = read_json(os.path.join(folder, "run.json"))
    if not record or "ended" in record or record.get("machine") != platform.node():
        return None
    try:
        return BackgroundRun(folder, dict(record, node=state.name), settings=settings)
    except (KeyError, ValueError, TypeError):
        return None


def _spawn(folder: str, record: dict[str, Any], units: Sequence[Unit]) -> subprocess.Popen[bytes]:
    """Starts the engine on these units and puts its process into the record."""
    frames = ["--frames", frames_text(units), "--progress", "json"]
    with open(os.path.join(folder, "events.jsonl"), "ab") as events, open(
        os.path.join(folder, "log.txt"), "ab"
    ) as log:
        process = subprocess.Popen(
            [*record["command"], *frames],
            stdin=subprocess.DEVNULL,
            stdout=events,
            stderr=log,
            env=clean_environment(),
            # It outlives Nuke and takes no Ctrl-C from its terminal.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    record.update(pid=process.pid, mark=_mark(process.pid))
    write_json(os.path.join(folder, "run.json"), record)
    return process


def alive(pid: int, mark: str) -> bool:
    """Whether this very process runs: a number may have been given to another since."""
    if pid <= 0:
        return False
    found = _mark(pid)
    if found or mark:
        return found == mark
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _mark(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty when it ended, or off Linux."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
