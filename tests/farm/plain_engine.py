"""`vfxswap worker` in little: says what docs/worker-protocol.md says, and "renders" frames by
noting them. Frame 13 kills it, once; 66 always; 404 is a bad job."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

FRAME_S = 0.1
_wanted: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
_cancelled: set[str] = set()


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _listen() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request["request"] == "cancel":
            _cancelled.add(request["target"])
            _say(event="done", id=request["id"], exit_code=0, report={"target": "running"})
        else:
            _wanted.put(request)
    _cancelled.add("all")
    _wanted.put(None)


def _render(request: dict[str, Any], notes: Path) -> int:
    job = Path(request["job"])
    frames = [int(word) for word in request["frames"].split(",")]
    for count, frame in enumerate(frames, 1):
        if {request["id"], "all"} & _cancelled:
            return 143
        once = notes / "died"
        if frame == 66 or (frame == 13 and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if frame == 404:
            _say(event="error", id=request["id"], kind="job", message="it is bad", fatal=True)
            return 2
        time.sleep(FRAME_S)
        with (notes / "frames").open("a") as note:
            print(os.getpid(), job.name, frame, file=note)
        _say(event="frame_done", id=request["id"], stage="render", finished=count,
             total=len(frames), percent=100.0 * count / len(frames), frame=frame, view="",
             path=f"{frame}.exr")  # fmt: skip
    return 0


def main() -> None:
    notes = Path(os.environ["NOTES"])
    with (notes / "starts").open("a") as note:
        print(json.dumps([sys.argv[1:], os.environ.get("VFXSWAP_SHOW", "")]), file=note)
    _say(event="hello", protocol=1, pid=os.getpid())
    threading.Thread(target=_listen, daemon=True).start()
    while (request := _wanted.get()) is not None:
        _say(event="accepted", id=request["id"], request="render")
        code = _render(request, notes)
        _say(event="done", id=request["id"], exit_code=code, report={"written": ["x" * 200_000]})
    (notes / "ended").touch()


if __name__ == "__main__":
    main()
