"""Tasks that share one engine: who keeps it, and what happens when somebody dies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vfxswap.cli.progress import openjd_lines
from vfxswap.errors import PlateError
from vfxswap.farm import session
from vfxswap.farm.session import SessionError
from vfxswap.render.report import Event

HERE = Path(__file__).parent


class Farm:
    """A session's folder, of a name longer than a socket's may be, and a stand-in engine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.folder = folder / ("a session of a long name " * 5) / "it's engine"
        self.job = folder / "shot.job.json"
        engine = folder / "engine"
        engine.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {HERE / "plain_engine.py"} "$@"\n')
        engine.chmod(0o755)
        monkeypatch.setenv("VFXSWAP_ENGINE", str(engine))
        monkeypatch.setenv("NOTES", str(self.notes))
        self.events: list[dict[str, Any]] = []
        self.cancel = threading.Event()

    def start(self, *options: str, show: str = "", idle_s: float = 60.0) -> int:
        return session.start(self.folder, options, show=show, idle_s=idle_s)

    def render(self, frames: str, *, retries: int = 1, job: Path | None = None) -> int:
        return session.render(
            self.folder, job or self.job, frames, on_event=self.events.append, cancel=self.cancel,
            retries=retries,
        )  # fmt: skip

    def stop(self) -> bool:
        return session.stop(self.folder, grace_s=20)

    def rendered(self) -> list[list[str]]:
        """Process, job and frame of all that was rendered."""
        path = self.notes / "frames"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def starts(self) -> list[Any]:
        return [json.loads(line) for line in (self.notes / "starts").read_text().splitlines()]

    def ended(self) -> bool:
        """Whether an engine ended in order."""
        return (self.notes / "ended").exists()


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    made = Farm(tmp_path, monkeypatch)
    yield made
    made.stop()


