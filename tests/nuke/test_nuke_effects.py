"""Every effect that ships, from its group through a real engine and its starter models back into
the graph: a synthetic performer, small, with overscan, highlights and pixels below zero."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_nuke import FakeNuke, Group, Picture
from nuke_rules import nuke_channels, slow_reasons, window_faults
from nuke_studio import ROOT, assert_outside_is_the_plate, idle, knob, plate_of
from worker_lines import executable

from vfxswap.color import ColorManager
from vfxswap.effects.describe import description
from vfxswap.image import Image
from vfxswap.io.exr import read_image, write_image
from vfxswap.io.openexr import read_headers
from vfxswap.render.references import read_still

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FRAMES = (1001, 1002)
SIZE = (320, 240)
ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in description()["effects"]}
SET: dict[str, dict[str, Any]] = {
    "swap": {"persona": "basalt"},
    "style": {"style": "ink_wash=0.7\nhatching=0.3"},
    "mosaic": {"themes": "gems", "size_min_px": 16.0, "size_max_px": 32.0},
    "features": {"feature": "hair=1 skin=1"},
    "guided": {"frames": 1.0, "sphere": -5.0, "light1_intensity": 0.8},
}
"""What an artist sets on each group; all else stays as it ships."""
MATTES = {"swap": "swap_matte", "style": "style_matte", "mosaic": "mosaic_matte",
          "features": "feature_matte", "guided": "guided_matte"}  # fmt: skip
PATIENCE_S = 600.0


class Shot:
    """A performer's plate, a guest's picture with its card, and an engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = executable(
            folder / "engine", "import runpy\nrunpy.run_module('vfxswap', run_name='__main__')\n"
        )
        self._synth("plate.####.exr", "amber", len(FRAMES), "--overscan-px", "8", "--highlights")
        self._synth("guest.####.exr", "cedar", 1, "--seed", "5")
        for frame in FRAMES:
            self._spoil(folder / f"plate.{frame}.exr")
        (folder / "guest.1001.card.toml").write_text('id = "cedar"\nsynthetic = true\n')

    def _synth(self, name: str, persona: str, frames: int, *more: str) -> None:
        subprocess.run(
            [self.engine, "synth", "-o", str(self.folder / name), "--frames", str(frames),
             "--personas", persona, "--width", str(SIZE[0]), "--height", str(SIZE[1]),
             "--framing-m", "0.5", "--no-truth", "--progress", "plain", *more],
            check=True, capture_output=True, timeout=900,
        )  # fmt: skip

    def _spoil(self, path: Path) -> None:
        """A corner below zero, and one beyond what a display shows."""
        image: Image = read_image(path)
        changed = {name: image.part.channels[name].copy() for name in image.rgb_names}
        for plane in changed.values():
            plane[:12, :12], plane[:12, -12:] = -0.25, 60.0
        write_image(path, image.with_channels(changed), ())


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    pytest.importorskip("anny", reason="the synthetic performer needs the extra [synth]")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("VFXSWAP", "OCIO")):
                patch.delenv(name)
        patch.setenv("OMP_NUM_THREADS", "1")
        return Shot(tmp_path_factory.mktemp("shot"))


@pytest.fixture
def fake(shot: Shot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNuke]:
    for name in os.environ:
        if name.startswith(("VFXSWAP", "OCIO")):
            monkeypatch.delenv(name)
    settings = tmp_path / "vfxswap.json"
    settings.write_text(json.dumps({"device": "cpu", "threads": 1}))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("VFXSWAP_ENGINE", str(shot.engine))
    monkeypatch.setenv("VFXSWAP_NUKE_SETTINGS", str(settings))
    with FakeNuke() as made:
        made.load_plugin(ROOT / "plugins" / "nuke")
        yield made
        from vfxswap_nuke import host

        host.close_engine()


