"""`vfxswap bench farm`: what Dask costs beside bare processes that do the same frames.

All arms use one thread a process, networks that are loaded already, and take turns; processes are
started before the clock. A run ends when all its frames are written, job opened and shot prepared
within it.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from vfxswap.align.crop import template
from vfxswap.bench import Row, machine
from vfxswap.errors import JobError, VfxSwapError
from vfxswap.farm.cluster import Cluster
from vfxswap.farm.engine import Order
from vfxswap.farm.identity import code_tag
from vfxswap.farm.local import chunk_size, local_cluster
from vfxswap.farm.submission import Submission
from vfxswap.geometry import LANDMARK_COUNT, Box, Face
from vfxswap.image import Image, Part
from vfxswap.io.exr import read_image, write_image
from vfxswap.io.tracks import TrackerModel, Tracks, write_tracks
from vfxswap.io.weights import list_models
from vfxswap.job import EffectSpec, Job, Output, Plate
from vfxswap.memory import keep_freed_memory
from vfxswap.render import Nets, render
from vfxswap.render.device import pick_device
from vfxswap.render.plan import identity_of, opened_files, units_of

FIRST = 1001
PATIENCE_S = 600.0
COUNTS = (10, 100, 1000)


def farm_rows(*, quick: bool = False, repeats: int = 3) -> list[Row]:
    """Scaling, overhead a frame, and cost by the number of frames, as rows like those of `bench`.

    `quick` takes small frames and few, to try the command. Raises JobError when no model of a
    synthetic persona is installed.
    """
    size, frames = ((480, 270), 4) if quick else ((1920, 1080), 40)
    counts = (5, 10, 20) if quick else COUNTS
    rows = [machine(pick_device("cpu"))]
    with tempfile.TemporaryDirectory() as name:
        shot = _swap_job(Path(name) / "swap", size, frames)
        used = {"frame": f"{size[0]}x{size[1]}", "frames": frames, "runs": repeats, "threads": 1}
        rows += _beside_bare(shot, 1, repeats, used)
        rows += _beside_bare(shot, 2, repeats, used)
        rows += _by_count(Path(name) / "small", counts)
    return rows


def _beside_bare(job: Job, processes: int, repeats: int, used: dict[str, Any]) -> list[Row]:
    """Seconds a frame of workers and of as many bare processes, by turns, and their ratio."""
    frames = opened_files(job)[2]
    with ExitStack() as stack:
        bare = stack.enter_context(_bare_processes(processes, job))
        client = stack.enter_context(local_cluster(processes, threads=1))
        arms: tuple[Callable[[], float], ...] = (
            lambda: bare(frames),
            lambda: _on_cluster(client, job, frames, chunk_size(len(frames), processes)),
        )
        for arm in arms:
            arm()
        times = [[arm() for arm in arms] for _ in range(repeats)]
    alone, shared = (statistics.median(column) / len(frames) for column in zip(*times, strict=True))
    ratios = [bare_s / farm_s for bare_s, farm_s in times]
    settings = {**used, "processes": processes, "chunk": chunk_size(len(frames), processes),
                "ratios": " ".join(f"{ratio:.3f}" for ratio in ratios)}  # fmt: skip
    many = "one bare process" if processes == 1 else f"{processes} bare processes"
    rows = [
        _row(f"farm, {many}", alone, "s/frame", settings=settings),
        _row(f"farm, {processes} Dask workers", shared, "s/frame", settings=settings),
    ]
    ratio = statistics.median(ratios)
    if processes == 1:
        rows.append(
            _row("farm, overhead a frame", 1 / ratio - 1, "of the frame", wanted="<= 0.05",
                 settings=settings)
        )  # fmt: skip
    else:
        rows.append(_row("farm, scaling", ratio, "of bare", wanted=">= 0.9", settings=settings))
    return rows


def _by_count(folder: Path, counts: Sequence[int]) -> list[Row]:
    """Cost of many small frames that are only copied, so that it is the farm's own."""
    job = _copy_job(folder, max(counts))
    frames = opened_files(job)[2]
    rows = []
    seconds, memory = {}, {}
    with local_cluster(1, threads=1) as client:
        _on_cluster(client, job, frames[:5], 1)
        for count in counts:
            seconds[count] = _on_cluster(client, job, frames[:count], 10)
            memory[count] = _resident()
            settings = {"frame": "64x36", "chunk": 10, "processes": 1}
            rows.append(
                _row(f"farm, {count} small frames", seconds[count] / count, "s/frame",
                     settings=settings)
            )  # fmt: skip
    few, many = counts[-2:]
    rows.append(
        _row(f"farm, time of {many} frames by that of {few}", seconds[many] / seconds[few], "×",
             wanted=f"about {many / few:.0f}", settings={})
    )  # fmt: skip
    for who, last in memory[many].items():
        name = f"farm, memory of {who}, {many} frames less {few}"
        grown = last - memory[few][who]
        rows.append(_row(name, grown, "MiB", wanted="about 0", settings={}))
    return rows