def _soon(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_chunks_share_one_engine_and_stop_ends_it_in_order(farm: Farm) -> None:
    farm.start("--threads", "2", show="kestrel")
    assert [farm.render("1,2"), farm.render("3")] == [0, 0]
    assert farm.starts() == [[["worker", "--threads", "2"], "kestrel"]]
    pids = {pid for pid, _, _ in farm.rendered()}
    assert [frame for _, _, frame in farm.rendered()] == ["1", "2", "3"] and len(pids) == 1
    assert [e["frame"] for e in farm.events if e["event"] == "frame_done"] == [1, 2, 3]
    assert farm.stop() and farm.ended()
    assert not (farm.folder / "engine.sock").exists()


def test_when_the_engine_dies_then_a_new_one_goes_on_and_it_is_said(farm: Farm) -> None:
    farm.start()
    assert farm.render("12,13,14") == 0
    assert len(farm.starts()) == 2
    warnings = [e["message"] for e in farm.events if e["event"] == "warning"]
    assert len(warnings) == 1 and "starting it again" in warnings[0]
    assert farm.render("15") == 0
    assert len(farm.starts()) == 2


def test_when_a_frame_kills_every_engine_then_the_task_may_be_tried_elsewhere(farm: Farm) -> None:
    farm.start()
    assert farm.render("66", retries=2) == 1
    assert len(farm.starts()) == 3
    assert farm.render("67") == 0


def test_a_bad_job_is_told_and_not_tried_again(farm: Farm) -> None:
    farm.start()
    assert farm.render("404") == 2
    assert [e["message"] for e in farm.events if e["event"] == "error"] == ["it is bad"]
    assert len(farm.starts()) == 1


def test_when_a_task_is_cancelled_then_the_frame_in_hand_is_finished(farm: Farm) -> None:
    farm.start()
    threading.Timer(0.25, farm.cancel.set).start()
    assert farm.render(",".join(map(str, range(100, 150)))) == 143
    done = [e["frame"] for e in farm.events if e["event"] == "frame_done"]
    assert 0 < len(done) < 50
    assert [int(frame) for _, _, frame in farm.rendered()] == done


def test_when_a_task_is_killed_then_its_engine_stops_and_serves_the_next(farm: Farm) -> None:
    farm.start()
    code = (
        "import pathlib, sys, threading\nfrom vfxswap.farm import session\n"
        "session.render(pathlib.Path(sys.argv[1]), pathlib.Path('long.json'), sys.argv[2], "
        "on_event=print, cancel=threading.Event(), retries=0)"
    )
    frames = ",".join(map(str, range(200, 300)))
    task = subprocess.Popen([sys.executable, "-c", code, farm.folder, frames])
    try:
        _soon(farm.rendered)
    finally:
        task.kill()
        task.wait()
    assert farm.render("1") == 0
    assert len([frame for _, job, frame in farm.rendered() if job == "long.json"]) < 100
    assert farm.rendered()[-1][2] == "1" and len(farm.starts()) == 1


def test_when_a_task_is_killed_with_events_unread_then_its_engine_stops_as_well(
    farm: Farm,
) -> None:
    farm.start()
    frames = ",".join(map(str, range(200, 300)))
    request = {"id": "deaf", "request": "render", "job": "deaf.json", "frames": frames}
    with socket.socket(socket.AF_UNIX) as line:
        with contextlib.chdir(farm.folder):
            line.connect("engine.sock")
        line.sendall(json.dumps(request).encode() + b"\n")
        _soon(lambda: len(farm.rendered()) > 2)
    assert farm.render("1") == 0
    assert len([frame for _, job, frame in farm.rendered() if job == "deaf.json"]) < 100


def test_when_a_session_is_stopped_in_a_chunk_then_the_frame_in_hand_is_finished(
    farm: Farm,
) -> None:
    farm.start()
    codes: list[int] = []
    task = threading.Thread(target=lambda: codes.append(farm.render("1,2,3,4,5,6,7,8,9")))
    task.start()
    _soon(farm.rendered)
    assert farm.stop() and farm.ended()
    task.join()
    assert codes == [143] and len(farm.rendered()) < 9


def test_when_the_keeper_is_killed_then_its_engine_ends_too_and_tasks_are_told(farm: Farm) -> None:
    os.kill(farm.start(), signal.SIGKILL)
    _soon(farm.ended)
    with pytest.raises(SessionError, match="no engine"):
        farm.render("1")
    farm.start()
    assert farm.render("1") == 0


def test_when_the_sessions_folder_is_taken_away_then_the_engine_ends(farm: Farm) -> None:
    farm.start()
    shutil.rmtree(farm.folder)
    _soon(farm.ended)


def test_when_nobody_asks_for_long_then_the_engine_ends(farm: Farm) -> None:
    farm.start(idle_s=0.5)
    _soon(farm.ended)


def test_when_a_session_has_an_engine_then_no_second_one_is_started(farm: Farm) -> None:
    farm.start()
    with pytest.raises(SessionError, match="already"):
        farm.start()
    assert len(farm.starts()) == 1


def test_when_the_engine_cannot_start_then_its_last_words_are_told(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_ENGINE", "/nowhere/engine")
    with pytest.raises(SessionError, match="/nowhere/engine"):
        farm.start()


def test_stopping_a_session_without_an_engine_is_no_error(farm: Farm) -> None:
    assert session.stop(farm.folder, grace_s=0)


def test_openjd_hears_the_same_of_an_event_and_of_its_form_for_programs() -> None:
    bad = PlateError("no such file", frame=1002)
    events = [
        Event("render", "begin", 0, 3),
        Event("render", "done", 1, 3, frame=1001, path=Path("a.exr"), seconds=0.5),
        Event("render", "failed", 2, 3, frame=1002, message=str(bad), error=bad),
        Event("render", "note", 2, 3, frame=1003, view="left", message="dark"),
        Event("render", "skipped", 3, 3, frame=1003, view="left", path=Path("b.exr")),
        Event("prepare", "step", 1, 2, message="tracking"),
    ]
    assert [line for event in events for line in openjd_lines(event.as_json())] == [
        "openjd_progress: 0.0",
        "openjd_progress: 33.3",
        "openjd_status: frame 1001 done",
        "openjd_progress: 66.7",
        "openjd_status: frame 1002: no such file",
        "openjd_status: frame 1003 left: dark",
        "openjd_progress: 100.0",
        "openjd_status: frame 1003 left is complete already",
        "openjd_status: tracking",
    ]
    assert list(openjd_lines({"event": "heartbeat", "id": "1"})) == []
