"""What needs the whole shot, once: tracks, and what each effect prepares."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vfxswap.effects.base import Frame
from vfxswap.errors import JobError, OutputError, PlateError
from vfxswap.geometry import Face
from vfxswap.io.tracks import Tracks, read_tracks, write_tracks
from vfxswap.job import Job
from vfxswap.render.device import pick_device, torch_threads
from vfxswap.render.frame import frame_seed
from vfxswap.render.models import Nets
from vfxswap.render.plan import Plan, Unit, open_job
from vfxswap.render.report import Listener, silent
from vfxswap.render.tracking import track, tracker_model


def prepare(
    plan: Plan, *, progress: Listener, cancel: threading.Event
) -> tuple[Plan, Tracks | None]:
    """Tracks of the shot (None when no effect looks at faces) and the plan with what each effect
    prepared.

    A tracks file that the job names is read; if it is not there yet it is written. Without one,
    tracks are kept beside the output and used again while plate, frames and weights are the
    same; an artist's edits in them stay. Raises JobError, ModelError, PlateError, OutputError,
    CancelledError.
    """
    tracks = _tracks(plan, progress, cancel) if _sees_faces(plan) else None
    steps = []
    for step in plan.steps:
        prepared = step.effect.prepare(_frames(plan, tracks))
        steps.append(replace(step, prepared=prepared))
    return replace(plan, steps=tuple(steps)), tracks


def track_shot(
    job: Job,
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
    nets: Nets | None = None,
) -> Tracks:
    """Tracks the shot of a job into a file; the artist's edits of an earlier one stay. `nets` are
    networks kept from earlier jobs.

    Raises JobError when the file is there and of another shot, ModelError, PlateError, ColorError,
    OutputError, CancelledError.
    """
    with torch_threads(threads):
        plain = job.model_copy(update={"effects": ()})
        plan = open_job(plain, device=pick_device(device), nets=nets)
        earlier = read_tracks(path, plate=plan.identity) if path.is_file() else None
        state = plate_state(plan)
        tracks = track(plan, progress=progress, cancel=cancel or threading.Event())
        tracks = tracks.model_copy(update={"state": state})
        if earlier is not None:
            tracks = earlier.with_automatic(tracks)
        write_tracks(path, tracks)
    return tracks


def faces_of(tracks: Tracks | None, unit: Unit) -> tuple[Face, ...]:
    """The faces of a unit. Raises PlateError for a frame that could not be tracked."""
    if tracks is None:
        return ()
    if not tracks.covers(unit.frame, unit.view):
        raise PlateError(
            "frame is not in the tracks; track the shot again", file=unit.source, frame=unit.frame
        )
    return tracks.faces(unit.frame, unit.view)


def tracks_path(plan: Plan) -> Path:
    """Where the tracks of a job lie: as it says, or beside its output."""
    if plan.job.tracks:
        return Path(plan.job.tracks)
    output = Path(plan.output.pattern.replace("%V", "").replace("%v", ""))
    stem = re.sub(r"[._-]*(%0?\d*d|\$F\d*|[#@]+)", "", output.stem).strip("._-") or "shot"
    return output.with_name(f"{stem}.tracks.json")


def _sees_faces(plan: Plan) -> bool:
    return any(step.effect.needs_faces for step in plan.steps)


def _tracks(plan: Plan, progress: Listener, cancel: threading.Event) -> Tracks:
    path = tracks_path(plan)
    there = path.is_file()
    if plan.job.tracks and there:
        return read_tracks(path, plate=plan.identity)
    state = plate_state(plan)
    kept = _kept(path, plan) if there else None
    if kept is not None and kept.state == state:
        return kept
    tracks = track(plan, progress=progress, cancel=cancel).model_copy(update={"state": state})
    if kept is not None:
        tracks = kept.with_automatic(tracks)
    try:
        write_tracks(path, tracks)
    except OutputError:
        if plan.job.tracks:
            raise
    return tracks


def _kept(path: Path, plan: Plan) -> Tracks | None:
    """Earlier tracks of this very shot beside the output; None when they can be replaced.

    Raises JobError when they are of another shot and hold an artist's work.
    """
    try:
        return read_tracks(path, plate=plan.identity)
    except JobError:
        if _holds_edits(path):
            raise
    return None


def _holds_edits(path: Path) -> bool:
    try:
        return bool(read_tracks(path).edits)
    except JobError:
        return False


def plate_state(plan: Plan) -> str:
    """Hash of what tracking depends on: frames, sizes and times of the files, and the weights."""
    digest = hashlib.sha256(tracker_model().sha256.encode())
    for unit in plan.units(plan.prepare_frames):
        try:
            stat = unit.source.stat()
            said = f"{unit.frame} {unit.view} {stat.st_size} {stat.st_mtime_ns}\n"
        except OSError:
            said = f"{unit.frame} {unit.view} missing\n"
        digest.update(said.encode())
    return digest.hexdigest()


def _frames(plan: Plan, tracks: Tracks | None) -> Iterator[Frame]:
    """Every readable frame of the shot in order, as effects see it; read as they are asked for."""
    for unit in plan.units(plan.prepare_frames):
        try:
            image = plan.read(unit)
            faces = faces_of(tracks, unit)
        except PlateError:
            continue
        part = image.part
        yield Frame(
            number=unit.frame,
            rgb=plan.color.to_working(image.rgb(), plan.color_space(image, unit.source).space),
            data_window=part.data_window,
            display_window=part.display_window,
            seed=frame_seed(plan.job.seed, unit.frame, unit.view),
            pixel_aspect=part.pixel_aspect,
            view=unit.view,
            faces=faces,
        )
