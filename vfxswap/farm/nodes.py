"""A scheduler and its workers as processes: what `vfxswap farm` starts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import dask.config
from distributed import Nanny, Scheduler

from vfxswap.errors import JobError, VfxSwapError
from vfxswap.farm.engine import Engine
from vfxswap.farm.identity import SLOTS, provided
from vfxswap.farm.security import LOOPBACK, TlsSettings, checked_address, is_loopback, security

ALLOWED_FAILURES = 1
"""Workers that a task may lose before it counts as guilty. With Dask's own 3 a frame that kills
its process would end four with its chunk and four alone."""

PLAIN_WORKERS = {
    "distributed.worker.profile.enabled": False,
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
}
"""Configuration of Dask. It would look at the stacks of a worker's threads a hundred times a
second, for pages that nobody opens here. And a worker has threads with arenas of their own before
`keep_freed_memory` comes, which later threads would share."""

NO_PAGES = f"{LOOPBACK}:0"
"""Dask serves pages on the web in any case, without TLS: at least for this machine alone."""


def serve_scheduler(*, host: str, port: int, tls: TlsSettings, say: Callable[[str], None]) -> None:
    """A scheduler until a signal ends it; `say` is told its address. Raises JobError for a host
    beyond loopback without TLS, VfxSwapError when it cannot listen."""
    protocol = "tls" if tls.tls_ca else "tcp"
    address = checked_address(f"{protocol}://{host}:{port}", tls)
    secured = security(tls)

    async def serve() -> None:
        async with Scheduler(
            host=host,
            port=port,
            protocol=f"{protocol}://",
            security=secured,
            dashboard=False,
            dashboard_address=NO_PAGES,
            allowed_failures=ALLOWED_FAILURES,
        ) as scheduler:
            say(str(scheduler.address))
            await scheduler.finished()

    try:
        _run(serve())
    except OSError as error:
        reason = error.strerror or str(error)
        raise VfxSwapError("scheduler cannot listen", got=reason, wanted=address) from None


def serve_worker(
    scheduler: str,
    *,
    host: str,
    threads: int,
    death_timeout_s: float,
    tls: TlsSettings,
    say: Callable[[str], None],
) -> None:
    """A worker with `threads` for torch until a signal ends it; `say` is told its address, anew
    whenever it has a new scheduler. `host` is the own address; "" takes the one that leads to the
    scheduler.

    Raises JobError for addresses beyond loopback without TLS, VfxSwapError when no scheduler
    answers for `death_timeout_s`.
    """
    address = checked_address(scheduler, tls)
    if not host and is_loopback(address.partition("://")[2].rpartition(":")[0]):
        host = LOOPBACK
    if host and not is_loopback(host) and not tls.tls_ca:
        raise JobError(
            "beyond this machine a worker must speak TLS", got=host, wanted="--tls-ca and the rest"
        )
    secured, tags = security(tls), provided()

    async def serve() -> None:
        while True:
            async with Nanny(
                address,
                nthreads=SLOTS,
                memory_limit=None,
                host=host or None,
                dashboard=False,
                dashboard_address=NO_PAGES,
                security=secured,
                resources=tags,
                plugins=(Engine(threads=threads),),
                death_timeout=death_timeout_s,
            ) as nanny:
                say(str(nanny.worker_address))
                await nanny.finished()

    try:
        with dask.config.set(PLAIN_WORKERS):
            _run(serve())
    except (OSError, TimeoutError, RuntimeError) as error:
        raise start_error(
            error, f"no scheduler answers at {address} within {death_timeout_s:g} s"
        ) from error


def start_error(error: BaseException, what: str) -> VfxSwapError:
    """Why a process of Dask did not start: the error of ours that Dask wrapped, or `what` and the
    first cause in Dask's words."""
    while error.__cause__ is not None and not isinstance(error, VfxSwapError):
        error = error.__cause__
    if isinstance(error, VfxSwapError):
        return error
    return VfxSwapError(what, got=str(error) or type(error).__name__)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Until it ends or SIGINT or SIGTERM comes; then it is closed in order."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
