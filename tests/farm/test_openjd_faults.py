"""Real `openjd run` on a real engine: cancelled, killed and failed in the middle of a shot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm_shot import (
    FRAMES,
    PATIENCE_S,
    FarmShot,
    assert_whole,
    digests,
    frame_files,
    leftovers,
    wait_until,
)

from vfxswap.farm.openjd import EXTENSION, OpenJDSettings, submit

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


class Runner:
    """A shot, its bundle, and OpenJD's command line on it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shot = FarmShot(folder, wait_s=0.1)
        self.out = self.shot.folder / "out"
        self.sessions = folder / "sessions"
        self.sessions.mkdir()
        monkeypatch.setenv("VFXSWAP_ENGINE", str(self.shot.engine))
        monkeypatch.setenv("TMPDIR", str(self.sessions))
        settings = OpenJDSettings(
            command=str(self.shot.engine), folder=str(folder / "bundle"), target_runtime_s=0
        )
        assert submit(self.shot.submission(chunk=10), settings) == 0
        self.template = folder / "bundle" / "template.json"

    def run(self, meanwhile: Callable[[int], None] | None = None, *options: str) -> tuple[int, str]:
        """Runs the bundle to its end; `meanwhile` is called beside it with its process. Gives
        the exit code and what was said."""
        process = subprocess.Popen(
            [
                Path(sys.executable).with_name("openjd"), "run", self.template,
                "--extensions", EXTENSION, "--preserve", *options,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        beside = threading.Thread(target=meanwhile or (lambda _: None), args=(process.pid,))
        beside.start()
        try:
            said, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        beside.join()
        return process.returncode, said

    def until_written(self, count: int) -> None:
        wait_until(lambda: len(frame_files(self.out)) >= count, f"{count} frames")

    def workers(self) -> list[int]:
        """Processes of engines."""
        return _processes(str(self.shot.engine), "\0worker\0")

    def keepers(self) -> list[int]:
        """Processes that keep them."""
        return _processes(str(self.sessions), "vfxswap.farm.keeper\0")

    def engine_logs(self) -> str:
        return "".join(path.read_text() for path in self.sessions.rglob("engine.log"))

    def assert_tidy(self) -> None:
        """Nothing runs or lies about any more."""
        wait_until(lambda: not self.workers() + self.keepers(), "the end of engines", patience_s=10)
        assert leftovers(self.out) == []


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    made = Runner(tmp_path, monkeypatch)
    yield made
    for pid in made.keepers() + made.workers():
        os.kill(pid, signal.SIGKILL)


def _processes(*words: str) -> list[int]:
    """Processes with these on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                line = (entry / "cmdline").read_text()
                if all(word in line for word in words):
                    found.append(int(entry.name))
    return found


def _count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text))


def test_frames_are_those_of_one_process_byte_for_byte_and_networks_are_read_once(
    runner: Runner,
) -> None:
    code, said = runner.run()
    assert code == 0, said
    assert_whole(runner.out)
    runner.assert_tidy()
    assert _count("Frame.CHUNK.INT.. = ", said) == 5
    assert _count("openjd_status: frame \\d+ done", said) == len(FRAMES)
    assert _count("reads network tinycomb", runner.engine_logs()) == 1
    assert said.count("Exiting Environment: Engine") == 1
    alone = runner.shot.into("alone")
    done = runner.shot.run("render", str(alone), "--device", "cpu", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert digests(runner.out) == digests(runner.shot.folder / "alone")


def test_when_cancelled_then_the_frame_in_hand_is_finished_and_the_rest_can_follow(
    runner: Runner,
) -> None:
    def cancel(pid: int) -> None:
        runner.until_written(12)
        os.kill(pid, signal.SIGINT)

    code, said = runner.run(cancel)
    assert code != 0
    written = frame_files(runner.out)
    assert 12 <= len(written) < len(FRAMES)
    assert _count("openjd_status: frame \\d+ done", said) == len(written)
    assert "exited with code: 143" in said
    assert said.count("Exiting Environment: Engine") == 1
    runner.assert_tidy()
    before = {path: path.stat().st_mtime_ns for path in written}
    code, said = runner.run()
    assert code == 0, said
    assert_whole(runner.out)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert _count("frame \\d+ is complete already", said) == len(written)


def test_when_the_engine_is_killed_then_another_goes_on_with_paths_mapped_alike(
    runner: Runner,
) -> None:
    plates = runner.shot.folder / "plates"
    here = plates.rename(runner.shot.folder / "plates of this worker")
    rule = {
        "source_path_format": "POSIX",
        "source_path": str(plates),
        "destination_path": str(here),
    }
    rules = runner.sessions / "rules.json"
    mapping = {"version": "pathmapping-1.0", "path_mapping_rules": [rule]}
    rules.write_text(json.dumps(mapping))

    def kill(_: int) -> None:
        runner.until_written(12)
        os.kill(runner.workers()[0], signal.SIGKILL)

    code, said = runner.run(kill, "--path-mapping-rules", f"file://{rules}")
    assert code == 0, said
    assert_whole(runner.out)
    runner.assert_tidy()
    assert "starting it again" in said
    assert _count("reads network tinycomb", runner.engine_logs()) == 2
    assert _count("frame \\d+ done", said) <= len(FRAMES) + 1


def test_when_a_task_fails_then_the_engine_is_stopped_and_a_mended_shot_can_follow(
    runner: Runner,
) -> None:
    plate = runner.shot.folder / "plates" / "plate.1023.exr"
    good = plate.read_bytes()
    plate.unlink()
    plate.write_bytes(good[:700])
    code, said = runner.run()
    assert code != 0
    assert _count("openjd_fail: .*plate.1023.exr", said) == 1
    assert "exited with code: 1 " in said
    assert said.count("Exiting Environment: Engine") == 1
    runner.assert_tidy()
    written = {int(path.name.split(".")[1]) for path in frame_files(runner.out)}
    assert written == set(range(1001, 1031)) - {1023}
    plate.write_bytes(good)
    code, said = runner.run()
    assert code == 0, said
    assert_whole(runner.out)
    shutil.rmtree(runner.sessions)
