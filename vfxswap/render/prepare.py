"""What needs the whole shot, once: tracks, and what each effect prepares."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import vfxswap
from vfxswap.effects.base import Frame, Prepared
from vfxswap.effects.outputs import PREPARED_MATTES
from vfxswap.errors import CancelledError, JobError, OutputError, PlateError
from vfxswap.geometry import Face
from vfxswap.image import Image, Pixels
from vfxswap.io.prepared import PreparedEffect, read_prepared, write_prepared
from vfxswap.io.sequence import PlateSequence
from vfxswap.io.tracks import Tracks, read_tracks, write_tracks
from vfxswap.job import Job, MatteSource
from vfxswap.nets.run import Precision
from vfxswap.render.device import pick_device, torch_threads
from vfxswap.render.frame import Step, frame_seed
from vfxswap.render.mattes import read_matte
from vfxswap.render.models import Nets
from vfxswap.render.output import prepare_output
from vfxswap.render.plan import Plan, Unit, hashes_of_files, open_job
from vfxswap.render.report import Event, Listener, silent
from vfxswap.render.tracking import Memory, track, tracker_model


@dataclass(frozen=True)
class Preparation:
    """What `prepare_shot` left on disk, None for what the job does not need; and the tracks."""

    tracks_file: Path | None
    tracks: Tracks | None
    prepared_file: Path | None


def prepare(
    plan: Plan, *, progress: Listener, cancel: threading.Event, must_store: bool = False
) -> tuple[Plan, Tracks | None]:
    """Tracks of the shot (None when no effect looks at faces) and the plan with what each effect
    prepared.

    A tracks file that the job names is read; if it is not there yet it is written. Without one,
    tracks are kept beside the output and used again while plate, frames and weights are the
    same; an artist's edits in them stay. What effects prepare is kept beside the output as well
    (`prepared_path`) and used again while nothing that it depends on has changed. With
    `must_store` a file that cannot be written is an error, else the work is done again next time.
    Raises JobError, ModelError, PlateError, OutputError, CancelledError.
    """
    tracks = _tracks(plan, progress, cancel, must_store) if _sees_faces(plan) else None
    path = prepared_path(plan.job)
    kept = read_prepared(path)
    results: list[PreparedEffect | None] = []
    for place, step in enumerate(plan.steps):
        earlier = kept[place] if place < len(kept) else None
        if earlier is None or earlier.key != _key(plan, step, tracks):
            values = _plain(step.effect.prepare(_frames(plan, step, tracks, progress, cancel)))
            earlier = None
            if values:
                key = _key(plan, step, tracks)
                earlier = PreparedEffect(effect=step.effect.name, key=key, values=values)
        results.append(earlier)
    if any(results) and tuple(results) != kept:
        try:
            write_prepared(path, results)
        except OutputError:
            if must_store:
                raise
    steps = tuple(
        replace(step, prepared=result.values if result else {})
        for step, result in zip(plan.steps, results, strict=True)
    )
    return replace(plan, steps=steps), tracks


def prepare_shot(
    job: Job,
    *,
    device: str = "auto",
    precision: Precision = "half",
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
    nets: Nets | None = None,
) -> Preparation:
    """Everything of a job that needs the whole shot, on disk, so that renders of its frames find
    it there. Frames that cannot be read are told to `progress` and left to the render to fail.

    Raises what `render` raises before its first frame.
    """
    with torch_threads(threads), torch.inference_mode():
        plan = open_job(job, device=pick_device(device), precision=precision, nets=nets)
        files = (tracks_path(job), prepared_path(job))
        prepare_output(plan.units(plan.frames), beside=files)
        plan, tracks = prepare(
            plan, progress=progress, cancel=cancel or threading.Event(), must_store=True
        )
    return Preparation(
        tracks_file=None if tracks is None else tracks_path(job),
        tracks=tracks,
        prepared_file=prepared_path(job) if any(s.prepared for s in plan.steps) else None,
    )


def track_shot(
    job: Job,
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
    nets: Nets | None = None,
    memory: Memory | None = None,
) -> Tracks:
    """Tracks the shot of a job into a file; the artist's edits of an earlier one stay. `nets` are
    networks kept from earlier jobs, `memory` spares frames that it knows.

    Raises JobError when the file is there and of another shot, ModelError, PlateError, ColorError,
    OutputError, CancelledError.
    """
    with torch_threads(threads):
        plain = job.model_copy(update={"effects": ()})
        plan = open_job(plain, device=pick_device(device), nets=nets)
        earlier = read_tracks(path, plate=plan.identity) if path.is_file() else None
        state = plate_state(plan)
        asked = cancel or threading.Event()
        tracks = track(plan, progress=progress, cancel=asked, memory=memory)
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


def tracks_path(job: Job) -> Path:
    """Where the tracks of a job lie: as it says, or beside its output."""
    return Path(job.tracks) if job.tracks else beside_output(job, ".tracks.json")


def prepared_path(job: Job) -> Path:
    """Where what the effects of a job prepared lies: beside its output, since jobs may share
    tracks but not outputs."""
    return beside_output(job, ".prepared.json.gz")


def beside_output(job: Job, suffix: str) -> Path:
    """A name for the whole shot beside its frames: `out/comp.####.exr` has `out/comp` + suffix."""
    output = Path(job.output.pattern.replace("%V", "").replace("%v", ""))
    stem = re.sub(r"[._-]*(%0?\d*d|\$F\d*|[#@]+)", "", output.stem).strip("._-") or "shot"
    return output.with_name(f"{stem}{suffix}")


def _sees_faces(plan: Plan) -> bool:
    return any(step.effect.needs_faces for step in plan.steps)


def _tracks(plan: Plan, progress: Listener, cancel: threading.Event, must_store: bool) -> Tracks:
    path = tracks_path(plan.job)
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
        if plan.job.tracks or must_store:
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
    """Hash of what tracking depends on: frames, sizes and times of the files, weights, settings."""
    tracking = plan.job.tracking
    return _state(plan, tracker_model(tracking).model_dump_json() + tracking.model_dump_json())


def _state(plan: Plan, mark: str) -> str:
    digest = hashlib.sha256(mark.encode())
    for unit in plan.units(plan.prepare_frames):
        digest.update(_file_state(unit.source, unit).encode())
    return digest.hexdigest()


def _key(plan: Plan, step: Step, tracks: Tracks | None) -> str:
    """Hash of what an effect's preparation depends on. Neither folders nor the device are in it,
    so that all machines of a farm work with what one of them prepared."""
    job = plan.job
    seen = None if tracks is None else tracks.model_dump(mode="json", exclude={"state"})
    content = {
        "version": vfxswap.__version__,
        "effect": step.effect.name,
        "settings": {**step.spec.settings, **hashes_of_files(plan, step.spec.settings)},
        "models": {name: m.card.weights_sha256 for name, m in plan.shelf.used.items()},
        "precision": plan.shelf.precision,
        "spaces": step.spec.spaces,
        "seed": job.seed,
        "plate": _state(plan, ""),
        "picture": [job.plate.part, job.plate.layer, job.plate.color_space],
        "color": [plan.color.fingerprint, plan.color.working],
        "tracks": None if seen is None else _sha256(seen),
    }
    mattes = _prepared_mattes(step)
    if mattes:
        content["mattes"] = {
            role: [source.channel, _matte_state(plan, source)] for role, source in mattes.items()
        }
    return _sha256(content)


def _prepared_mattes(step: Step) -> dict[str, MatteSource]:
    """The mattes of a step that its effect looks at while it prepares."""
    roles = PREPARED_MATTES.get(step.effect.name, ())
    return {role: source for role, source in step.spec.mattes.items() if role in roles}


def _matte_state(plan: Plan, source: MatteSource) -> str:
    sequence = PlateSequence(source.pattern)
    digest = hashlib.sha256()
    for unit in plan.units(plan.prepare_frames):
        path = sequence.path(unit.frame, unit.view if sequence.has_views else None)
        digest.update(_file_state(path, unit).encode())
    return digest.hexdigest()


def _file_state(path: Path, unit: Unit) -> str:
    """A line on the file of a unit: size and time, or that it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return f"{unit.frame} {unit.view} missing\n"
    # Microseconds: file servers and systems keep unlike fractions below them.
    return f"{unit.frame} {unit.view} {stat.st_size} {stat.st_mtime_ns // 1000}\n"


