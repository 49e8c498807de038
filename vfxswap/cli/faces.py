"""Command faces: face sets of a persona from footage, and what they cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.options import given_settings, settings_command
from vfxswap.cli.progress import Dialect, finish_faces, listener

if TYPE_CHECKING:
    from vfxswap.train.face_set_build import ShotOrder

HELP = "Gather a persona's faces from footage to train on, and report what they cover."


def add_commands(app: typer.Typer, *, chosen: str) -> None:
    """Adds faces, with options of its settings when it is `chosen`."""
    app.command("faces", help=HELP)(_command() if chosen == "faces" else _unchosen)


def _unchosen() -> None:
    raise AssertionError("a command without its options was run")


def _command() -> Callable[..., None]:
    from vfxswap.train.face_set_settings import FaceSetSettings

    return settings_command(_faces, FaceSetSettings)


def _faces(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the set.")],
    shots: Annotated[
        list[str] | None,
        typer.Argument(
            help="Plates (plate.#.exr) or job files; none: filter and report what is there.",
            metavar="[SHOT]...",
            show_default=False,
        ),
    ] = None,
    persona: Annotated[str, typer.Option(help="Whose faces; else the set's own.")] = "",
    card: Annotated[
        Path | None,
        typer.Option(help="Persona card (TOML) with its consent; else a model's.", metavar="FILE"),
    ] = None,
    show: run.Show = "",
    revocations: Annotated[
        str, typer.Option(help="Revocation list, beside $VFXSWAP_REVOCATIONS.", metavar="FILE")
    ] = "",
    face: Annotated[
        list[str] | None,
        typer.Option(
            help="The persona's ids in the tracks, as in 0 or 0,3; once, or for each shot in turn."
        ),
    ] = None,
    tracks: Annotated[
        list[str] | None,
        typer.Option(help="Tracks file, for each shot in turn; else kept in the set."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Who the persona is: another set of it, or a picture of the face."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another set: report what it has and this one lacks.")
    ] = None,
    frames: run.Frames = "",
    color_space: run.ColorSpace = "",
    ocio: run.OcioConfig = "",
    views: run.Views = "",
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report/ into the set.")
    ] = True,
    device: run.Device = "auto",
    threads: run.Threads = None,
    progress: run.ProgressOption = Dialect.AUTO,
    **settings: Any,
) -> None:
    with run.cancelled_by_signals() as cancel:
        from vfxswap.train.face_set_build import build_face_set
        from vfxswap.train.face_set_open import card_of
        from vfxswap.train.face_set_settings import FaceSetSettings

        shared = {"frames": frames, "color_space": color_space, "ocio": ocio, "views": views}
        who = card_of(persona, output, card=card)
        orders = _orders(shots or [], face or [], tracks or [], output, show, shared)
        with listener(progress) as listen:
            build = build_face_set(
                output,
                who,
                orders,
                given_settings(FaceSetSettings, settings),
                show=show,
                revocation_list=revocations,
                reference=reference,
                device=device,
                threads=threads,
                progress=listen,
                cancel=cancel,
            )
            page = None
            if report or against is not None:
                from vfxswap.train.face_set_report import write_face_report

                page = write_face_report(
                    build.found, against=against, show=show, revocation_list=revocations
                )
    finish_faces(progress, build, page)
    raise typer.Exit(build.exit_code)


def _orders(
    shots: Sequence[str],
    faces: Sequence[str],
    tracks: Sequence[str],
    output: Path,
    show: str,
    shared: dict[str, str],
) -> list[ShotOrder]:
    from vfxswap.cli.jobs import read_job
    from vfxswap.errors import JobError
    from vfxswap.job import Job
    from vfxswap.settings import validated
    from vfxswap.train.face_set_build import ShotOrder

    for name, given in (("--face", faces), ("--tracks", tracks)):
        if len(given) > 1 and len(given) != len(shots):
            raise JobError(f"{name} is given for other shots", got=len(given),
                           wanted=f"one, or one for each of {len(shots)}")  # fmt: skip
    if len(tracks) == 1 and len(shots) > 1:
        raise JobError("one tracks file for several shots", wanted="--tracks for each in turn")
    orders = []
    for number, shot in enumerate(shots):
        if shot.endswith(".json"):
            job = read_job(Path(shot), show)
        else:
            data = {
                "plate": {"pattern": shot, "color_space": shared["color_space"]},
                "frames": shared["frames"],
                "color": {"config": shared["ocio"]},
                "views": run.words(shared["views"]),
                "output": {"pattern": str(output / "unused.####.exr")},
            }
            job = validated(Job, data).resolved(Path.cwd())
        if tracks:
            stated = str(Path(tracks[number]).absolute())
            job = job.model_copy(update={"tracks": stated})
        ids = faces[number] if len(faces) > 1 else faces[0] if faces else ""
        orders.append(ShotOrder(job, _ids(ids)))
    return orders


def _ids(text: str) -> tuple[int, ...]:
    from vfxswap.errors import JobError

    try:
        return tuple(int(word) for word in run.words(text))
    except ValueError:
        raise JobError("no ids of faces", got=text, wanted="as in 0 or 0,3") from None
