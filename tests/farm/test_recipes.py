"""Recipes of docs/farm with stand-ins for the schedulers' own modules and programs: the commands
that come out are run, and what they print is read as the scheduler reads it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import types
import xml.etree.ElementTree as Xml
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import FRAMES, ROOT, Shot

from vfxswap.shot import parse_frames

RECIPES = ROOT / "docs" / "farm"
Words = list[str]


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    made = Shot(tmp_path)
    saved = made.swap("--save-job", "it's sh010.job.json", "--dry-run")
    assert saved.returncode == 0, saved.stderr
    return made


def _job(shot: Shot) -> str:
    return str(shot.folder / "it's sh010.job.json")


def _module(name: str) -> Any:
    """A recipe in Python, imported."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _assert_renders(shot: Shot, commands: Sequence[Words], pattern: str) -> None:
    """The commands prepare, render every frame once and report; progress ends at the whole."""
    assert [words[1] for words in commands] == ["prepare", *["render"] * 2, "report"]
    rendered: list[int] = []
    for words in commands:
        assert Path(words[0]).name == "vfxswap"
        done = shot.run(*words[1:])
        assert done.returncode == 0, done.stderr
        if words[1] == "render":
            rendered += parse_frames(words[words.index("--frames") + 1])
            percents = re.findall(pattern, done.stdout)
            assert percents and _whole(percents[-1]), done.stdout
    assert rendered == list(FRAMES)
    assert [name for name in shot.written() if name.endswith(".exr")] == [
        f"comp.{frame}.exr" for frame in FRAMES
    ]


def _whole(found: str | tuple[str, ...]) -> bool:
    if isinstance(found, tuple):
        return int(found[0]) == int(found[1])
    return float(found) == 100


PATTERNS = dict(
    re.findall(
        r"^\| `(\w+)` \| `[^|]+` \| `([^`]+)` \|$", (RECIPES / "README.md").read_text(), re.M
    )
)


