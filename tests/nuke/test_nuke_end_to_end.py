"""A shot through a group: plate, Render in the fake of Nuke, a real engine, EXR, layers again.

The engine is a process of its own that reads and writes real files. Its effect is a gain in a
disc, which needs no network; test_nuke_2k.py swaps a performer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_nuke import FakeNuke
from nuke_rules import nuke_channels, slow_reasons, window_faults
from nuke_studio import (
    FRAMES,
    OUTSIDE_FRAME,
    RGB,
    Artist,
    Studio,
    assert_layers_equal_the_file,
    assert_outside_is_the_plate,
    knob,
    plate_of,
    result,
)
from small_shot import DISPLAY
from worker_lines import PATIENCE_S

from vfxswap.io.exr import read_image
from vfxswap.io.openexr import read_headers


@pytest.fixture(scope="module")
def artist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artist]:
    """One session, so that tests share its engine; `build` opens a script anew."""
    studio = Studio(tmp_path_factory.mktemp("studio"))
    with pytest.MonkeyPatch.context() as patch:
        studio.enter(patch)
        with FakeNuke() as fake:
            made = Artist(fake, studio)
            try:
                yield made
            finally:
                made.close()


# The way of a shot --------------------------------------------------------------------------------


def test_a_shot_goes_through_the_engine_and_its_layers_come_back(
    artist: Artist, tmp_path: Path
) -> None:
    fake = artist.fake
    node = artist.build(tmp_path, gain=3.0)
    artist.press(node)
    assert knob(node, "use").value() is True, fake.printed
    assert knob(node, "writing").value() is False
    assert fake.messages == []
    for frame in FRAMES:
        plate, made = plate_of(fake, frame), fake.picture(node, frame)
        assert plate.bbox == OUTSIDE_FRAME
        assert plate.plane("rgba.red").max() > 800 and plate.plane("rgba.red").min() < 0
        matte = made.plane("gain_matte.red", plate.bbox)
        assert_outside_is_the_plate(made, plate, matte)
        core = matte == 1
        for name in RGB:
            ours, theirs = made.plane(name, plate.bbox)[core], plate.plane(name)[core]
            # Through the working space and back, in float.
            assert np.allclose(ours, 3 * theirs, rtol=1e-4, atol=1e-4) and ours.min() < 0
        assert_layers_equal_the_file(made, result(tmp_path, frame))


def test_results_keep_to_the_readers_rules(artist: Artist, tmp_path: Path) -> None:
    artist.press(artist.build(tmp_path))
    headers = read_headers(result(tmp_path, 1001))
    names = nuke_channels(headers)
    assert len(names) == len(set(names))
    assert {"rgba.red", "rgba.alpha", "other.id", "gain_face.alpha", "gain_matte.red"} <= set(names)
    assert window_faults(headers) == []
    assert slow_reasons(headers) == []


def test_layers_can_be_worked_on_in_the_graph(artist: Artist, tmp_path: Path) -> None:
    """The patch merged over the plate by hand is the engine's comp, where the matte is whole."""
    node = artist.build(tmp_path, gain=3.0)
    artist.press(node)
    nodes = artist.fake.nuke.nodes
    rows = " ".join(
        f"gain_face.{c} 0 {i} rgba.{c} 0 {i}"
        for i, c in enumerate(("red", "green", "blue", "alpha"))
    )
    patch = nodes.Shuffle2(inputs=[node], in1="gain_face", mappings=f"4 {rows}")
    over = nodes.Merge2(inputs=[node.input(0), patch], operation="over")
    made, comp = artist.fake.picture(over, 1002), artist.fake.picture(node, 1002)
    plate = plate_of(artist.fake, 1002)
    outside = comp.plane("gain_face.alpha", made.bbox) == 0
    inside = comp.plane("gain_face.alpha", made.bbox) == 1
    for name in RGB:
        assert np.array_equal(made.plane(name)[outside], plate.plane(name, made.bbox)[outside])
        # The patch is stored in halves.
        assert np.allclose(made.plane(name)[inside], comp.plane(name, made.bbox)[inside], rtol=1e-3)


def test_a_matte_that_is_connected_holds_the_effect_out(artist: Artist, tmp_path: Path) -> None:
    node = artist.build(tmp_path, gain=3.0)
    mask = artist.fake.nuke.nodes.Constant(
        name="Holdout", channels="alpha", color=[0, 0, 0, 1], format="48 32 0 0 48 32 1"
    )
    node.setInput(1, mask)
    artist.press(node)
    made = artist.fake.picture(node, 1001)
    assert not made.plane("gain_matte.red", DISPLAY).any(), "held out everywhere in the format"


