"""The shot report tells what is there, what is not and why, and who rendered it."""

from __future__ import annotations

import json
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from command_line import Shot as CommandLine
from rendered import FRAMES, shot
from small_shot import (
    SYNTHETIC,
    gain_effect,
    gain_job,
    plate_image,
    write_face_tracks,
    write_models,
    write_shot,
)

from vfxswap.errors import JobError, PlateError
from vfxswap.geometry import Face
from vfxswap.io.exr import write_image
from vfxswap.io.tracks import PlateIdentity, TrackerModel, Tracks
from vfxswap.job import EffectSpec, Job, Output, Plate
from vfxswap.render import render
from vfxswap.render.output import sidecar_path
from vfxswap.render.report_page import write_shot_report
from vfxswap.render.shot_report import FrameReport, ShotReport, shot_report
from vfxswap.render.stability import face_tracks, jitter

__all__ = ["gain_effect", "shot"]


def by_frame(report: ShotReport) -> dict[int, FrameReport]:
    return {f.frame: f for f in report.frames}


def page_of(folder: Path, job: Job) -> str:
    return write_shot_report(folder / "r", job, shot_report(job)).read_text()


def swap_job(folder: Path) -> Job:
    tracks = write_face_tracks(folder / "t.json", str(folder / "plate.#.exr"), FRAMES)
    return gain_job(folder).model_copy(
        update={
            "effects": (EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),),
            "tracks": str(tracks),
            "show": "kestrel",
        }
    )


def test_when_all_frames_are_there_then_the_report_is_good(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(shot / "models")))
    job = swap_job(shot)
    render(job, threads=1)
    monkeypatch.delenv("VFXSWAP_MODELS")
    report = shot_report(job)
    assert report.exit_code == 0 and report.incomplete == {} and report.warnings == ()
    assert (report.totals.frames, report.totals.whole, report.totals.face_ids) == (4, 4, (0,))
    frame = by_frame(report)[1003]
    assert (frame.host, frame.device) == (socket.gethostname(), "cpu")
    assert frame.personas == (SYNTHETIC,) and frame.consents == ("synthetic",)
    assert len(frame.weights["tinycomb"]) == 64 and len(frame.file_sha256) == 64
    assert frame.faces is not None and frame.faces[0]["confidence"] == 0.9
    summed = sum(f.seconds or 0 for f in report.frames)
    assert report.totals.seconds == pytest.approx(summed, abs=0.001)
    (machine,) = report.machines
    assert machine.frames == 4 and machine.host == socket.gethostname()


def test_broken_and_missing_frames_are_named_with_their_reasons(shot: Path) -> None:
    (shot / "plate.1004.exr").write_bytes(b"no picture")
    render(gain_job(shot, "1001-1006"))
    out = shot / "out"
    torn = out / "comp.1002.exr"
    torn.write_bytes(torn.read_bytes()[:-50])
    sidecar_path(out / "comp.1003.exr").write_text("{}")
    report = shot_report(gain_job(shot, "1001-1006"))
    assert report.exit_code == 1
    assert report.incomplete == {"broken": "1002-1003", "missing": "1004-1006"}
    frames = by_frame(report)
    assert "cut off" in frames[1002].reason and "sidecar" in frames[1003].reason
    assert "plate.1004.exr" in frames[1004].reason and "no such file" in frames[1005].reason
    assert frames[1001].state == "whole" and report.totals.missing == 3
    page = page_of(shot, gain_job(shot, "1001-1006"))
    assert "5 of 6 frames are not there" in page and "no such file" in page


def test_some_frames_are_reported_as_if_they_were_all(shot: Path) -> None:
    render(gain_job(shot, "1001-1006"), frames=[1001, 1003])
    report = shot_report(gain_job(shot, "1001-1006"), frames=[1003, 1001])
    assert report.exit_code == 0 and set(by_frame(report)) == {1001, 1003}
    with pytest.raises(JobError, match="1007"):
        shot_report(gain_job(shot, "1001-1006"), frames=[1007])


