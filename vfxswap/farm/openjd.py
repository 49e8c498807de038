"""Open Job Description: a job becomes a bundle that `openjd run` and AWS Deadline Cloud run.

A bundle is a folder: the template, the job file, what a Deadline Cloud queue wants to know, and
which files go with it. Steps: Prepare, then Frames in chunks, then Report. The frames' step keeps
one engine for all chunks of a session (`vfxswap session`), so networks are loaded once.
https://github.com/OpenJobDescription/openjd-specifications, revision 2023-09 with the extension
TASK_CHUNKING; https://docs.aws.amazon.com/deadline-cloud/latest/developerguide/build-job-bundle.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from vfxswap.errors import JobError
from vfxswap.farm.commands import engine_options, quoted, report_options
from vfxswap.farm.ranges import to_openjd
from vfxswap.farm.submission import Submission, Target
from vfxswap.files import write_atomically
from vfxswap.settings import Settings

_RUN = "{{Param.VfxSwap}}"
_JOB = "{{Param.JobFile}}"
_FOLDER = "{{Session.WorkingDirectory}}/engine"
_MAPPED = ("--path-map-file", "{{Session.PathMappingRulesFile}}")
"""Where the job's paths lie on this worker; the runner writes the file, with rules or without."""
_LONGEST_NAME: Final = 64
"""Of a job."""
_START_S, _STOP_S = 300, 60


class OpenJDSettings(Settings):
    """How a bundle is made."""

    folder: str = Field(default="", description="Folder of the bundle; empty takes JOB.openjd.")
    command: str = Field(
        default="vfxswap",
        description="Runs vfxswap on a worker: one word, on its PATH or absolute.",
    )
    target_runtime_s: int = Field(
        default=300,
        ge=0,
        description="Chunks grow or shrink to take about this long; 0 keeps their size.",
        json_schema_extra={"unit": "s"},
    )
    grace_s: int = Field(
        default=120,
        ge=1,
        le=600,
        description="Time that a cancelled task has for the frame in hand.",
        json_schema_extra={"unit": "s"},
    )
    memory_mib: int | None = Field(
        default=None,
        ge=1,
        description="Memory that a worker must have.",
        json_schema_extra={"unit": "MiB"},
    )
    gpus: int = Field(default=0, ge=0, description="GPUs that a worker must have.")
    priority: int | None = Field(
        default=None, ge=0, le=100, description="Priority in a Deadline Cloud queue."
    )


def submit(submission: Submission, settings: OpenJDSettings) -> int:
    """Writes the bundle and prints what runs it; with `dry_run` prints its template. Returns 0.

    Raises JobError, OutputError.
    """
    content = template(submission, settings)
    if submission.dry_run:
        print(_json(content), end="")
        return 0
    folder = _folder(submission, settings)
    submission.job.write(folder / "job.json")
    write_atomically(
        folder / "parameter_values.json", _json(_values(submission, settings)).encode()
    )
    write_atomically(folder / "asset_references.json", _json(_assets(submission)).encode())
    # The template comes last: a folder that has one is a whole bundle.
    write_atomically(folder / "template.json", _json(content).encode())
    print(quoted(["openjd", "run", str(folder / "template.json"), "--extensions", EXTENSION]))
    print(quoted(["deadline", "bundle", "submit", str(folder)]))
    return 0


EXTENSION: Final = "TASK_CHUNKING"


def template(submission: Submission, settings: OpenJDSettings) -> dict[str, Any]:
    """The job template. Raises JobError for what has no words in one."""
    if len(settings.command.split()) != 1 and not Path(settings.command).is_absolute():
        wanted = "a name or a path; a wrapper script for more words"
        raise JobError("command is wrong for OpenJD", got=settings.command, wanted=wanted)
    name = re.sub(r"[\x00-\x1f\x7f{}]", "_", f"vfxswap {submission.job_file.stem}")
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": [EXTENSION],
        "name": name[:_LONGEST_NAME],
        "parameterDefinitions": [
            {
                "name": "JobFile",
                "type": "PATH",
                "objectType": "FILE",
                "dataFlow": "IN",
                "default": "job.json",
                "description": "The job; the one beside this template.",
            },
            {
                "name": "Frames",
                "type": "STRING",
                "default": to_openjd(submission.frames),
                "description": "Frames of the job, as in 1001-1100:2.",
            },
            {
                "name": "ChunkSize",
                "type": "INT",
                "default": submission.chunk,
                "minValue": 1,
                "description": "Frames of a task, to begin with.",
            },
            {
                "name": "VfxSwap",
                "type": "STRING",
                "default": settings.command,
                "description": "Runs vfxswap on a worker.",
            },
        ],
        "steps": [
            _prepare(submission, settings),
            _frames(submission, settings),
            _report(submission),
        ],
    }


def _prepare(submission: Submission, settings: OpenJDSettings) -> dict[str, Any]:
    arguments = ["prepare", _JOB, *_MAPPED, *engine_options(submission), *_threads(submission)]
    return {
        "name": "Prepare",
        **_needs(settings),
        "script": {
            "actions": {
                "onRun": _action([*arguments, "--progress", "openjd"], grace_s=settings.grace_s)
            }
        },
    }


