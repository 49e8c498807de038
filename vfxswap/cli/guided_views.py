"""`vfxswap guided … --angles`: the same glasses and light on a set of views of one performer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from vfxswap.cli.guided import changed, folder_of_output, plates_in
from vfxswap.errors import JobError

SYNTHETIC = "synth:"
EVERY = "all"


def change_views(angles: str, settings: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    """Changes the views that `angles` ask for, from left to right; writes them as NN_NAME.exr, a
    contact sheet `views.png` and a report `views.json`. Gives the exit code: 1 when a picture
    shows no face or failed. Raises JobError and what rendering raises."""
    from vfxswap.color import ColorManager
    from vfxswap.files import write_atomically
    from vfxswap.io.exr import write_png
    from vfxswap.render.device import pick_device
    from vfxswap.views import View, find_views, nearest_views, views_sheet

    if given["tracks"]:
        raise JobError("views are tracked one by one", got=f"--tracks {given['tracks']}")
    out = folder_of_output(given)
    yaws = None if angles.strip() == EVERY else yaws_of(angles)
    color = ColorManager(given["ocio"] or None)
    views, wrong = find_views(
        _plates(str(given["plate"]), yaws, out), color=color, device=pick_device(given["device"])
    )
    if yaws is not None:
        views = nearest_views(views, yaws)
    if not views:
        raise JobError("no picture shows a face", file=given["plate"])
    rows: list[dict[str, Any]] = []
    made: list[tuple[View, Path]] = []
    for place, view in enumerate(views, 1):
        target = out / f"{place:02d}_{view.plate.stem}.exr"
        row = changed(view.plate, target, settings, given)
        angle = {"yaw_deg": view.yaw_deg, "pitch_deg": view.pitch_deg, "roll_deg": view.roll_deg}
        rows.append({**row, "result": target.name, **{k: round(v, 2) for k, v in angle.items()}})
        if "error" not in row:
            made.append((view, target))
    rows += [{"plate": plate.name, "touched": False, "error": why} for plate, why in wrong.items()]
    for why in wrong.values():
        typer.echo(why)
    if made:
        write_png(out / "views.png", views_sheet(made, color=color))
    write_atomically(out / "views.json", (json.dumps(rows, indent=2) + "\n").encode())
    typer.echo(f"{len(made)} views, yaw {views[0].yaw_deg:+.0f} to {views[-1].yaw_deg:+.0f} deg")
    return int(any("error" in row for row in rows))


def yaws_of(text: str) -> list[float]:
    """Yaw angles in degrees, as in -30,0,30. Raises JobError."""
    try:
        yaws = [float(word) for word in text.split(",")]
    except ValueError:
        raise JobError("angles are no numbers", got=text, wanted="all, or -30,0,30") from None
    if beyond := [yaw for yaw in yaws if not -60 <= yaw <= 60]:
        raise JobError("a yaw is out of range", got=f"{beyond[0]:g}", wanted="-60 to 60 deg")
    return yaws


def _plates(plate: str, yaws: list[float] | None, out: Path) -> list[Path]:
    if not plate.startswith(SYNTHETIC):
        if not Path(plate).is_dir():
            raise JobError(
                "views are a folder of pictures or a synthetic performer", got=plate,
                wanted=f"FOLDER or {SYNTHETIC}amber",
            )  # fmt: skip
        return plates_in(Path(plate))
    if yaws is None:
        raise JobError("a synthetic performer is rendered at given angles", got=EVERY,
                       wanted="--angles=-30,0,30")  # fmt: skip
    from vfxswap.synth.views import render_views

    return list(render_views(plate.removeprefix(SYNTHETIC), yaws, out / "plates"))
