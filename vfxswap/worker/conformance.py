"""Whether a client keeps to docs/worker-protocol.md: any client, in any language.

    python -m vfxswap.worker.conformance [--hang-s SECONDS] CLIENT [ARGUMENT …]

CLIENT is a program around the client that is tried. It is started once for each scene, with two
more arguments: a job file, and for how many seconds an engine may be silent. It starts
`$VFXSWAP_ENGINE worker` (here a program that plays an engine), has it render the job in one
request, ends it, and prints one line of JSON:

    {"outcome": "done", "exit_code": 0, "frames": [1001, 1002], "message": ""}

`outcome` is `done` (it came to its `done` event, whatever the exit code), `died` (the engine died,
hung or is to be taken for dead) or `incompatible` (no protocol that the client speaks); `exit_code`
is that of `done`, else null; `frames` are those of `frame_done`; `message` is what a user would
read. When $VFXSWAP_CANCEL is set, the client cancels after the first frame.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vfxswap.worker import scripted
from vfxswap.worker.requests import Refused, Request, parse

HANG_S = 3.0
_PATIENCE_S = 40.0
_JOB = {
    "version": 1,
    "plate": {"pattern": "/plates/plate.#.exr"},
    "frames": "1001-1002",
    "effects": [{"effect": "swap", "settings": {"persona": "amber"}}],
    "output": {"pattern": "/out/comp.#.exr"},
}
_HOST = {
    "PYTHONPATH": "/host/python", "PYTHONSTARTUP": "/host/startup.py",
    "QT_PLUGIN_PATH": "/host/qt", "NUKE_PATH": "/host/nuke",
    "BLENDER_USER_SCRIPTS": "/host/blender",
}  # fmt: skip
"""What a host leaves behind, and no engine may get; a client in Python lives with it."""
_KEPT = {"OCIO": "/studio/config.ocio", "VFXSWAP_SHOW": "kestrel"}


@dataclass(frozen=True)
class Scene:
    """What an engine does (a scene of `scripted`), and what a client must make of it."""

    name: str
    fact: str
    outcome: str = "done"
    exit_code: int | None = 0
    frames: tuple[int, ...] = (1001, 1002)
    says: str = ""
    """What its message holds."""
    cancel: bool = False
    asks: bool = True
    """Whether it sends a request to render."""


SCENES: tuple[Scene, ...] = (
    Scene("renders", "a render is heard to its end; unknown events and fields are passed over"),
    Scene(
        "speaks_another_protocol", "another protocol is refused before anything is asked",
        "incompatible", None, (), asks=False,
    ),
    Scene("breaks_a_frame", "a frame that fails does not end the others", exit_code=1,
          frames=(1002,)),
    Scene("refuses", "the sentence of a refused job is told", exit_code=2, frames=(),
          says="consent of rowan has expired"),
    Scene("dies", "an engine that dies is noticed", "died", None, (1001,)),
    Scene("hangs", "an engine that hangs is noticed, and ended", "died", None, (1001,)),
    Scene("takes_its_time", "an engine that beats its heart is waited for"),
    Scene("is_cancelled", "a cancel names the request, and the end is waited for", exit_code=143,
          frames=(1001,), cancel=True),
    Scene("chatters", "logs are read all the time, and lines of any length and in pieces"),
)  # fmt: skip


@dataclass
class Trial:
    """How a client did in a scene."""

    scene: Scene
    faults: list[str] = field(default_factory=list)


def try_client(
    client: Sequence[str], *, hang_s: float = HANG_S, scenes: Sequence[Scene] = SCENES
) -> list[Trial]:
    """The client in every scene; a trial without faults is passed."""
    return [_try_in(scene, client, hang_s) for scene in scenes]


def _try_in(scene: Scene, client: Sequence[str], hang_s: float) -> Trial:
    trial = Trial(scene)
    with tempfile.TemporaryDirectory(prefix="vfxswap-conformance-") as name:
        folder = Path(name)
        said = _run(scene, client, hang_s, folder, trial)
        heard = _log(folder / "log.jsonl")
        if said is not None:
            _judge_words(scene, said, trial)
        _judge_engine(scene, heard, trial)
    return trial


def _run(
    scene: Scene, client: Sequence[str], hang_s: float, folder: Path, trial: Trial
) -> Mapping[str, Any] | None:
    """What the client printed of a scene; None where that is no answer."""
    engine, job = folder / "engine", folder / "job.json"
    play = f"import runpy\nrunpy.run_path({scripted.__file__!r}, run_name='__main__')\n"
    engine.write_text(f"#!{sys.executable} -I\n{play}")
    engine.chmod(0o755)
    job.write_text(json.dumps(_JOB))
    environment = {
        **os.environ, **_HOST, **_KEPT,
        "VFXSWAP_ENGINE": str(engine), "VFXSWAP_SCENE": scene.name,
        "VFXSWAP_SCENE_LOG": str(folder / "log.jsonl"), "VFXSWAP_SCENE_HANG_S": str(hang_s),
    }  # fmt: skip
    environment.pop("VFXSWAP_CANCEL", None)
    if scene.cancel:
        environment["VFXSWAP_CANCEL"] = "1"
    patience_s = _PATIENCE_S + 4 * hang_s
    try:
        done = subprocess.run(
            [*client, str(job), f"{hang_s:g}"], stdin=subprocess.DEVNULL, capture_output=True,
            env=environment, timeout=patience_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        trial.faults.append(f"the client did not come to an end within {patience_s:g} s")
        return None
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        trial.faults.append(f"the client ended with {done.returncode}: {' '.join(last)}")
        return None
    try:
        said = json.loads(done.stdout)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        trial.faults.append(f"the client printed no answer, but {done.stdout[:200]!r}")
        return None
    return said


def _judge_words(scene: Scene, said: Mapping[str, Any], trial: Trial) -> None:
    wanted = {
        "outcome": scene.outcome,
        "exit_code": scene.exit_code,
        "frames": list(scene.frames),
    }
    for name, value in wanted.items():
        if said.get(name) != value:
            trial.faults.append(f"{name} is {said.get(name)!r}, wanted {value!r}")
    if scene.says not in str(said.get("message")):
        trial.faults.append(f"message is {said.get('message')!r}, wanted {scene.says!r} in it")


def _judge_engine(scene: Scene, heard: Sequence[Mapping[str, Any]], trial: Trial) -> None:
    if not heard:
        trial.faults.append("the engine was not started")
        return
    faults = trial.faults
    first = heard[0]
    if first["arguments"][:1] != ["worker"]:
        faults.append(f"the engine was started with {first['arguments']}, wanted worker …")
    _judge_environment(first["environment"], faults)
    lines = [note["line"] for note in heard if "line" in note]
    parsed = [parse(line.rstrip("\n").encode()) for line in lines]
    for line, found in zip(lines, parsed, strict=True):
        if isinstance(found, Refused):
            faults.append(f"a line is no request ({found.error}): {line[:200]}")
    requests = [found for found in parsed if isinstance(found, Request)]
    if len({request.id for request in requests}) != len(requests):
        faults.append("an id is used twice")
    renders = sum(request.name == "render" for request in requests)
    if renders != int(scene.asks):
        faults.append(f"{renders} requests to render, wanted {int(scene.asks)}")
    if _lives(int(first["pid"])):
        faults.append("the engine still runs when the client has ended")
        with contextlib.suppress(OSError):
            os.kill(int(first["pid"]), signal.SIGTERM)


def _judge_environment(given: Mapping[str, str], faults: list[str]) -> None:
    leaked = [name for name in _HOST if name in given]
    if leaked:
        faults.append(f"the engine was given the host's {', '.join(leaked)}")
    if not given.get("PYTHONNOUSERSITE"):
        faults.append("PYTHONNOUSERSITE is not set")
    lost = [name for name, value in _KEPT.items() if given.get(name) != value]
    lost += [] if given.get("PATH") else ["PATH"]
    if lost:
        faults.append(f"the engine was not given {', '.join(lost)}")


def _log(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []


def _lives(pid: int) -> bool:
    """Whether a process is there, a moment later still, and no mere entry of one that ended."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
        except ProcessLookupError:
            return False
        except OSError:
            state = []
        if state == ["Z"]:
            return False
        time.sleep(0.05)
    return True


def main(arguments: Sequence[str]) -> int:
    """Tries a client and prints a line for each fact; how many do not hold, at most 99."""
    hang_s, client = HANG_S, list(arguments)
    if client[:1] == ["--hang-s"] and len(client) > 1:
        hang_s, client = float(client[1]), client[2:]
    if not client or client[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for scene in SCENES:
        (trial,) = try_client(client, hang_s=hang_s, scenes=[scene])
        print(f"{'FAILED' if trial.faults else 'ok':7} {scene.fact}", flush=True)
        for fault in trial.faults:
            print(f"        {fault}", flush=True)
        failed += bool(trial.faults)
    print(f"{failed} of {len(SCENES)} failed")
    return min(failed, 99)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
