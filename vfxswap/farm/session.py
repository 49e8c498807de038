"""One engine for all tasks of a farm session: started once, asked by each task, stopped at the
end. Networks stay loaded from chunk to chunk.

A session is a folder that the farm gives (in OpenJD `{{Session.WorkingDirectory}}`); the engine's
socket, log and process id lie in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vfxswap.errors import EXIT_RETRY, VfxSwapError
from vfxswap.farm.keeper import SOCKET

LOG, PID = "engine.log", "engine.pid"
_POLL_S = 0.2
_TAIL = 20

OnEvent = Callable[[dict[str, Any]], None]
"""Told each event of docs/worker-protocol.md."""


class SessionError(VfxSwapError):
    """The engine of a session cannot be started or is gone; may be tried again."""

    kind = "session"


def start(
    folder: Path,
    options: Sequence[str],
    *,
    show: str = "",
    idle_s: float,
    patience_s: float = 180.0,
) -> int:
    """Starts the engine of a session and returns the process id of its keeper once it is up.

    `options` are those of `vfxswap worker`. It ends by itself after `idle_s` without a request.
    Raises SessionError when one is running already or it does not come up.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_second(folder)
    environment = {**os.environ, **({"VFXSWAP_SHOW": show} if show else {})}
    with (folder / LOG).open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "vfxswap.farm.keeper", folder, str(idle_s), *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            # It outlives the command that starts it, and no signal meant for that reaches it.
            start_new_session=True,
        )  # fmt: skip
    (folder / PID).write_text(str(keeper.pid))
    deadline = time.monotonic() + patience_s
    while not (folder / SOCKET).exists():
        if keeper.poll() is not None:
            raise SessionError("the engine did not start", got=_last_words(folder))
        if time.monotonic() > deadline:
            _kill(keeper.pid)
            raise SessionError(f"the engine did not start within {patience_s:g} s")
        time.sleep(0.02)
    return keeper.pid


def render(
    folder: Path,
    job: Path,
    frames: str,
    *,
    on_event: OnEvent,
    cancel: threading.Event,
    retries: int,
) -> int:
    """Renders some frames of a job file in the session's engine; gives the exit code. Complete
    frames are left alone.

    When the engine dies, a new one goes on, `retries` times. Once `cancel` is set the frame in
    hand is finished. Raises SessionError when there is no engine.
    """
    request = {
        "id": f"{os.getpid()}-{time.monotonic_ns()}",
        "request": "render",
        "job": str(job.absolute()),
        "frames": frames,
        "skip_existing": True,
    }
    for left in range(retries, -1, -1):
        done = _ask(folder.absolute(), request, on_event=on_event, cancel=cancel)
        if done is not None:
            return int(done["exit_code"])
        again = "starting it again" if left and not cancel.is_set() else "giving up"
        sentence = f"the engine died: {_last_words(folder)}; {again}"
        on_event({"event": "warning", "stage": "render", "message": sentence})
        if cancel.is_set():
            break
    return EXIT_RETRY


def stop(folder: Path, *, grace_s: float) -> bool:
    """Ends the engine of a session after the frame in hand, or after `grace_s` at once; returns
    whether it ended in order. Without an engine nothing is done."""
    folder = folder.absolute()
    try:
        pid = int((folder / PID).read_text())
        with _connected(folder) as line:
            line.sendall(b'{"id": "stop", "request": "shutdown"}\n')
    except (OSError, ValueError):
        # Nobody listens: the number may be another process's by now.
        return True
    deadline = time.monotonic() + grace_s
    while _runs(pid):
        if time.monotonic() > deadline:
            _kill(pid)
            return False
        time.sleep(0.05)
    return True


def _refuse_second(folder: Path) -> None:
    if not (folder / SOCKET).exists():
        return
    try:
        with _connected(folder):
            pass
    except OSError:
        # Left by a keeper that was killed.
        (folder / SOCKET).unlink(missing_ok=True)
    else:
        raise SessionError("the session has an engine already", file=folder / SOCKET)


def _ask(
    folder: Path, request: dict[str, Any], *, on_event: OnEvent, cancel: threading.Event
) -> dict[str, Any] | None:
    """The `done` of a request; None when the engine died over it."""
    try:
        with _connected(folder) as line:
            line.sendall(json.dumps(request).encode() + b"\n")
            cancelled = False
            for event in _events(line):
                if cancel.is_set() and not cancelled:
                    cancelled = True
                    stop = {"id": "cancel", "request": "cancel", "target": request["id"]}
                    line.sendall(json.dumps(stop).encode() + b"\n")
                if event is None or event.get("id") not in (request["id"], None):
                    continue
                if event["event"] == "done":
                    return event
                if event["event"] != "died":
                    on_event(event)
    except (FileNotFoundError, ConnectionRefusedError):
        wanted = "a session that was started"
        raise SessionError("the session has no engine", wanted=wanted, file=folder) from None
    except ConnectionError:
        pass
    return None


def _events(line: socket.socket) -> Iterator[dict[str, Any] | None]:
    """Events until the keeper hangs up; None now and then, so that a cancel is noticed."""
    line.settimeout(_POLL_S)
    held = b""
    while True:
        try:
            data = line.recv(1 << 16)
        except TimeoutError:
            yield None
            continue
        if not data:
            return
        *whole, held = (held + data).split(b"\n")
        for text in whole:
            yield json.loads(text)


@contextlib.contextmanager
def _connected(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as line:
        # Names of sockets are short (108 bytes on Linux); folders of sessions are not.
        with contextlib.chdir(folder):
            line.connect(SOCKET)
        yield line


def _last_words(folder: Path) -> str:
    with contextlib.suppress(OSError):
        lines = (folder / LOG).read_text(errors="replace").splitlines()[-_TAIL:]
        return next((line for line in reversed(lines) if line.strip()), "no word")
    return "no word"


def _runs(pid: int) -> bool:
    try:
        # A keeper of this very process is waited for, so that it does not stay a zombie.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie of another parent is over, whoever reaps it.
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return True


def _kill(pid: int) -> None:
    """The keeper and its engine, which are one process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
