"""`vfxswap guided … --angles`: the same glasses and light on one performer from several angles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from vfxswap.cli.guided_pictures import changed, folder_of_output, plates_in
from vfxswap.errors import JobError

SYNTHETIC = "synth:"
EVERY = "all"


def change_angles(angles: str, settings: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    """Changes the pictures that `angles` ask for, from left to right; writes them as NN_NAME.exr, a
    contact sheet `angles.png` and a report `angles.json`. Gives the exit code: 1 when a picture
    shows no face or failed. Raises JobError and what rendering raises."""
    from vfxswap.angles import Angle, angles_sheet, find_angles, nearest_angles
    from vfxswap.color import ColorManager
    from vfxswap.files import write_atomically
    from vfxswap.io.exr import write_png
    from vfxswap.render.device import pick_device

    if given["tracks"]:
        raise JobError("angles are tracked one by one", got=f"--tracks {given['tracks']}")
    out = folder_of_output(given)
    yaws = None if angles.strip() == EVERY else yaws_of(angles)
    color = ColorManager(given["ocio"] or None)
    found, wrong = find_angles(
        _plates(str(given["plate"]), yaws, out), color=color, device=pick_device(given["device"])
    )
    if yaws is not None:
        found = nearest_angles(found, yaws)
    if not found:
        raise JobError("no picture shows a face", file=given["plate"])
    rows: list[dict[str, Any]] = []
    made: list[tuple[Angle, Path]] = []
    for place, angle in enumerate(found, 1):
        target = out / f"{place:02d}_{angle.plate.stem}.exr"
        row = changed(angle.plate, target, settings, given)
        turn = {"yaw_deg": angle.yaw_deg, "pitch_deg": angle.pitch_deg, "roll_deg": angle.roll_deg}
        rows.append({**row, "result": target.name, **{k: round(v, 2) for k, v in turn.items()}})
        if "error" not in row:
            made.append((angle, target))
    rows += [{"plate": plate.name, "touched": False, "error": why} for plate, why in wrong.items()]
    for why in wrong.values():
        typer.echo(why)
    if made:
        write_png(out / "angles.png", angles_sheet(made, color=color))
    write_atomically(out / "angles.json", (json.dumps(rows, indent=2) + "\n").encode())
    typer.echo(f"{len(made)} angles, yaw {found[0].yaw_deg:+.0f} to {found[-1].yaw_deg:+.0f} deg")
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
                "angles are a folder of pictures or a synthetic performer", got=plate,
                wanted=f"FOLDER or {SYNTHETIC}amber",
            )  # fmt: skip
        return plates_in(Path(plate))
    if yaws is None:
        raise JobError("a synthetic performer is rendered at given angles", got=EVERY,
                       wanted="--angles=-30,0,30")  # fmt: skip
    from vfxswap.synth.angles import render_angles

    return list(render_angles(plate.removeprefix(SYNTHETIC), yaws, out / "plates"))
