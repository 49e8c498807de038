"""One plate and one installed extension for all tests in Blender."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from blender_lab import DATA, DISPLAY, OVERSCAN, ROOT, VERSIONS, Blender, command, engine, swapped


@pytest.fixture(scope="session")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with plate.####.exr of a synthetic performer, overscan included, and
    out.####.exr, which the command line made of it."""
    folder = tmp_path_factory.mktemp("shot")
    width, height = DISPLAY
    command(
        folder, "synth", "-o", "plate.####.exr", "--frames", "3", "--first-frame", "1",
        "--width", str(width), "--height", str(height), "--overscan-px", str(OVERSCAN),
        "--no-truth", "--texture-rows", "192", "--grain", "0.02", "--highlights",
        "--samples", "1",
    )  # fmt: skip
    swapped(folder, "plate.####.exr", "out")
    return folder


@pytest.fixture
def asked(shot: Path, tmp_path: Path) -> dict[str, Any]:
    """What most requests have in common."""
    return {
        "out": str(tmp_path), "plate": str(shot / "plate.0001.exr"), "size": DATA,
        "persona": "basalt", "cache": str(tmp_path / "cache"),
    }  # fmt: skip


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, as the command builds it."""
    path = tmp_path_factory.mktemp("archive") / "vfxswap_blender.zip"
    command(ROOT, "install", "blender", "--out", str(path))
    return path


@pytest.fixture(scope="session", params=VERSIONS)
def blender(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, archive: Path
) -> Blender:
    """A Blender in which the command has installed the extension."""
    folder = tmp_path_factory.mktemp(f"blender{request.param}")
    made = Blender(request.param, folder, archive)
    done = subprocess.run(
        [engine(), "install", "blender", "--out", str(folder / "x.zip"), "--blender", made.python],
        env=made.environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made
