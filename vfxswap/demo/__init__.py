"""`vfxswap demo`: a short synthetic shot, swapped to each persona, with a report to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vfxswap.color import ColorManager
from vfxswap.demo.report import Stability, contact_sheet, framed, write_report
from vfxswap.errors import ModelError, OutputError, VfxSwapError
from vfxswap.geometry import Array, Box
from vfxswap.image import Image, Pixels
from vfxswap.io.exr import read_image, write_png
from vfxswap.io.tracks import read_tracks
from vfxswap.io.weights import list_models
from vfxswap.job import EffectSpec, Job, Output, Plate
from vfxswap.render import Event, render
from vfxswap.synth import command
from vfxswap.synth.shot import ShotSpec

PERFORMER = "amber"
SHOT = ShotSpec(
    personas=(PERFORMER,),
    frames=8,
    seed=11,
    width=960,
    height=540,
    overscan_px=24,
    framing_m=0.5,
    highlights=True,
    grain=0.02,
    motion_samples=2,
)
"""Overscan, grain, motion blur and highlights far above 1, in one small shot."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many steps of it are done and wanted."""


@dataclass
class DemoResult:
    """What the demo wrote: `report` is the page to open."""

    report: Path
    sheet: Path
    seconds: dict[str, float] = field(default_factory=dict)
    decibels: dict[str, dict[str, float]] = field(default_factory=dict)
    """By persona: PSNR inside the matte against truth, of the comp and of the plate, both given
    the truth's mean colour (a comp takes its own from the plate)."""


def run(
    out: str | Path,
    *,
    spec: ShotSpec = SHOT,
    device: str = "auto",
    progress: Progress | None = None,
) -> DemoResult:
    """Renders, tracks and swaps the demo shot into folder `out`.

    It holds `plate.####.exr` with truth beside it, `swap_NAME.####.exr` with layers for every
    starter persona, `sheet.png`, `faces.png` (100 %), `report.html` and `report.json`.
    Raises ModelError without a starter comb, JobError without the synth extra.
    """
    tell = progress or (lambda what, done, total: None)
    folder = Path(out)
    personas = _personas()
    _make_folder(folder)
    result = DemoResult(folder / "report.html", folder / "sheet.png")
    others = tuple(p for p in personas if p != PERFORMER)

    begun = time.perf_counter()
    command.run(
        spec,
        str(folder / "plate.####.exr"),
        as_personas=others,
        device="cpu",
        progress=lambda done, total: tell("rendering the performer", done, total),
    )
    result.seconds["synthetic shot"] = time.perf_counter() - begun

    for persona in personas:
        begun = time.perf_counter()
        report = render(
            _job(folder, persona), device=device, progress=_relay(tell, f"swapping to {persona}")
        )
        if report.failed:
            raise report.failed[0].error
        if report.cancelled or report.not_reached:
            raise VfxSwapError("the demo was stopped")
        result.seconds[f"swap to {persona}"] = time.perf_counter() - begun

    tell("writing the report", 0, 1)
    _look(folder, spec, personas, result)
    tell("writing the report", 1, 1)
    return result


def _personas() -> tuple[str, ...]:
    for model in list_models():
        ids = tuple(p.id for p in model.card.personas)
        if model.card.effect == "swap" and PERFORMER in ids:
            return ids
    raise ModelError("no starter comb is installed", wanted=f"a comb with persona {PERFORMER}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder: {error.strerror}", file=folder) from None


def _job(folder: Path, persona: str) -> Job:
    job = Job(
        plate=Plate(pattern=str(folder / "plate.####.exr")),
        effects=(EffectSpec(effect="swap", settings={"persona": persona, "performer": PERFORMER}),),
        tracks=str(folder / "tracks.json"),
        output=Output(pattern=str(folder / f"swap_{persona}.####.exr")),
    )
    job.write(folder / f"swap_{persona}.job.json")
    return job


