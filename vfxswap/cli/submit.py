"""Command submit: a job's frames given to a scheduler."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.jobs import read_job
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, finish, listener
from vfxswap.errors import EXIT_BAD_JOB

if TYPE_CHECKING:
    from vfxswap.job import Job
    from vfxswap.render.report import Report

DEFAULT_CHUNK = 10


def add_commands(app: typer.Typer, *, given: Sequence[str]) -> None:
    """Adds submit; a scheduler's options are generated when `given` names it."""
    if list(given[:1]) == ["submit"]:
        app.command("submit")(_command(_named_scheduler(given)))
    else:
        app.command("submit", help=inspect.getdoc(submit))(_unchosen)


def _unchosen() -> None:
    raise AssertionError("a command without its options was run")


def submit(
    job: Annotated[
        Path, typer.Argument(help="Job file (JSON).", metavar="JOB", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="dask, slurm, openjd or opencue; its own options show beside its name.",
            metavar="SCHEDULER",
        ),
    ],
    frames: run.SomeFrames = "",
    chunk: Annotated[int, typer.Option(min=1, help="Frames a task.")] = DEFAULT_CHUNK,
    retries: Annotated[
        int, typer.Option(min=0, help="How often a task that may be tried again is.")
    ] = 2,
    show: run.Show = "",
    device: run.Device = "auto",
    precision: run.PrecisionOption = run.Precision.HALF,
    threads: run.Threads = None,
    progress: run.ProgressOption = Dialect.AUTO,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the job and show the tasks; submit nothing.")
    ] = False,
    **settings: Any,
) -> None:
    """Share out the frames of a job over a scheduler.

    The job is checked first. Complete frames are left alone, so a job that stopped is submitted
    again as it is. Exit codes are those of render; a scheduler that keeps a queue of its own
    gives 0 when the job is in it.
    """
    with run.cancelled_by_signals() as cancel:
        from vfxswap.farm.submission import Submission
        from vfxswap.farm.targets import target
        from vfxswap.settings import validated

        chosen = target(to)
        own = validated(chosen.settings_type, given_settings(chosen.settings_type, settings))
        content = read_job(job, show)
        _check(content, cancel)
        reports: list[Report] = []
        with listener(progress) as listen:
            submission = Submission(
                job=content,
                job_file=job.absolute(),
                frames=_frames(content, frames),
                chunk=chunk,
                selection=frames,
                retries=retries,
                device=device,
                precision=precision.value,
                threads=threads,
                dry_run=dry_run,
                progress=listen,
                finished=reports.append,
                cancel=cancel,
            )
            code = chosen.submit(submission, own)
    for report in reports:
        finish(progress, report)
    raise typer.Exit(code)


def _check(job: Job, cancel: threading.Event) -> None:
    """Says what is wrong with the job; ends here when it cannot render at all."""
    from vfxswap.render.checks import check, exit_code

    findings = check(job, cancel=cancel)
    for finding in findings:
        typer.echo(f"{finding.level}: {finding.message}", err=True)
    if exit_code(findings) == EXIT_BAD_JOB:
        typer.echo("The job cannot render as it is.", err=True)
        raise typer.Exit(EXIT_BAD_JOB)


def _frames(job: Job, stated: str) -> tuple[int, ...]:
    from vfxswap.render.plan import chosen_frames, opened_files
    from vfxswap.shot import parse_frames

    _, _, known, _ = opened_files(job)
    return tuple(chosen_frames(known, parse_frames(stated) if stated else None))


def _named_scheduler(given: Sequence[str]) -> str:
    """What `--to` names on this command line; "" for nothing."""
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if word == "--to":
            return following
        if word.startswith("--to="):
            return word.removeprefix("--to=")
    return ""


def _command(scheduler: str) -> Callable[..., None]:
    """`submit` with the options of that scheduler; of none when it is not known."""
    from vfxswap.farm.targets import TARGETS, target
    from vfxswap.settings import Settings

    own = target(scheduler).settings_type if scheduler in TARGETS else Settings
    return settings_command(submit, own)
