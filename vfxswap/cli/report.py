"""Command report: what became of a shot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.jobs import JobArgument, read_job
from vfxswap.cli.progress import Dialect, finish_report, listener


def add_commands(app: typer.Typer) -> None:
    """Adds report."""
    app.command("report")(_report)


def _report(
    job: JobArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write; else beside the frames."),
    ] = None,
    frames: run.SomeFrames = "",
    show: run.Show = "",
    threads: Annotated[int | None, typer.Option(min=1, help="Frames opened at once.")] = None,
    progress: run.ProgressOption = Dialect.AUTO,
    path_map: run.PathMapping = None,
    path_map_file: run.PathMappingFile = None,
) -> None:
    """Open every frame of a job, or some, and report: report.html, and report.json for programs.

    Exit code 0 when all frames are there and whole, 1 when not (they are named), 2 bad job.
    """
    with run.cancelled_by_signals() as cancel:
        from vfxswap.render.report_page import report_folder, write_shot_report
        from vfxswap.render.shot_report import shot_report
        from vfxswap.shot import parse_frames

        stated = read_job(job, show, path_map, path_map_file)
        with listener(progress) as listen:
            report = shot_report(
                stated,
                frames=parse_frames(frames) if frames else None,
                threads=threads,
                progress=listen,
                cancel=cancel,
            )
        page = write_shot_report(output or report_folder(stated), stated, report)
    finish_report(progress, report, page)
    raise typer.Exit(report.exit_code)