def build(fake: FakeNuke, shot: Shot, folder: Path, effect: str) -> Any:
    """A saved script with the plate and the shipped group of an effect on it, as an artist sets
    it."""
    root: Any = fake.root_node
    root["first_frame"].setValue(FRAMES[0])
    root["last_frame"].setValue(FRAMES[-1])
    root["format"].setValue("{0} {1} 0 0 {0} {1} 1 small".format(*SIZE))
    fake.frame_now = FRAMES[0]
    plate = read(fake, "Plate", shot.folder / "plate.%04d.exr")
    node = fake.create(f"Vfx{effect.capitalize()}")
    assert isinstance(node, Group)
    node.setInput(0, plate)
    for name, value in SET[effect].items():
        knob(node, name).setValue(value)
    fake.save(folder / "shot.nk")
    return node


def read(fake: FakeNuke, name: str, file: Path) -> Any:
    ends = {"first": FRAMES[0], "last": FRAMES[-1]}
    return fake.nuke.nodes.Read(name=name, file=file.as_posix(), raw=True, **ends)


def connect(node: Any, name: str, source: Any) -> None:
    node.setInput(int(node.node(name)["number"].value()), source)


def in_working_space(fake: FakeNuke, source: Any) -> Any:
    """A performer's picture as an artist brings it in: its file says Rec.709 primaries."""
    spaces = {"in_colorspace": "Linear Rec.709 (sRGB)", "out_colorspace": "scene_linear"}
    return fake.nuke.nodes.OCIOColorSpace(inputs=[source], channels="rgb", **spaces)


def press(fake: FakeNuke, node: Any, button: str = "vfx_render") -> str:
    fake.press(node, button)
    fake.pump(lambda: idle(fake), timeout_s=PATIENCE_S)
    return str(knob(node, "status").value())


