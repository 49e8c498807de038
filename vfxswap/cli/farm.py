"""Command farm: a Dask scheduler and its workers, on this machine or between machines."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

TlsCa = Annotated[
    str, typer.Option("--tls-ca", help="Certificate of the authority.", metavar="FILE")
]
TlsCert = Annotated[str, typer.Option("--tls-cert", help="Own certificate.", metavar="FILE")]
TlsKey = Annotated[str, typer.Option("--tls-key", help="Own private key.", metavar="FILE")]


def add_commands(app: typer.Typer) -> None:
    """Adds farm."""
    farm = typer.Typer(help="Scheduler and workers for submit --to dask.", no_args_is_help=True)
    farm.command("scheduler")(_scheduler)
    farm.command("worker")(_worker)
    app.add_typer(farm, name="farm")


def _scheduler(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8786,
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
) -> None:
    """Place chunks on workers until a signal ends it.

    It keeps nothing on disk: jobs that were running when it ended are submitted again, and only
    what is missing renders.
    """
    from vfxswap.farm.security import TlsSettings, require_dask

    require_dask()
    from vfxswap.farm.nodes import serve_scheduler

    tls = TlsSettings(tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
    serve_scheduler(host=host, port=port, tls=tls, say=lambda at: typer.echo(f"scheduler at {at}"))


def _worker(
    scheduler: Annotated[
        str, typer.Argument(help="The scheduler: tls://HOST:PORT.", metavar="ADDRESS")
    ],
    host: Annotated[
        str, typer.Option(help="Own address; else the one that leads to the scheduler.")
    ] = "",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engine; else every core.")
    ] = None,
    death_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds without a scheduler after which it ends.")
    ] = 60.0,
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
) -> None:
    """Render chunks for a scheduler until a signal ends it.

    One frame at a time, networks loaded once; a process that dies is started again. For several
    GPUs start one for each, with its own CUDA_VISIBLE_DEVICES.
    """
    from vfxswap.farm.security import TlsSettings, require_dask

    require_dask()
    from dask.system import CPU_COUNT

    from vfxswap.farm.nodes import serve_worker

    serve_worker(
        scheduler,
        host=host,
        threads=threads or CPU_COUNT,
        death_timeout_s=death_timeout,
        tls=TlsSettings(tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key),
        say=lambda at: typer.echo(f"worker at {at}"),
    )


def bench(
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small frames, and few.")] = False,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, by turns.")] = 3,
) -> None:
    """Measure what Dask costs beside bare processes, in one run on this machine."""
    from vfxswap.farm.security import require_dask

    require_dask()
    from vfxswap.bench import print_bench
    from vfxswap.bench_farm import farm_rows

    rows = farm_rows(quick=quick, repeats=runs)
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)
