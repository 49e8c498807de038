"""What tracks do to a render, and which are used again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rendered import FRAMES, comp, matte_of, shot
from small_shot import (
    SYNTHETIC,
    gain_effect,
    gain_job,
    plate_image,
    write_face_tracks,
    write_models,
)

from vfxswap.errors import JobError, ModelError
from vfxswap.io.exr import write_image
from vfxswap.job import EffectSpec, Job, Tracking
from vfxswap.render import Event, Report, check, render
from vfxswap.render.models import model_of_stage
from vfxswap.render.tracking import tracker_model

__all__ = ["gain_effect", "shot"]


def swap_job(folder: Path, tracks: Path, frames: str = "1001-1004") -> Job:
    return gain_job(folder, frames).model_copy(
        update={
            "effects": (EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),),
            "tracks": str(tracks),
        }
    )


@pytest.fixture
def models(shot: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_models(shot / "models")
    monkeypatch.setenv("VFXSWAP_MODELS", str(folder))
    return folder


def test_tracks_of_another_shot_are_refused(shot: Path, models: Path) -> None:
    tracks = write_face_tracks(shot / "t.json", "other.#.exr", FRAMES)
    job = swap_job(shot, tracks)
    with pytest.raises(JobError, match="another shot"):
        render(job)
    assert any("another shot" in f.message for f in check(job))


def test_frames_that_were_not_tracked_fail_alone(shot: Path, models: Path) -> None:
    tracks = write_face_tracks(shot / "t.json", str(shot / "plate.#.exr"), (1001, 1002, 1004))
    report: Report = render(swap_job(shot, tracks))
    assert [f.frame for f in report.failed] == [1003]
    assert [w.frame for w in report.written] == [1001, 1002, 1004]


def test_an_artists_edit_reaches_the_pixels(shot: Path, models: Path) -> None:
    from vfxswap.io.tracks import FaceEdit, read_tracks, write_tracks

    path = write_face_tracks(shot / "t.json", str(shot / "plate.#.exr"), FRAMES)
    render(swap_job(shot, path, "1001-1002"))
    assert (matte_of(comp(shot, 1002), "swap_matte.red") > 0).any()
    write_tracks(path, read_tracks(path).with_edit(1002, FaceEdit(id=0, removed=True)))
    report = render(swap_job(shot, path, "1001-1002"))
    assert (matte_of(comp(shot, 1001), "swap_matte.red") > 0).any()
    assert not matte_of(comp(shot, 1002), "swap_matte.red").any()
    before, after = plate_image(1002).part.channels, comp(shot, 1002).part.channels
    assert all(np.array_equal(before[n].view(np.uint8), after[n].view(np.uint8)) for n in before)
    assert any("no face" in note for frame, _, note in report.notes if frame == 1002)
    assert report.exit_code == 0


def test_tracks_beside_the_output_are_kept_while_the_plate_stays(shot: Path, models: Path) -> None:
    job = swap_job(shot, Path("unused"), "1001-1002").model_copy(update={"tracks": ""})
    stages: list[str] = []

    def listen(event: Event) -> None:
        stages.append(event.stage)

    render(job, progress=listen)
    assert "prepare" in stages
    kept = shot / "out" / "comp.tracks.json"
    first = kept.read_bytes()
    stages.clear()
    render(job, progress=listen)
    assert "prepare" not in stages and kept.read_bytes() == first
    write_image(shot / "plate.1002.exr", plate_image(77))
    render(job, progress=listen)
    assert "prepare" in stages


def test_an_artists_work_on_another_shot_is_never_replaced(shot: Path, models: Path) -> None:
    from vfxswap.io.tracks import FaceEdit, read_tracks, write_tracks

    job = swap_job(shot, Path("unused"), "1001-1002").model_copy(update={"tracks": ""})
    kept = write_face_tracks(shot / "out" / "comp.tracks.json", "other.#.exr", FRAMES)
    write_tracks(kept, read_tracks(kept).with_edit(1001, FaceEdit(id=0, removed=True)))
    with pytest.raises(JobError, match="another shot"):
        render(job)
    assert read_tracks(kept).edits


def test_landmarks_are_found_by_the_model_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(tmp_path / "models")))
    assert model_of_stage("landmarks").card.name == "blind"
    assert tracker_model(Tracking(landmarks="landmarks-synthetic")).name == "landmarks-synthetic"
    with pytest.raises(ModelError, match=r"no such model for landmarks.*blint.*blind"):
        tracker_model(Tracking(landmarks="blint"))
    with pytest.raises(ModelError, match="no such model for landmarks"):
        tracker_model(Tracking(landmarks="comb-starter"))