def _relay(tell: Progress, what: str) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        tell("tracking" if event.stage == "prepare" else what, event.finished, event.total)

    return listen


def _look(folder: Path, spec: ShotSpec, personas: tuple[str, ...], result: DemoResult) -> None:
    """Sheets, numbers and the page, from what was written."""
    manager = ColorManager()
    frames = range(spec.first_frame, spec.first_frame + spec.frames)
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(3, len(frames))).astype(int)]
    truth = _truth_points(folder)
    rows, faces = [], []
    errors: dict[str, list[float]] = {p: [] for p in personas}
    plates: dict[str, list[float]] = {p: [] for p in personas}
    for frame in frames:
        plate = _working(folder / f"plate.{frame:04d}.exr", manager)
        tiles = [("plate", manager.to_display(plate))]
        for persona in personas:
            file = folder / f"swap_{persona}.{frame:04d}.exr"
            swapped = _working(file, manager)
            matte = _channel(read_image(file), "swap_matte.red")
            name = "plate" if persona == PERFORMER else f"plate_as_{persona}"
            wanted = _working(folder / f"{name}.{frame:04d}.exr", manager)
            errors[persona].append(_psnr(swapped, wanted, matte, manager))
            plates[persona].append(_psnr(plate, wanted, matte, manager))
            tiles.append((f"as {persona}", manager.to_display(swapped)))
            if persona != PERFORMER:
                tiles.append((f"truth {persona}", manager.to_display(wanted)))
        tiles.append(("matte", np.repeat(matte[..., None], 3, 2)))
        if frame in chosen:
            rows.append([(f"{name} {frame}", picture) for name, picture in tiles])
            box = framed(truth[frame], plate.shape, Box(-spec.overscan_px, -spec.overscan_px, 0, 0))
            faces.append([(name, picture[box]) for name, picture in rows[-1]])
    result.decibels = {
        p: {"comp": float(np.mean(errors[p])), "plate": float(np.mean(plates[p]))}
        for p in personas
        if p != PERFORMER
    }
    write_png(result.sheet, contact_sheet(rows, width=320))
    write_png(folder / "faces.png", contact_sheet(faces))
    stability = _stability(folder, truth)
    write_report(folder, result.seconds, result.decibels, stability)


def _truth_points(folder: Path) -> dict[int, Array]:
    records = json.loads((folder / "plate_landmarks.json").read_text(encoding="utf-8"))
    return {int(frame): np.array(faces[0]["points"]) for frame, faces in records.items()}


def _stability(folder: Path, truth: dict[int, Array]) -> list[Stability]:
    """Per frame, over all points: how far the track is off truth, in plate pixels."""
    tracks = read_tracks(folder / "tracks.json")
    series = []
    for frame, points in truth.items():
        found = tracks.faces(frame)
        offset = found[0].points - points if found else np.full_like(points, np.nan)
        series.append(Stability(frame, offset))
    return series


def _working(file: Path, manager: ColorManager) -> Pixels:
    image = read_image(file)
    return manager.to_working(image.rgb(), manager.resolve(image, file).space)


def _channel(image: Image, channel: str) -> Pixels:
    for part in image.parts:
        if channel in part.channels:
            return part.channels[channel].astype(np.float32)
    raise KeyError(channel)


def _psnr(shown: Pixels, wanted: Pixels, matte: Pixels, manager: ColorManager) -> float:
    """dB inside the matte, display-referred, peak 1; `shown` gets the mean colour of `wanted`.

    Means are medians by channel: a few highlights must not decide.
    """
    inside = matte > 0.5
    if not inside.any():
        return float("nan")
    gain = np.median(wanted[inside], 0) / np.maximum(np.median(shown[inside], 0), 1e-6)
    a = manager.to_display((shown[inside] * gain).astype(np.float32)[None])
    b = manager.to_display(np.ascontiguousarray(wanted[inside])[None])
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-12))
