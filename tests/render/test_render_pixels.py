"""What a render changes and what it keeps, also in previews."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import JsonValue
from rendered import FRAMES, comp, matte_of, shot
from small_shot import (
    DATA,
    DISPLAY,
    Gain,
    gain_effect,
    gain_job,
    plate_image,
)

from vfxswap.effects.base import EffectResult
from vfxswap.geometry import Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import read_image, write_image, write_png
from vfxswap.job import EffectSpec, MatteSource, Plate
from vfxswap.render import render

__all__ = ["gain_effect", "shot"]


# Pixels -----------------------------------------------------------------------------------------


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


# Previews ---------------------------------------------------------------------------------------


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
