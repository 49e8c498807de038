"""`render --workers`: the same frames, report and exit codes as in one process."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from dask_processes import Shot

from vfxswap.errors import JobError
from vfxswap.farm import local
from vfxswap.farm.local import chunk_size, render_on_workers, worker_bytes
from vfxswap.job import Job
from vfxswap.render import Event, Report, render


@pytest.fixture
def shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shot:
    shot = Shot(tmp_path, 6)
    monkeypatch.setenv("VFXSWAP_MODELS", str(shot.models))
    return shot


def test_two_workers_give_the_files_and_the_report_of_one_process(shot: Shot) -> None:
    (shot.folder / "plate.1003.exr").unlink()
    (shot.folder / "plate.1003.exr").write_bytes(b"no picture")
    one = render(Job.read(shot.swap("one")), threads=1)
    events: list[Event] = []
    listening: set[str] = set()

    def listen(event: Event) -> None:
        events.append(event)
        if len(events) == 2:
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                found = process.net_connections("tcp")
                listening.update(c.laddr.ip for c in found if c.status == "LISTEN")

    two = render_on_workers(
        Job.read(shot.swap("two")), workers=2, threads=1, progress=listen
    )  # fmt: skip
    assert told(two) == told(one) and two.exit_code == 1
    assert [f.error.kind for f in two.failed] == ["plate"]
    for path in one.paths:
        assert (shot.folder / "two" / path.name).read_bytes() == path.read_bytes()
    assert [e.finished for e in events if e.kind in ("done", "failed")] == [1, 2, 3, 4, 5, 6]
    assert {e.total for e in events if e.stage == "render"} == {6}
    assert listening == {"127.0.0.1"}
    assert shot.leftovers("two") == []


def told(report: Report) -> object:
    return (
        sorted((w.frame, w.view, w.path.name) for w in report.written),
        [(f.frame, f.view, str(f.error)) for f in report.failed],
        report.not_reached,
        report.cancelled,
    )


def test_workers_that_memory_does_not_hold_are_not_started(
    shot: Shot, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def stop(workers: int, *, threads: int) -> None:
        started.extend((workers, threads))
        raise JobError("stop here")

    monkeypatch.setattr(local, "local_cluster", stop)
    monkeypatch.setattr(local, "CPU_COUNT", 8)
    notes: list[str] = []
    job = Job.read(shot.swap("out"))

    def attempt(memory_gb: float | None, workers: int = 4) -> None:
        with pytest.raises(JobError, match="stop here"):
            render_on_workers(
                job, workers=workers, memory_gb=memory_gb,
                progress=lambda event: notes.append(event.message),
            )  # fmt: skip

    attempt(2.5 * worker_bytes(52 * 34) / 1e9)
    assert len(notes) == 1 and notes[0].startswith("2 of 4 workers start: one may need")
    attempt(0.1)
    attempt(100.0)
    attempt(100.0, workers=50)
    assert started == [2, 4, 1, 8, 4, 2, 6, 1] and len(notes) == 2
    monkeypatch.setattr(local, "free_memory", lambda: 3 * worker_bytes(52 * 34))
    attempt(None)
    assert started[-2:] == [2, 4] and len(notes) == 3


def test_frames_outside_the_job_are_refused_before_a_worker_starts(
    shot: Shot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "local_cluster", None)
    with pytest.raises(JobError, match="1009"):
        render_on_workers(Job.read(shot.swap("out")), workers=2, frames=(1001, 1009))


def test_a_bad_job_ends_the_workers_with_its_own_error(
    shot: Shot, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.read(shot.swap("out"))
    bad = job.model_copy(update={"tracks": str(shot.folder / "models" / "blind" / "card.toml")})
    before = len(psutil.Process().children())
    with pytest.raises(JobError, match=r"card\.toml"):
        render_on_workers(bad, workers=1, cancel=threading.Event())
    assert len(psutil.Process().children()) <= before + 1  # multiprocessing's own tracker


def test_chunks_are_small_enough_for_every_worker() -> None:
    assert [chunk_size(n, 2) for n in (1, 8, 9, 50, 1000)] == [1, 1, 2, 7, 10]