def _on_cluster(client: Any, job: Job, frames: Sequence[int], chunk: int) -> float:
    """Seconds of a submission. Raises VfxSwapError when a frame is missing."""
    order = Order(
        id=secrets.token_hex(8), job=job, needed=(code_tag(),), threads=1, skip_existing=False
    )
    submission = Submission(job=job, job_file=Path(), frames=tuple(frames), chunk=chunk, retries=0)
    plate, output, _, views = opened_files(job)
    units = units_of(plate, output, frames, views)
    begun = time.perf_counter()
    report = Cluster(client, order, submission, units=units, wait_s=PATIENCE_S).run()
    seconds = time.perf_counter() - begun
    if len(report.written) != len(frames):
        raise VfxSwapError("the farm lost frames", got=len(report.written), wanted=len(frames))
    return seconds


@contextmanager
def _bare_processes(count: int, job: Job) -> Iterator[Callable[[Sequence[int]], float]]:
    """Processes that wait with their networks; what is given shares frames out in equal parts and
    takes the seconds until the last is done."""
    context = multiprocessing.get_context("spawn")
    ends: list[Connection] = []
    children = []
    for _ in range(count):
        end, theirs = context.Pipe()
        child = context.Process(target=_bare, args=(theirs, job), daemon=True)
        with _one_thread():
            child.start()
        theirs.close()
        ends.append(end)
        children.append(child)

    def run(frames: Sequence[int]) -> float:
        begun = time.perf_counter()
        for place, end in enumerate(ends):
            end.send(list(frames[place::count]))
        for end in ends:
            if not end.poll(PATIENCE_S):
                raise VfxSwapError("a bare process did not answer")
            if end.recv() != 0:
                raise VfxSwapError("a bare process lost frames")
        return time.perf_counter() - begun

    try:
        yield run
    finally:
        for end in ends:
            end.close()
        for child in children:
            child.join(PATIENCE_S)


@contextmanager
def _one_thread() -> Iterator[None]:
    """What Dask's nanny tells its workers: libraries that keep threads of their own keep one."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _bare(connection: Connection, job: Job) -> None:
    """Renders the frames that are sent, and answers with the exit code."""
    keep_freed_memory()  # as the command line and Dask's workers do
    nets = Nets()
    while True:
        try:
            frames = connection.recv()
        except EOFError:
            return
        connection.send(render(job, frames=frames, threads=1, nets=nets).exit_code)


def _swap_job(folder: Path, size: tuple[int, int], count: int) -> Job:
    """A swap of one large face on a soft picture, by the first installed comb."""
    personas = [
        persona.id
        for stored in list_models(broken=[])
        if stored.card.network == "comb"
        for persona in stored.card.personas
        if persona.synthetic
    ]
    if not personas:
        raise JobError("no model of a synthetic persona is installed")
    swap = EffectSpec(effect="swap", settings={"persona": personas[0]})
    job = _job(folder, size, count).model_copy(update={"effects": (swap,)})
    frames = range(FIRST, FIRST + count)
    side = size[1] * 3 // 4
    points = template(side) + np.array([(size[0] - side) / 2, (size[1] - side) / 2])
    face = Face(0, points, np.ones(LANDMARK_COUNT), 1.0)
    identity = identity_of(job, read_image(folder / f"plate.{FIRST}.exr"), frames)
    tracks = Tracks.of(
        identity, {"": {frame: [face] for frame in frames}}, model=TrackerModel(name="bench")
    )
    write_tracks(folder / "tracks.json", tracks)
    return job.model_copy(update={"tracks": str(folder / "tracks.json")})


def _copy_job(folder: Path, count: int) -> Job:
    return _job(folder, (64, 36), count)


def _job(folder: Path, size: tuple[int, int], count: int) -> Job:
    """A job without effects on a plate whose frames are one file under many names."""
    width, height = size
    noise = np.random.default_rng(3).random((height // 8 + 1, width // 8 + 1, 3), np.float32)
    rgb = np.repeat(np.repeat(noise, 8, 0), 8, 1)[:height, :width].astype(np.float16)
    window = Box(0, 0, width, height)
    part = Part(
        channels={name: np.ascontiguousarray(rgb[..., i]) for i, name in enumerate("RGB")},
        data_window=window,
        display_window=window,
        metadata={"colorInteropID": "lin_ap1_scene"},
    )
    first = folder / f"plate.{FIRST}.exr"
    write_image(first, Image((part,), ("R", "G", "B")))
    for frame in range(FIRST + 1, FIRST + count):
        os.link(first, folder / f"plate.{frame}.exr")
    return Job(
        plate=Plate(pattern=str(folder / "plate.#.exr")),
        frames=f"{FIRST}-{FIRST + count - 1}",
        output=Output(pattern=str(folder / "out" / "comp.#.exr")),
    )


def _resident() -> dict[str, float]:
    """MiB of this process, which holds the scheduler, and of its children."""
    me = psutil.Process()
    children = sum(child.memory_info().rss for child in me.children(recursive=True))
    return {"submitter and scheduler": me.memory_info().rss / 2**20, "worker": children / 2**20}


def _row(name: str, value: float, unit: str, *, settings: dict[str, Any], wanted: str = "") -> Row:
    return {"name": name, "value": value, "unit": unit, "wanted": wanted, "settings": settings}
