"""What a node costs beside the engine alone, at 1920x1080 (-m host, -s shows the row).

    pytest -m host -s tests/blender/test_blender_overhead.py

All times are of one run on one machine, so only their ratios say something.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from blender_lab import Blender, command, engine
from client import Engine

pytestmark = [pytest.mark.host, pytest.mark.timeout(1800)]

SIZE, COUNT = (1920, 1080), 4


def test_a_cached_frame_costs_less_than_the_engine_and_a_new_one_little_more(
    blender: Blender, tmp_path: Path
) -> None:
    width, height = SIZE
    command(
        tmp_path, "synth", "-o", "plate.####.exr", "--frames", str(COUNT), "--first-frame", "1",
        "--width", str(width), "--height", str(height), "--no-truth", "--texture-rows", "192",
        "--samples", "1", "--framing-m", "0.5",
    )  # fmt: skip
    alone = _engine_alone(tmp_path)
    answer = blender.run(
        "times_frames", out=str(tmp_path), plate=str(tmp_path / "plate.0001.exr"), size=SIZE,
        persona="basalt", frames=COUNT, cache=str(tmp_path / "cache"),
    )  # fmt: skip
    assert [entry for entry in answer["report"] if entry["level"] == "ERROR"] == []
    each = {name: seconds / COUNT for name, seconds in answer["seconds"].items()}
    over = each["effect"] - each["plain"] - alone
    print(
        f"\nBlender {blender.version}, {width}x{height}, seconds a frame: engine alone "
        f"{alone:.2f}, Blender without the node {each['plain']:.2f}, with it {each['effect']:.2f} "
        f"({over / alone:+.0%} of the engine's), from the cache {each['cached']:.2f}"
    )
    assert each["cached"] < each["effect"]


def _engine_alone(folder: Path) -> float:
    """Seconds a frame, warm, of the job that the node asks for."""

    def job(name: str, amount: float) -> dict[str, object]:
        return {
            "plate": {"pattern": str(folder / "plate.####.exr")},
            "frames": f"1-{COUNT}",
            "tracks": str(folder / "alone.json"),
            "effects": [
                {"effect": "swap", "settings": {"persona": "basalt", "amount": amount}},
            ],
            "output": {"pattern": str(folder / f"{name}.####.exr"), "single_part": True},
        }

    with Engine(engine(), options=("--device", "cpu")) as alone:
        alone.render(job("warm", 1.0), frames="1").result()
        begun = time.perf_counter()
        alone.render(job("timed", 0.9)).result()
        return (time.perf_counter() - begun) / COUNT
