"""A real Slurm of two nodes: what dies in the middle of a shot costs at most the chunk in hand."""

from __future__ import annotations

import getpass
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm_shot import (
    FRAMES,
    FarmShot,
    assert_whole,
    digests,
    frame_files,
    wait_until,
)
from slurm_lab import SlurmLab, running_lab

from vfxswap.farm.slurm import SlurmSettings, submit

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
CHUNK = 10
LAST = "1041-1050"
"""The chunk whose task has the number of the whole array."""


class Run:
    """A shot that was submitted to a Slurm."""

    def __init__(
        self,
        lab: SlurmLab,
        shot: FarmShot,
        capsys: pytest.CaptureFixture[str],
        *,
        chunk: int = CHUNK,
        time_limit: str = "",
    ) -> None:
        self.lab, self.shot = lab, shot
        settings = SlurmSettings(
            command=shot.command, memory="400", time_limit=time_limit, grace_s=30
        )
        assert submit(shot.submission(chunk=chunk), settings) == 0
        said = capsys.readouterr().out
        self.prepare, self.frames, self.report = re.findall(r": job (\d+)", said)
        self.out = shot.folder / "out"
        self.logs = shot.folder / "shot.job.slurm" / "logs"

    def until_written(self, count: int) -> None:
        wait_until(lambda: len(frame_files(self.out)) >= count, f"{count} frames")

    def until_over(self) -> None:
        wait_until(lambda: not self.lab.ask("squeue", "-h"), "the end of all jobs", patience_s=540)

    def engines(self, words: str = "render") -> dict[int, str]:
        """Engines with these words on their command line, by process, with their node."""
        found = {}
        for node in ("n1", "n2"):
            for pid in self.lab.processes_of(node):
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_text()
                except OSError:
                    continue
                if f"\0{words}\0" in line:
                    found[pid] = node
        return found

    def renders(self) -> int:
        """Frames that engines said they rendered, twice counted where twice done."""
        return len(re.findall(r"frame \d+ done", self.log("frames")))

    def log(self, name: str) -> str:
        return "".join(p.read_text() for p in self.logs.glob(f"{name}.*.log"))

    def assert_good(self) -> None:
        """All frames are whole, at most a chunk was redone, and the report agrees."""
        assert_whole(self.out)
        assert len(FRAMES) <= self.renders() <= len(FRAMES) + CHUNK
        assert self.lab.states(self.report) == {self.report: "COMPLETED"}, self.log("report")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmLab]:
    with running_lab(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def clients(lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmLab]:
    """Slurm's programs on the PATH of the test; the queue is empty afterwards."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    yield lab
    lab.ask("scancel", "-u", getpass.getuser(), check=False)
    wait_until(lambda: not lab.ask("squeue", "-h"), "an empty queue")


@pytest.fixture
def run(clients: SlurmLab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(clients, FarmShot(tmp_path, wait_s=0.2), capsys)


def test_frames_of_two_nodes_are_those_of_one_process_byte_for_byte(run: Run) -> None:
    alone = run.shot.into("alone")
    done = run.shot.run(
        "render", str(alone), "--device", "cpu", "--threads", "1", "--progress", "plain"
    )
    assert done.returncode == 0, done.stderr
    run.until_over()
    run.assert_good()
    assert run.renders() == len(FRAMES)
    assert digests(run.out) == digests(run.shot.folder / "alone")


def test_when_a_node_dies_then_the_other_does_its_chunk_again(run: Run) -> None:
    run.until_written(12)
    wait_until(lambda: len(run.engines()) == 2, "two engines")
    run.lab.kill_node("n2")
    wait_until(lambda: "down" in run.lab.ask("sinfo", "-h", "-N", "-o", "%T"), "a node down")
    try:
        run.until_over()
    finally:
        run.lab.start_node("n2")
    run.assert_good()


def test_when_engines_are_killed_then_their_tasks_and_no_others_are_queued_again(run: Run) -> None:
    for words in ("prepare", "1011-1020", LAST):
        wait_until(lambda: bool(run.engines(words)), f"an engine for {words}")  # noqa: B023
        os.kill(next(iter(run.engines(words))), signal.SIGKILL)
    run.until_over()
    run.assert_good()
    assert run.log("prepare").count("exit code 137, queued again") == 1
    assert run.log("frames").count("exit code 137, queued again") == 2
    assert run.log("frames").count("restart 1") == 2


def test_when_the_controller_dies_then_the_queue_outlives_it(run: Run) -> None:
    run.until_written(12)
    run.lab.kill_controller()
    time.sleep(5)
    run.lab.start_controller()
    run.until_over()
    run.assert_good()


def test_when_a_shot_is_cancelled_then_frames_in_hand_are_finished_and_the_rest_can_follow(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.until_written(12)
    wait_until(lambda: bool(run.engines()), "an engine")
    run.lab.ask("scancel", run.frames, run.report)
    wait_until(lambda: not run.lab.ask("squeue", "-h", "-t", "running,completing"), "the end")
    written = frame_files(run.out)
    assert 12 <= len(written) < len(FRAMES)
    assert run.renders() == len(written)
    assert "stopping after the frame in hand" in run.log("frames")
    assert "queued again" not in run.log("frames")
    before = {path: path.stat().st_mtime_ns for path in written}
    again = Run(run.lab, run.shot, capsys)
    again.until_over()
    assert_whole(run.out)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert run.lab.states(again.report) == {again.report: "COMPLETED"}


def test_when_the_time_is_up_then_the_frame_in_hand_is_finished_and_the_task_goes_on(
    clients: SlurmLab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slurm sends the signal up to a minute early: a chunk of over 150 s in tasks of 3 minutes."""
    run = Run(clients, FarmShot(tmp_path, wait_s=6.0), capsys, chunk=25, time_limit="3")
    run.until_over()
    run.assert_good()
    assert run.renders() == len(FRAMES)
    log = run.log("frames")
    assert log.count("stopping after the frame in hand") >= 2
    assert log.count("exit code 143, queued again") >= 2
    assert "TIMEOUT" not in run.lab.states(run.frames).values()
