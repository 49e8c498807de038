"""The shot loop: frames are read ahead, computed one after the other, and written behind."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from vfxswap.color import Resolution
from vfxswap.errors import EXIT_BAD_JOB, OutputError, VfxSwapError, sayable
from vfxswap.image import Image, Pixels
from vfxswap.io.exr import Anomaly, find_anomalies
from vfxswap.io.tracks import Tracks
from vfxswap.job import Job
from vfxswap.nets.run import Precision
from vfxswap.render.device import pick_device, torch_threads
from vfxswap.render.frame import Composed, compose, cropped, frame_seed
from vfxswap.render.mattes import read_matte
from vfxswap.render.models import Nets
from vfxswap.render.output import (
    PlateStamp,
    Run,
    is_complete,
    made_otherwise,
    prepare_output,
    provenance,
    write_failure,
    write_unit,
)
from vfxswap.render.plan import Plan, Unit, open_job
from vfxswap.render.prepare import faces_of, prepare, prepared_path, tracks_path
from vfxswap.render.proxy import smaller_box, smaller_faces, smaller_image, smaller_pixels
from vfxswap.render.report import Event, EventKind, Failure, Listener, Report, Written, silent

READ_AHEAD = 2
WRITE_BEHIND = 2
"""Frames held in memory before and behind the one being computed."""


def render(
    job: Job,
    *,
    frames: Sequence[int] | None = None,
    skip_existing: bool = False,
    overwrite: bool = True,
    device: str = "auto",
    precision: Precision = "half",
    threads: int | None = None,
    progress: Listener = silent,
    cancel: threading.Event | None = None,
    nets: Nets | None = None,
) -> Report:
    """Renders a job, or only some of its `frames`; preparing always sees the whole shot, so any
    order and any chunking gives the same pixels.

    `skip_existing` leaves complete files alone; without `overwrite` an existing file is a failure
    of its frame. `precision` "half" lets networks run in 16 bits where the device does so in
    hardware; "single" gives alike results on devices that differ in that. `threads` are torch's.
    A broken frame is reported and the others render; an output that cannot be written ends the
    loop. Once `cancel` is set the frame in hand is finished. `nets` are those kept from earlier
    renders.

    Raises JobError, ModelError, ConsentError and ColorError before anything is written, and
    PlateError when no frame can be read.
    """
    session = Session(job, device=device, precision=precision, threads=threads, nets=nets)
    return session.render(
        frames,
        skip_existing=skip_existing,
        overwrite=overwrite,
        progress=progress,
        cancel=cancel,
    )


class Session:
    """A job that was opened once and renders any of its frames, as often as it is asked to, with
    the pixels that `render` gives. Renders in several threads take turns at computing.

    What changes on disk after the first render (tracks, weights, cards) is not seen.
    """

    def __init__(
        self,
        job: Job,
        *,
        device: str = "auto",
        precision: Precision = "half",
        threads: int | None = None,
        nets: Nets | None = None,
    ) -> None:
        """Parameters and errors are those of `render`."""
        self._threads = threads
        with torch_threads(threads), torch.inference_mode():
            self.plan = open_job(job, device=pick_device(device), precision=precision, nets=nets)
        self._prepared: tuple[Plan, Tracks | None] | None = None
        self._preparing = threading.Lock()

    def render(
        self,
        frames: Sequence[int] | None = None,
        *,
        skip_existing: bool = False,
        overwrite: bool = True,
        progress: Listener = silent,
        cancel: threading.Event | None = None,
        turn: AbstractContextManager[object] | None = None,
    ) -> Report:
        """Parameters and errors are those of `render`; the first call prepares the shot.

        `turn` is held while frames are computed: renders that share a lock overlap, one reading
        ahead or writing what it computed while another computes.
        """
        cancel = cancel or threading.Event()
        with torch.inference_mode():
            units = self.plan.units(self.plan.chosen(frames))
            job = self.plan.job
            prepare_output(units, beside=(tracks_path(job), prepared_path(job)))
            with self._preparing:
                if self._prepared is None:
                    with torch_threads(self._threads):
                        self._prepared = prepare(self.plan, progress=progress, cancel=cancel)
                plan, tracks = self._prepared
            return _Loop(
                plan,
                tracks,
                units,
                progress,
                cancel,
                skip_existing=skip_existing,
                overwrite=overwrite,
                threads=self._threads or torch.get_num_threads(),
            ).run(turn or nullcontext())


class _ExistsError(OutputError):
    """A frame is there and must not be replaced: no failure of it."""


@dataclass(frozen=True, eq=False)
class _Input:
    """A unit as read, at the size that is worked on, and its colour space; `stamp` is of the file
    before it was read."""

    image: Image
    stamp: PlateStamp | None
    space: Resolution
    mattes: tuple[dict[str, Pixels], ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Kept:
    """A unit whose file is complete already."""

    notes: tuple[str, ...]


class _Loop:
    """State of one run: what was written, and whether to go on."""

    def __init__(
        self,
        plan: Plan,
        tracks: Tracks | None,
        units: list[Unit],
        progress: Listener,
        cancel: threading.Event,
        *,
        skip_existing: bool,
        overwrite: bool,
        threads: int,
    ) -> None:
        self._plan, self._tracks, self._units = plan, tracks, units
        self._progress, self._cancel = progress, cancel
        self._skip_existing, self._overwrite = skip_existing, overwrite
        self._threads = threads
        self._run = Run.here(plan, threads=threads)
        self._report = Report()
        self._lock = threading.Lock()
        self._finished = 0
        self._output_broken = threading.Event()

    def run(self, turn: AbstractContextManager[object]) -> Report:
        self._say("begin")
        reached = 0
        room = threading.BoundedSemaphore(WRITE_BEHIND)
        writes: list[Future[None]] = []
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            pairs = self._ahead(reader)
            with turn, torch_threads(self._threads):
                for unit, read in pairs:
                    reached += 1
                    try:
                        source = read.result()
                        if isinstance(source, _Kept):
                            self._skipped(unit, source)
                            continue
                        begun = time.perf_counter()
                        composed = self._compute(unit, source)
                        seconds = source.seconds + time.perf_counter() - begun
                    except VfxSwapError as error:
                        if error.exit_code == EXIT_BAD_JOB:
                            raise
                        self._failed(unit, error)
                        continue
                    for note in (*source.notes, *composed.notes):
                        self._noted(unit, note)
                    room.acquire()
                    write = writer.submit(self._write, unit, composed, source, seconds)
                    write.add_done_callback(lambda _: room.release())
                    writes.append(write)
        for write in writes:
            write.result()
        left = self._units[reached:]
        self._report.cancelled = self._cancel.is_set() and bool(left)
        self._report.not_reached = list(dict.fromkeys(unit.frame for unit in left))
        self._report.failed.sort(key=lambda f: (f.frame, f.view))
        return self._report

    def _ahead(self, reader: ThreadPoolExecutor) -> Iterator[tuple[Unit, Future[_Input | _Kept]]]:
        """Units with their pending reads, as long as nothing says stop; the first are read at
        once, before they are asked for."""
        waiting: deque[tuple[Unit, Future[_Input | _Kept]]] = deque()
        units = iter(self._units)

        def fill() -> None:
            while len(waiting) <= READ_AHEAD and (unit := next(units, None)) is not None:
                waiting.append((unit, reader.submit(self._read, unit)))

        def pairs() -> Iterator[tuple[Unit, Future[_Input | _Kept]]]:
            while not (self._cancel.is_set() or self._output_broken.is_set()):
                fill()
                if not waiting:
                    return
                yield waiting.popleft()
            for _, read in waiting:
                read.cancel()

        if not self._cancel.is_set():
            fill()
        return pairs()

    def _read(self, unit: Unit) -> _Input | _Kept:
        """A unit's plate and mattes, unless its file is complete already."""
        if self._skip_existing and is_complete(self._plan, unit):
            differs = made_otherwise(self._plan, self._tracks, unit)
            return _Kept((differs,) if differs else ())
        if not self._overwrite and unit.target.exists():
            raise _ExistsError("exists already", file=unit.target, frame=unit.frame)
        begun = time.perf_counter()
        stamp = PlateStamp.of(unit.source)
        image = self._plan.read(unit)
        self._plan.check_size(image, unit)
        space = self._plan.color_space(image, unit.source)
        notes = [_anomaly_note(a) for a in find_anomalies(image)]
        if space.assumed:
            notes.append(f"colour space {space.space} is {space.reason}")
        factor, window = self._plan.job.proxy, image.part.data_window
        mattes = tuple(
            {
                role: smaller_pixels(
                    read_matte(source, unit.frame, unit.view, plate=image), window, factor
                )
                for role, source in step.spec.mattes.items()
            }
            for step in self._plan.steps
        )
        small = smaller_image(image, factor)
        return _Input(small, stamp, space, mattes, tuple(notes), time.perf_counter() - begun)

    def _compute(self, unit: Unit, source: _Input) -> Composed:
        job = self._plan.job
        composed = compose(
            source.image,
            self._plan.steps,
            self._plan.spaces(source.space.space),
            frame=unit.frame,
            view=unit.view,
            seed=frame_seed(job.seed, unit.frame, unit.view),
            faces=smaller_faces(faces_of(self._tracks, unit), job.proxy),
            mattes=source.mattes,
            proxy=job.proxy,
        )
        region = job.region_box
        return composed if region is None else cropped(composed, smaller_box(region, job.proxy))

    def _write(self, unit: Unit, composed: Composed, source: _Input, seconds: float) -> None:
        begun = time.perf_counter()

        def took() -> float:
            return seconds + time.perf_counter() - begun

        notes = (*source.notes, *composed.notes)
        record = provenance(self._plan, self._tracks, unit, source.space, notes=notes)
        try:
            write_unit(
                unit,
                composed,
                record,
                self._plan.job.output,
                threads=self._threads,
                run=lambda: self._run.record(seconds=took(), plate=source.stamp),
            )
        except OutputError as error:
            self._output_broken.set()
            self._failed(unit, error)
            return
        whole, faces = took(), record["faces"]
        with self._lock:
            self._report.written.append(Written(unit.frame, unit.view, unit.target, whole))
            self._finished += 1
            count = None if faces is None else len(faces)
            self._tell("done", unit, seconds=whole, faces=count)

    def _skipped(self, unit: Unit, kept: _Kept) -> None:
        for note in kept.notes:
            self._noted(unit, note)
        with self._lock:
            self._report.skipped.append(unit.target)
            self._finished += 1
            self._tell("skipped", unit)

    def _failed(self, unit: Unit, error: VfxSwapError) -> None:
        error.frame = unit.frame if error.frame is None else error.frame
        error.file = unit.source if error.file is None else error.file
        if self._plan.job.output.sidecar and not isinstance(error, _ExistsError):
            write_failure(unit, error, self._run.record(seconds=0.0, plate=None))
        with self._lock:
            self._report.failed.append(Failure(unit.frame, unit.view, error))
            self._finished += 1
            self._tell("failed", unit, message=str(error), error=error)

    def _noted(self, unit: Unit, note: str) -> None:
        note = sayable(note)
        with self._lock:
            self._report.notes.append((unit.frame, unit.view, note))
            self._tell("note", unit, message=note)

    def _say(self, kind: EventKind) -> None:
        with self._lock:
            self._progress(Event("render", kind, self._finished, len(self._units)))

    def _tell(
        self,
        kind: EventKind,
        unit: Unit,
        *,
        message: str = "",
        seconds: float | None = None,
        faces: int | None = None,
        error: VfxSwapError | None = None,
    ) -> None:
        path = unit.target if kind in ("done", "skipped") else None
        self._progress(
            Event(
                "render",
                kind,
                self._finished,
                len(self._units),
                frame=unit.frame,
                view=unit.view,
                message=message,
                path=path,
                seconds=seconds,
                faces=faces,
                error=error,
            )
        )


def _anomaly_note(anomaly: Anomaly) -> str:
    counts = [
        f"{count} {word}" for count, word in ((anomaly.inf, "inf"), (anomaly.nan, "nan")) if count
    ]
    part = f" of part {anomaly.part}" if anomaly.part else ""
    return f"plate holds {' and '.join(counts)} in channel {anomaly.channel}{part}"
