"""Bundles as OpenJD's own library reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openjd.model as jd
import pytest
from command_line import Shot
from small_shot import write_shot

from vfxswap.errors import JobError
from vfxswap.farm.openjd import EXTENSION, OpenJDSettings, submit, template
from vfxswap.farm.submission import Submission
from vfxswap.job import EffectSpec, Job, MatteSource, Output, Plate
from vfxswap.shot import parse_frames


class Bundle:
    """A job with all that goes along, and its bundle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "it's a {{shot}} 100%"
        plate = write_shot(self.folder / "plates", range(1001, 1008))
        write_shot(self.folder / "roto", range(1001, 1004))
        (self.folder / "config.ocio").touch()
        job = Job(
            plate=Plate(pattern=plate),
            frames="1002-1006x2",
            handles=1,
            show="kestrel",
            effects=(
                EffectSpec(
                    effect="gain",
                    mattes={"holdout": MatteSource(pattern=str(self.folder / "roto/plate.#.exr"))},
                ),
            ),
            output=Output(pattern=str(self.folder / "out" / "comp.#.exr")),
            tracks=str(self.folder / "tracks" / "t.json"),
        )
        self.submission = Submission(
            job=job, job_file=self.folder / "sh010.job.json", frames=(1002, 1004, 1006), chunk=2
        )
        self.path = self.folder / "sh010.job.openjd"

    def write(self, **settings: object) -> dict[str, Any]:
        """The files of the bundle, by stem."""
        assert submit(self.submission, OpenJDSettings.model_validate(settings)) == 0
        return {p.stem: json.loads(p.read_text()) for p in self.path.glob("*.json")}

    def job(self, content: dict[str, Any], **parameters: str) -> Any:
        """The job that OpenJD makes of a template."""
        read = jd.decode_job_template(template=content, supported_extensions=[EXTENSION])
        values = jd.preprocess_job_parameters(
            job_template=read,
            job_parameter_values=parameters,
            job_template_dir=self.path,
            current_working_dir=Path.cwd(),
        )
        return jd.create_job(job_template=read, job_parameter_values=values)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def _actions(job: Any) -> Iterator[tuple[str, Any]]:
    for step in job.steps:
        yield f"{step.name} onRun", step.script.actions.onRun
        for environment in step.stepEnvironments or []:
            yield f"{environment.name} onEnter", environment.script.actions.onEnter
            yield f"{environment.name} onExit", environment.script.actions.onExit


def test_openjd_makes_a_job_of_the_template_without_a_parameter(bundle: Bundle) -> None:
    job = bundle.job(bundle.write()["template"])
    assert [step.name for step in job.steps] == ["Prepare", "Frames", "Report"]
    assert [[d.dependsOn for d in step.dependencies or []] for step in job.steps] == [
        [], ["Prepare"], ["Frames"],
    ]  # fmt: skip
    assert str(job.parameters["JobFile"].value) == str(bundle.path / "job.json")


def test_chunks_hold_every_frame_once(bundle: Bundle) -> None:
    content = template(bundle.submission, OpenJDSettings(target_runtime_s=0))
    space = bundle.job(content).steps[1].parameterSpace
    frames = [
        frame
        for chunk in jd.StepParameterSpaceIterator(space=space)
        for frame in jd.IntRangeExpr.from_str(chunk["Frame"].value)
    ]
    assert frames == [1002, 1004, 1006]


def test_chunks_follow_the_time_they_take_unless_it_is_0(bundle: Bundle) -> None:
    def chunks(**settings: int) -> Any:
        content = template(bundle.submission, OpenJDSettings.model_validate(settings))
        parameters = bundle.job(content, ChunkSize="7").steps[1].parameterSpace
        return parameters.taskParameterDefinitions["Frame"].chunks

    assert int(chunks().defaultTaskCount) == 7
    assert int(chunks(target_runtime_s=60).targetRuntimeSeconds) == 60
    assert chunks(target_runtime_s=0).targetRuntimeSeconds is None


