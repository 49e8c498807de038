# ruff: noqa: PTH100, PTH118, PTH120, PTH123
"""`plugins/client` as vfxswap.worker.conformance asks for it; Python 3.7."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "plugins"))

from client import Engine, EngineDiedError, Event  # noqa: E402


def main(job_file: str, hang_s: float) -> None:
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    framed = threading.Event()

    def hear(event: Event) -> None:
        if event["event"] == "frame_done":
            framed.set()

    answer: dict[str, Any] = {"outcome": "done", "exit_code": None, "frames": [], "message": ""}
    with Engine(hang_s=hang_s) as engine:
        try:
            engine.start()
        except EngineDiedError as error:
            print(json.dumps(dict(answer, outcome="incompatible", message=str(error))))
            return
        task = engine.render(job, on_event=hear)
        if os.environ.get("VFXSWAP_CANCEL"):
            framed.wait(30.0)
            task.cancel()
        try:
            answer["exit_code"] = task.wait(120.0)["exit_code"]
            answer["message"] = " ".join(error["message"] for error in task.errors)
        except EngineDiedError as error:
            answer.update(outcome="died", message=str(error))
        answer["frames"] = [event["frame"] for event in task.frames]
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
