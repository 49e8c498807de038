"""Command worker: the engine of host applications."""

from __future__ import annotations

from typing import Annotated

import typer

from vfxswap.cli import run


def add_commands(app: typer.Typer) -> None:
    """Adds worker."""
    app.command("worker")(_worker)


def _worker(
    device: run.Device = "auto",
    precision: run.PrecisionOption = run.Precision.HALF,
    threads: run.Threads = None,
    heartbeat: Annotated[
        float, typer.Option(min=0.05, help="Seconds between heartbeats while there is work.")
    ] = 2.0,
    path_map: run.PathMapping = None,
    path_map_file: run.PathMappingFile = None,
) -> None:
    """Render for a host application.

    Requests are lines of JSON on stdin, events lines of JSON on stdout: docs/worker-protocol.md.
    """
    from vfxswap.paths import PathMap
    from vfxswap.worker import Options, serve

    paths = PathMap.stated(path_map or (), path_map_file)
    options = Options(device=device, precision=precision.value, threads=threads, paths=paths)
    raise typer.Exit(serve(options, heartbeat_s=heartbeat))