def test_an_animated_knob_counts_on_each_frame(artist: Artist, tmp_path: Path) -> None:
    node = artist.build(tmp_path)
    gain = knob(node, "gain")
    gain.setAnimated()
    gain.setValueAt(1.0, 1001)
    gain.setValueAt(5.0, 1003)
    artist.press(node)
    for frame, wanted in zip(FRAMES, (1.0, 3.0, 5.0), strict=True):
        made, plate = artist.fake.picture(node, frame), plate_of(artist.fake, frame)
        core = made.plane("gain_matte.red", plate.bbox) == 1
        ratio = made.plane("rgba.red", plate.bbox)[core] / plate.plane("rgba.red")[core]
        assert np.median(ratio) == pytest.approx(wanted, rel=1e-3)


def test_one_frame_at_a_proxy_is_shown_in_blocks_at_full_size(
    artist: Artist, tmp_path: Path
) -> None:
    node = artist.build(tmp_path, gain=3.0, proxy="2")
    artist.fake.nuke.frame(1002)
    artist.press(node, "vfx_render_frame")
    made = artist.fake.picture(node, 1002)
    assert (made.width, made.height) == (DISPLAY.width, DISPLAY.height)
    red = made.plane("rgba.red", DISPLAY)
    for dx, dy in ((0, 1), (1, 0), (1, 1)):
        assert np.array_equal(red[::2, ::2], red[dy::2, dx::2])
    assert result(tmp_path, 1002, proxy=2).exists()
    assert not result(tmp_path, 1001, proxy=2).exists()
    knob(node, "proxy").setValue("1")
    with pytest.raises(RuntimeError, match="No such file"):
        artist.fake.picture(node, 1002)


def test_every_view_goes_to_the_engine_and_comes_back_as_its_own(
    artist: Artist, tmp_path: Path
) -> None:
    node = artist.build(tmp_path, gain=3.0)
    fake = artist.fake
    fake.root_node["views"].setValue("left #ff0000\nright #00ff00")  # type: ignore[attr-defined]
    plates = artist.studio.folder / "plates"
    for frame in FRAMES:
        for view, source in (("left", frame), ("right", FRAMES[0] + FRAMES[-1] - frame)):
            (tmp_path / f"plate.{view}.{frame}.exr").symlink_to(plates / f"plate.{source}.exr")
    plate: Any = node.input(0)
    plate["file"].setValue((tmp_path / "plate.%V.%04d.exr").as_posix())
    artist.press(node)
    assert str(knob(node, "status").value()).startswith("6 of 6 frames: 6 rendered"), artist.log()
    for frame in FRAMES:
        for view in ("left", "right"):
            ours, theirs = fake.picture(node, frame, view), fake.picture(plate, frame, view)
            matte = ours.plane("gain_matte.red", theirs.bbox)
            assert_outside_is_the_plate(ours, theirs, matte)
            core = matte == 1
            red, was = ours.plane("rgba.red", theirs.bbox)[core], theirs.plane("rgba.red")[core]
            assert np.allclose(red, 3 * was, rtol=1e-4, atol=1e-4)
    left, right = (fake.picture(node, FRAMES[0], view) for view in ("left", "right"))
    assert not np.array_equal(left.plane("rgba.red"), right.plane("rgba.red"))


def test_files_in_another_space_come_back_in_the_scripts_own(
    artist: Artist, tmp_path: Path
) -> None:
    node = artist.build(tmp_path, gain=1.0, space="Linear Rec.709 (sRGB)")
    artist.press(node)
    plate, made = plate_of(artist.fake, 1001), artist.fake.picture(node, 1001)
    written = read_image(result(tmp_path, 1001)).rgb()
    assert not np.allclose(written, np.stack([plate.plane(n) for n in RGB], -1), rtol=0.01)
    for name in RGB:
        difference = np.abs(made.plane(name, plate.bbox) - plate.plane(name))
        assert difference.max() < 1e-3 and np.median(difference) < 1e-6
    # The knob alone changes nothing of a result that is there.
    knob(node, "space").setValue("ACEScg")
    again = artist.fake.picture(node, 1001)
    assert np.array_equal(again.plane("rgba.red"), made.plane("rgba.red"))


def test_a_render_in_the_background_gives_the_same_pixels(artist: Artist, tmp_path: Path) -> None:
    node = artist.build(tmp_path, gain=3.0)
    artist.press(node)
    before = [artist.fake.picture(node, frame) for frame in FRAMES]
    knob(node, "version").setValue(2)
    artist.press(node, "vfx_background")
    assert all(result(tmp_path, frame, take=2).exists() for frame in FRAMES), artist.fake.printed
    for frame, wanted in zip(FRAMES, before, strict=True):
        made = artist.fake.picture(node, frame)
        assert all(np.array_equal(made.plane(n), wanted.plane(n)) for n in wanted.channels)


# On the farm --------------------------------------------------------------------------------------


