"""A job opened once renders as one that is opened for each chunk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_shot import (
    SYNTHETIC,
    gain_job,
    write_face_tracks,
    write_models,
    write_shot,
)

from vfxswap.errors import JobError
from vfxswap.job import EffectSpec, Job
from vfxswap.render import Session, render
from vfxswap.render.plan import open_job

FRAMES = (1001, 1002, 1003, 1004)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(tmp_path / "models")))
    pattern = write_shot(tmp_path, FRAMES)
    tracks = write_face_tracks(tmp_path / "t.json", pattern, FRAMES)
    swap = EffectSpec(effect="swap", settings={"persona": SYNTHETIC})
    return gain_job(tmp_path).model_copy(update={"effects": (swap,), "tracks": str(tracks)})


def test_a_session_opens_a_job_once_and_gives_the_bytes_of_a_render(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {p.name: p.read_bytes() for p in render(job, threads=1).paths}
    opened: list[str] = []

    def telling(*given: object, **named: object) -> object:
        opened.append("job")
        return open_job(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("vfxswap.render.loop.open_job", telling)
    session = Session(job, threads=1)
    reports = [session.render(part) for part in ((1003,), (1004, 1001), (1002,))]
    assert opened == ["job"]
    assert [w.frame for r in reports for w in r.written] == [1003, 1004, 1001, 1002]
    assert {p.name: p.read_bytes() for r in reports for p in r.paths} == whole
    again = session.render(skip_existing=True)
    assert len(again.skipped) == 4 and again.exit_code == 0


def test_a_session_prepares_once(job: Job) -> None:
    session = Session(job, threads=1)
    session.render((1001,))
    tracks = json.loads(Path(job.tracks).read_text())
    Path(job.tracks).unlink()
    assert tracks and session.render((1002,)).exit_code == 0


def test_a_session_refuses_frames_of_no_job_and_goes_on(job: Job) -> None:
    session = Session(job, threads=1)
    with pytest.raises(JobError, match="1009"):
        session.render((1001, 1009))
    assert session.render((1001,)).exit_code == 0