def _frames(submission: Submission, settings: OpenJDSettings) -> dict[str, Any]:
    start = ["session", "start", "--folder", _FOLDER, *_MAPPED, *engine_options(submission)]
    stop = ["session", "stop", "--folder", _FOLDER, "--grace", str(_STOP_S)]
    chunk = ["session", "render", _JOB, "--folder", _FOLDER, "--frames", "{{Task.Param.Frame}}"]
    chunks: dict[str, Any] = {
        "defaultTaskCount": "{{Param.ChunkSize}}",
        "rangeConstraint": "NONCONTIGUOUS",
    }
    if settings.target_runtime_s:
        chunks["targetRuntimeSeconds"] = settings.target_runtime_s
    return {
        "name": "Frames",
        "dependencies": [{"dependsOn": "Prepare"}],
        **_needs(settings),
        "stepEnvironments": [
            {
                "name": "Engine",
                "description": "One engine, whose networks stay loaded from chunk to chunk.",
                "script": {
                    "actions": {
                        "onEnter": _action([*start, *_threads(submission)], timeout_s=_START_S),
                        "onExit": _action(stop, timeout_s=2 * _STOP_S),
                    }
                },
            }
        ],
        "parameterSpace": {
            "taskParameterDefinitions": [
                {
                    "name": "Frame",
                    "type": "CHUNK[INT]",
                    "range": "{{Param.Frames}}",
                    "chunks": chunks,
                }
            ]
        },
        "script": {
            "actions": {
                "onRun": _action(
                    [*chunk, "--retries", str(submission.retries)], grace_s=settings.grace_s
                )
            }
        },
    }


def _report(submission: Submission) -> dict[str, Any]:
    arguments = ["report", _JOB, *_MAPPED, *report_options(submission), *_threads(submission)]
    return {
        "name": "Report",
        "dependencies": [{"dependsOn": "Frames"}],
        "script": {"actions": {"onRun": _action([*arguments, "--progress", "openjd"])}},
    }


def _action(
    arguments: Sequence[str], *, grace_s: int | None = None, timeout_s: int | None = None
) -> dict[str, Any]:
    action: dict[str, Any] = {"command": _RUN, "args": list(arguments)}
    if timeout_s is not None:
        action["timeout"] = timeout_s
    if grace_s is not None:
        action["cancelation"] = {
            "mode": "NOTIFY_THEN_TERMINATE",
            "notifyPeriodInSeconds": grace_s,
        }
    return action


def _threads(submission: Submission) -> tuple[str, ...]:
    return ("--threads", str(submission.threads)) if submission.threads else ()


def _needs(settings: OpenJDSettings) -> dict[str, Any]:
    wanted = {"amount.worker.memory": settings.memory_mib, "amount.worker.gpu": settings.gpus}
    amounts = [{"name": name, "min": least} for name, least in wanted.items() if least]
    return {"hostRequirements": {"amounts": amounts}} if amounts else {}


def _values(submission: Submission, settings: OpenJDSettings) -> dict[str, Any]:
    values: dict[str, Any] = {
        "deadline:maxRetriesPerTask": submission.retries,
        "deadline:priority": settings.priority,
    }
    stated = [{"name": k, "value": v} for k, v in values.items() if v is not None]
    return {"parameterValues": stated}


def _assets(submission: Submission) -> dict[str, Any]:
    """What a farm without the studio's disks must be sent, and where results come to be: files
    that are there of the plate, of mattes and beside them, handles too."""
    from vfxswap.io.sequence import PlateSequence
    from vfxswap.job import FILE_SETTINGS
    from vfxswap.render.plan import opened_files
    from vfxswap.render.references import card_path

    job = submission.job
    _, output, found, views = opened_files(job)
    frames = job.shot(found=found).frames_with_handles
    mattes = [matte.pattern for spec in job.effects for matte in spec.mattes.values()]
    pictures = {
        path
        for sequence in map(PlateSequence, (job.plate.pattern, *mattes))
        for view in (views if sequence.has_views else (None,))
        for path in {sequence.path(frame, view) for frame in frames}
    }
    # A colour config may be built in, and then is no file.
    beside = {Path(p) for p in (job.tracks, job.color.config, job.revocations) if p}
    for spec in job.effects:
        for name in FILE_SETTINGS:
            if picture := str(spec.settings.get(name) or ""):
                beside |= {Path(picture), card_path(picture)}
    results = {
        output.path(frame, view).parent
        for frame in submission.frames
        for view in (views if output.has_views else (None,))
    }
    results |= {Path(job.tracks).parent} if job.tracks else set()
    return {
        "assetReferences": {
            "inputs": {
                "filenames": sorted(str(path) for path in pictures | beside if path.is_file()),
                "directories": [],
            },
            "outputs": {"directories": sorted(map(str, results))},
            "referencedPaths": [],
        }
    }


def _folder(submission: Submission, settings: OpenJDSettings) -> Path:
    if settings.folder:
        return Path(settings.folder).absolute()
    return submission.job_file.absolute().with_suffix(".openjd")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


TARGET = Target(
    help="A job bundle for OpenJD runners and AWS Deadline Cloud.",
    settings_type=OpenJDSettings,
    submit=submit,
)
