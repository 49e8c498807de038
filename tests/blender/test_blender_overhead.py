"""What a node costs beside the engine alone, at 1920x1080 (-m host, -s shows the table).

    pytest -m host -s tests/blender/test_blender_overhead.py

All times are of one run on one machine, so only their ratios say something; docs/blender.md states
those of more rounds by the same script.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from blender_lab import ROOT, Blender, command, engine

pytestmark = [pytest.mark.host, pytest.mark.timeout(1800)]

SCRIPT = ROOT / "plugins" / "blender" / "examples" / "overhead.py"
SIZE, COUNT = (1920, 1080), 2


def test_every_way_is_timed_beside_the_engine_and_the_cache_costs_no_engine(
    blender: Blender, tmp_path: Path
) -> None:
    width, height = SIZE
    command(
        tmp_path, "synth", "-o", "plate.####.exr", "--frames", str(COUNT), "--first-frame", "1",
        "--width", str(width), "--height", str(height), "--no-truth", "--texture-rows", "192",
        "--samples", "1", "--framing-m", "0.5",
    )  # fmt: skip
    done = subprocess.run(
        [blender.python, str(SCRIPT), "--", str(tmp_path), "--engine", engine(), "--rounds", "1"],
        env=blender.environment(), capture_output=True, text=True, timeout=1500,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    measured = json.loads((tmp_path / "overhead.json").read_text())
    assert measured["size"] == [width, height] and measured["frames"] == COUNT
    assert measured["blender"].startswith(blender.version)
    print("\n" + done.stdout[done.stdout.index(f"Blender {blender.version}") :])
    each = measured["seconds_a_frame"]
    assert min(each.values()) > 0
    assert each["cached"] < each["auto"] and each["baked"] < each["bake"]
    assert each["engine"] < each["auto"], "a render with the node holds the engine's work"
