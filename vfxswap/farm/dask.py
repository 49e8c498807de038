"""Dask: workers that stay, with their networks loaded, get the frames from a scheduler.

The submitter waits, and sees and says what a render in one process would. A scheduler keeps no
durable state: when it dies, what is finished stays and the job is submitted again.
"""

from __future__ import annotations

import secrets

from pydantic import Field

from vfxswap.errors import VfxSwapError
from vfxswap.farm.chunks import chunks
from vfxswap.farm.security import TlsSettings, checked_address, security
from vfxswap.farm.submission import Submission, Target
from vfxswap.shot import format_frames

PORT = 8786


class DaskSettings(TlsSettings):
    """Which cluster. Others than loopback must speak TLS."""

    scheduler: str = Field(
        default=f"tcp://127.0.0.1:{PORT}", description="Scheduler, as in tls://farm.studio:8786."
    )
    wait_s: float = Field(
        60.0, ge=0, description="How long to wait for a worker that fits.",
        json_schema_extra={"unit": "s"},
    )  # fmt: skip


def submit(submission: Submission, settings: DaskSettings) -> int:
    """Renders the frames on the workers of a scheduler; returns the report's exit code.

    Raises JobError for an address that would not be safe, a bad job, and where no worker has this
    code and these models; VfxSwapError when no scheduler answers.
    """
    address = checked_address(settings.scheduler, settings)
    secured = security(settings)
    if submission.dry_run:
        pieces = chunks(submission.frames, submission.chunk)
        for number, piece in enumerate(pieces, 1):
            print(f"task {number} of {len(pieces)} to {address}: {format_frames(piece)}")
        return 0
    from distributed import Client

    from vfxswap.farm.cluster import Cluster, quieten
    from vfxswap.farm.engine import Order
    from vfxswap.farm.identity import needed
    from vfxswap.render.device import pick_device
    from vfxswap.render.plan import open_job

    plan = open_job(submission.job, device=pick_device("cpu"), precision=submission.precision)
    order = Order(
        id=secrets.token_hex(8),
        job=submission.job,
        needed=needed(plan),
        device=submission.device,
        precision=submission.precision,
        threads=submission.threads,
    )
    units = plan.units(submission.frames)
    del plan  # and its networks
    quieten()
    try:
        client = Client(address, security=secured, set_as_default=False, timeout=settings.wait_s)
    except OSError as error:
        raise VfxSwapError(
            "no scheduler answers", got=str(error).partition(":")[0], wanted=address
        ) from None
    with client:
        report = Cluster(
            client, order, submission, units=units, wait_s=settings.wait_s
        ).run()  # fmt: skip
    submission.finished(report)
    return report.exit_code


TARGET = Target(
    help="Workers that stay, through a Dask scheduler.",
    settings_type=DaskSettings,
    submit=submit,
)
