"""Slurm: a job becomes three batch jobs, prepare, an array over the chunks, and report.

Their scripts stand beside the job file and tell everything themselves; `sbatch` adds only what
waits for what. https://slurm.schedmd.com/sbatch.html
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from vfxswap.errors import CancelledError, JobError, OutputError, VfxSwapError
from vfxswap.farm.chunks import chunks
from vfxswap.farm.commands import (
    prepare_command,
    program,
    quoted,
    render_command,
    report_command,
)
from vfxswap.farm.submission import Submission, Target
from vfxswap.files import write_atomically
from vfxswap.settings import Settings
from vfxswap.shot import format_frames


class SlurmSettings(Settings):
    """How a job is put to Slurm. Whatever is empty is left to the cluster."""

    partition: str = Field(default="", description="Partition, or several with commas.")
    account: str = Field(default="", description="Account that is charged.")
    time_limit: str = Field(
        default="",
        description="Time limit of a task, as in 2:00:00; at its end a task asks for another.",
    )
    memory: str = Field(default="", description="Memory of a task, as in 8G.")
    cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPUs, and threads, of a task; empty takes the threads, else 4.",
    )
    limit: int | None = Field(default=None, ge=1, description="Tasks that run at once, at most.")
    grace_s: int = Field(
        default=120,
        ge=1,
        le=65535,
        description="Seconds before the time limit in which a frame is done.",
        json_schema_extra={"unit": "s"},
    )
    array_limit: int = Field(
        default=1000, ge=1, description="Chunks of one job: the cluster's MaxArraySize less 1."
    )
    directives: str = Field(
        default="", description="More for sbatch, as in '--constraint=avx512 --gres=gpu:1'."
    )
    command: str = Field(
        default="",
        description="Runs vfxswap on a node, as in 'rez-env vfxswap -- vfxswap'; empty takes "
        "this Python.",
    )
    setup: str = Field(default="", description="Shell file that a task sources before vfxswap.")
    folder: str = Field(default="", description="Folder of the scripts; empty takes JOB.slurm.")
    logs: str = Field(
        default="", description="Folder of the logs; empty takes logs beside the scripts."
    )


@dataclass(frozen=True)
class Script:
    """A batch script: its name and its text."""

    name: str
    text: str


def submit(submission: Submission, settings: SlurmSettings) -> int:
    """Writes the scripts and puts them to Slurm; returns 0 when all three are queued.

    Prints the id of each. With `dry_run` the scripts are written, and what would queue them is
    printed. When one is refused, those before it are cancelled. Raises JobError, OutputError,
    VfxSwapError when sbatch refuses, CancelledError.
    """
    written = []
    for script in scripts(submission, settings):
        written.append(_folder(submission, settings) / script.name)
        write_atomically(written[-1], script.text.encode())
    logs = _logs(submission, settings)
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot be made", got=error.strerror, file=logs) from error
    if submission.dry_run:
        print(commands(written))
        return 0
    if shutil.which("sbatch") is None:
        raise JobError("sbatch is not on PATH", wanted="a machine that submits, or --dry-run")
    queued: list[str] = []
    try:
        for path, waits in zip(written, _WAITS, strict=True):
            if submission.cancel.is_set():
                raise CancelledError("cancelled while submitting")
            queued.append(_sbatch(path, waits, queued))
            print(f"{path.stem}: job {queued[-1]}", flush=True)
    except VfxSwapError:
        if queued:
            subprocess.run(["scancel", *queued], check=False)
        raise
    return 0


def scripts(submission: Submission, settings: SlurmSettings) -> tuple[Script, Script, Script]:
    """Prepare, frames and report. Raises JobError for settings that cannot stand in a script and
    for more chunks than an array holds."""
    ranges = [format_frames(chunk) for chunk in chunks(submission.frames, submission.chunk)]
    if not ranges:
        raise JobError("no frames to submit", file=submission.job_file)
    if len(ranges) > settings.array_limit:
        wanted = f"up to {settings.array_limit}: larger chunks, or array_limit"
        raise JobError("too many chunks for an array", got=len(ranges), wanted=wanted)
    last = len(ranges) - 1
    running = f"%{settings.limit}" if settings.limit else ""
    threads = str(submission.threads) if submission.threads else '"$SLURM_CPUS_PER_TASK"'
    tail = f"--threads {threads} --progress plain"
    run = program(settings.command)
    prepare = f"{quoted((*run, *prepare_command(submission)))} {tail}"
    frames = f'{quoted((*run, *render_command(submission)))} --frames "$frames" {tail}'
    report = f"{quoted((*run, *report_command(submission)))} {tail}"
    listed = (
        f"chunks=({' '.join(ranges)})\n"
        "frames=${chunks[$SLURM_ARRAY_TASK_ID]}\n"
        'echo "frames $frames"\n'
    )
    array = f"0-{last}{running}"
    return (
        Script("prepare.sh", _text(submission, settings, "prepare", prepare)),
        Script(
            "frames.sh",
            _text(submission, settings, "frames", frames, array=array, before=listed),
        ),
        Script("report.sh", _text(submission, settings, "report", report, retries=0)),
    )


def commands(written: list[Path]) -> str:
    """The lines of a shell that queue the scripts as `submit` does."""
    lines = []
    for path, waits in zip(written, _WAITS, strict=True):
        words = ["sbatch", "--parsable"]
        after = f" --kill-on-invalid-dep=yes --dependency={waits[0]}:${waits[1]}" if waits else ""
        lines.append(f"{path.stem}=$({quoted(words)}{after} {quoted([str(path)])})")
    return "\n".join(lines)


_WAITS: tuple[tuple[str, str] | None, ...] = (None, ("afterok", "prepare"), ("afterany", "frames"))
"""What each of the three waits for: the frames for a preparation that went well, the report for
the end of every chunk, however it ended."""

_TEXT = """\
#!/bin/bash
# {title}
{directives}

