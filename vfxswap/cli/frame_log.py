"""The log of frames: a line for each, appended to a file that several renders may share.

`--log FILE` writes plain lines, or JSON lines where FILE ends in .jsonl, .ndjson or .json:

    2026-03-01T10:15:02Z node7[4711] frame 1001 left done in 0.41 s, 1 face: /shots/a/out/c.1001.exr
    {"time": "2026-03-01T10:15:02Z", "host": "node7", "pid": 4711, "frame": 1001, "view": "left",
     "state": "done", "seconds": 0.41, "faces": 1, "path": "/shots/a/out/c.1001.exr", "notes": []}

`state` is done, skipped (complete already) or failed; then `message` says why. Each line is written
at once under a lock, so lines of several processes never mix; file servers without locks keep this
promise for the processes of one machine.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfxswap.errors import OutputError

if TYPE_CHECKING:
    from vfxswap.render.report import Event, Listener

_FOR_PROGRAMS = (".jsonl", ".ndjson", ".json")
_STATES = ("done", "skipped", "failed")


@contextmanager
def logged(listen: Listener, files: Sequence[Path]) -> Iterator[Listener]:
    """`listen`, which also writes frames to log files. Raises OutputError for a file that cannot be
    opened; one that fails later is given up with a sentence, since a log must not end a render."""
    with ExitStack() as stack:
        logs = [stack.enter_context(_Log.opened(file)) for file in files]
        notes: dict[tuple[int | None, str], list[str]] = {}

        def hear(event: Event) -> None:
            if event.stage == "render" and event.frame is not None and logs:
                place = (event.frame, event.view)
                if event.kind == "note":
                    notes.setdefault(place, []).append(event.message)
                elif event.kind in _STATES:
                    values = _values(event, notes.pop(place, []))
                    for log in logs:
                        log.write(values)
            listen(event)

        yield hear


class _Log:
    """One open log file."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file, self._descriptor = file, descriptor
        self._line = _json_line if file.suffix.lower() in _FOR_PROGRAMS else _plain_line
        self._broken = False

    @classmethod
    @contextmanager
    def opened(cls, file: Path) -> Iterator[_Log]:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError("log cannot be written", got=error.strerror, file=file) from error
        try:
            yield cls(file, descriptor)
        finally:
            os.close(descriptor)

    def write(self, values: dict[str, Any]) -> None:
        if self._broken:
            return
        data = (self._line(values) + "\n").encode("utf-8", "backslashreplace")
        try:
            with _locked(self._descriptor):
                written = os.write(self._descriptor, data)
            if written != len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            self._broken = True
            print(f"vfxswap: {self._file}: log is given up: {error.strerror}", file=sys.stderr)


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """For the time of a write; O_APPEND alone is no protection between machines."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _values(event: Event, notes: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "frame": event.frame,
        "view": event.view,
        "state": event.kind,
        "seconds": None if event.seconds is None else round(event.seconds, 4),
        "faces": event.faces,
        "path": None if event.path is None else str(event.path),
        "message": event.message or None,
    }
    return {**{k: v for k, v in values.items() if v is not None}, "notes": list(notes)}


def _json_line(values: dict[str, Any]) -> str:
    return json.dumps(values)


def _plain_line(values: dict[str, Any]) -> str:
    view = f" {values['view']}" if values["view"] else ""
    words = [f"frame {values['frame']}{view} {values['state']}"]
    if "seconds" in values:
        words[0] += f" in {values['seconds']:.2f} s"
    if "faces" in values:
        words.append(f"{values['faces']} face{'' if values['faces'] == 1 else 's'}")
    text = ", ".join(words)
    text += f": {values.get('message') or values.get('path', '')}"
    text += "".join(f"; {note}" for note in values["notes"])
    line = f"{values['time']} {values['host']}[{values['pid']}] {text}"
    return "".join(c if c.isprintable() else "?" for c in line)
