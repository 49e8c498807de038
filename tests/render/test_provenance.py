"""Every frame says what made it."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from rendered import FRAMES, comp, hashes, shot
from small_shot import (
    SYNTHETIC,
    gain_effect,
    gain_job,
    plate_image,
    write_face_tracks,
    write_models,
)

from vfxswap.align.crop import template
from vfxswap.io.exr import write_image
from vfxswap.job import EffectSpec
from vfxswap.render import render
from vfxswap.render.output import failure_path, sidecar_path, verify_sidecar

__all__ = ["gain_effect", "shot"]


def test_every_frame_says_what_made_it(shot: Path) -> None:
    render(gain_job(shot, "1001", gain=3.0).model_copy(update={"show": "kestrel", "seed": 7}))
    metadata = comp(shot, 1001).part.metadata
    assert metadata["vfxswap/effect"] == "gain" and metadata["vfxswap/seed"] == "7"
    assert metadata["vfxswap/show"] == "kestrel" and metadata["camera"] == "A1001"
    assert json.loads(metadata["vfxswap/settings"])[0]["gain"] == 3.0
    assert (
        metadata["vfxswap/version"]
        == json.loads(sidecar_path(shot / "out" / "comp.1001.exr").read_text())["version"]
    )


def test_a_sidecar_is_sealed_and_belongs_to_its_frame(shot: Path) -> None:
    render(gain_job(shot, "1001-1002"))
    first, second = (shot / "out" / f"comp.{f}.exr" for f in (1001, 1002))
    assert verify_sidecar(first) and verify_sidecar(second)
    text = sidecar_path(first).read_text()
    sidecar_path(first).write_text(text.replace('"seed": 0', '"seed": 1'))
    assert not verify_sidecar(first)
    sidecar_path(first).write_text(text)
    first.write_bytes(second.read_bytes())
    assert not verify_sidecar(first)


def test_who_rendered_where_and_when_is_in_the_sidecar_alone(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(gain_job(shot, "1001-1002"), threads=1)
    first = hashes(shot / "out")
    here = json.loads(sidecar_path(shot / "out" / "comp.1001.exr").read_text())
    run = here["run"]
    assert run["host"] == socket.gethostname() and run["device"] == "cpu" and run["threads"] == 1
    assert run["seconds"] > 0 and run["precision"] == "half"
    plate = (shot / "plate.1001.exr").stat()
    assert run["plate"] == {"bytes": plate.st_size, "modified_us": plate.st_mtime_ns // 1000}
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    render(gain_job(shot, "1001-1002"), threads=1)
    assert hashes(shot / "out") == first
    there = json.loads(sidecar_path(shot / "out" / "comp.1001.exr").read_text())
    assert there["run"]["host"] == "another" and verify_sidecar(shot / "out" / "comp.1001.exr")


def test_faces_and_notes_are_in_the_sidecar(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(shot / "models")))
    tracks = write_face_tracks(shot / "t.json", str(shot / "plate.#.exr"), FRAMES)
    job = gain_job(shot, "1001-1002").model_copy(
        update={
            "effects": (EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),),
            "tracks": str(tracks),
        }
    )
    image = plate_image(1002)
    image.part.channels["G"][0, 0] = np.nan
    write_image(shot / "plate.1002.exr", image)
    render(job)
    said = json.loads(sidecar_path(shot / "out" / "comp.1002.exr").read_text())
    (face,) = said["faces"]
    points = template(28) + np.array([11.0, 2.0])
    low, high = points.min(0), points.max(0)
    assert face["box"] == pytest.approx([*low, *(high - low)], abs=0.06)
    assert (face["id"], face["score"], face["confidence"]) == (0, 0.95, 0.9)
    assert said["notes"] == ["plate holds 1 nan in channel G"]


def test_a_frame_that_failed_leaves_its_reason_until_it_is_written(shot: Path) -> None:
    whole = (shot / "plate.1002.exr").read_bytes()
    (shot / "plate.1002.exr").write_bytes(whole[:1000])
    report = render(gain_job(shot))
    said = json.loads(failure_path(shot / "out" / "comp.1002.exr").read_text())
    assert said["error"] == report.failed[0].error.as_json() and said["frame"] == 1002
    assert said["run"]["host"] == socket.gethostname()
    (shot / "plate.1002.exr").write_bytes(whole)
    assert render(gain_job(shot), skip_existing=True).exit_code == 0
    assert not failure_path(shot / "out" / "comp.1002.exr").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [({"seed": 4}, "seed"), ({"proxy": 2}, "proxy"), ({"show": "kestrel"}, "show")],
)
def test_a_kept_frame_of_another_job_is_told(
    shot: Path, change: dict[str, object], says: str
) -> None:
    render(gain_job(shot))
    again = render(gain_job(shot), skip_existing=True)
    assert len(again.skipped) == 4 and again.notes == []
    other = render(gain_job(shot).model_copy(update=change), skip_existing=True)
    assert len(other.skipped) == 4 and other.exit_code == 0
    assert {note for _, _, note in other.notes} == {
        f"kept as it is, though made with another {says}"
    }


@pytest.mark.parametrize("days", [-4000, 4000])
def test_times_of_results_do_not_matter(shot: Path, days: int) -> None:
    render(gain_job(shot))
    moment = time.time() + days * 86400
    for path in (shot / "out").iterdir():
        os.utime(path, (moment, moment))
    report = render(gain_job(shot), skip_existing=True)
    assert len(report.skipped) == 4 and report.notes == []


def test_a_result_of_an_earlier_plate_is_kept_and_told(shot: Path) -> None:
    render(gain_job(shot))
    write_image(shot / "plate.1003.exr", plate_image(77))
    os.utime(shot / "plate.1003.exr", (1e9, 1e9))
    report = render(gain_job(shot), skip_existing=True)
    assert len(report.skipped) == 4
    assert report.notes == [(1003, "", "kept as it is, though made with another plate")]
    assert render(gain_job(shot)).notes == []
    assert render(gain_job(shot), skip_existing=True).notes == []
