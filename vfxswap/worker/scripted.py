"""An engine that plays a scene of `conformance` to a client: the standard library alone.

What it was given (its environment, the lines on its stdin, how they ended) goes as lines of JSON
to the file $VFXSWAP_SCENE_LOG; $VFXSWAP_SCENE names the scene.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

HUNG_S = 120.0
"""For how long a scene hangs: a client that does not end it fails by then."""
PADDING = 1 << 20


class Stage:
    """The pipes of a scene, and a log of what came in."""

    def __init__(self, log: str) -> None:
        self._log = log
        self.note(environment=dict(os.environ), arguments=sys.argv[1:], pid=os.getpid())

    def note(self, **content: Any) -> None:
        with open(self._log, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(json.dumps(content) + "\n")

    def say(self, event: str, **fields: Any) -> None:
        self.write((json.dumps({"event": event, **fields}) + "\n").encode())

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def hello(self, protocol: int = 1) -> None:
        self.say(
            "hello", protocol=protocol, version="9.9.9", pid=os.getpid(), device="cpu",
            effects=["swap"], requests=["ping", "render", "cancel", "shutdown"], heartbeat_s=0.2,
            novelty={"of": ["a later version"]},
        )  # fmt: skip

    def asked(self, *names: str) -> dict[str, Any]:
        """The next request of these names; answers what a client may ask besides. Ends with the
        client."""
        for line in sys.stdin.buffer:
            self.note(line=line.decode("utf-8", "replace"))
            try:
                request: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            if request.get("request") in names:
                return request
            if request.get("request") == "shutdown":
                self.say("done", id=request.get("id"), exit_code=0, report={})
                break
            self.say("done", id=request.get("id"), exit_code=0, report={})
        self.note(ended="in order")
        sys.exit(0)

    def begin(self) -> Any:
        """A request to render, taken; its id."""
        request = self.asked("render")
        self.say("accepted", id=request["id"], request="render")
        self.say("started", id=request["id"], device="cpu")
        return request["id"]

    def frame(self, of: Any, frame: int, finished: int) -> None:
        self.say(
            "frame_done", id=of, stage="render", finished=finished, total=2,
            percent=50.0 * finished, frame=frame, view="", path=f"/out/comp.{frame}.exr",
            seconds=0.1,
        )  # fmt: skip

    def done(self, of: Any, exit_code: int = 0, **report: Any) -> None:
        self.say("done", id=of, exit_code=exit_code, report=report, seconds=0.2)
        self.asked()


def renders(stage: Stage) -> None:
    """All goes well; events and fields are heard that no client knows yet."""
    stage.hello()
    of = stage.begin()
    stage.say("progress", id=of, stage="prepare", finished=1, total=1, percent=100.0)
    stage.say("novelty", id=of, colour="of a later version")
    stage.frame(of, 1001, 1)
    stage.say("warning", id=of, message="no face, the plate passes through", frame=1001)
    stage.frame(of, 1002, 2)
    stage.done(of, written=["/out/comp.1001.exr", "/out/comp.1002.exr"])


def speaks_another_protocol(stage: Stage) -> None:
    stage.hello(protocol=2)
    stage.asked()


def breaks_a_frame(stage: Stage) -> None:
    stage.hello()
    of = stage.begin()
    stage.say(
        "error", id=of, kind="plate", exit_code=1, stage="render", frame=1001,
        message="plate.1001.exr, frame 1001: file is cut short",
    )  # fmt: skip
    stage.frame(of, 1002, 2)
    stage.done(of, 1, failed=[{"frame": 1001}])


def refuses(stage: Stage) -> None:
    stage.hello()
    of = stage.begin()
    stage.say(
        "error", id=of, kind="consent", exit_code=2, fatal=True,
        message="consent of rowan has expired",
    )  # fmt: skip
    stage.done(of, 2)


def dies(stage: Stage) -> None:
    stage.hello()
    stage.frame(stage.begin(), 1001, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(stage: Stage) -> None:
    stage.hello()
    stage.frame(stage.begin(), 1001, 1)
    time.sleep(HUNG_S)


def takes_its_time(stage: Stage) -> None:
    """Longer than a hang, with heartbeats."""
    stage.hello()
    of = stage.begin()
    end = time.monotonic() + 2.0 * float(os.environ["VFXSWAP_SCENE_HANG_S"])
    while time.monotonic() < end:
        stage.say("heartbeat", id=of, busy_s=1.0, quiet_s=0.2)
        time.sleep(0.2)
    stage.frame(of, 1001, 1)
    stage.frame(of, 1002, 2)
    stage.done(of)


def is_cancelled(stage: Stage) -> None:
    stage.hello()
    of = stage.begin()
    stage.frame(of, 1001, 1)
    cancel = stage.asked("cancel")
    known = cancel.get("target") == of
    target = "running" if known else "unknown"
    stage.say("done", id=cancel["id"], exit_code=0, report={"target": target})
    if known:
        stage.done(of, 143, cancelled=True, not_reached=[1002])
    stage.asked()


def chatters(stage: Stage) -> None:
    """A log longer than a pipe holds, a long event, and one that comes in pieces."""
    stage.hello()
    of = stage.begin()
    sys.stderr.write("a library prints\n" * (PADDING // 16))
    sys.stderr.flush()
    stage.say("warning", id=of, message="x" * PADDING)
    stage.frame(of, 1001, 1)
    line = json.dumps({"event": "warning", "id": of, "message": "in pieces"}).encode() + b"\n"
    for start in range(0, len(line), 7):
        stage.write(line[start : start + 7])
        time.sleep(0.01)
    stage.frame(of, 1002, 2)
    stage.done(of)


SCENES: dict[str, Callable[[Stage], None]] = {
    scene.__name__: scene
    for scene in (
        renders, speaks_another_protocol, breaks_a_frame, refuses, dies, hangs, takes_its_time,
        is_cancelled, chatters,
    )
}  # fmt: skip


if __name__ == "__main__":
    SCENES[os.environ["VFXSWAP_SCENE"]](Stage(os.environ["VFXSWAP_SCENE_LOG"]))
