"""A shot, and a scheduler and workers as processes of their own, on free ports of loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from small_shot import SYNTHETIC, gain_job, write_face_tracks, write_models, write_shot

from vfxswap.io.exr import verify_image
from vfxswap.job import EffectSpec, Job, Output
from vfxswap.render.output import verify_sidecar

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENGINE = HERE / "poison_engine.py"
PATIENCE_S = 600.0
"""For anything that a loaded machine may delay."""

Event = dict[str, Any]


class Shot:
    """A folder with a plate of 1001 and on, tiny models and tracks."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.frames = range(1001, 1001 + count)
        self.plate = write_shot(folder, self.frames[:2])
        for frame in self.frames[2:]:
            os.link(folder / f"plate.{1001 + frame % 2}.exr", folder / f"plate.{frame}.exr")
        self.models = write_models(folder / "models")
        self.log = folder / "calls.log"

    @property
    def range(self) -> str:
        return f"{self.frames[0]}-{self.frames[-1]}"

    def poison(self, out: str, **settings: JsonValue) -> Path:
        """A job file of a light effect."""
        return self._job(out, "poison", {"log": str(self.log), **settings})

    def swap(self, out: str) -> Path:
        """A job file of a swap by a tiny network."""
        tracks = self.folder / "t.json"
        if not tracks.exists():
            write_face_tracks(tracks, self.plate, self.frames)
        return self._job(out, "swap", {"persona": SYNTHETIC}, tracks=str(tracks))

    def _job(self, out: str, effect: str, settings: dict[str, JsonValue], **more: Any) -> Path:
        spec = EffectSpec(effect=effect, settings=settings)
        output = Output(pattern=str(self.folder / out / "comp.#.exr"))
        job = gain_job(self.folder, self.range)
        job = Job.model_validate({**dict(job), "effects": (spec,), "output": output, **more})
        path = self.folder / f"{out}.json"
        job.write(path)
        return path

    def written(self, out: str) -> list[int]:
        """Frames whose files are whole, with their sidecars."""
        files = [(f, self.folder / out / f"comp.{f}.exr") for f in self.frames]
        return [f for f, file in files if verify_image(file) and verify_sidecar(file)]

    def leftovers(self, out: str) -> list[str]:
        """Names that are no frame and no record of one."""
        names = [p.name for p in (self.folder / out).iterdir()]
        return [n for n in names if n.startswith(".") or "tmp" in n]

    def calls(self) -> Counter[int]:
        """How often each frame was computed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(int(line.split()[0]) for line in lines)

    def env(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("VFXSWAP")}
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))
        own = {"VFXSWAP_MODELS": str(self.models), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return {**kept, **own, **more}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(ENGINE), *arguments]

    def run(
        self,
        *arguments: str,
        listen: Callable[[Event, subprocess.Popen[str]], None] | None = None,
        **env: str,
    ) -> tuple[int, list[Event], str]:
        """A command with `--progress json` to its end: exit code, events, and stderr."""
        process = subprocess.Popen(
            self.command(*arguments, "--progress", "json"), cwd=self.folder, env=self.env(**env),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        errors: list[str] = []
        assert process.stdout is not None and process.stderr is not None
        reader = threading.Thread(target=lambda e=process.stderr: errors.extend(e))
        reader.start()
        ended = threading.Timer(PATIENCE_S, lambda: end(process))
        ended.start()
        events: list[Event] = []
        try:
            for line in process.stdout:
                events.append(json.loads(line))
                if listen is not None:
                    listen(events[-1], process)
            code = process.wait()
        finally:
            ended.cancel()
            end(process)
            reader.join()
            process.stdout.close()
            process.stderr.close()
        return code, events, "".join(errors)


class Farm:
    """A scheduler and workers for a shot; all end with it."""

    def __init__(self, shot: Shot, *options: str, protocol: str = "tcp") -> None:
        self._shot, self._options = shot, options
        self.port = free_port()
        self.address = f"{protocol}://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[str]] = []

    def scheduler(self) -> subprocess.Popen[str]:
        """Starts one, and waits until it listens."""
        arguments = ("scheduler", "--port", str(self.port), *self._options)
        return self._start("scheduler at", *arguments)

    def worker(self, **env: str) -> subprocess.Popen[str]:
        """Starts one, and waits until the scheduler has it."""
        arguments = ("worker", self.address, "--threads", "1", *self._options)
        return self._start("worker at", *arguments, **env)

    def submit(
        self,
        job: Path,
        *arguments: str,
        listen: Callable[[Event, subprocess.Popen[str]], None] | None = None,
    ) -> tuple[int, list[Event], str]:
        return self._shot.run(
            "submit", str(job), "--to", "dask", "--scheduler", self.address, *self._options,
            *(() if "--wait-s" in arguments else ("--wait-s", "300")), *arguments, listen=listen,
        )  # fmt: skip

    def _start(self, ready: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        log = self._shot.folder / f"{arguments[0]}-{len(self.processes)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                self._shot.command("farm", *arguments), cwd=self._shot.folder,
                env=self._shot.env(**env), stdout=file, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        deadline = time.monotonic() + PATIENCE_S
        while ready not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return process


@contextmanager
def farm(shot: Shot, *options: str, workers: int = 2, protocol: str = "tcp") -> Iterator[Farm]:
    """A running farm."""
    running = Farm(shot, *options, protocol=protocol)
    try:
        running.scheduler()
        for _ in range(workers):
            running.worker()
        yield running
    finally:
        for process in reversed(running.processes):
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Kills a process with everything that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def done(events: Iterable[Event]) -> list[int]:
    """Frames that were told done, in that order."""
    return [e["frame"] for e in events if e["event"] == "frame_done" and not e.get("skipped")]


def on_frame_done(
    count: int, act: Callable[[subprocess.Popen[str]], None]
) -> Callable[[Event, subprocess.Popen[str]], None]:
    """A listener that acts once, when so many frames are done."""
    seen: list[int] = []

    def listen(event: Event, process: subprocess.Popen[str]) -> None:
        if event["event"] == "frame_done":
            seen.append(event["frame"])
            if len(seen) == count:
                act(process)

    return listen