class _Node:
    """What tractor.api.author's Job and Task have in common."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.tasks: list[_Node] = []

    def newTask(self, **settings: Any) -> _Node:
        self.tasks.append(_Node(**settings))
        return self.tasks[-1]

    def commands(self) -> list[Words]:
        own = [self.settings["argv"]] if "argv" in self.settings else []
        return own + [words for task in self.tasks for words in task.commands()]


def test_tractor(shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    author = types.ModuleType("tractor.api.author")
    author.Job = _Node  # type: ignore[attr-defined]
    for name in ("tractor", "tractor.api"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["tractor"], "api", sys.modules["tractor.api"], raising=False)
    monkeypatch.setattr(sys.modules["tractor.api"], "author", author, raising=False)
    monkeypatch.setitem(sys.modules, "tractor.api.author", author)
    job = _module("tractor").build(_job(shot), 1001, 1003, 2)
    assert job.settings["serialsubtasks"]
    assert [task.settings["title"] for task in job.tasks] == ["prepare", "frames", "report"]
    assert {t.settings["retryrc"][0] for t in job.tasks[1].tasks} == {1}
    _assert_renders(shot, job.commands(), PATTERNS["tractor"])


class _Block:
    """af.Block; a task of its own is one frame for the parser."""

    def __init__(self, name: str, service: str) -> None:
        self.name, self.service = name, service
        self.tasks: list[Any] = []
        self.parser, self.depends, self.retries = "", "", 0

    def setParser(self, parser: str) -> None:
        self.parser = parser

    def setErrorsRetries(self, count: int) -> None:
        self.retries = count

    def setDependMask(self, mask: str) -> None:
        self.depends = mask


class _Task:
    """af.Task."""

    def __init__(self, name: str) -> None:
        self.name, self.command = name, ""

    def setCommand(self, command: str) -> None:
        self.command = command


def test_afanasy(shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    af = types.ModuleType("af")
    contents: Mapping[str, Any] = {
        "Block": _Block,
        "Task": _Task,
        "Job": lambda name: types.SimpleNamespace(name=name, blocks=[]),
    }
    vars(af).update(contents)
    monkeypatch.setitem(sys.modules, "af", af)
    job = _module("afanasy").build(_job(shot), 1001, 1003, 2)
    assert [(b.name, b.depends, b.parser) for b in job.blocks] == [
        ("prepare", "", "generic"),
        ("frames", "prepare", "generic"),
        ("report", "frames", "generic"),
    ]
    commands = [shlex.split(task.command) for block in job.blocks for task in block.tasks]
    _assert_renders(shot, commands, PATTERNS["afanasy"])


def test_deadline_10(shot: Shot) -> None:
    calls = shot.folder / "calls"
    program = shot.folder / "deadlinecommand"
    program.write_text(
        f"#!{sys.executable} -IS\nimport json, sys\n"
        f"calls = open({str(calls)!r}, 'a+')\nprint(json.dumps(sys.argv[1:]), file=calls)\n"
        "calls.seek(0)\nprint('Submission Contains No Auxiliary Files.\\n\\nResult=Success\\n'\n"
        "      'JobID=id%d' % len(calls.readlines()))\n"
    )
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", RECIPES / "deadline10.sh", _job(shot), "1001-1003", "2"], text=True, check=True,
        capture_output=True,
        env={**os.environ, "PATH": f"{shot.folder}:{os.environ['PATH']}", "VFXSWAP": "/b/vfxswap"},
    )  # fmt: skip
    assert done.stdout == "prepare id1, frames id2, report id3\n"
    jobs = [json.loads(line) for line in calls.read_text().splitlines()]
    assert [job[-1] for job in jobs[1:]] == [
        "JobDependencies=id1", "ResumeOnFailedDependencies=true",
    ]  # fmt: skip
    assert "JobDependencies=id2" in jobs[2]
    commands = []
    for job in jobs:
        assert job[0] == "-SubmitCommandLineJob"
        stated = dict(zip(job[1::2], job[2::2], strict=True))
        frames, size = parse_frames(stated["-frames"]), int(stated["-chunksize"])
        for start in range(0, len(frames), size):
            text = stated["-arguments"].replace("<QUOTE>", '"')
            chunk = frames[start : start + size]
            text = text.replace("<STARTFRAME>", str(chunk[0])).replace("<ENDFRAME>", str(chunk[-1]))
            commands.append([stated["-executable"], *shlex.split(text)])
    _assert_renders(shot, commands, PATTERNS["plain"])


def test_royal_render(shot: Shot) -> None:
    config = (RECIPES / "royalrender.cfg").read_text()
    text = " ".join(config.partition("CommandLine=\n")[2].split("\n"))
    job = _module("royalrender").build(_job(shot), 1001, 1003, 1).getroot().find("Job")
    stated = {element.tag: element.text for element in job}
    assert stated["ImageDir"] == str(shot.out)
    assert stated["ImageFilename"] + "1001"[: int(stated["ImageFramePadding"])] + stated[
        "ImageExtension"
    ] in [f"comp.{frame}.exr" for frame in FRAMES]
    name = re.search(r"^Name= (\w+)$", config, re.M)
    assert name is not None and name[1] == stated["Software"]
    commands = [["vfxswap", "prepare", stated["SceneName"]]]
    for first, last in ((1001, 1002), (1003, 1003)):
        values = {
            "<Exe>": "vfxswap", "<Scene>": stated["SceneName"], "<SeqStart>": str(first),
            "<SeqEnd>": str(last), "<SeqStep>": stated["SeqStep"],
        }  # fmt: skip
        line = text
        for token, value in values.items():
            line = line.replace(token, value)
        assert "<" not in line
        commands.append(shlex.split(line))
    commands.append(["vfxswap", "report", stated["SceneName"]])
    _assert_renders(shot, commands, PATTERNS["plain"])


def test_royal_render_file_is_xml(shot: Shot) -> None:
    tree = _module("royalrender").build(_job(shot), 1001, 1003, 1)
    tree.write(shot.folder / "rr.xml", encoding="utf-8")
    read = Xml.parse(shot.folder / "rr.xml").getroot()
    assert (read.tag, read.attrib) == ("RR_Job_File", {"syntax_version": "6.0"})


def test_flamenco(shot: Shot) -> None:
    """Without an engine for JavaScript: the words of the script's arrays, filled in. That the
    script compiles and makes these tasks was tried by hand in QuickJS."""
    script = (RECIPES / "flamenco.js").read_text()
    run = re.search(r"const run = (\[.*\]);", script)
    arrays = re.findall(r'\[("(?:prepare|render|report)".*?)\]', script, re.S)
    assert run is not None and len(arrays) == 3
    commands = []
    for array in arrays:
        for frames in ("1001-1002", "1003") if array.startswith('"render"') else ("",):
            values = {
                "settings.job_file": json.dumps(_job(shot)),
                "String(settings.threads)": '"4"',
                "frames,": json.dumps(frames) + ",",
            }
            filled = f"[{array}]"
            tail = run[1]
            for token, value in values.items():
                filled, tail = filled.replace(token, value), tail.replace(token, value)
            commands.append(["vfxswap", *json.loads(filled), *json.loads(tail)])
    _assert_renders(shot, commands, PATTERNS["plain"])


@pytest.mark.parametrize("dialect", ["plain", "afanasy", "tractor", "openjd"])
def test_progress_is_read_by_the_documented_expression(shot: Shot, dialect: str) -> None:
    done = shot.run("render", _job(shot), "--progress", dialect)
    found = re.findall(PATTERNS[dialect], done.stdout)
    assert len(found) >= len(FRAMES) and _whole(found[-1])


def test_every_recipe_says_that_it_was_not_run_and_the_readme_lists_it() -> None:
    listed = (RECIPES / "README.md").read_text()
    for recipe in RECIPES.iterdir():
        if recipe.suffix != ".md" and recipe.is_file():
            assert "not run against" in " ".join(recipe.read_text().lower().split()), recipe
            assert f"({recipe.name})" in listed
