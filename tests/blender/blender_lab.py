"""Blenders that are there, as Pythons with bpy, and a plate for them.

`$VFXSWAP_BPY45_PYTHON`, `$VFXSWAP_BPY50_PYTHON` and `$VFXSWAP_BPY52_PYTHON` name a Python with bpy
4.5, 5.0 and 5.2, each in an environment of its own (`pip install bpy==4.5.15` …); for the version
that it has, `$VFXSWAP_BPY_PYTHON`, which the Cycles renderer takes, does as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = [Path(__file__).with_name(name) for name in ("in_blender.py", "in_blender_more.py")]
VERSIONS = ("4.5", "5.0", "5.2")
FALLBACK = "VFXSWAP_BPY_PYTHON"
TIMEOUT_S = 400
"""For a whole process, engine and torch included, on a machine under load."""
FRAMES = (1, 2, 3)
OVERSCAN = 8
DISPLAY, DATA = (192, 144), (192 + 2 * OVERSCAN, 144 + 2 * OVERSCAN)

CLOSE = 1e-3
"""Largest difference that Blender's own arithmetic may make."""

Pixels = NDArray[np.float32]


def variable(version: str) -> str:
    """The environment variable that names a Blender of this version."""
    return f"VFXSWAP_BPY{version.replace('.', '')}_PYTHON"


def python_of(version: str) -> str:
    """A Python with this version of bpy; skips the test, with the reason, without one."""
    named = os.environ.get(variable(version))
    if named:
        return named
    other = os.environ.get(FALLBACK)
    if other and _version(other) == version:
        return other
    pytest.skip(f"no Blender {version}: ${variable(version)} names no Python with its bpy")


@cache
def _version(python: str) -> str:
    code = "import bpy; print('version', *bpy.app.version[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S)
    words = done.stdout.split()
    return ".".join(words[words.index("version") + 1 :][:2]) if "version" in words else ""


def engine() -> str:
    """This very engine, as an executable."""
    return str(Path(sys.executable).with_name("vfxswap"))


class Blender:
    """A Blender with the extension, in a folder of its own."""

    def __init__(self, version: str, folder: Path, archive: Path) -> None:
        self.version, self.python = version, python_of(version)
        self.folder, self.archive = folder, archive
        self.resources = folder / "resources"
        self.resources.mkdir(parents=True)
        self._count = 0

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("VFXSWAP", "PYTHON"))}
        own = {
            "BLENDER_USER_RESOURCES": str(self.resources),
            "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.folder / "xdg"),
        }
        return {**kept, **own, **more}

    def run(self, function: str, **asked: Any) -> dict[str, Any]:
        """Has a process of Blender do a function of the scripts beside this; its answer, with what
        it said as `said`. It must end by itself, and well."""
        self._count += 1
        script = next(s for s in SCRIPTS if f"\ndef {function}(" in s.read_text())
        request = self.folder / f"{self._count}-{function}.json"
        request.write_text(json.dumps({"function": function, "engine": engine(), **asked}))
        done = subprocess.run(
            [self.python, str(script), str(request)], env=self.environment(), timeout=TIMEOUT_S,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=self.folder,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        assert "Traceback" not in said, said[-6000:]
        answer: dict[str, Any] = json.loads(request.with_suffix(".answer.json").read_text())
        assert ".".join(map(str, answer["version"][:2])) == self.version
        return {**answer, "said": said}

    def tool(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Blender's own tool for extensions."""
        places = Path(self.python).parent.parent.glob(
            "lib/python3*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
        )
        return subprocess.run(
            [self.python, str(next(places)), *arguments], env=self.environment(),
            timeout=TIMEOUT_S, capture_output=True, text=True,
        )  # fmt: skip


def pixels(path: Path) -> Pixels:
    """[H, W, C] of all channels, over the data window."""
    buffer = oiio.ImageBuf(str(path))
    assert not buffer.has_error, buffer.geterror()
    values = buffer.get_pixels("float")
    assert values is not None
    return np.asarray(values, np.float32)


def channels(path: Path, *names: str) -> Pixels:
    """[H, W, C] of the channels named."""
    buffer = oiio.ImageBuf(str(path))
    known = list(buffer.spec().channelnames)
    return pixels(path)[..., [known.index(name) for name in names]]


def picture(folder: Path, name: str, frame: int) -> Pixels:
    """[H, W, 3] of a frame."""
    return pixels(folder / f"{name}.{frame:04d}.exr")[..., :3]


def matte(shot: Path, frame: int, name: str = "out") -> Pixels:
    """[H, W] of where the command line swapped."""
    return channels(shot / f"{name}.{frame:04d}.exr", "swap_matte.red")[..., 0]


def untouched(values: Pixels, blender: Blender) -> Any:
    """Where a matte is 0. Blender 5.2 resamples a plate with overscan by an unseen fraction of a
    pixel (its own render of the plate is 2e-4 off), and so with it the matte's edge."""
    outside = values == 0
    return outside & shrunk(outside) if blender.version == "5.2" else outside


def shrunk(mask: Any) -> Any:
    """A mask without its outermost pixel."""
    small = mask.copy()
    for axis in (0, 1):
        small &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return small


def errors(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What the report calls one."""
    return [entry for entry in answer["report"] if entry["level"] == "ERROR"]


def command(folder: Path, *arguments: str) -> None:
    """The command line, in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VFXSWAP")}
    done = subprocess.run(
        [engine(), *arguments], cwd=folder, env={**kept, "OMP_NUM_THREADS": "1"}, text=True,
        timeout=TIMEOUT_S, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def swapped(
    folder: Path, plate: str, out: str, *more: str, frames: Sequence[int] = FRAMES
) -> list[Path]:
    """What the command line makes of a plate."""
    span = f"{frames[0]}-{frames[-1]}"
    command(
        folder, "swap", plate, "--persona", "basalt", "--frames", span, "--single-part",
        "--device", "cpu", "-o", f"{out}.####.exr", *more,
    )  # fmt: skip
    return [folder / f"{out}.{frame:04d}.exr" for frame in frames]
