"""What `vfxswap guided` has beside its settings: `--set`, estimates, and folders of pictures."""

from __future__ import annotations

import inspect
import json as json_module
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfxswap.cli import run
from vfxswap.cli.guided_angles import change_angles
from vfxswap.cli.guided_pictures import changed, folder_of_output, job_of, plates_in
from vfxswap.cli.progress import Dialect, steps

if TYPE_CHECKING:
    from vfxswap.effects.guided_estimate import FaceEstimate


def options() -> list[inspect.Parameter]:
    """The options of the command that are no settings."""

    def flag(name: str, kind: Any, option: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )

    return [
        flag(
            "set",
            list[str] | None,
            typer.Option(
                "--set",
                help="A setting by name; light1.position=0.8,0.5,1 and tint.color=1,0.9,0.7 take "
                "three numbers. May be repeated.",
                metavar="NAME=VALUE",
                show_default=False,
            ),
            None,
        ),
        flag(
            "estimate",
            bool,
            typer.Option(
                "--estimate",
                help="Change nothing: tell of each face whether glasses are worn, which "
                "prescription, where they distort, and how the head is turned. Needs "
                "--consent-card; writes JSON to -o FILE.json.",
            ),
            False,
        ),
        flag(
            "angles",
            str,
            typer.Option(
                "--angles",
                help="Camera-angle variants: the same glasses and light from several angles. PLATE "
                "is a folder with pictures of one performer, all of them or the nearest to each "
                "yaw, or synth:NAME, a synthetic performer rendered at each yaw. Writes results "
                "from left to right, angles.png and angles.json into -o FOLDER.",
                metavar="all|DEG,DEG",
                show_default=False,
            ),
            "",
        ),
    ]


def handled(settings: dict[str, Any], given: dict[str, Any]) -> bool:
    """Takes `set`, `estimate` and `angles` out of what was `given`; the named settings join
    `settings`. True when the command has done its work: an estimate, angles, or a folder."""
    from vfxswap.effects.guided_settings import read_sets

    for name, value in read_sets(given.pop("set") or []).items():
        settings[name] = value
    wanted, angles = given.pop("estimate"), given.pop("angles")
    stated = {name: value for name, value in settings.items() if value is not None}
    folder = Path(given["plate"])
    if wanted:
        _estimate(stated, given)
        return True
    if angles:
        raise typer.Exit(change_angles(angles, stated, given))
    if folder.is_dir():
        raise typer.Exit(_correct_folder(folder, stated, given))
    return False


def _estimate(settings: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Estimates of a shot, a still or each picture of a folder, as a table, and as JSON where
    the output says so. Raises ConsentError without a card that allows it."""
    plates = plates_in(Path(given["plate"]))
    rows: list[dict[str, Any]] = []
    for plate in plates:
        found = _estimates(plate, dict(settings, only_glasses=True), given)
        rows += [
            {"plate": plate.name, "face": face, **each.plain()} for face, each in found.items()
        ]
        for face, each in found.items():
            typer.echo(_line(plate.name, face, each))
        if not found:
            typer.echo(f"{plate.name}: no face found")
    out = Path(given["output"])
    if out.suffix == ".json":
        from vfxswap.files import write_atomically

        write_atomically(out, (json_module.dumps(rows, indent=2) + "\n").encode())


def _line(plate: str, face: int, found: FaceEstimate) -> str:
    head = (
        f"head {found.yaw_deg:+.0f} {found.pitch_deg:+.0f} {found.roll_deg:+.0f} deg "
        f"({found.angle_confidence:.2f})"
    )
    if not found.glasses:
        return f"{plate} face {face}: no glasses ({found.worn:.2f}), {head}"
    x, y, width, height = found.area
    return (
        f"{plate} face {face}: glasses ({found.worn:.2f}), "
        f"sphere {found.sphere:+.2f} ({found.sphere_confidence:.2f}) "
        f"cylinder {found.cylinder:+.2f} ({found.cylinder_confidence:.2f}) x "
        f"{found.axis_deg:.0f}, pd {found.pd_mm:.0f} mm ({found.pd_confidence:.2f}), "
        f"area {x:.0f},{y:.0f},{width:.0f},{height:.0f} ({found.area_confidence:.2f}), {head}"
    )


def _estimates(
    plate: Path, settings: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[int, FaceEstimate]:
    """What the effect finds of each face when it prepares the shot; nothing is kept but tracks
    that are named."""
    import tempfile
    import threading

    import torch

    from vfxswap.effects.guided_estimate import FaceEstimate
    from vfxswap.render.device import pick_device, torch_threads
    from vfxswap.render.plan import open_job
    from vfxswap.render.prepare import prepare
    from vfxswap.render.report import silent

    with tempfile.TemporaryDirectory() as work:
        job = job_of(plate, Path(work) / "estimate.####.exr", settings, given)
        with torch_threads(given["threads"]), torch.inference_mode():
            plan = open_job(job, device=pick_device(given["device"]))
            plan, _ = prepare(plan, progress=silent, cancel=threading.Event())
    faces = plan.steps[0].prepared.get("faces", {})
    known = {int(face): FaceEstimate.of(plain) for face, plain in faces.items()}
    return {face: each for face, each in sorted(known.items()) if each is not None}


def _correct_folder(folder: Path, settings: Mapping[str, Any], given: dict[str, Any]) -> int:
    """Each picture of a folder by a job of its own, into the folder that -o names; says what was
    touched, also in touched.json there. Gives the exit code."""
    from vfxswap.files import write_atomically

    out = folder_of_output(given)
    rows = [
        changed(plate, out / f"{plate.stem}.exr", settings, given) for plate in plates_in(folder)
    ]
    touched = sum(bool(row["touched"]) for row in rows)
    typer.echo(f"{touched} of {len(rows)} pictures touched")
    write_atomically(out / "touched.json", (json_module.dumps(rows, indent=2) + "\n").encode())
    return int(any("error" in row for row in rows))


def bench(
    performers: Annotated[int, typer.Option(min=1, help="Performers to render.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON, for programs.")] = False,
    device: run.Device = "auto",
    progress: run.ProgressOption = Dialect.AUTO,
) -> None:
    """Measure lenses, light and estimates against rendered truth, beside doing nothing."""
    from vfxswap.bench import print_bench
    from vfxswap.bench_guided import guided_rows
    from vfxswap.bench_guided_estimates import estimate_bench
    from vfxswap.render.device import pick_device

    place = pick_device(device)
    with steps(progress) as tell:
        said = tell if not json else lambda *_: None
        rows = guided_rows(performers=performers, device=place, progress=said)
        rows += estimate_bench(performers=performers, device=place, progress=said)
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
    else:
        print_bench(rows)
