"""Commands of a farm session: one engine that the tasks of a session share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfxswap.cli import run
from vfxswap.cli.progress import openjd_lines

SESSION_VARIABLE = "VFXSWAP_SESSION"

Folder = Annotated[
    Path,
    typer.Option(envvar=SESSION_VARIABLE, help="Folder of the session.", show_default=False),
]


def add_commands(app: typer.Typer) -> None:
    """Adds session."""
    session = typer.Typer(no_args_is_help=True, help="One engine for the tasks of a farm session.")
    session.command("start")(_start)
    session.command("render")(_render)
    session.command("stop")(_stop)
    app.add_typer(session, name="session")


def _start(
    folder: Folder,
    show: run.Show = "",
    device: run.Device = "auto",
    precision: run.PrecisionOption = run.Precision.HALF,
    threads: run.Threads = None,
    path_map_file: run.PathMappingFile = None,
    idle: Annotated[
        float, typer.Option(min=1.0, help="Seconds without a request after which it ends.")
    ] = 3600.0,
) -> None:
    """Start the engine of a session (OpenJD: onEnter). It goes on when this command ends."""
    from vfxswap.farm import session

    options = ["--device", device, "--precision", precision.value]
    options += ["--threads", str(threads)] if threads else []
    options += ["--path-map-file", str(path_map_file.absolute())] if path_map_file else []
    session.start(folder, options, show=show, idle_s=idle)
    typer.echo(f"openjd_env: {SESSION_VARIABLE}={folder.absolute()}")


def _render(
    job: Annotated[Path, typer.Argument(help="Job file (JSON).", metavar="JOB")],
    frames: Annotated[
        str, typer.Option("--frames", "-f", help="Frames in OpenJD's words, as in 1001-1100:2.")
    ],
    folder: Folder,
    retries: Annotated[
        int, typer.Option(min=0, help="How often an engine that died is started again.")
    ] = 2,
) -> None:
    """Render some frames of a job in the session's engine; complete frames are left alone.

    Progress is told in OpenJD's words. Exit codes are those of render.
    """
    with run.cancelled_by_signals() as cancel:
        from vfxswap.farm import session
        from vfxswap.farm.ranges import from_openjd

        said: list[str] = []

        def tell(event: dict[str, object]) -> None:
            for line in openjd_lines(event):
                typer.echo(line)
            if event["event"] == "error":
                said.append(str(event["message"]))

        code = session.render(
            folder, job, from_openjd(frames), on_event=tell, cancel=cancel, retries=retries
        )
    if code:
        typer.echo(f"openjd_fail: {said[0] if said else 'cancelled'}")
    raise typer.Exit(code)


def _stop(
    folder: Folder,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that the frame in hand is given.")
    ] = 60.0,
) -> None:
    """Stop the engine of a session (OpenJD: onExit)."""
    from vfxswap.farm import session

    if not session.stop(folder, grace_s=grace):
        typer.echo("The engine was ended in the middle of a frame.", err=True)
