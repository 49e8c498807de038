"""The shot loop: what it changes, what it keeps, and what it does when things go wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import JsonValue
from small_shot import (
    DATA,
    DISPLAY,
    SYNTHETIC,
    Gain,
    gain_effect,
    gain_job,
    plate_image,
    write_face_tracks,
    write_models,
    write_shot,
)

from vfxswap.effects.base import EffectResult
from vfxswap.errors import ConsentError, JobError, ModelError, OutputError, PlateError
from vfxswap.geometry import Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import read_image, verify_image, write_image, write_png
from vfxswap.job import EffectSpec, Job, MatteSource, Output, Plate
from vfxswap.render import Event, Report, check, render
from vfxswap.render.output import sidecar_path, verify_sidecar, write_unit
from vfxswap.render.plan import Unit

__all__ = ["gain_effect"]

FRAMES = (1001, 1002, 1003, 1004)


@pytest.fixture
def shot(tmp_path: Path, gain_effect: type[Gain]) -> Path:
    write_shot(tmp_path, FRAMES)
    return tmp_path


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.iterdir())
        if not p.name.endswith(".tracks.json")
    }


def comp(folder: Path, frame: int) -> Image:
    return read_image(folder / "out" / f"comp.{frame}.exr")


def matte_of(image: Image, name: str = "gain_matte.red") -> np.ndarray[tuple[int, ...], np.dtype]:
    part = next(p for p in image.parts if name in p.channels)
    return part.channels[name]


# Pixels ---------------------------------------------------------------------------------------


def test_where_the_matte_is_zero_every_channel_keeps_the_plates_bits(shot: Path) -> None:
    report = render(gain_job(shot, noise=0.5))
    assert report.exit_code == 0 and len(report.written) == 4
    for frame in FRAMES:
        plate, result = plate_image(frame), comp(shot, frame)
        matte = matte_of(result)
        assert 0 < (matte > 0).mean() < 0.5
        for name, before in plate.part.channels.items():
            after = result.part.channels[name]
            assert after.dtype == before.dtype
            outside = matte == 0 if name in "RGB" else np.ones_like(matte, bool)
            assert np.array_equal(after[outside].view(np.uint8), before[outside].view(np.uint8))
        assert not np.array_equal(result.part.channels["R"], plate.part.channels["R"])


def test_inside_the_matte_the_comp_holds_the_effects_pixels_unclamped(shot: Path) -> None:
    image = plate_image(1001)
    image.part.channels["R"][17, 26] = 12.0
    image.part.channels["G"][17, 26] = -0.25
    write_image(shot / "plate.1001.exr", image)
    render(gain_job(shot, gain=3.0))
    result = comp(shot, 1001)
    assert float(result.part.channels["R"][17, 26]) == 36.0
    assert float(result.part.channels["G"][17, 26]) == -0.75


def test_where_the_written_matte_is_zero_the_comp_is_the_plate(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Gain.__call__

    def faint(self: Gain, *given: object) -> EffectResult:
        result = real(self, *given)  # type: ignore[arg-type]
        tiny = (result.matte * np.float32(1e-9)).astype(np.float32)
        layers = tuple(
            replace(la, pixels=la.pixels * np.float32(1e-9)) if la.kind == "matte" else la
            for la in result.layers
        )
        return replace(result, matte=tiny, layers=layers)

    monkeypatch.setattr(Gain, "__call__", faint)
    render(gain_job(shot, "1002"))
    result = comp(shot, 1002)
    assert not matte_of(result).any()
    plate = plate_image(1002).part.channels
    assert all(np.array_equal(result.part.channels[n], plate[n]) for n in "RGB")


def test_effects_stack_and_each_sees_the_result_of_the_one_before(shot: Path) -> None:
    one = gain_job(shot, gain=2.0)
    spec = one.effects[0]
    two = one.model_copy(
        update={"effects": (spec, EffectSpec(effect="gain", settings={"gain": 4.0}))}
    )
    render(two)
    result = comp(shot, 1003)
    plate = plate_image(1003).part.channels["B"].astype(np.float32)
    assert float(result.part.channels["B"][17, 26]) == np.float16(plate[17, 26] * 8)
    names = [part.name for part in result.parts]
    assert {"gain_face", "gain_matte", "gain2_face", "gain2_matte"} <= set(names)


def test_settings_are_keyframed(shot: Path) -> None:
    keys: JsonValue = {"keys": {"1001": 1.0, "1003": 3.0}, "interpolation": "linear"}
    render(gain_job(shot, gain=keys))
    for frame, gain in ((1001, 1.0), (1002, 2.0), (1003, 3.0), (1004, 3.0)):
        before = plate_image(frame).part.channels["G"][17, 26].astype(np.float32)
        assert comp(shot, frame).part.channels["G"][17, 26] == np.float16(before * gain)


def test_a_holdout_matte_keeps_the_plate_in_front(shot: Path) -> None:
    hold = np.zeros((DISPLAY.height, DISPLAY.width), np.float32)
    hold[:, 24:] = 1.0
    write_image(shot / "roto.exr", Image((Part({"A": hold}, DISPLAY, DISPLAY),), ("A", "A", "A")))
    job = gain_job(shot, "1001")
    spec = job.effects[0].model_copy(
        update={"mattes": {"holdout": MatteSource(pattern=str(shot / "roto.exr"))}}
    )
    render(job.model_copy(update={"effects": (spec,)}))
    matte = matte_of(comp(shot, 1001))
    half = 24 - DATA.x
    assert (matte[:, half:] == 0).all() and (matte[:, :half] > 0).any()


def test_a_plate_in_another_linear_space_is_kept_outside_and_worked_in_the_working_space(
    shot: Path,
) -> None:
    for frame in FRAMES:
        image = plate_image(frame)
        part = image.part
        metadata = {**part.metadata, "colorInteropID": "lin_rec709_scene"}
        changed = Part(part.channels, part.data_window, part.display_window, metadata=metadata)
        write_image(shot / f"plate.{frame}.exr", Image((changed,), image.rgb_names, 0, "A"))
    render(gain_job(shot, "1001", gain=2.0))
    before, after = plate_image(1001).part, comp(shot, 1001).part
    ratio = after.channels["R"][17, 26].astype(float) / before.channels["R"][17, 26].astype(float)
    assert ratio == pytest.approx(2.0, rel=2e-3)
    assert after.metadata["vfxswap/color_space"] == "Linear Rec.709 (sRGB)"
    result = comp(shot, 1001)
    face = next(p for p in result.parts if p.name == "gain_face").channels
    alpha = face["gain_face.alpha"]
    for name, color in (("R", "red"), ("G", "green"), ("B", "blue")):
        whole, shown = result.part.channels[name][alpha == 1], face[f"gain_face.{color}"]
        assert np.allclose(shown[alpha == 1], whole, rtol=2e-3, atol=2e-3)
        assert not shown[alpha == 0].any()


def test_an_8_bit_picture_without_alpha_renders(tmp_path: Path, gain_effect: type[Gain]) -> None:
    write_png(tmp_path / "still.png", np.random.default_rng(1).random((32, 48, 3), np.float32))
    job = gain_job(tmp_path, "1").model_copy(
        update={"plate": Plate(pattern=str(tmp_path / "still.png"))}
    )
    assert render(job).exit_code == 0
    result = read_image(tmp_path / "out" / "comp.0001.exr")
    assert matte_of(result).max() == 1


# Independence ---------------------------------------------------------------------------------

CHUNK = """
import sys
from vfxswap.job import Job
from vfxswap.render import render
from vfxswap.shot import parse_frames
report = render(Job.read({job!r}), frames=parse_frames({frames!r}), threads=1)
sys.exit(report.exit_code)
"""


def run_chunk(job: Path, frames: str) -> int:
    code = CHUNK.format(job=str(job), frames=frames)
    root = Path(__file__).parent.parent
    return subprocess.run([sys.executable, "-c", code], cwd=root, timeout=120).returncode


def test_order_and_chunks_do_not_change_a_single_byte(shot: Path) -> None:
    job = gain_job(shot, noise=0.7, gain={"keys": {"1001": 1.0, "1004": 5.0}})
    render(job, threads=1)
    whole = hashes(shot / "out")

    def again(name: str) -> Job:
        pattern = str(shot / name / "comp.#.exr")
        return job.model_copy(update={"output": Output(pattern=pattern)})

    render(again("backwards"), frames=(1004, 1003, 1002, 1001), threads=1)
    assert hashes(shot / "backwards") == whole
    for frame in (1002, 1004, 1001, 1003):
        render(again("single"), frames=(frame,), threads=1)
    assert hashes(shot / "single") == whole


def test_the_swap_does_not_depend_on_order_chunks_or_processes(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = write_models(shot / "models")
    monkeypatch.setenv("VFXSWAP_MODELS", str(models))
    pattern = str(shot / "plate.#.exr")
    job = Job(
        plate=Plate(pattern=pattern),
        frames="1001-1004",
        effects=(EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),),
        tracks=str(write_face_tracks(shot / "t.json", pattern, FRAMES)),
        output=Output(pattern=str(shot / "out" / "comp.#.exr")),
    )
    assert render(job, threads=1).exit_code == 0
    whole = hashes(shot / "out")
    result = comp(shot, 1002)
    swapped = matte_of(result, "swap_matte.red") > 0
    assert swapped.any() and not swapped.all()
    plate = plate_image(1002)
    for name in "RGB":
        before, after = plate.part.channels[name], result.part.channels[name]
        assert np.array_equal(before[~swapped].view(np.uint16), after[~swapped].view(np.uint16))
        assert (before[swapped] != after[swapped]).mean() > 0.2

    def again(name: str) -> Job:
        output = Output(pattern=str(shot / name / "comp.#.exr"))
        return job.model_copy(update={"output": output})

    render(again("backwards"), frames=(1004, 1002, 1003, 1001), threads=1)
    assert hashes(shot / "backwards") == whole
    again("processes").write(shot / "job.json")
    render(again("processes"), frames=(1003,), threads=1)
    assert run_chunk(shot / "job.json", "1004,1001-1002") == 0
    assert hashes(shot / "processes") == whole


def test_seeds_differ_between_frames_and_jobs(shot: Path) -> None:
    write_image(shot / "plate.1002.exr", plate_image(1001))
    render(gain_job(shot, "1001-1002", noise=1.0))
    first, second = (comp(shot, f).part.channels["R"] for f in (1001, 1002))
    assert not np.array_equal(first, second)
    render(gain_job(shot, "1001", noise=1.0).model_copy(update={"seed": 9}))
    assert not np.array_equal(first, comp(shot, 1001).part.channels["R"])


# Previews -------------------------------------------------------------------------------------


def test_a_region_holds_the_pixels_of_the_full_frame(shot: Path) -> None:
    render(gain_job(shot, "1001"))
    full = comp(shot, 1001)
    region = Box(20, 10, 9, 7)
    render(gain_job(shot, "1001").model_copy(update={"region": (20, 10, 9, 7)}))
    part = comp(shot, 1001)
    assert part.part.data_window == region and part.part.display_window == DISPLAY
    rows, columns = region.slices_in(DATA)
    for name, pixels in part.part.channels.items():
        assert np.array_equal(pixels, full.part.channels[name][rows, columns])
    assert np.array_equal(matte_of(part), matte_of(full)[rows, columns])


@pytest.mark.parametrize("factor", [2, 4])
def test_a_proxy_is_the_whole_picture_smaller(shot: Path, factor: int) -> None:
    render(gain_job(shot, "1001").model_copy(update={"proxy": factor}))
    small = comp(shot, 1001)
    window = small.part.display_window
    assert (window.width, window.height) == (48 // factor, 32 // factor)
    matte = matte_of(small)
    _, x = np.nonzero(matte)
    assert x.mean() + 0.5 + small.part.data_window.x == pytest.approx(24 / factor, abs=0.3)
    assert np.ptp(x) == pytest.approx(2 * 8 / factor, abs=2)
    plate = plate_image(1001)
    ids = small.part.channels["id"]
    assert np.isin(ids, plate.part.channels["id"]).all()


# What is broken -------------------------------------------------------------------------------


def test_broken_and_missing_frames_are_listed_and_the_others_render(shot: Path) -> None:
    (shot / "plate.1001.exr").write_bytes(b"")
    whole = (shot / "plate.1003.exr").read_bytes()
    (shot / "plate.1003.exr").write_bytes(whole[: len(whole) // 2])
    events: list[Event] = []
    report = render(gain_job(shot, "1001-1005"), progress=events.append)
    assert [f.frame for f in report.failed] == [1001, 1003, 1005]
    assert all(isinstance(f.error, PlateError) for f in report.failed)
    assert [w.frame for w in report.written] == [1002, 1004]
    assert report.exit_code == 1
    for failure in report.failed:
        assert str(failure.frame) in str(failure.error) and "\n" not in str(failure.error)
    names = {p.name for p in (shot / "out").iterdir()}
    assert names == {f"comp.{f}{s}" for f in (1002, 1004) for s in (".exr", ".vfxswap.json")}
    assert [e.frame for e in events if e.kind == "failed"] == [1001, 1003, 1005]
    assert events[-1].finished == events[-1].total == 5


def test_when_no_frame_can_be_read_then_the_render_says_why(shot: Path) -> None:
    with pytest.raises(PlateError, match="no such file"):
        render(gain_job(shot, "2001-2003"))


def test_a_frame_of_another_size_fails_alone(shot: Path) -> None:
    other = plate_image(1002, data=Box(0, 0, 40, 30), display=Box(0, 0, 40, 30))
    write_image(shot / "plate.1002.exr", other)
    report = render(gain_job(shot))
    assert [f.frame for f in report.failed] == [1002] and "48x32" in str(report.failed[0].error)


def test_inf_and_nan_of_the_plate_are_reported_by_frame_and_channel(shot: Path) -> None:
    image = plate_image(1002)
    image.part.channels["G"][0, 0] = np.nan
    image.part.channels["Z"][1, :2] = np.inf
    write_image(shot / "plate.1002.exr", image)
    report = render(gain_job(shot))
    assert report.exit_code == 0
    said = [note for frame, _, note in report.notes if frame == 1002]
    assert "plate holds 1 nan in channel G" in said and "plate holds 2 inf in channel Z" in said
    assert {frame for frame, _, _ in report.notes} == {1002}


def test_an_unstated_colour_space_is_assumed_aloud(shot: Path) -> None:
    image = plate_image(1001)
    bare = Part(image.part.channels, DATA, DISPLAY, metadata={})
    write_image(shot / "plate.1001.exr", Image((bare,), image.rgb_names, 0, "A"))
    report = render(gain_job(shot, "1001"))
    assert any("assumed" in note for _, _, note in report.notes)


def test_when_the_output_cannot_be_written_then_the_loop_ends(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def full(unit: Unit, *rest: Any, **named: Any) -> None:
        seen.append(unit.frame)
        if unit.frame == 1002:
            raise OutputError("cannot be written", got="No space left", file=unit.target)
        write_unit(unit, *rest, **named)

    monkeypatch.setattr("vfxswap.render.loop.write_unit", full)
    write_shot(shot, range(1005, 1031))
    report = render(gain_job(shot, "1001-1030"))
    assert report.exit_code == 1 and [f.frame for f in report.failed] == [1002]
    assert report.not_reached and report.not_reached[-1] == 1030
    assert len(seen) + len(report.not_reached) == 30


def test_when_an_effect_breaks_then_the_error_is_not_swallowed(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Gain, "__call__", broken)
    with pytest.raises(ZeroDivisionError):
        render(gain_job(shot))
    assert list((shot / "out").iterdir()) == []


# Going on -------------------------------------------------------------------------------------


def test_skip_existing_redoes_what_is_broken_and_leaves_the_rest(shot: Path) -> None:
    render(gain_job(shot))
    out = shot / "out"
    whole = hashes(out)
    torn = out / "comp.1002.exr"
    torn.write_bytes(torn.read_bytes()[:-100])
    sidecar_path(out / "comp.1003.exr").unlink()
    stamps = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    report = render(gain_job(shot), skip_existing=True)
    assert [w.frame for w in report.written] == [1002, 1003]
    assert [p.name for p in report.skipped] == ["comp.1001.exr", "comp.1004.exr"]
    assert hashes(out) == whole
    for name in ("comp.1001.exr", "comp.1004.exr", "comp.1004.vfxswap.json"):
        assert (out / name).stat().st_mtime_ns == stamps[name]


def test_without_overwrite_existing_frames_fail_and_stay(shot: Path) -> None:
    render(gain_job(shot, "1001-1002"))
    before = hashes(shot / "out")
    report = render(gain_job(shot, "1001-1003", gain=9.0), overwrite=False)
    assert [f.frame for f in report.failed] == [1001, 1002]
    assert {n: h for n, h in hashes(shot / "out").items() if "1003" not in n} == before


def test_when_cancelled_then_the_frame_in_hand_is_finished(shot: Path) -> None:
    cancel = threading.Event()

    def listen(event: Event) -> None:
        if event.kind == "done":
            cancel.set()

    write_shot(shot, range(1005, 1031))
    report = render(gain_job(shot, "1001-1030"), progress=listen, cancel=cancel)
    assert report.cancelled and report.exit_code == 143
    assert 1 <= len(report.written) <= 6
    assert len(report.written) + len(report.not_reached) == 30
    assert all(verify_image(p) and verify_sidecar(p) for p in report.paths)
    assert len(list((shot / "out").iterdir())) == 2 * len(report.written)
    rest = render(gain_job(shot, "1001-1030"), skip_existing=True)
    assert len(rest.written) + len(rest.skipped) == 30


# Provenance -----------------------------------------------------------------------------------


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


# Views ----------------------------------------------------------------------------------------


def test_views_in_files_of_their_own(tmp_path: Path, gain_effect: type[Gain]) -> None:
    for view in ("left", "right"):
        for frame in (1001, 1002):
            write_image(tmp_path / view / f"p.{view}.{frame}.exr", plate_image(frame))
    job = gain_job(tmp_path, "1001-1002", noise=1.0).model_copy(
        update={
            "plate": Plate(pattern=str(tmp_path / "%V" / "p.%V.#.exr")),
            "output": Output(pattern=str(tmp_path / "out" / "comp.%V.#.exr")),
        }
    )
    report = render(job)
    assert [p.name for p in report.paths] == [
        f"comp.{v}.{f}.exr" for f in (1001, 1002) for v in ("left", "right")
    ]
    left, right = (read_image(p).part.channels["R"] for p in report.paths[:2])
    assert not np.array_equal(left, right)
    one_file = job.model_copy(update={"output": Output(pattern=str(tmp_path / "comp.#.exr"))})
    with pytest.raises(JobError, match="%V"):
        render(one_file)


# Jobs that cannot work ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"effects": (EffectSpec(effect="gian"),)}, JobError, "gain"),
        ({"effects": (EffectSpec(effect="gain", settings={"gian": 1}),)}, JobError, "perhaps gain"),
        ({"effects": (EffectSpec(effect="gain", settings={"gain": -1}),)}, JobError, "gain"),
        ({"output": Output(pattern="comp.exr")}, JobError, "frame number"),
        ({"output": Output(pattern="comp.#.png")}, JobError, "EXR"),
        ({"effects": (EffectSpec(effect="swap", settings={"persona": "alde"}),)}, ModelError,
         "alder"),
        ({"effects": (EffectSpec(effect="swap", settings={"persona": "rowan"}),)}, ConsentError,
         "show"),
        ({"effects": (EffectSpec(effect="swap", settings={"persona": "willow"}),),
          "show": "kestrel"}, ConsentError, "expired"),
    ],
)  # fmt: skip
def test_a_bad_job_is_refused_before_anything_is_written(
    shot: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    error: type[Exception],
    says: str,
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_models(shot / "models")))
    job = gain_job(shot).model_copy(update=change)
    with pytest.raises(error, match=says):
        render(job)
    findings = [f for f in check(job) if f.level == "error"]
    assert any(says in f.message and f.exit_code == 2 for f in findings)
    assert not (shot / "out").exists()


def test_the_plate_is_never_overwritten(shot: Path) -> None:
    job = gain_job(shot).model_copy(update={"output": Output(pattern=str(shot / "plate.####.exr"))})
    before = (shot / "plate.1001.exr").read_bytes()
    with pytest.raises(JobError, match="overwrite the plate"):
        render(job)
    assert (shot / "plate.1001.exr").read_bytes() == before


def test_frames_outside_the_job_are_refused(shot: Path) -> None:
    with pytest.raises(JobError, match="1009"):
        render(gain_job(shot), frames=(1001, 1009))


# Checks ---------------------------------------------------------------------------------------


def test_a_good_job_has_no_findings_and_checking_leaves_nothing(shot: Path) -> None:
    before = sorted(shot.rglob("*"))
    assert check(gain_job(shot)) == []
    assert sorted(shot.rglob("*")) == before


def test_check_finds_what_a_render_would_trip_over(shot: Path) -> None:
    (shot / "plate.1002.exr").write_bytes(b"no picture")
    image = plate_image(1003)
    image.part.channels["R"][0, 0] = np.inf
    write_image(shot / "plate.1003.exr", image)
    job = gain_job(shot, "1001-1005")
    spec = job.effects[0].model_copy(
        update={"mattes": {"holdout": MatteSource(pattern=str(shot / "roto.#.exr"))}}
    )
    said = {f.message: f for f in check(job.model_copy(update={"effects": (spec,)}))}
    text = "\n".join(said)
    assert "1 of 5 frames are missing" in text and "1005" in text
    assert "plate.1002.exr" in text and "roto.1001.exr" in text
    assert "channel R holds inf or nan on 1003" in text
    assert {f.exit_code for f in said.values() if f.level == "error"} == {1}


def test_check_warns_when_the_disk_is_too_small(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(shot)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert any("needed" in f.message for f in check(gain_job(shot)))


def test_tampered_weights_are_found(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = write_models(shot / "models")
    monkeypatch.setenv("VFXSWAP_MODELS", str(models))
    weights = models / "tinycomb" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    job = gain_job(shot).model_copy(
        update={"effects": (EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),)}
    )
    assert any("weights are not those of the card" in f.message for f in check(job))
    with pytest.raises(ModelError, match="damaged"):
        render(job)


# Tracks ---------------------------------------------------------------------------------------


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


def test_views_in_one_multi_part_file(tmp_path: Path, gain_effect: type[Gain]) -> None:
    from vfxswap.io.openexr import PartToWrite, write_scanlines

    for frame in (1001, 1002):
        parts = [
            PartToWrite(view, plate_image(frame + i).part.channels, {}, view)
            for i, view in enumerate(("left", "right"))
        ]
        with (tmp_path / f"plate.{frame}.exr").open("wb") as file:
            write_scanlines(file, parts, data_window=DATA, display_window=DISPLAY, pixel_aspect=1.0)
    output = Output(pattern=str(tmp_path / "out" / "comp.%V.#.exr"))
    job = gain_job(tmp_path, "1001-1002").model_copy(update={"output": output})
    report = render(job)
    assert [(w.frame, w.view) for w in report.written] == [
        (1001, "left"), (1001, "right"), (1002, "left"), (1002, "right")
    ]  # fmt: skip
    right = read_image(tmp_path / "out" / "comp.right.1001.exr")
    plate = plate_image(1002).part.channels
    outside = matte_of(right) == 0
    assert np.array_equal(right.part.channels["R"][outside], plate["R"][outside])
    only_right = job.model_copy(update={"views": ("right",)})
    assert [w.view for w in render(only_right).written] == ["right", "right"]
