"""A machine with a plate, a real engine and the plug-in, and an artist at the fake of Nuke."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import gain_engine
import numpy as np
import pytest
from fake_nuke import FakeNuke, Group, Picture
from small_shot import DATA, DISPLAY, write_shot
from worker_lines import PATIENCE_S, executable

from vfxswap.gizmos import gizmo
from vfxswap.io.exr import read_image

ROOT = Path(__file__).parent.parent.parent
FRAMES = (1001, 1002, 1003)
RGB = ("rgba.red", "rgba.green", "rgba.blue")
OUTSIDE_FRAME = DATA.grown(1)
"""The plate's window in Nuke: a black pixel goes around overscan."""


class Studio:
    """A machine with a plate, an engine and groups; `enter` sets its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gizmos = folder / "gizmos"
        self.gizmos.mkdir()
        write_shot(folder / "plates", FRAMES)
        tests = ROOT / "tests"
        paths = [str(p) for p in (ROOT, tests, tests / "worker", tests / "nuke")]
        self.engine = executable(
            folder / "engine",
            f"import runpy, sys\nsys.path[:0] = {paths!r}\n"
            f"runpy.run_path({str(tests / 'nuke' / 'gain_engine.py')!r}, run_name='__main__')\n",
        )
        self.settings = folder / "vfxswap.json"
        self.settings.write_text(json.dumps({"device": "cpu", "threads": 1, "store_gb": 0}))

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        for name in os.environ:
            if name.startswith(("VFXSWAP", "OCIO")):
                patch.delenv(name)
        patch.setenv("VFXSWAP_ENGINE", str(self.engine))
        patch.setenv("VFXSWAP_NUKE_SETTINGS", str(self.settings))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(ROOT / "tests" / "worker"))
        (self.gizmos / "VfxSlow.gizmo").write_text(gizmo(gain_engine.row(), version="0"))


class Artist:
    """A session with the plug-in, and the shot's script open."""

    def __init__(self, fake: FakeNuke, studio: Studio) -> None:
        self.fake, self.studio = fake, studio
        fake.load_plugin(ROOT / "plugins" / "nuke")
        fake.plugin_paths.append(str(studio.gizmos))

    def build(self, folder: Path, **knobs: Any) -> Group:
        """A new script in `folder`: the plate, and the group on it."""
        from vfxswap_nuke import host

        host.RUNS.clear_ended()
        self.fake.clear()
        for said in (self.fake.messages, self.fake.printed, self.fake.written):
            said.clear()
        self.script = folder / "shot.nk"
        root: Any = self.fake.root_node
        root["first_frame"].setValue(FRAMES[0])
        root["last_frame"].setValue(FRAMES[-1])
        root["format"].setValue(f"{DISPLAY.width} {DISPLAY.height} 0 0 48 32 1 small")
        self.fake.frame_now = FRAMES[0]
        plate = self.fake.nuke.nodes.Read(
            name="Plate", file=(self.studio.folder / "plates" / "plate.%04d.exr").as_posix(),
            first=FRAMES[0], last=FRAMES[-1], raw=True,
        )  # fmt: skip
        node = self.fake.create("VfxSlow")
        assert isinstance(node, Group)
        node.setInput(0, plate)
        for name, value in knobs.items():
            knob(node, name).setValue(value)
        self.fake.save(self.script)
        return node

    def press(self, node: Group, knob: str = "vfx_render") -> None:
        """Presses a button and lets Nuke's loop run until nothing renders."""
        self.fake.press(node, knob)
        self.fake.pump(self.idle, timeout_s=PATIENCE_S)

    def idle(self) -> bool:
        return idle(self.fake)

    def engine_pid(self) -> int | None:
        from vfxswap_nuke import host
        from vfxswap_nuke.settings import load_settings

        return host.engine(load_settings()).pid

    def log(self) -> str:
        """What was said of all renders."""
        from vfxswap_nuke import host

        return "\n".join(line for run in host.RUNS.all() for line in run.log)

    def close(self) -> None:
        from vfxswap_nuke import host

        host.close_engine()


def knob(node: Group, name: str) -> Any:
    """A knob of a group, by its name without the prefix."""
    return node["vfx_" + name]


def idle(fake: FakeNuke) -> bool:
    """Whether no thread of a render lives and nothing waits for the main thread."""
    names = {f"vfxswap {what}" for what in ("render", "background", "progress")}
    busy = [thread for thread in threading.enumerate() if thread.name in names]
    return not busy and not fake.waiting


def result(folder: Path, frame: int, *, proxy: int = 1, take: int = 1) -> Path:
    """Where a frame of the script in `folder` is."""
    return folder / f"vfxswap/VfxSlow1/v{take}/result_proxy{proxy}.main.{frame}.exr"


def plate_of(fake: FakeNuke, frame: int) -> Picture:
    return fake.picture(fake.nuke.toNode("Plate"), frame)


def assert_outside_is_the_plate(made: Picture, plate: Picture, matte: Any) -> None:
    """Where the matte is 0 every channel of the plate is there bit for bit."""
    outside = matte == 0
    assert outside.any() and not outside.all()
    for name in plate.channels:
        ours, theirs = made.plane(name, plate.bbox), plate.plane(name)
        assert np.array_equal(ours[outside].view(np.uint32), theirs[outside].view(np.uint32)), name


def assert_layers_equal_the_file(made: Picture, path: Path) -> None:
    image = read_image(path)
    window = image.part.data_window
    stored = {n: p for part in image.parts for n, p in part.channels.items()}
    for name in ("gain_face.red", "gain_face.green", "gain_face.blue", "gain_face.alpha",
                 "gain_matte.red"):  # fmt: skip
        plane = stored[name].astype(np.float32)
        assert np.array_equal(made.plane(name, window), plane), name
    for short, name in zip("RGB", RGB, strict=True):
        assert np.array_equal(made.plane(name, window), stored[short]), "the comp is a float plate"
