"""Running a job: the options that all rendering commands share, signals, and the outcome."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfxswap.cli.frame_log import logged
from vfxswap.cli.progress import Dialect, finish, listener
from vfxswap.errors import EXIT_DONE, JobError

if TYPE_CHECKING:
    from vfxswap.job import Job
    from vfxswap.render.report import Report


class Precision(StrEnum):
    """Values of `--precision`."""

    HALF = "half"
    SINGLE = "single"


SHOW_VARIABLE = "VFXSWAP_SHOW"

Device = Annotated[str, typer.Option(help="auto, cpu, cuda[:n] or mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the engine.")]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="half: 16 bits where the hardware has them; single: slower, alike on all CPUs.",
    ),
]
ProgressOption = Annotated[
    Dialect, typer.Option("--progress", help="What progress looks like; auto: a bar on a terminal.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Render in so many processes on this machine; else in this one."),
]
Memory = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        help="GB that the workers may use; else most of what is free. Fewer start if need be.",
    ),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave complete frames alone; redo broken ones.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite/--no-overwrite", help="Replace frames that exist.")
]
Frames = Annotated[str, typer.Option("--frames", "-f", help="Frame range, as in 1001-1100x2,1200.")]
SomeFrames = Annotated[str, typer.Option("--frames", "-f", help="Only these frames of the job.")]
ColorSpace = Annotated[
    str, typer.Option(help="Colour space of the plate; else the file says, then file rules.")
]
OcioConfig = Annotated[str, typer.Option("--ocio", help="OCIO config; else $OCIO, else built in.")]
Show = Annotated[str, typer.Option(envvar=SHOW_VARIABLE, help="Show that consent is asked for.")]
Log = Annotated[
    list[Path] | None,
    typer.Option(
        "--log",
        help="Append a line a frame; JSON lines to *.jsonl. May be repeated.",
        metavar="FILE",
    ),
]
PathMapping = Annotated[
    list[str] | None,
    typer.Option(
        "--path-map",
        help="Folder of the job's paths and what it is called here; may be repeated. "
        "Also $VFXSWAP_PATH_MAP, with ; between.",
        metavar="FROM=TO",
    ),
]
PathMappingFile = Annotated[
    Path | None,
    typer.Option("--path-map-file", help="Such rules as OpenJD gives them (JSON).", metavar="FILE"),
]
Views = Annotated[str, typer.Option(help="Views, as in left,right; else those of the plate.")]
PlateArgument = Annotated[
    str, typer.Argument(help="File or sequence: plate.#.exr, plate.%04d.exr, plate.$F4.exr.")
]


def effect(
    name: str,
    settings: Mapping[str, Any],
    *,
    plate: PlateArgument,
    output: Annotated[str, typer.Option("--output", "-o", help="Frames to write: out.#.exr.")],
    frames: Frames = "",
    show: Show = "",
    tracks: Annotated[
        str, typer.Option(help="Tracks file; made if it is not there.", metavar="FILE")
    ] = "",
    matte: Annotated[
        list[str] | None,
        typer.Option(
            help="Input matte: holdout or garbage; may be repeated.",
            metavar="ROLE=PATTERN[:CHANNEL]",
        ),
    ] = None,
    color_space: ColorSpace = "",
    ocio: OcioConfig = "",
    working_space: Annotated[
        str, typer.Option(help="Working space; else the config's scene_linear.")
    ] = "",
    part: Annotated[str, typer.Option(help="EXR part of the picture.")] = "",
    layer: Annotated[str, typer.Option(help="Layer of the picture.")] = "",
    views: Views = "",
    handles: Annotated[int, typer.Option(min=0, help="Frames around that tracking sees too.")] = 0,
    region: Annotated[
        str, typer.Option(help="Preview only this window of the plate.", metavar="X,Y,W,H")
    ] = "",
    proxy: Annotated[int, typer.Option(help="Preview at 1/2, 1/4 or 1/8 of the size.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 0,
    revocations: Annotated[
        str, typer.Option(help="Revocation list, beside $VFXSWAP_REVOCATIONS.", metavar="FILE")
    ] = "",
    single_part: Annotated[
        bool, typer.Option("--single-part", help="All layers in one EXR part.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers/--no-layers", help="Write the layers beside the comp.")
    ] = True,
    sidecar: Annotated[
        bool, typer.Option("--sidecar/--no-sidecar", help="Write ids and hashes beside the frames.")
    ] = True,
    skip_existing: SkipExisting = False,
    overwrite: Overwrite = True,
    device: Device = "auto",
    precision: PrecisionOption = Precision.HALF,
    threads: Threads = None,
    workers: Workers = None,
    memory: Memory = None,
    progress: ProgressOption = Dialect.AUTO,
    log: Log = None,
    save_job: Annotated[
        Path | None, typer.Option(help="Write the job that this command stands for.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the job and print it; render nothing.")
    ] = False,
) -> None:
    """Builds the job of one effect and renders it."""
    with cancelled_by_signals() as cancel:
        from vfxswap.job import Job
        from vfxswap.settings import validated

        data = {
            "plate": {
                "pattern": plate,
                "color_space": color_space,
                "part": part,
                "layer": layer,
            },
            "frames": frames,
            "handles": handles,
            "views": words(views),
            "show": show,
            "effects": [{"effect": name, "settings": settings, "mattes": _mattes(matte or [])}],
            "color": {"config": ocio, "working": working_space},
            "tracks": tracks,
            "revocations": revocations,
            "seed": seed,
            "region": _region(region),
            "proxy": proxy,
            "output": {
                "pattern": output,
                "single_part": single_part,
                "layers": layers,
                "sidecar": sidecar,
            },
        }
        job = validated(Job, data).resolved(Path.cwd())
        if save_job is not None:
            job.write(save_job)
        if dry_run:
            if save_job is None:
                import json

                typer.echo(json.dumps(job.model_dump(mode="json"), indent=2, sort_keys=True))
            raise typer.Exit(say_findings(job))
        render_job(
            job,
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


SHARED = tuple(n for n in effect.__annotations__ if n not in ("name", "settings", "return"))
"""Parameters of `effect` that are options of every effect's command."""


