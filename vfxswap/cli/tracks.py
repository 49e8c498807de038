"""Commands on tracks: track, tracks export, tracks import."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.jobs import read_job
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, listener


class Form(StrEnum):
    """Values of `--to`."""

    TRACKER = "tracker4"
    CORNER_PIN = "cornerpin2d"
    CSV = "csv"


TracksFile = Annotated[
    Path, typer.Argument(help="Tracks file.", metavar="TRACKS", show_default=False)
]


def add_commands(app: typer.Typer, *, chosen: str) -> None:
    """Adds track, with options of its settings when it is `chosen`, and tracks."""
    app.command("track", help=_track.__doc__)(_track_command() if chosen == "track" else _unchosen)
    tracks = typer.Typer(help="Tracks in other programs' forms.", no_args_is_help=True)
    tracks.command("export")(_export)
    tracks.command("import")(_import)
    app.add_typer(tracks, name="tracks")


def _unchosen() -> None:
    raise AssertionError("a command without its options was run")


def _track_command() -> Callable[..., None]:
    from vfxswap.job import Tracking

    return settings_command(_track, Tracking)


def _track(
    plate: Annotated[
        str, typer.Argument(help="Plate (plate.#.exr), or a job file whose tracks are wanted.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Tracks file; else where the job says."),
    ] = None,
    frames: run.Frames = "",
    color_space: run.ColorSpace = "",
    ocio: run.OcioConfig = "",
    views: run.Views = "",
    device: run.Device = "auto",
    threads: run.Threads = None,
    progress: run.ProgressOption = Dialect.AUTO,
    path_map: run.PathMapping = None,
    path_map_file: run.PathMappingFile = None,
    **settings: Any,
) -> None:
    """Find and follow the faces of a shot. An artist's edits in an earlier file stay."""
    with run.cancelled_by_signals() as cancel:
        from vfxswap.errors import JobError
        from vfxswap.job import Job, Tracking
        from vfxswap.render.prepare import track_shot
        from vfxswap.settings import validated

        stated = given_settings(Tracking, settings)
        if plate.endswith(".json"):
            job = read_job(Path(plate), "", path_map, path_map_file)
            if output is None and not job.tracks:
                raise JobError("no tracks file is named", file=plate, wanted="--output")
            tracking = {**job.tracking.model_dump(mode="json"), **stated}
            job = job.model_copy(update={"tracking": validated(Tracking, tracking)})
        elif output is None:
            raise JobError("no tracks file is named", wanted="--output shot.tracks.json")
        else:
            data = {
                "plate": {"pattern": plate, "color_space": color_space},
                "frames": frames,
                "color": {"config": ocio},
                "views": run.words(views),
                "tracking": stated,
                "output": {"pattern": str(output.with_suffix(".%V.#.exr" if views else ".#.exr"))},
            }
            job = validated(Job, data).resolved(Path.cwd())
        with listener(progress) as listen:
            tracks = track_shot(
                job,
                output or Path(job.tracks),
                device=device,
                threads=threads,
                progress=listen,
                cancel=cancel,
            )
        faces = {face.id for by in tracks.automatic.values() for f in by.values() for face in f}
        counted = sum(len(by_frame) for by_frame in tracks.automatic.values())
        cuts = sum(len(frames) for frames in tracks.cuts.values())
        typer.echo(f"{len(faces)} faces on {counted} frames, {cuts} cuts", err=True)


def _export(
    tracks: TracksFile,
    to: Annotated[Form, typer.Option("--to", help="Nuke nodes to paste, or a table.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; else standard output.")
    ] = None,
    points: Annotated[
        str, typer.Option(help="Landmarks of tracker4: all, or 0 to 69, as in 36,45,30.")
    ] = "",
    crop_size: Annotated[
        int, typer.Option(min=16, help="Side in pixels of what cornerpin2d pins.")
    ] = 1024,
) -> None:
    """Write tracks as Nuke nodes or as a table, with the artist's edits applied."""
    from vfxswap.errors import JobError
    from vfxswap.files import write_atomically
    from vfxswap.geometry import LANDMARK_COUNT
    from vfxswap.io.track_csv import to_csv
    from vfxswap.io.track_nuke import NAMES, corner_pin, tracker4
    from vfxswap.io.tracks import read_tracks

    read = read_tracks(tracks)
    if to is Form.CSV:
        text = to_csv(read)
    elif to is Form.CORNER_PIN:
        text = corner_pin(read, crop_size=crop_size)
    else:
        try:
            every = range(LANDMARK_COUNT) if points == "all" else map(int, run.words(points))
            chosen = tuple(every) or tuple(NAMES)
        except ValueError:
            raise JobError("no landmarks", got=points, wanted="all, or as in 36,45,30") from None
        text = tracker4(read, points=chosen)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())


def _import(
    tracks: TracksFile,
    table: Annotated[
        Path, typer.Argument(help="Table, as export writes it.", metavar="CSV", show_default=False)
    ],
) -> None:
    """Take what a table says otherwise as edits; tracking again keeps them."""
    from vfxswap.io.track_csv import with_csv
    from vfxswap.io.tracks import read_tracks, write_tracks

    read = read_tracks(tracks)
    changed = with_csv(read, table)
    write_tracks(tracks, changed)
    count = sum(
        len(edits) for by_frame in changed.edits.values() for edits in by_frame.values()
    ) - sum(len(edits) for by_frame in read.edits.values() for edits in by_frame.values())
    typer.echo(f"{count} more edits", err=True)
