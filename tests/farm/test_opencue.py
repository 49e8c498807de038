"""OpenCue specifications: elements in the order that cjsl-1.15.dtd wants, and commands that a shell
reads back. The specification was validated by hand against the DTD itself, and against what
pyoutline 1.37's serialize_simple writes for the same layers; neither is needed here."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as Xml
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vfxswap.errors import JobError
from vfxswap.farm.opencue import OpenCueSettings, specification, submit
from vfxswap.farm.submission import Submission
from vfxswap.job import EffectSpec, Job, Output, Plate

ORDER = {
    "spec": ("facility", "show", "shot", "user", "uid", "job", "depends"),
    "job": ("paused", "priority", "maxretries", "autoeat", "layers"),
    "layer": ("cmd", "range", "chunk", "cores", "threadable", "memory", "gpus", "gpu_memory",
              "tags", "services"),
    "depend": ("depjob", "deplayer", "onjob", "onlayer"),
}  # fmt: skip


def _submission(job_file: Path, show: str = "kestrel") -> Submission:
    job = Job(
        plate=Plate(pattern="plate.#.exr"),
        frames="1001-1010x3",
        show=show,
        effects=(EffectSpec(effect="gain"),),
        output=Output(pattern="out.#.exr"),
    )
    return Submission(job=job, job_file=job_file, frames=(1001, 1004, 1007, 1010), chunk=2)


NASTY = Path('/shots/it\'s a "shot" <&> $HOME/sh 010.job.json')


def _spec(submission: Submission, **settings: object) -> Xml.Element:
    return Xml.fromstring(specification(submission, OpenCueSettings.model_validate(settings)))


def _layers(spec: Xml.Element) -> dict[str, Xml.Element]:
    return {layer.attrib["name"]: layer for layer in spec.iter("layer")}


@pytest.mark.parametrize("more", [{}, {"memory": "8g", "gpus": 1, "tags": "gpu"}])
def test_elements_stand_in_the_order_of_the_dtd(more: dict[str, object]) -> None:
    spec = _spec(_submission(NASTY), **more)
    for tag, order in ORDER.items():
        for element in spec.iter(tag):
            found = [child.tag for child in element]
            assert found == [name for name in order if name in found], tag


def test_three_layers_wait_for_one_another() -> None:
    spec = _spec(_submission(NASTY))
    layers = _layers(spec)
    assert [(name, layer.attrib["type"]) for name, layer in layers.items()] == [
        ("prepare", "Util"), ("frames", "Render"), ("report", "Util"),
    ]  # fmt: skip
    assert [
        (d.attrib["type"], d.findtext("deplayer"), d.findtext("onlayer"))
        for d in spec.iter("depend")
    ] == [("LAYER_ON_LAYER", "frames", "prepare"), ("LAYER_ON_LAYER", "report", "frames")]
    frames = layers["frames"]
    assert (frames.findtext("range"), frames.findtext("chunk")) == ("1001-1010x3", "2")


def test_commands_are_read_back_by_a_shell_once_the_token_is_replaced() -> None:
    submission = replace(_submission(NASTY), device="cuda", threads=6)
    layers = _layers(_spec(submission, command="rez-env vfxswap -- vfxswap"))

    def words(name: str) -> Sequence[str]:
        text = layers[name].findtext("cmd") or ""
        return shlex.split(text.replace("#FRAMESPEC#", "1001,1004"))[4:]

    job, run = str(NASTY), ["--threads", "6", "--progress", "plain"]
    engine = ["--device", "cuda", "--show", "kestrel"]
    assert words("prepare") == ["prepare", job, *engine, *run]
    assert words("frames") == [
        "render", job, "--skip-existing", *engine, "--frames", "1001,1004", *run,
    ]  # fmt: skip
    assert words("report") == ["report", job, "--show", "kestrel", *run]


def test_a_submission_of_some_frames_reports_those_alone() -> None:
    some = replace(_submission(NASTY), frames=(1004, 1007), selection="1004-1007x3")
    command = _layers(_spec(some))["report"].findtext("cmd")
    assert command is not None and "--frames 1004-1007x3" in command


def test_names_are_those_that_xml_and_cuebot_allow() -> None:
    spec = _spec(_submission(Path("/shots/ü sh 010.v2.json")))
    job = spec.find("job")
    assert job is not None and job.attrib["name"] == "__sh_010"
    assert {d.findtext("onjob") for d in spec.iter("depend")} == {"__sh_010"}


def test_when_no_show_is_named_then_the_job_is_refused() -> None:
    with pytest.raises(JobError, match="show is not named"):
        _spec(_submission(NASTY, show=""))
    assert _spec(_submission(NASTY, show=""), cue_show="osprey").findtext("show") == "osprey"


@pytest.mark.parametrize("name", ["a#FRAME#.json", "a\nb.json"])
def test_when_a_path_would_be_misread_then_the_job_is_refused(name: str) -> None:
    with pytest.raises(JobError):
        _spec(_submission(Path("/shots") / name))


def test_submitting_writes_the_file_and_says_how_to_launch_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submission = _submission(tmp_path / "sh 010.job.json")
    assert submit(replace(submission, dry_run=True), OpenCueSettings()) == 0
    dry = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert submit(submission, OpenCueSettings()) == 0
    assert (tmp_path / "sh 010.job.opencue.xml").read_text() == dry
    python, option, code, file = shlex.split(capsys.readouterr().out)
    assert (python, option) == ("python3", "-c")
    compile(code, "launch", "exec")
    assert Path(file).read_text() == dry
