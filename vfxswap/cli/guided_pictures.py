"""Pictures that `vfxswap guided` changes one by one, each by a job of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vfxswap.cli import run
from vfxswap.errors import JobError, VfxSwapError

if TYPE_CHECKING:
    from vfxswap.job import Job

PICTURES = frozenset((".exr", ".tif", ".tiff", ".png", ".dpx", ".jpg", ".jpeg"))
"""What of a folder is taken for a picture."""


def folder_of_output(given: Mapping[str, Any]) -> Path:
    """Where several pictures go. Raises JobError for the name of a file."""
    out = Path(given["output"])
    if out.suffix:
        raise JobError("several pictures go into a folder", got=out, wanted="-o FOLDER")
    return out


def changed(
    plate: Path, target: Path, settings: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """One picture by a job of its own; says and returns what came of it: `plate`, `touched`,
    `notes`, or an `error`. Raises errors of the job, not of the picture."""
    from vfxswap.render import render
    from vfxswap.render.report import silent

    row: dict[str, Any] = {"plate": plate.name, "touched": False}
    try:
        report = render(
            job_of(plate, target, settings, given),
            device=given["device"],
            precision=given["precision"].value,
            threads=given["threads"],
            overwrite=given["overwrite"],
            progress=silent,
        )
    except VfxSwapError as error:
        if error.exit_code != 1:
            raise
        row["error"] = str(error)
    else:
        row["notes"] = [note for _, _, note in report.notes]
        row["touched"] = any(_touched(written.path) for written in report.written)
        if report.failed:
            row["error"] = str(report.failed[0].error)
    said = "touched" if row["touched"] else "left as it is"
    notes = "".join(f"; {note}" for note in row.get("notes", []))
    typer.echo(f"{plate.name}: {row.get('error', said)}{notes}")
    return row


def _touched(result: Path) -> bool:
    """Whether a result's matte is above 0 anywhere."""
    from vfxswap.io.exr import read_image

    image = read_image(result)
    return any(
        channel.any()
        for part in image.parts
        for name, channel in part.channels.items()
        if name == "guided_matte.red"
    )


def plates_in(place: Path) -> list[Path]:
    """The pictures of a folder by name, or the file or sequence itself. Raises JobError for a
    folder without any."""
    if not place.is_dir():
        return [place]
    found = sorted(p for p in place.iterdir() if p.suffix.lower() in PICTURES)
    if not found:
        raise JobError(
            "the folder holds no pictures", wanted=", ".join(sorted(PICTURES)), file=place
        )
    return found


def job_of(plate: Path, target: Path, settings: Mapping[str, Any], given: Mapping[str, Any]) -> Job:
    """The job of one picture or shot by the command's options. Raises JobError."""
    from vfxswap.job import Job
    from vfxswap.settings import validated

    data = {
        "plate": {
            "pattern": str(plate),
            "color_space": given["color_space"],
            "part": given["part"],
            "layer": given["layer"],
        },
        "frames": given["frames"],
        "views": run.words(given["views"]),
        "show": given["show"],
        "effects": [{"effect": "guided", "settings": dict(settings)}],
        "color": {"config": given["ocio"], "working": given["working_space"]},
        "tracks": given["tracks"],
        "revocations": given["revocations"],
        "output": {"pattern": str(target)},
    }
    return validated(Job, data).resolved(Path.cwd())