def test_a_script_renders_its_result_where_vfxswap_is_not_installed(
    artist: Artist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = artist.fake
    node = artist.build(tmp_path, gain=3.0)
    fake.nuke.nodes.Write(
        name="Comp", inputs=[node], file=(tmp_path / "comp" / "comp.%04d.exr").as_posix(),
        file_type="exr", channels="rgb", datatype="32 bit float", raw=True,
        create_directories=True,
    )  # fmt: skip
    artist.press(node)
    fake.save(artist.script)
    wanted = [fake.picture(node, frame) for frame in FRAMES]
    monkeypatch.delenv("VFXSWAP_ENGINE")
    plates = [p.stat().st_mtime_ns for p in result(tmp_path, 1001).parent.glob("plate.*")]
    with FakeNuke(gui=False) as farm:
        farm.open(artist.script)
        written = farm.farm_render(FRAMES[0], FRAMES[-1])
        assert [Path(p).name for p in written] == [f"comp.{f}.exr" for f in FRAMES]
    assert plates == [p.stat().st_mtime_ns for p in result(tmp_path, 1001).parent.glob("plate.*")]
    for path, picture in zip(written, wanted, strict=True):
        rgb = read_image(path).rgb()
        window = read_image(path).part.data_window
        for index, name in enumerate(RGB):
            assert np.array_equal(rgb[..., index], picture.plane(name, window))


# What goes wrong ----------------------------------------------------------------------------------


def test_an_engine_that_is_killed_in_a_frame_is_replaced_and_the_shot_completes(
    artist: Artist, tmp_path: Path
) -> None:
    fake = artist.fake
    node = artist.build(tmp_path, gain=3.0, wait_s=0.7)
    fake.press(node, "vfx_render")
    fake.pump(result(tmp_path, 1001).exists, timeout_s=PATIENCE_S)
    first = artist.engine_pid()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    fake.pump(artist.idle, timeout_s=PATIENCE_S)
    assert artist.engine_pid() not in (None, first)
    assert knob(node, "use").value() is True
    assert all(result(tmp_path, frame).exists() for frame in FRAMES), artist.log()
    assert not list(result(tmp_path, 1001).parent.glob("*.tmp*")), "nothing half-written stays"
    assert "SIGKILL" in artist.log() and str(knob(node, "status").value()).startswith("3 of 3")
    for frame in FRAMES:
        made = fake.picture(node, frame)
        assert_outside_is_the_plate(
            made, plate_of(fake, frame), made.plane("gain_matte.red", OUTSIDE_FRAME)
        )


def test_a_cancelled_render_keeps_its_frames_and_can_go_on(artist: Artist, tmp_path: Path) -> None:
    fake = artist.fake
    node = artist.build(tmp_path, gain=3.0, wait_s=0.7)
    fake.press(node, "vfx_render")
    fake.pump(result(tmp_path, 1001).exists, timeout_s=PATIENCE_S)
    fake.press(node, "vfx_cancel")
    fake.pump(artist.idle, timeout_s=PATIENCE_S)
    assert result(tmp_path, 1001).exists() and not result(tmp_path, 1003).exists()
    stamp = result(tmp_path, 1001).stat().st_mtime_ns
    artist.press(node)
    assert all(result(tmp_path, frame).exists() for frame in FRAMES)
    assert result(tmp_path, 1001).stat().st_mtime_ns == stamp, "what is there is not rendered again"


def test_a_missing_plate_frame_is_told_and_nothing_stays_switched_on(
    artist: Artist, tmp_path: Path
) -> None:
    fake = artist.fake
    node = artist.build(tmp_path)
    plate: Any = node.input(0)
    (tmp_path / "plate.1001.exr").symlink_to(artist.studio.folder / "plates" / "plate.1001.exr")
    plate["file"].setValue((tmp_path / "plate.%04d.exr").as_posix())
    artist.press(node)
    assert len(fake.messages) == 1 and "plate.1002.exr" in fake.messages[0]
    assert knob(node, "writing").value() is False
    assert knob(node, "use").value() is False, "the plate is shown"


def test_a_missing_result_frame_is_an_error_not_a_black_frame(
    artist: Artist, tmp_path: Path
) -> None:
    node = artist.build(tmp_path)
    artist.press(node)
    result(tmp_path, 1002).unlink()
    artist.fake.files.clear()
    with pytest.raises(RuntimeError, match=r"result_proxy1\.main\.1002\.exr.*No such file"):
        artist.fake.picture(node, 1002)
    artist.fake.picture(node, 1003)


def test_a_node_that_is_deleted_while_it_renders_stops_nothing(
    artist: Artist, tmp_path: Path
) -> None:
    fake = artist.fake
    node = artist.build(tmp_path, wait_s=0.2)
    fake.press(node, "vfx_render")
    fake.pump(result(tmp_path, 1001).exists, timeout_s=PATIENCE_S)
    fake.nuke.delete(node)
    fake.pump(artist.idle, timeout_s=PATIENCE_S)
    assert not [line for line in fake.printed if "Traceback" in line or "not attached" in line]
    assert result(tmp_path, 1003).exists()