@pytest.mark.parametrize("effect", ROWS)
def test_an_effect_goes_from_its_group_to_its_layers_and_keeps_every_bit_outside(
    effect: str, shot: Shot, fake: FakeNuke, tmp_path: Path
) -> None:
    node = build(fake, shot, tmp_path, effect)
    if effect == "features":
        guest = read(fake, "Guest", shot.folder / "guest.1001.exr")
        connect(node, "reference", in_working_space(fake, guest))
    if effect in ("style", "mosaic"):
        white = fake.nuke.nodes.Constant(
            name="White", channels="alpha", color=[0, 0, 0, 1],
            format="{0} {1} 0 0 {0} {1} 1".format(*SIZE),
        )  # fmt: skip
        box = [0, 0, SIZE[0] // 2, SIZE[1]]
        half = fake.nuke.nodes.Crop(inputs=[white], box=box)
        connect(node, "holdout", half)
    status = press(fake, node)
    assert knob(node, "use").value(), (status, fake.messages, fake.printed)
    assert status.startswith("2 of 2 frames: 2 rendered")
    for frame in FRAMES:
        plate, made = plate_of(fake, frame), fake.picture(node, frame)
        matte = made.plane(f"{MATTES[effect]}.red", plate.bbox)
        assert_outside_is_the_plate(made, plate, matte)
        assert plate.plane("rgba.red").min() < 0 and plate.plane("rgba.red").max() >= 60
        inside = matte > 0.5
        moved = np.abs(made.plane("rgba.red", plate.bbox) - plate.plane("rgba.red"))
        assert inside.mean() > 0.005 and moved[inside].mean() > 1e-4
        layers = {layer["name"]: layer["channels"] for layer in ROWS[effect]["layers"]}
        assert {f"{n}.{c}" for n, cs in layers.items() for c in cs} <= set(made.channels)
    files = sorted((tmp_path / "vfxswap").rglob("result_proxy1.*.exr"))
    assert len(files) == len(FRAMES)
    for file in files:
        headers = read_headers(file)
        names = nuke_channels(headers)
        assert {f"{n}.{c}" for n, cs in layers.items() for c in cs} <= set(names)
        assert len(names) == len(set(names))
        assert window_faults(headers) == [] and slow_reasons(headers) == []


def rendered(fake: FakeNuke, node: Any, *, take: int) -> Picture:
    knob(node, "version").setValue(take)
    status = press(fake, node, "vfx_render_frame")
    assert status.startswith("1 of 1 frames"), (status, fake.messages, fake.printed)
    return fake.picture(node, FRAMES[0])


def test_a_picture_at_an_input_gives_the_pixels_of_the_file_that_it_is_read_from(
    shot: Shot, fake: FakeNuke, tmp_path: Path
) -> None:
    """The files between Nuke and the engine say no space of their own: the job does."""
    node = build(fake, shot, tmp_path, "features")
    guest = shot.folder / "guest.1001.exr"
    knob(node, "reference").setValue(guest.as_posix())
    by_file = rendered(fake, node, take=1)
    knob(node, "reference").setValue("")
    connect(node, "reference", in_working_space(fake, read(fake, "Guest", guest)))
    by_input = rendered(fake, node, take=2)
    color, folder = ColorManager(), tmp_path / "vfxswap" / "VfxFeatures1"
    written = read_still(folder / "v2" / "reference.exr", color=color, space="scene_linear")
    own = read_still(guest, color=color)
    np.testing.assert_allclose(written[..., :3], own[..., :3], rtol=1e-4, atol=1e-5)
    for name in ("feature_matte.red", "feature_face.red", "feature_face.blue"):
        ours, theirs = (made.plane(name, made.bbox) for made in (by_input, by_file))
        # Where clusters meet, the last bit of a picture decides which feature a pixel is of.
        assert np.isclose(ours, theirs, atol=2e-3).mean() > 0.99, name
    assert by_input.plane("feature_matte.red").max() > 0.5
    (guest.with_name("bare.exr")).write_bytes(guest.read_bytes())
    connect(node, "reference", read(fake, "Bare", guest.with_name("bare.exr")))
    press(fake, node)
    assert "has no card of who is on it" in fake.messages[-1]


def test_guided_takes_its_pictures_from_inputs(shot: Shot, fake: FakeNuke, tmp_path: Path) -> None:
    """A still of the plate with overscan as the clean plate; frames that are a red card."""
    node = build(fake, shot, tmp_path, "guided")
    plain = rendered(fake, node, take=1)
    red = fake.nuke.nodes.Constant(
        name="Red", channels="rgba", color=[4, 0, 0, 1], format="256 128 0 0 256 128 1"
    )
    connect(node, "frames_picture", red)
    painted = rendered(fake, node, take=2)
    worn = painted.plane("guided_frames.alpha", painted.bbox) > 0.9
    assert worn.any() and np.median(painted.plane("guided_frames.red", painted.bbox)[worn]) > 1
    assert plain.plane("guided_frames.red", plain.bbox).max() < 1
    connect(node, "frames_picture", None)
    knob(node, "remove_refraction").setValue(True)
    knob(node, "frames").setValue(0.0)
    connect(node, "clean_plate", fake.nuke.toNode("Plate"))
    made = rendered(fake, node, take=3)
    assert made.plane("guided_matte.red", made.bbox).any()
    still = read_image(tmp_path / "vfxswap" / "VfxGuided1" / "v3" / "clean_plate.exr")
    assert still.part.data_window != still.part.display_window, "with its overscan"


def test_the_stacked_example_lays_a_mosaic_on_a_style_and_both_on_the_plate(
    shot: Shot, fake: FakeNuke, tmp_path: Path
) -> None:
    for frame in FRAMES:
        shutil.copy(shot.folder / f"plate.{frame}.exr", tmp_path)
    script = shutil.copy(ROOT / "gizmos" / "examples" / "stacked_look.nk", tmp_path)
    fake.open(Path(script))
    root: Any = fake.root_node
    root["first_frame"].setValue(FRAMES[0])
    root["last_frame"].setValue(FRAMES[-1])
    fake.frame_now = FRAMES[0]
    style, mosaic, look = (
        fake.nuke.toNode(name) for name in ("VfxStyle1", "VfxMosaic1", "LookOverPlate")
    )
    knob(style, "style").setValue("halftone")
    knob(mosaic, "themes").setValue("gems")
    for node in (style, mosaic):
        status = press(fake, node)
        assert status.startswith("2 of 2 frames: 2 rendered"), (status, fake.messages)
    for frame in FRAMES:
        plate, styled, laid = (
            plate_of(fake, frame),
            *(fake.picture(node, frame) for node in (style, mosaic)),
        )
        bbox, made = plate.bbox, fake.picture(look, frame)
        for channel in ("rgba.red", "rgba.green", "rgba.blue"):
            below, on_top = styled.plane(channel, bbox), laid.plane(channel, bbox)
            assert np.abs(on_top - below).mean() > 0.01
            less = below + 0.7 * laid.plane("mosaic_matte.red", bbox) * (on_top - below)
            own = plate.plane(channel, bbox)
            wanted = own + 0.9 * styled.plane("style_matte.red", bbox) * (less - own)
            np.testing.assert_allclose(made.plane(channel, bbox), wanted, rtol=1e-4, atol=1e-4)


def test_weights_of_styles_are_animated_in_the_curve_editor(
    shot: Shot, fake: FakeNuke, tmp_path: Path
) -> None:
    node = build(fake, shot, tmp_path, "style")
    fake.press(node, "vfx_style_entries")
    for name, values in (("ink_wash", (1.0, 0.0)), ("hatching", (0.0, 1.0))):
        weight: Any = knob(node, f"style__{name}")
        weight.setAnimated()
        for frame, value in zip(FRAMES, values, strict=True):
            weight.setValueAt(value, frame)
    assert press(fake, node).startswith("2 of 2 frames: 2 rendered")
    for frame, style in zip(FRAMES, ("ink_wash", "hatching"), strict=True):
        knob(node, "version").setValue(2)
        again = build_alone(fake, node, style, frame)
        knob(node, "version").setValue(1)
        made = fake.picture(node, frame)
        for channel in ("rgba.red", "rgba.green", "rgba.blue"):
            ours, theirs = made.plane(channel, made.bbox), again.plane(channel, made.bbox)
            np.testing.assert_array_equal(ours, theirs)


def build_alone(fake: FakeNuke, node: Any, style: str, frame: int) -> Picture:
    """What a single style gives on a frame; the animated knobs stay as they are."""
    from vfxswap_nuke.node import choose

    other: Any = fake.create("VfxStyle")
    other.setInput(0, fake.nuke.toNode("Plate"))
    choose(other, "style", style)
    press(fake, other)
    made = fake.picture(other, frame)
    fake.nuke.delete(other)
    return made


def test_the_suite_for_a_real_nuke_makes_its_checks_of_the_engine_too(
    shot: Shot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = tmp_path / "vfxswap.json"
    settings.write_text(json.dumps({"device": "cpu", "threads": 1}))
    monkeypatch.setenv("VFXSWAP_ENGINE", str(shot.engine))
    monkeypatch.setenv("VFXSWAP_NUKE_SETTINGS", str(settings))
    monkeypatch.setenv("VFXSWAP_TEST_REFERENCE", str(shot.folder / "guest.1001.exr"))
    path = ROOT / "plugins" / "nuke" / "tests" / "run_in_nuke.py"
    with FakeNuke(gui=False), pytest.raises(SystemExit) as left:
        runpy.run_path(str(path), run_name="__main__")
    from vfxswap_nuke import host

    host.close_engine()
    said = capsys.readouterr().out
    assert left.value.code == 0, said
    assert said.count("ok      ") == 13 and "skipped" not in said, said


def test_every_effect_is_set_here() -> None:
    assert set(SET) == set(MATTES) == set(ROWS)
