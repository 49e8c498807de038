"""Commands on jobs: render, prepare, check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import Dialect, finish_preparing, listener

if TYPE_CHECKING:
    from vfxswap.job import Job
    from vfxswap.render.report import Event

JobArgument = Annotated[
    Path, typer.Argument(help="Job file (JSON).", metavar="JOB", show_default=False)
]


def add_commands(app: typer.Typer) -> None:
    """Adds render, prepare and check."""
    app.command("render")(_render)
    app.command("prepare")(_prepare)
    app.command("check")(_check)


def _render(
    job: JobArgument,
    frames: run.SomeFrames = "",
    show: run.Show = "",
    skip_existing: run.SkipExisting = False,
    overwrite: run.Overwrite = True,
    device: run.Device = "auto",
    precision: run.PrecisionOption = run.Precision.HALF,
    threads: run.Threads = None,
    workers: run.Workers = None,
    memory: run.Memory = None,
    progress: run.ProgressOption = Dialect.AUTO,
    log: run.Log = None,
    path_map: run.PathMapping = None,
    path_map_file: run.PathMappingFile = None,
) -> None:
    """Render a job file, or some of its frames.

    Exit codes: 0 done, 1 may be tried again, 2 bad job, 143 cancelled after the frame in hand.
    """
    with run.cancelled_by_signals() as cancel:
        run.render_job(
            read_job(job, show, path_map, path_map_file),
            frames=frames,
            skip_existing=skip_existing,
            overwrite=overwrite,
            device=device,
            precision=precision,
            threads=threads,
            workers=workers,
            memory=memory,
            progress=progress,
            log=log or (),
            cancel=cancel,
        )


def _prepare(
    job: JobArgument,
    show: run.Show = "",
    device: run.Device = "auto",
    precision: run.PrecisionOption = run.Precision.HALF,
    threads: run.Threads = None,
    progress: run.ProgressOption = Dialect.AUTO,
    path_map: run.PathMapping = None,
    path_map_file: run.PathMappingFile = None,
) -> None:
    """Do what needs the whole shot, once, before its frames are shared out.

    Tracks, and what effects prepare, are kept on disk for every later render of the job. Frames
    that cannot be read are named; the render lists them as failed. Exit codes as for render.
    """
    with run.cancelled_by_signals() as cancel:
        from vfxswap.render import prepare_shot

        failed: list[str] = []
        with listener(progress) as listen:

            def note(event: Event) -> None:
                if event.kind == "failed":
                    failed.append(event.message)
                listen(event)

            done = prepare_shot(
                read_job(job, show, path_map, path_map_file),
                device=device,
                precision=precision.value,
                threads=threads,
                progress=note,
                cancel=cancel,
            )
    finish_preparing(progress, done, failed)


def _check(
    job: JobArgument,
    show: run.Show = "",
    json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    path_map: run.PathMapping = None,
    path_map_file: run.PathMappingFile = None,
) -> None:
    """Check a job before it renders.

    Files, colour spaces, settings at every key, models, consent, output, disk space.
    """
    stated = read_job(job, show, path_map, path_map_file)
    raise typer.Exit(run.say_findings(stated, as_json=json))


def read_job(
    path: Path, show: str, path_map: Sequence[str] | None = None, path_map_file: Path | None = None
) -> Job:
    """The job, its paths as this machine knows them; a show from the command line or the
    environment fills an empty one."""
    from vfxswap.job import Job
    from vfxswap.paths import PathMap

    paths = PathMap.stated(path_map or (), path_map_file)
    return Job.read(path, paths=paths).for_show(show)
