"""Logs hold a line a frame, whole, whoever else writes to them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT, Shot, one_sentence

from vfxswap.cli.frame_log import logged
from vfxswap.errors import OutputError, PlateError
from vfxswap.render.report import Event, Listener, silent


def frames(listen: Listener) -> None:
    listen(Event("prepare", "done", 1, 2, frame=1001))
    listen(Event("render", "begin", 0, 3))
    listen(Event("render", "note", 0, 3, frame=1001, message="no face found"))
    done = Path("/shots/c.1001.exr")
    listen(Event("render", "done", 1, 3, 1001, "left", path=done, seconds=0.41234, faces=1))
    listen(Event("render", "note", 1, 3, frame=1002, message="first"))
    listen(Event("render", "note", 1, 3, frame=1002, message="second\nline"))
    listen(Event("render", "skipped", 2, 3, 1002, path=Path("/shots/c.1002.exr")))
    error = PlateError("no such file", frame=1003)
    listen(Event("render", "failed", 3, 3, 1003, message=str(error), error=error))


def test_plain_lines(tmp_path: Path) -> None:
    with logged(silent, [tmp_path / "logs" / "render.log"]) as listen:
        frames(listen)
    lines = (tmp_path / "logs" / "render.log").read_text().splitlines()
    head = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+\[\d+\] "
    wanted = [
        r"frame 1001 left done in 0\.41 s, 1 face: /shots/c\.1001\.exr",
        r"frame 1002 skipped: /shots/c\.1002\.exr; first; second\?line",
        r"frame 1003 failed: frame 1003: no such file",
    ]
    assert len(lines) == 3
    assert all(re.fullmatch(head + w, line) for w, line in zip(wanted, lines, strict=True)), lines


def test_lines_for_programs(tmp_path: Path) -> None:
    heard: list[Event] = []
    with logged(heard.append, [tmp_path / "a.jsonl", tmp_path / "a.log"]) as listen:
        frames(listen)
    first, second, third = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert (first["frame"], first["view"], first["state"]) == (1001, "left", "done")
    assert (first["seconds"], first["faces"], first["notes"]) == (0.4123, 1, [])
    assert second["state"] == "skipped" and second["notes"] == ["first", "second\nline"]
    assert third["message"] == "frame 1003: no such file" and "path" not in third
    assert len(heard) == 8 and len((tmp_path / "a.log").read_text().splitlines()) == 3


def test_lines_are_appended(tmp_path: Path) -> None:
    for _ in range(2):
        with logged(silent, [tmp_path / "a.log"]) as listen:
            frames(listen)
    assert len((tmp_path / "a.log").read_text().splitlines()) == 6


WRITER = """
import sys
from pathlib import Path
from vfxswap.cli.frame_log import logged
from vfxswap.render.report import Event, silent
with logged(silent, [Path(sys.argv[1])]) as listen:
    for frame in range(400):
        listen(Event("render", "note", 0, 1, frame, message=sys.argv[2] * 3000))
        listen(Event("render", "done", 1, 1, frame, path=Path("c.exr"), seconds=1.0))
"""


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), letter], cwd=ROOT)
        for letter in "ab"
    ]
    assert [p.wait(timeout=60) for p in running] == [0, 0]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 800
    assert {line["notes"][0] for line in lines} == {"a" * 3000, "b" * 3000}


def test_a_log_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="log cannot be written"), logged(silent, [tmp_path]):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full: a full disk is not tried")
def test_a_log_on_a_full_disk_is_given_up_and_the_render_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logged(silent, [Path("/dev/full")]) as listen:
        frames(listen)
    assert capsys.readouterr().err.count("log is given up: No space left on device") == 1


def test_rendering_commands_write_logs(tmp_path: Path) -> None:
    shot = Shot(tmp_path)
    assert shot.swap("--log", "a.log", "--log", "a.jsonl", "--save-job", "job.json").returncode == 0
    assert shot.run("render", "job.json", "--skip-existing", "--log", "a.jsonl").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(x["frame"], x["state"]) for x in lines] == [
        (f, state) for state in ("done", "skipped") for f in (1001, 1002, 1003)
    ]
    assert all(x["faces"] == 1 and x["seconds"] > 0 for x in lines[:3])
    assert "frame 1002 done in" in (tmp_path / "a.log").read_text()
    one_sentence(shot.swap("--log", "plates"), 1, "log cannot be written")
