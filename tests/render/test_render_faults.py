"""What is broken is named, the rest renders, and a later run goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rendered import hashes, shot
from small_shot import (
    DATA,
    DISPLAY,
    Gain,
    gain_effect,
    gain_job,
    plate_image,
    write_shot,
)

from vfxswap.errors import OutputError, PlateError
from vfxswap.geometry import Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import verify_image, write_image
from vfxswap.render import Event, render
from vfxswap.render.output import sidecar_path, verify_sidecar, write_unit
from vfxswap.render.plan import Unit

__all__ = ["gain_effect", "shot"]


# What is broken ---------------------------------------------------------------------------------


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
    good = {f"comp.{f}{s}" for f in (1002, 1004) for s in (".exr", ".vfxswap.json")}
    assert names == good | {f"comp.{f}.failed.json" for f in (1001, 1003, 1005)}
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


# Going on ---------------------------------------------------------------------------------------


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
