"""A worker driven by bare lines, as any client in any language would; and small shots for it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue
from small_shot import SYNTHETIC, write_face_tracks, write_models, write_shot

HERE = Path(__file__).parent / "worker"
ROOT = HERE.parent.parent
FRAMES = range(1001, 1021)
PATIENCE_S = 60.0
"""For anything that a loaded machine may delay."""

Event = dict[str, Any]


class Shot:
    """A folder with a plate of 20 frames, models, tracks, and an engine that is an executable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plate = write_shot(folder / "plates", FRAMES[:2])
        for frame in FRAMES[2:]:
            os.link(folder / "plates" / "plate.1001.exr", folder / "plates" / f"plate.{frame}.exr")
        self.models = write_models(folder / "models")
        self.tracks = write_face_tracks(folder / "t.json", self.plate, FRAMES)
        self.engine = executable(
            folder / "engine",
            f"import runpy, sys\nsys.path[:0] = {[str(ROOT), str(ROOT / 'tests'), str(HERE)]!r}\n"
            f"runpy.run_path({str(HERE / 'slow_engine.py')!r}, run_name='__main__')\n",
        )

    def slow(self, out: str, *, frames: str = "1001-1020", **settings: JsonValue) -> Event:
        """A job that needs no network."""
        return self._job(out, frames, {"effect": "slow", "settings": settings})

    def swap(self, out: str, *, persona: str = SYNTHETIC) -> Event:
        """A job that needs one."""
        job = self._job(out, "1001-1002", {"effect": "swap", "settings": {"persona": persona}})
        return {**job, "tracks": str(self.tracks)}

    def _job(self, out: str, frames: str, effect: Event) -> Event:
        return {
            "plate": {"pattern": self.plate},
            "frames": frames,
            "effects": [effect],
            "output": {"pattern": str(self.folder / out / "comp.#.exr")},
        }

    def environment(self) -> dict[str, str]:
        """What a worker of the tests is started with."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("VFXSWAP", "PYTHON"))}
        return {**kept, "VFXSWAP_MODELS": str(self.models), "OMP_NUM_THREADS": "1"}


def executable(path: Path, code: str) -> Path:
    """A program in Python."""
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return path


class Lines:
    """A worker process; every line of its stdout must be an event."""

    def __init__(self, shot: Shot, *options: str) -> None:
        self.process = subprocess.Popen(
            [shot.engine, "worker", "--heartbeat", "0.1", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=shot.environment(), cwd=shot.folder,
        )  # fmt: skip
        self.seen: list[Event] = []
        self.errors = ""
        self._arrived: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._readers = [threading.Thread(target=read) for read in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """Closes stdin and gives the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
        for reader in self._readers:
            reader.join()
        return code

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, request: str, **fields: Any) -> str:
        """Sends a request and gives its id."""
        self._count += 1
        fields = {"id": f"r{self._count}", "request": request, **fields}
        self.write(json.dumps(fields).encode() + b"\n")
        return str(fields["id"])

    def next(self, *kinds: str, of: str | None = None) -> Event:
        """The next event of these kinds (any, when none is named) of this request; passes over
        others."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            event = self._arrived.get(timeout=max(0.01, deadline - time.monotonic()))
            assert event is not None, f"the worker ended: {self.errors}"
            self.seen.append(event)
            if (not kinds or event["event"] in kinds) and of in (None, event.get("id")):
                return event

    def done(self, request: str) -> Event:
        """The end of a request."""
        return self.next("done", of=request)

    def result(self, request: str, **fields: Any) -> Event:
        """The end of a request that is sent now."""
        return self.done(self.ask(request, **fields))

    def of(self, request: str) -> list[Event]:
        """What was seen of a request, heartbeats aside."""
        return [e for e in self.seen if e.get("id") == request and e["event"] != "heartbeat"]

    def rest(self) -> Iterator[Event]:
        """What is left when the worker has ended."""
        while (event := self._arrived.get(timeout=PATIENCE_S)) is not None:
            self.seen.append(event)
            yield event

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            for line in pipe:
                event = json.loads(line)
                assert isinstance(event, dict) and isinstance(event["event"], str)
                self._arrived.put(event)
        self._arrived.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            for line in pipe:
                self.errors += line.decode()


def written(folder: Path, *, suffixes: Sequence[str] = (".exr",)) -> list[str]:
    """Names of the files in a folder of results."""
    return sorted(p.name for p in folder.iterdir() if p.suffix in suffixes)