def render_job(
    job: Job,
    *,
    frames: str = "",
    skip_existing: bool,
    overwrite: bool,
    device: str,
    precision: Precision,
    threads: int | None,
    workers: int | None,
    memory: float | None,
    progress: Dialect,
    log: Sequence[Path],
    cancel: threading.Event,
) -> None:
    """Renders, in this process or in `workers`, and exits with the report's code."""
    from vfxswap.shot import parse_frames

    if cancel.is_set():
        _exit_cancelled()
    rendering = _renderer(workers, memory)
    with listener(progress) as listen, logged(listen, log) as listen:
        report = rendering(
            job,
            frames=parse_frames(frames) if frames else None,
            skip_existing=skip_existing,
            overwrite=overwrite,
            device=device,
            precision=precision.value,
            threads=threads,
            progress=listen,
            cancel=cancel,
        )
    finish(progress, report)
    raise typer.Exit(report.exit_code)


def _renderer(workers: int | None, memory: float | None) -> Callable[..., Report]:
    """`render`, or the same in processes."""
    if workers is None:
        if memory is not None:
            raise JobError("memory is shared out between workers", wanted="--workers too")
        from vfxswap.render import render

        return render
    from vfxswap.farm.security import require_dask

    require_dask()
    from vfxswap.farm.local import render_on_workers

    return partial(render_on_workers, workers=workers, memory_gb=memory)


def say_findings(job: Job, *, as_json: bool = False) -> int:
    """Checks a job, prints what was found, and gives the exit code."""
    import json
    from dataclasses import asdict

    from vfxswap.render import check
    from vfxswap.render.checks import exit_code

    findings = check(job)
    code = exit_code(findings)
    if as_json:
        typer.echo(json.dumps({"exit_code": code, "findings": [asdict(f) for f in findings]}))
        return code
    for finding in findings:
        typer.echo(f"{finding.level}: {finding.message}", err=True)
    verdict = "The job is good." if code == EXIT_DONE else "The job cannot render as it is."
    typer.echo(verdict, err=True)
    return code


def _exit_cancelled() -> None:
    from vfxswap.errors import CancelledError

    raise CancelledError("cancelled before the first frame")


@contextmanager
def cancelled_by_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask to stop after the frame in hand; a second one stops at once."""
    cancel = threading.Event()

    def ask(number: int, _frame: object) -> None:
        if cancel.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        cancel.set()
        os.write(2, b"\nvfxswap: stopping after the frame in hand\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def words(text: str) -> list[str]:
    """Comma-separated words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _region(text: str) -> list[int] | None:
    if not text:
        return None
    try:
        x, y, width, height = (int(word) for word in text.split(","))
    except ValueError:
        raise JobError("not a region", got=text, wanted="x,y,width,height") from None
    return [x, y, width, height]


def _mattes(given: list[str]) -> dict[str, dict[str, str]]:
    mattes = {}
    for text in given:
        role, equals, source = text.partition("=")
        if not (role and equals and source):
            raise JobError("not a matte", got=text, wanted="holdout=roto.#.exr")
        pattern, _, channel = source.partition(":")
        mattes[role] = {"pattern": pattern, "channel": channel}
    return mattes
