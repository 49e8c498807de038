"""A synthetic performer at 2K with overscan, highlights and grain through the example script, with
an engine that is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_nuke import FakeNuke
from nuke_studio import FRAMES, ROOT, assert_outside_is_the_plate, idle, knob, plate_of
from worker_lines import executable

from vfxswap.effects.describe import description
from vfxswap.io.exr import read_image, write_image


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_2k_performer_is_swapped_though_the_engine_dies_and_the_rest_keeps_every_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("anny", reason="the synthetic performer needs the extra [synth]")
    for name in os.environ:
        if name.startswith(("VFXSWAP", "OCIO")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = tmp_path / "vfxswap.json"
    settings.write_text(json.dumps({"device": "cpu", "threads": 1}))
    engine = executable(
        tmp_path / "engine", "import runpy\nrunpy.run_module('vfxswap', run_name='__main__')\n"
    )
    monkeypatch.setenv("VFXSWAP_ENGINE", str(engine))
    monkeypatch.setenv("VFXSWAP_NUKE_SETTINGS", str(settings))
    subprocess.run(
        [engine, "synth", "-o", str(tmp_path / "plate.####.exr"), "--frames", "3", "--width",
         "2048", "--height", "1152", "--overscan-px", "16", "--highlights", "--grain", "0.05",
         "--framing-m", "0.6", "--no-truth", "--progress", "plain"],
        check=True, capture_output=True, timeout=900,
    )  # fmt: skip
    for frame in FRAMES:
        add_negatives(tmp_path / f"plate.{frame}.exr")
    example = (ROOT / "gizmos" / "examples" / "swap_matte_work.nk").read_text(encoding="utf-8")
    script = tmp_path / "swap_matte_work.nk"
    script.write_text(example)
    with FakeNuke() as fake:
        fake.load_plugin(ROOT / "plugins" / "nuke")
        fake.open(script)
        node: Any = fake.nuke.toNode("VfxSwap1")
        knob(node, "persona").setValue("basalt")
        fake.press(node, "vfx_render")
        from vfxswap_nuke import host
        from vfxswap_nuke.settings import load_settings

        first = tmp_path / "vfxswap" / "VfxSwap1" / "v1" / "result_proxy1.main.1001.exr"
        try:
            fake.pump(lambda: first.exists() or idle(fake), timeout_s=900)
            killed = host.engine(load_settings()).pid
            assert killed is not None, (fake.messages, fake.printed)
            os.kill(killed, signal.SIGKILL)
            fake.pump(lambda: idle(fake), timeout_s=900)
            assert host.engine(load_settings()).pid not in (None, killed)
        finally:
            host.close_engine()
        (run,) = host.RUNS.all()
        log = list(run.log)
        died = next(i for i, line in enumerate(log) if "killed by SIGKILL" in line)
        assert any("a new engine goes on" in line for line in log[died:]), log
        made = [line for line in log if " in " in line and "frame 1" in line]
        assert [line.split()[2] for line in made] == [str(frame) for frame in FRAMES], log
        assert str(knob(node, "status").value()).startswith("3 of 3 frames: 3 rendered")
        assert not list(first.parent.glob("*.tmp*")), "nothing half-written stays"
        assert knob(node, "use").value(), (fake.messages, fake.printed)
        for frame in FRAMES:
            check_2k(fake, node, frame)
        over = fake.picture(fake.nuke.toNode("SkinGrade"), 1002)
        assert np.isfinite(over.plane("rgba.red")).all()
        comp = fake.farm_render(1002, 1002)
        assert [Path(p).name for p in comp] == ["comp.1002.exr"]


def add_negatives(path: Path) -> None:
    """A corner as a denoiser leaves it: below zero."""
    image = read_image(path)
    changed = {}
    for name in image.rgb_names:
        changed[name] = image.part.channels[name].copy()
        changed[name][20:60, 20:90] = -0.25
    write_image(path, image.with_channels(changed), ())


def check_2k(fake: FakeNuke, node: Any, frame: int) -> None:
    plate, made = plate_of(fake, frame), fake.picture(node, frame)
    assert (plate.bbox.width, plate.bbox.height) == (2048 + 34, 1152 + 34)
    assert plate.plane("rgba.red").max() > 8 and plate.plane("rgba.blue").min() < 0
    matte = made.plane("swap_matte.red", plate.bbox)
    assert_outside_is_the_plate(made, plate, matte)
    share = (matte > 0).mean()
    assert 0.01 < share < 0.5, "a face was found and swapped"
    inside = matte > 0.5
    moved = np.abs(made.plane("rgba.red", plate.bbox) - plate.plane("rgba.red"))[inside]
    assert moved.mean() > 0.005
    layers = {
        layer["name"]: layer["channels"] for layer in description("swap")["effects"][0]["layers"]
    }
    assert {f"{n}.{c}" for n, channels in layers.items() for c in channels} <= set(made.channels)
