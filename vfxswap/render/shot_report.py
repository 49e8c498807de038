"""What became of a shot: every frame of a job looked at, and what its sidecar tells.

The fields below are the form of `report.json`; `docs/shot-report.md` is their page.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import Field, JsonValue

import vfxswap
from vfxswap.errors import (
    EXIT_DONE,
    EXIT_RETRY,
    CancelledError,
    JobError,
    PlateError,
)
from vfxswap.io.exr import read_image, verify_image
from vfxswap.io.sequence import PlateSequence
from vfxswap.io.tracks import Tracks, read_tracks
from vfxswap.job import Job
from vfxswap.render.output import (
    FAILURE_FORMAT,
    PlateStamp,
    failure_path,
    read_record,
    read_sidecar,
    sidecar_path,
    verify_sidecar,
)
from vfxswap.render.plan import Unit, chosen_frames, opened_files, units_of
from vfxswap.render.prepare import tracks_path
from vfxswap.render.report import Event, Listener, silent
from vfxswap.render.stability import FaceTrack, face_tracks
from vfxswap.settings import Settings
from vfxswap.shot import format_frames, parse_frames

VERSION: Final = 1
State = Literal["whole", "broken", "missing"]
_MOST_THREADS = 8


class FrameReport(Settings):
    """One frame of one view. What a sidecar tells is null or empty where there is none."""

    frame: int = Field(description="Frame number.")
    view: str = Field(description='View, "" for a plate of one view.')
    path: str = Field(description="File of the frame.")
    state: State = Field(description="whole: it was opened and read; broken: not; or missing.")
    reason: str = Field(default="", description="Why it is broken or missing, where it is known.")
    warnings: tuple[str, ...] = Field(default=(), description="What to look at in a whole frame.")
    notes: tuple[str, ...] = Field(default=(), description="What the render noted.")
    seconds: float | None = Field(default=None, description="Reading, effects and writing.")
    faces: tuple[dict[str, JsonValue], ...] | None = Field(
        default=None,
        description="id, score, confidence, box (x, y, width, height in plate pixels) and "
        "points_sha256 of each; null where the shot was not tracked.",
    )
    host: str = Field(default="", description="Machine that rendered it.")
    device: str = Field(default="", description="cpu, or an accelerator with its name.")
    precision: str = Field(default="", description="half or single.")
    finished: str = Field(default="", description="When, by that machine's clock (UTC).")
    version: str = Field(default="", description="Version of vfxswap.")
    weights: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the weights by model."
    )
    personas: tuple[str, ...] = Field(default=(), description="Likenesses that may be in it.")
    consents: tuple[str, ...] = Field(default=(), description="Their consent ids, in that order.")
    color_space: str = Field(default="", description="Colour space of the comp.")
    file_sha256: str = Field(default="", description="Of the frame's file, as rendered.")


class Totals(Settings):
    """Counts over the shot."""

    frames: int = Field(description="Frame files that the job asks for.")
    whole: int = Field(description="Of them whole,")
    broken: int = Field(description="broken,")
    missing: int = Field(description="and missing.")
    noted: int = Field(description="Frames with notes or warnings.")
    seconds: float = Field(description="Rendering time, summed over frames.")
    face_ids: tuple[int, ...] = Field(description="Faces of the tracks that appear.")


class Machine(Settings):
    """What one machine rendered."""

    host: str = Field(description="Its name.")
    device: str = Field(description="cpu, or an accelerator with its name.")
    precision: str = Field(description="half or single.")
    version: str = Field(description="Version of vfxswap.")
    frames: int = Field(description="Frame files from it.")
    seconds: float = Field(description="Rendering time, summed.")


class ShotReport(Settings):
    """The whole of `report.json`."""

    format: Literal["vfxswap-report"] = Field(default="vfxswap-report", description="What it is.")
    version: Literal[1] = Field(default=VERSION, description="Version of this form.")
    made: str = Field(description="When the report was made (UTC).")
    made_by: str = Field(description="Version of vfxswap that made it.")
    plate: str = Field(description="Pattern of the plate.")
    output: str = Field(description="Pattern of the result.")
    show: str = Field(description="Show that consent was asked for.")
    frame_range: str = Field(description="Frames that the job asks for.")
    views: tuple[str, ...] = Field(description="Views.")
    effects: tuple[dict[str, JsonValue], ...] = Field(description="Effects and settings.")
    totals: Totals = Field(description="Counts over the shot.")
    incomplete: dict[str, str] = Field(
        description='Frame ranges by "broken" and "missing"; empty when all is there.'
    )
    machines: tuple[Machine, ...] = Field(description="Who rendered how much.")
    warnings: tuple[str, ...] = Field(description="What holds for the whole shot.")
    stability: tuple[FaceTrack, ...] = Field(description="How each face moves and how surely.")
    frames: tuple[FrameReport, ...] = Field(description="Every frame, in order.")

    @property
    def exit_code(self) -> int:
        """0 when all frames are there and whole, else 1."""
        return EXIT_DONE if self.totals.whole == self.totals.frames else EXIT_RETRY


def shot_report(
    job: Job,
    *,
    frames: Sequence[int] | None = None,
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
) -> ShotReport:
    """Opens and reads every frame of the job, or only some of its `frames`. Needs neither models
    nor consent, and of the plate nothing but, for a job without a range, the names of its files.

    Raises JobError (for frames that are not the job's, too), PlateError when it cannot be known
    which frames are wanted, CancelledError.
    """
    cancel = cancel or threading.Event()
    known, views = _wanted(job)
    wanted = tuple(chosen_frames(known, frames))
    output, plate = PlateSequence(job.output.pattern), PlateSequence(job.plate.pattern)
    units = units_of(plate, output, sorted(wanted), views)
    progress(Event("report", "begin", 0, len(units)))

    def look(unit: Unit) -> FrameReport | None:
        return None if cancel.is_set() else _frame(unit, sidecar=job.output.sidecar)

    looked_at = []
    with ThreadPoolExecutor(min(threads or os.cpu_count() or 1, _MOST_THREADS)) as pool:
        for done, found in enumerate(pool.map(look, units), 1):
            if found is None:
                raise CancelledError("cancelled while looking at frames")
            looked_at.append(found)
            progress(Event("report", "done", done, len(units), found.frame, found.view))
    tracks, complaints = _tracks(job)
    stability = tuple(face_tracks(tracks, wanted, views)) if tracks is not None else ()
    return ShotReport(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=vfxswap.__version__,
        plate=job.plate.pattern,
        output=job.output.pattern,
        show=job.show,
        frame_range=format_frames(wanted),
        views=views,
        effects=tuple(spec.model_dump(mode="json") for spec in job.effects),
        totals=_totals(looked_at, stability),
        incomplete={
            state: format_frames(f.frame for f in looked_at if f.state == state)
            for state in ("broken", "missing")
            if any(f.state == state for f in looked_at)
        },
        machines=_machines(looked_at),
        warnings=(*complaints, *_disagreements(looked_at)),
        stability=stability,
        frames=tuple(looked_at),
    )


def _wanted(job: Job) -> tuple[Sequence[int], tuple[str, ...]]:
    """Frames and views of the job, also when its plate is gone."""
    try:
        _, _, frames, views = opened_files(job)
    except PlateError:
        views = job.views or ("",)
        if not job.frames or (PlateSequence(job.output.pattern).has_views and not job.views):
            raise
        return parse_frames(job.frames), views
    return frames, views


def _frame(unit: Unit, *, sidecar: bool) -> FrameReport:
    target = unit.target
    state, reason = _state(target, sidecar=sidecar)
    failure = read_record(failure_path(target), FAILURE_FORMAT)
    error = failure.get("error")
    said = str(error.get("message", "")) if isinstance(error, dict) else ""
    warnings = [f"another try failed: {said}"] if said and state == "whole" else []
    if said and state != "whole":
        reason = f"{said} [{reason}]" if reason else said
    content = read_sidecar(target) or {}
    run = content.get("run")
    run = run if isinstance(run, dict) else {}
    stamp = PlateStamp.of(unit.source)
    if state == "whole" and stamp is not None and run.get("plate") not in (None, stamp.record()):
        warnings.append("the plate was changed since")
    if state != "whole":
        run = run or failure.get("run") or {}
    effects = [e for e in _listed(content.get("effects")) if isinstance(e, dict)]
    models = [m for m in _listed(content.get("models")) if isinstance(m, dict)]
    faces = content.get("faces")
    seconds = run.get("seconds")
    return FrameReport(
        frame=unit.frame,
        view=unit.view,
        path=str(target),
        state=state,
        reason=reason,
        warnings=tuple(warnings),
        notes=tuple(str(note) for note in _listed(content.get("notes"))),
        seconds=float(seconds) if isinstance(seconds, int | float) and content else None,
        faces=None if faces is None else tuple(f for f in _listed(faces) if isinstance(f, dict)),
        host=str(run.get("host", "")),
        device=str(run.get("device", "")),
        precision=str(run.get("precision", "")),
        finished=str(run.get("finished", "")),
        version=str(content.get("version", "")),
        weights={str(m.get("name")): str(m.get("weights_sha256")) for m in models},
        personas=tuple(str(p) for e in effects for p in _listed(e.get("personas"))),
        consents=tuple(str(c) for e in effects for c in _listed(e.get("consents"))),
        color_space=str(content.get("color_space", "")),
        file_sha256=str(content.get("file_sha256", "")),
    )


def _state(target: Path, *, sidecar: bool) -> tuple[State, str]:
    """State of a frame file, and why it is broken."""
    if not target.exists():
        return "missing", ""
    if not verify_image(target):
        try:
            read_image(target)
        except PlateError as error:
            return "broken", str(error)
        return "broken", f"{target}: cannot be read whole"
    if sidecar and not verify_sidecar(target):
        there = sidecar_path(target).exists()
        fault = "is damaged or of another file" if there else "is missing"
        return "broken", f"{target}: its sidecar {fault}"
    return "whole", ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tracks(job: Job) -> tuple[Tracks | None, list[str]]:
    path = tracks_path(job)
    if not path.is_file():
        missing = [f"{path}: tracks of the job are missing"] if job.tracks else []
        return None, missing
    try:
        return read_tracks(path), []
    except JobError as error:
        return None, [str(error)]


def _totals(frames: Sequence[FrameReport], stability: Iterable[FaceTrack]) -> Totals:
    counts = {state: sum(f.state == state for f in frames) for state in get_args(State)}
    return Totals(
        frames=len(frames),
        noted=sum(bool(f.notes or f.warnings) for f in frames),
        seconds=round(sum(f.seconds or 0.0 for f in frames), 3),
        face_ids=tuple(sorted({track.face for track in stability})),
        **counts,
    )


def _machines(frames: Iterable[FrameReport]) -> tuple[Machine, ...]:
    shares: dict[tuple[str, str, str, str], list[float]] = {}
    for f in frames:
        if f.seconds is not None:
            key = (f.host, f.device, f.precision, f.version)
            shares.setdefault(key, []).append(f.seconds)
    return tuple(
        Machine(
            host=key[0],
            device=key[1],
            precision=key[2],
            version=key[3],
            frames=len(times),
            seconds=round(sum(times), 3),
        )
        for key, times in sorted(shares.items())
    )


def _disagreements(frames: Iterable[FrameReport]) -> list[str]:
    """What frames of one shot should have in common and have not."""
    told = [f for f in frames if f.file_sha256]
    said = []
    for what, values in _in_common(told).items():
        if len(values) > 1:
            parts = "; ".join(f"{value} on {format_frames(on)}" for value, on in values.items())
            said.append(f"frames were made with unlike {what}: {parts}")
    return said


def _in_common(frames: Iterable[FrameReport]) -> Mapping[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = {}
    for f in frames:
        weights = ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(f.weights.items()))
        kind = f.device.partition(" ")[0].partition(":")[0]
        shared = {
            "versions of vfxswap": f.version,
            "weights": weights or "none",
            "kinds of device": kind,
            "precision": f.precision,
            "colour spaces": f.color_space,
        }
        for what, value in shared.items():
            found.setdefault(what, {}).setdefault(value, []).append(f.frame)
    return found
