"""How an artist works with nodes in real Blenders: steps of a bake, chains, copies, movies, the
cache and the example (-m host)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blender_lab import (
    CLOSE,
    FRAMES,
    ROOT,
    Blender,
    Pixels,
    channels,
    command,
    engine,
    errors,
    picture,
    pixels,
    swapped,
    untouched,
)

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]

LINEAR = "Linear Rec.709 (sRGB)"
EXAMPLES = ROOT / "plugins" / "blender" / "examples"
CYCLES_S = 1500
"""Its background is rendered, twice: what a tap renders is rendered for it alone."""


# A bake as a window steps through it ----------------------------------------------------------


def test_a_bake_says_how_far_it_is_and_can_be_cancelled_at_any_step(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    answer = blender.run("steps_through_a_bake", **asked)
    found = answer["found"]
    for name in ("rendering", "effect"):
        assert found[name]["ended"] == ["CANCELLED"]
        assert found[name]["said"] == [[["WARNING"], "VFXSwap: the bake was cancelled"]]
    assert found["rendering"]["baked"] == [0, -1], "half of a bake is none"
    assert found["effect"]["baked"] == [1, 3]
    whole = found["whole"]
    assert whole["ended"] == ["FINISHED"]
    assert whole["said"] == [[["INFO"], "VFXSwap: baked 3 frames"]]
    progress = [value for kind, value in whole["shown"] if kind == "progress"]
    assert progress == sorted(progress) and progress[0] == 0 and progress[-1] == 1000
    assert len(set(progress)) > len(FRAMES)
    told = [value for kind, value in whole["shown"] if kind == "status" and value]
    assert all(text.endswith("(Esc cancels)") for text in told)
    assert any("rendering frame 2" in text for text in told)
    for each in found.values():
        assert each["timers"] == 0 and each["shown"][-1] == ["status", None]
        assert each["scenes"] == 1 and each["groups"] == found["whole"]["groups"]
        assert each["frame"] == 2 and each["status"] == "" and not each["busy"]
        assert each["idle"], "the engine works on for nobody"
        assert each["work"] == [], "frames that nobody took are left"
    for name in ("rendering", "effect"):
        assert found[name]["last_s"] < 10, "Esc waits for the engine"
    truths = swapped(tmp_path, "plain.####.exr", "truth", "--color-space", LINEAR)
    assert answer["asked_again"] == 0 and errors(answer) == []
    for frame, truth in zip(FRAMES, truths, strict=True):
        comp = picture(tmp_path, "comp", frame)
        assert np.abs(comp - channels(truth, "R", "G", "B")).max() < CLOSE


# Several nodes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["BAKE", "TAP"])
def test_a_second_effect_works_on_the_firsts_result_and_a_copy_is_a_node_of_its_own(
    blender: Blender, asked: dict[str, Any], tmp_path: Path, mode: str
) -> None:
    answer = blender.run("chains", **{**asked, "mode": mode, "style": "hatching"})
    assert errors(answer) == []
    assert answer["made"] == answer["again"] and answer["own"]
    command(
        tmp_path, "style", "first.####.exr", "--frames", "1-3", "--style", "hatching",
        "--single-part", "--device", "cpu", "--color-space", LINEAR, "-o", "truth.####.exr",
    )  # fmt: skip
    for frame in FRAMES:
        both = picture(tmp_path, "both", frame)
        wanted = channels(tmp_path / f"truth.{frame:04d}.exr", "R", "G", "B")
        assert np.abs(both - wanted).max() < CLOSE * max(1.0, float(np.abs(wanted).max()))
        first = picture(tmp_path, "first", frame)
        assert np.abs(both - first).max() > 0.05
        assert np.array_equal(picture(tmp_path, "copied", frame), first)
        assert np.array_equal(picture(tmp_path, "first_again", frame), first)
        assert not np.array_equal(picture(tmp_path, "unlike", frame), first)


# Movies -----------------------------------------------------------------------------------------


def test_a_movie_file_is_swapped_from_file_as_its_frames_are(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    answer = blender.run("renders_a_movie", **asked)
    assert answer["sources"] == {"clip": "MOVIE", "image": "MOVIE"}
    assert errors(answer) == []
    for name in ("clip", "image"):
        swapped(tmp_path, f"{name}_plain.####.exr", f"{name}_truth", "--color-space", LINEAR)
        for frame in FRAMES:
            truth = tmp_path / f"{name}_truth.{frame:04d}.exr"
            comp, plain = (picture(tmp_path, n, frame) for n in (name, f"{name}_plain"))
            outside = untouched(channels(truth, "swap_matte.red")[..., 0], blender)
            assert 0.01 < 1 - outside.mean() < 0.5
            assert np.abs(comp - channels(truth, "R", "G", "B")).max() < CLOSE
            assert np.array_equal(comp[outside], plain[outside])


# The cache --------------------------------------------------------------------------------------


def test_the_cache_keeps_its_limit_and_says_when_it_cannot(
    blender: Blender, asked: dict[str, Any]
) -> None:
    answer = blender.run("keeps_the_limit", **asked)
    assert answer["left"] == [False, True], "the longest unused goes, and no more than need be"
    warnings = [e["message"] for e in answer["warned"] if e["level"] == "WARNING"]
    assert len(warnings) == 1 and "Remove unused" in warnings[0]
    assert not answer["pinned"] and answer["again"] == 0
    assert [e for e in answer["after"] if e["level"] != "INFO"] == []


# The example ------------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
def test_the_example_swaps_over_a_rendered_background_and_its_grain_is_matched(
    blender: Blender, tmp_path: Path, example_plate: Path
) -> None:
    folder = tmp_path / "example"
    shutil.copytree(example_plate, folder)
    _run_example(blender, folder)
    assert (folder / "swap.blend").exists()
    cache = folder / "vfxswap_cache"
    assert json.loads((cache / "report.json").read_text())["entries"] == []
    tapped, result = (next(cache.rglob(f"{name}.0001.exr")) for name in ("plate", "result"))
    before, after = pixels(tapped)[..., :3], picture(folder, "comp", 1)
    matted = channels(result, "swap_matte.red")[..., 0]
    outside = matted == 0
    assert np.array_equal(after[outside], before.astype(np.float16).astype(np.float32)[outside])
    face = matted > 0.98
    assert face.mean() > 0.01
    assert np.abs(after - before)[face].mean() > 0.005
    was, now = (float(np.median(np.abs(_detail(pixels_)[face]))) for pixels_ in (before, after))
    assert 0.7 < now / was < 1.3, "the grain that the face had"


def _detail(values: Pixels) -> Pixels:
    """What differs from the mean of the neighbours, in stops: on skin that is mostly grain."""
    log = np.log2(np.maximum(values[..., 1], 1e-3))
    near = [np.roll(log, shift, (0, 1)) for shift in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    return np.asarray(log - np.mean(near, 0), np.float32)


def _run_example(blender: Blender, folder: Path) -> None:
    done = subprocess.run(
        [blender.python, str(EXAMPLES / "build_swap.py"), "--", str(folder), "--render"],
        env=blender.environment(VFXSWAP_ENGINE=engine()), timeout=CYCLES_S,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "Traceback" not in done.stderr, done.stderr[-4000:]


@pytest.fixture(scope="session")
def example_plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make_plate.py writes."""
    folder = tmp_path_factory.mktemp("example")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VFXSWAP")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "make_plate.py"), str(folder)], text=True,
        env={**kept, "OMP_NUM_THREADS": "1"}, timeout=CYCLES_S, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder
