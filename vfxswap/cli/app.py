"""The application: its commands, and what errors become."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import vfxswap
from vfxswap.cli import (
    catalogue,
    effect,
    export,
    faces,
    farm,
    install,
    jobs,
    making,
    report,
    retrieve,
    session,
    submit,
    tracks,
    worker,
)
from vfxswap.errors import VfxSwapError
from vfxswap.memory import keep_freed_memory


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 may be tried again, 2 bad job or usage, 143
    cancelled after the frame in hand."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    keep_freed_memory()
    try:
        application(given)(given, prog_name="vfxswap")
    except VfxSwapError as error:
        print(f"vfxswap: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def application(given: Sequence[str]) -> typer.Typer:
    """The commands. Options of an effect are generated only for the command that was `given`:
    its settings lie beside networks, which take seconds to import."""
    app = typer.Typer(
        name="vfxswap",
        help="Compositing effects by small networks on scene-linear EXR plates.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        add_completion=False,
    )
    app.callback()(_root)
    effect.add_commands(app, chosen=given[0] if given else "")
    jobs.add_commands(app)
    tracks.add_commands(app, chosen=given[0] if given else "")
    faces.add_commands(app, chosen=given[0] if given else "")
    catalogue.add_commands(app)
    submit.add_commands(app, given=given)
    farm.add_commands(app)
    worker.add_commands(app)
    session.add_commands(app)
    install.add_commands(app)
    export.add_commands(app)
    report.add_commands(app)
    retrieve.add_commands(app)
    making.add_commands(app, chosen=tuple(given[:2]))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vfxswap {vfxswap.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Version, then exit."),
    ] = False,
) -> None:
    """Compositing effects by small networks on scene-linear EXR plates."""
