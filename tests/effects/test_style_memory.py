"""A 4K plate goes through the style pass on a CPU in bounded memory, without a seam."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, resource, sys
import numpy as np, torch
torch.set_num_threads(int(sys.argv[3]))
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.effects.style import StylePass
from vfxswap.effects.style_settings import StylePassSettings
from vfxswap.geometry import Box
from vfxswap.nets.style import StyleNet, StyleSettings

class Shelf:
    def by_name(self, name):
        return LoadedNet(None, net)

width, height = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
net = StyleNet(StyleSettings(styles=("ink", "neon"), screens=True)).eval().requires_grad_(False)
chosen = StylePassSettings(style={"ink": 0.7, "neon": 0.3})
effect = StylePass.load([chosen], Shelf(), torch.device("cpu"))
rgb = np.random.default_rng(0).random((height, width, 3), np.float32)
window = Box(0, 0, width, height)
with torch.inference_mode():
    result = effect(Frame(1, rgb, window, window, 0), chosen, {})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
finite = bool(np.isfinite(result.rgb).all())
print(json.dumps({"gib": peak, "shape": result.rgb.shape, "finite": finite}))
"""


def _peak(width: int, height: int) -> dict[str, object]:
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(width), str(height), threads],
        capture_output=True, text=True, timeout=1500, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_a_4k_plate_at_the_published_width_needs_less_than_6_gib() -> None:
    found = _peak(4096, 2160)
    print(found)
    assert found["shape"] == [2160, 4096, 3] and found["finite"]
    assert isinstance(found["gib"], float) and found["gib"] < 6.0