set -u
{setup}{before}attempt=${{SLURM_RESTART_COUNT:-0}}
# The last task of an array has the array's own number: by that one, all would be queued again.
task=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID}}
task=${{task:-$SLURM_JOB_ID}}
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
echo "vfxswap {name} on $(hostname), job $task, restart $attempt"

# scancel and preemption signal the engine too; a second signal would end it within a frame.
cancelled= engine=
trap 'cancelled=yes' TERM
# USR1 comes to this shell alone, before the time is up: the engine finishes the frame in hand.
trap '[ -z "$engine" ] || kill -TERM "$engine"' USR1

{command} &
engine=$!
while wait "$engine"; code=$?; kill -0 "$engine" 2>/dev/null; do :; done

# 2 is a bad job. Anything else may go well elsewhere, or goes on where the time was up.
if [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && [ -z "$cancelled" ] && [ "$attempt" -lt {retries} ]
then
    echo "vfxswap {name}: exit code $code, queued again"
    scontrol requeue "$task"
fi
exit "$code"
"""


def _text(
    submission: Submission,
    settings: SlurmSettings,
    name: str,
    command: str,
    *,
    array: str = "",
    before: str = "",
    retries: int | None = None,
) -> str:
    pattern = f"{name}.%A_%a.log" if array else f"{name}.%j.log"
    log = f"{_logs(submission, settings)}/".replace("%", "%%") + pattern
    options = {
        "job-name": f"{submission.job_file.stem} {name}",
        "output": log,
        "open-mode": "append",
        "array": array,
        "partition": settings.partition,
        "account": settings.account,
        "time": settings.time_limit,
        "mem": settings.memory,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(settings.cpus or submission.threads or 4),
        "signal": f"B:USR1@{settings.grace_s}",
    }
    lines = [f"--{key}={_in_directive(value)}" for key, value in options.items() if value]
    setup = f". {quoted([str(Path(settings.setup).absolute())])}\n" if settings.setup else ""
    return _TEXT.format(
        title=f"{name.capitalize()} of {_one_line(submission.job_file.name)}, by vfxswap submit.",
        directives="\n".join(f"#SBATCH {line}" for line in [*lines, "--requeue", *_more(settings)]),
        setup=setup,
        before=before,
        name=name,
        command=command,
        retries=submission.retries if retries is None else retries,
    )


def _more(settings: SlurmSettings) -> list[str]:
    if not settings.directives:
        return []
    text = _one_line(settings.directives)
    if not text.startswith("-"):
        raise JobError("directives are wrong", got=text, wanted="options such as --qos=high")
    return [text]


def _in_directive(value: str) -> str:
    """A value as sbatch reads it in a script: quoted, and quotes and backslashes escaped."""
    if re.fullmatch(r"[\w%./:@,=+-]+", value, re.ASCII):
        return value
    escaped = re.sub(r'(["\\])', r"\\\1", _one_line(value))
    return f'"{escaped}"'


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise JobError("a line break cannot stand in a batch script", got=repr(text))
    return text


def _folder(submission: Submission, settings: SlurmSettings) -> Path:
    if settings.folder:
        return Path(settings.folder).absolute()
    return submission.job_file.absolute().with_suffix(".slurm")


def _logs(submission: Submission, settings: SlurmSettings) -> Path:
    return (
        Path(settings.logs).absolute()
        if settings.logs
        else (_folder(submission, settings) / "logs")
    )


def _sbatch(path: Path, waits: tuple[str, str] | None, queued: list[str]) -> str:
    command = ["sbatch", "--parsable"]
    if waits is not None:
        command += ["--kill-on-invalid-dep=yes", f"--dependency={waits[0]}:{queued[-1]}"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise VfxSwapError("sbatch refused the script", got=said, file=path)
    return done.stdout.strip().partition(";")[0]


TARGET = Target(
    help="Batch scripts and a job array for Slurm.", settings_type=SlurmSettings, submit=submit
)