def _sha256(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(prepared: Prepared) -> dict[str, Any]:
    """As a file gives it back, so that it matters to no pixel who prepared."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(prepared), allow_nan=False))
    return plain


def _frames(
    plan: Plan, step: Step, tracks: Tracks | None, progress: Listener, cancel: threading.Event
) -> Iterator[Frame]:
    """Every readable frame of the shot in order, as the effect of a step sees it while it
    prepares; read as they are asked for."""
    units = plan.units(plan.prepare_frames)
    wanted = set(plan.frames)
    for done, unit in enumerate(units, 1):
        if cancel.is_set():
            raise CancelledError("cancelled while preparing")
        try:
            image = plan.read(unit)
            plan.check_size(image, unit)
            faces = faces_of(tracks, unit)
            mattes = _mattes(step, unit, image)
        except PlateError as error:
            if tracks is None and unit.frame in wanted:  # else tracking told it
                said = (unit.frame, unit.view, str(error))
                progress(Event("prepare", "failed", done, len(units), *said, error=error))
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
            mattes=mattes,
        )
        progress(Event("prepare", "done", done, len(units), unit.frame, unit.view))


def _mattes(step: Step, unit: Unit, plate: Image) -> dict[str, Pixels]:
    return {
        role: read_matte(source, unit.frame, unit.view, plate=plate)
        for role, source in _prepared_mattes(step).items()
    }
