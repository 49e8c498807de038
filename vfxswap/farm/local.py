"""Several processes on this machine: a Dask cluster that lives as long as one render.

Its processes listen on loopback alone and end with the render.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask.config
import psutil  # type: ignore[import-untyped]
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from vfxswap.farm.cluster import Cluster, quieten
from vfxswap.farm.engine import Engine, Order
from vfxswap.farm.identity import SLOTS, code_tag, provided
from vfxswap.farm.nodes import ALLOWED_FAILURES, NO_PAGES, PLAIN_WORKERS, start_error
from vfxswap.farm.security import LOOPBACK
from vfxswap.farm.submission import Submission
from vfxswap.job import Job
from vfxswap.nets.run import Precision
from vfxswap.render import Event, Report
from vfxswap.render.plan import chosen_frames, first_readable, opened_files, units_of
from vfxswap.render.report import Listener, silent

START_S = 300.0
"""Time for a worker process to be there, anew too: on a busy machine torch is imported slowly."""
LARGEST_CHUNK = 10
SHARE = 0.8
"""Of the memory that is free, when nothing is said."""
PROCESS_BYTES = 600 << 20
"""A worker with torch and the shipped models, before its first frame."""
PIXEL_BYTES = 500
"""Of one pixel over all frames that a worker holds: read ahead, in hand, and being written. A swap
at 2048×1152 took 472 above the process."""
GIGABYTE = 1e9


def render_on_workers(
    job: Job,
    *,
    workers: int,
    memory_gb: float | None = None,
    frames: Sequence[int] | None = None,
    skip_existing: bool = False,
    overwrite: bool = True,
    device: str = "auto",
    precision: Precision = "half",
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
) -> Report:
    """Renders a job in `workers` processes; everything else as for `render.render`.

    `threads` are those of each process; None shares the cores out. Fewer processes start, and a
    note says so, when `memory_gb` (None: most of what is free) does not hold that many.
    """
    plate, output, known, views = opened_files(job)
    wanted = tuple(dict.fromkeys(chosen_frames(known, frames)))
    image, _ = first_readable(job, plate, known, views[0])
    window = image.part.data_window
    budget = free_memory() * SHARE if memory_gb is None else memory_gb * GIGABYTE
    each_bytes = worker_bytes(window.width * window.height)
    count = min(workers, len(wanted), max(1, int(budget // each_bytes)))
    if count < min(workers, len(wanted)):
        said = (
            f"{count} of {workers} workers start: one may need {each_bytes / GIGABYTE:.1f} GB, "
            f"and {budget / GIGABYTE:.1f} GB are there"
        )
        progress(Event("render", "note", 0, len(wanted) * len(views), message=said))
    each_threads = threads or max(1, CPU_COUNT // count)
    order = Order(
        id=secrets.token_hex(8),
        job=job,
        needed=(code_tag(),),
        device=device,
        precision=precision,
        threads=each_threads,
        skip_existing=skip_existing,
        overwrite=overwrite,
    )
    submission = Submission(
        job=job,
        job_file=Path(),
        frames=wanted,
        chunk=chunk_size(len(wanted), count),
        retries=0,
        progress=progress,
        cancel=cancel or threading.Event(),
    )
    units = units_of(plate, output, wanted, views)
    with local_cluster(count, threads=each_threads) as client:
        return Cluster(client, order, submission, units=units, wait_s=START_S).run()


@contextmanager
def local_cluster(workers: int, *, threads: int) -> Iterator[Client]:
    """Worker processes on this machine, each with `threads` for torch, and a client of theirs."""
    quieten()
    with ExitStack() as stack:
        # Dask gives up on a process that is not there again within 15 s.
        patient = {"distributed.deploy.lost-worker-timeout": START_S}
        stack.enter_context(dask.config.set({**patient, **PLAIN_WORKERS}))
        try:
            started = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=SLOTS,
                    processes=True,
                    host=LOOPBACK,
                    dashboard_address=None,
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                    resources=provided(),
                    plugins=(Engine(threads=threads),),
                    scheduler_kwargs={
                        "allowed_failures": ALLOWED_FAILURES,
                        "dashboard_address": NO_PAGES,
                    },
                )
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise start_error(error, "worker processes do not start") from error
        yield stack.enter_context(Client(started, set_as_default=False))


def chunk_size(frames: int, workers: int) -> int:
    """Frames a task: several tasks for each worker, so that none waits long for the last."""
    return max(1, min(LARGEST_CHUNK, math.ceil(frames / (4 * workers))))


def worker_bytes(pixels: int) -> int:
    """Memory that a worker may need for frames of that many pixels, generously."""
    return PROCESS_BYTES + PIXEL_BYTES * pixels


def free_memory() -> int:
    """Bytes that this process and its children may take, as containers limit them too."""
    available: int = psutil.virtual_memory().available
    return min(int(MEMORY_LIMIT), available)