def test_frames_of_unlike_makers_are_told(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render(gain_job(shot), frames=(1001, 1002))
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    render(gain_job(shot), frames=(1003, 1004), precision="single")
    report = shot_report(gain_job(shot))
    assert {m.host for m in report.machines} == {"another", FIRST}
    assert report.warnings == (
        "frames were made with unlike precision: half on 1001-1002; single on 1003-1004",
    )


FIRST = socket.gethostname()


def test_a_plate_that_was_changed_since_is_told(shot: Path) -> None:
    render(gain_job(shot))
    write_image(shot / "plate.1002.exr", plate_image(9))
    report = shot_report(gain_job(shot))
    assert report.exit_code == 0
    assert by_frame(report)[1002].warnings == ("the plate was changed since",)


def test_when_the_plate_is_gone_then_the_results_are_still_reported(shot: Path) -> None:
    render(gain_job(shot))
    for frame in FRAMES:
        (shot / f"plate.{frame}.exr").unlink()
    assert shot_report(gain_job(shot)).exit_code == 0
    with pytest.raises(PlateError):
        shot_report(gain_job(shot, ""))


def test_every_view_is_reported(tmp_path: Path, gain_effect: object) -> None:
    for view in ("left", "right"):
        write_shot(tmp_path / view, (1001, 1002))
    job = gain_job(tmp_path, "1001-1002").model_copy(
        update={
            "plate": Plate(pattern=str(tmp_path / "%V" / "plate.#.exr")),
            "output": Output(pattern=str(tmp_path / "out" / "comp.%V.#.exr")),
        }
    )
    render(job)
    (tmp_path / "out" / "comp.right.1002.exr").unlink()
    report = shot_report(job)
    states = {(f.frame, f.view): f.state for f in report.frames}
    assert states[1002, "right"] == "missing" and list(states.values()).count("whole") == 3


def test_without_sidecars_only_the_pictures_are_judged(shot: Path) -> None:
    job = gain_job(shot)
    job = job.model_copy(update={"output": job.output.model_copy(update={"sidecar": False})})
    render(job)
    report = shot_report(job)
    assert report.exit_code == 0 and report.machines == ()
    assert "unknown" in page_of(shot, job)


# Stability ------------------------------------------------------------------------------------


def test_jitter_of_white_noise_is_its_own_size_and_steady_motion_has_none() -> None:
    rng = np.random.default_rng(3)
    frames = range(400)
    steady = {t: np.full((70, 2), (3.0 * t, -1.5 * t)) for t in frames}
    assert max(v for v in jitter(steady) if v is not None) < 1e-9
    shaking = {t: p + rng.normal(0, 0.5, p.shape) for t, p in steady.items()}
    values = [v for v in jitter(shaking) if v is not None]
    assert len(values) == 398
    assert np.sqrt(np.mean(np.square(values))) == pytest.approx(0.5 * np.sqrt(2), rel=0.02)


def test_beside_gaps_there_is_no_jitter_and_every_other_frame_is_no_gap() -> None:
    points = np.zeros((70, 2))
    assert jitter(dict.fromkeys((1, 2, 3, 7, 8, 9), points)) == [None, 0.0, None, None, 0.0, None]
    assert jitter(dict.fromkeys((1, 3, 5), points)) == [None, 0.0, None]


def test_each_face_has_its_path_and_confidence() -> None:
    rng = np.random.default_rng(0)
    shape = rng.random((70, 2)) * 9
    faces = {
        frame: [
            Face(i, shape + np.array([10.0 * i + frame, 4.0]), np.full(70, 0.5 + 0.1 * i), 0.9)
            for i in range(2)
            if frame < 4 or i == 0
        ]
        for frame in range(1, 7)
    }
    identity = PlateIdentity.of("p.#.exr", "1-6", size=(48, 32))
    tracks = Tracks.of(identity, {"": faces}, model=TrackerModel())
    first, second = face_tracks(tracks, range(1, 7), ("",))
    assert first.frames == (1, 2, 3, 4, 5, 6) and second.frames == (1, 2, 3)
    assert np.allclose(np.diff(first.x), 1, atol=0.011) and first.jitter_rms_px is not None
    assert first.jitter_rms_px < 0.002 and second.confidence == (0.6, 0.6, 0.6)


# The page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags and outside references of a page; complains of tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "data", "action")]
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_the_page_is_one_file_without_script_or_network(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(shot / "models")))
    job = swap_job(shot)
    render(job)
    text = page_of(shot, job)
    page = Page(text)
    assert page.tags.count("img") == 4 and page.tags.count("svg") >= 4
    assert all(r.startswith("data:image/jpeg;base64,") for r in page.references)
    assert "script" not in page.tags and "url(" not in text and "@import" not in text
    assert [p.name for p in sorted((shot / "r").iterdir())] == ["report.html", "report.json"]


def test_hostile_names_stay_words_on_the_page(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    monkeypatch.setattr(socket, "gethostname", lambda: hostile)
    job = gain_job(shot, "1001")
    render(job)
    text = page_of(shot, job)
    page = Page(text)
    assert "script" not in page.tags and page.tags.count("img") == 1
    assert "&lt;script&gt;" in text


def test_the_json_is_what_the_form_says(shot: Path) -> None:
    render(gain_job(shot))
    page_of(shot, gain_job(shot))
    data = json.loads((shot / "r" / "report.json").read_text())
    assert data["format"] == "vfxswap-report" and data["version"] == 1
    assert ShotReport.model_validate(data).totals.whole == 4
    described = (Path(__file__).parents[2] / "docs" / "shot-report.md").read_text()
    for model in (ShotReport, FrameReport):
        for name in model.model_fields:
            assert f"`{name}`" in described, name


def test_a_thousand_frames_stay_a_page_that_opens(shot: Path) -> None:
    render(gain_job(shot, "1001"))
    job = gain_job(shot, "1001-2000")
    report = shot_report(job)
    one = report.frames[0]
    many = tuple(one.model_copy(update={"frame": n}) for n in range(1001, 2001))
    page = write_shot_report(shot / "r", job, replace_frames(report, many))
    assert page.stat().st_size < 3_000_000
    assert len(re.findall("<img", page.read_text())) <= 60


def replace_frames(report: ShotReport, frames: tuple[FrameReport, ...]) -> ShotReport:
    return report.model_copy(update={"frames": frames})


# The command ----------------------------------------------------------------------------------


def test_the_command_says_what_is_missing_and_exits_with_it(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    assert line.swap("--save-job", "job.json", "--frames", "1001-1003").returncode == 0
    good = line.run("report", "job.json", "-o", "r", "--progress", "plain")
    assert good.returncode == 0 and "3 of 3" in good.stderr
    (line.out / "comp.1002.exr").unlink()
    bad = line.run("report", "job.json", "--progress", "json")
    assert bad.returncode == 1 and "missing: 1002" in bad.stderr
    last = json.loads(bad.stdout.splitlines()[-1])
    assert last["incomplete"] == {"missing": "1002"} and last["exit_code"] == 1
    assert Path(last["report"]) == line.out / "comp.report" / "report.html"
    (tmp_path / "job.json").write_text("{")
    assert line.run("report", "job.json").returncode == 2