def test_actions_are_the_commands_of_vfxswap(bundle: Bundle) -> None:
    submission = replace(bundle.submission, device="cuda", precision="single", threads=3, retries=5)
    job = bundle.job(template(submission, OpenJDSettings(grace_s=45)))
    actions = {name: [str(word) for word in action.args] for name, action in _actions(job)}
    engine = ["--device", "cuda", "--precision", "single", "--show", "kestrel", "--threads", "3"]
    folder = ["--folder", "{{Session.WorkingDirectory}}/engine"]
    mapped = ["--path-map-file", "{{Session.PathMappingRulesFile}}"]
    assert actions == {
        "Prepare onRun": ["prepare", "{{Param.JobFile}}", *mapped, *engine, "--progress", "openjd"],
        "Frames onRun": ["session", "render", "{{Param.JobFile}}", *folder, "--frames",
                         "{{Task.Param.Frame}}", "--retries", "5"],
        "Engine onEnter": ["session", "start", *folder, *mapped, *engine],
        "Engine onExit": ["session", "stop", *folder, "--grace", "60"],
        "Report onRun": ["report", "{{Param.JobFile}}", *mapped, "--show", "kestrel",
                         "--threads", "3", "--progress", "openjd"],
    }  # fmt: skip
    for name in ("Prepare onRun", "Frames onRun"):
        cancel = dict(_actions(job))[name].cancelation
        assert (cancel.mode.value, cancel.notifyPeriodInSeconds) == ("NOTIFY_THEN_TERMINATE", 45)


def test_what_a_worker_must_have_is_asked_for(bundle: Bundle) -> None:
    settings = OpenJDSettings(memory_mib=8192, gpus=1)
    steps = bundle.job(template(bundle.submission, settings)).steps
    for step in steps[:2]:
        amounts = {a.name: a.min for a in step.hostRequirements.amounts}
        assert amounts == {"amount.worker.memory": 8192, "amount.worker.gpu": 1}
    assert (
        bundle.job(template(bundle.submission, OpenJDSettings())).steps[0].hostRequirements is None
    )


def test_the_job_in_the_bundle_is_the_submitted_one(bundle: Bundle) -> None:
    bundle.write()
    assert Job.read(bundle.path / "job.json") == bundle.submission.job


def test_what_goes_along_is_what_is_there_and_what_comes_back_is_named(bundle: Bundle) -> None:
    assets = bundle.write()["asset_references"]["assetReferences"]
    sent = [str(Path(name).relative_to(bundle.folder)) for name in assets["inputs"]["filenames"]]
    assert sent == [
        *(f"plates/plate.{frame}.exr" for frame in (1001, 1002, 1004, 1006, 1007)),
        *(f"roto/plate.{frame}.exr" for frame in (1001, 1002)),
    ]
    assert assets["outputs"]["directories"] == [
        str(bundle.folder / "out"), str(bundle.folder / "tracks"),
    ]  # fmt: skip


def test_deadline_cloud_is_told_retries_and_priority(bundle: Bundle) -> None:
    assert bundle.write(priority=70)["parameter_values"]["parameterValues"] == [
        {"name": "deadline:maxRetriesPerTask", "value": 2},
        {"name": "deadline:priority", "value": 70},
    ]


def test_a_dry_run_prints_the_template_and_writes_nothing(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(replace(bundle.submission, dry_run=True), OpenJDSettings()) == 0
    assert json.loads(capsys.readouterr().out) == template(bundle.submission, OpenJDSettings())
    assert not bundle.path.exists()


@pytest.mark.parametrize("command", ["rez-env vfxswap -- vfxswap", ""])
def test_when_a_command_has_more_or_less_than_one_word_then_it_is_refused(
    bundle: Bundle, command: str
) -> None:
    with pytest.raises(JobError, match="command is wrong"):
        template(bundle.submission, OpenJDSettings(command=command))


def test_the_command_line_writes_a_bundle_and_says_how_to_run_it(tmp_path: Path) -> None:
    shot = Shot(tmp_path)
    assert shot.swap("--save-job", "sh010.job.json", "--dry-run").returncode == 0
    done = shot.run(
        "submit", "sh010.job.json", "--to", "openjd", "--chunk", "2", "--target-runtime-s", "30",
        "--folder", "b",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"openjd run {shot.folder}/b/template.json --extensions TASK_CHUNKING" in done.stdout
    frames = json.loads((shot.folder / "b/template.json").read_text())["parameterDefinitions"][1]
    assert parse_frames(frames["default"]) == (1001, 1002, 1003)
