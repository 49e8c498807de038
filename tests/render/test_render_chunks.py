"""Order, chunks and processes do not matter; seeds do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rendered import FRAMES, comp, hashes, matte_of, shot
from small_shot import (
    SYNTHETIC,
    gain_effect,
    gain_job,
    plate_image,
    write_face_tracks,
    write_models,
)

from vfxswap.io.exr import write_image
from vfxswap.job import EffectSpec, Job, Output, Plate
from vfxswap.render import render

__all__ = ["gain_effect", "shot"]


CHUNK = """
import sys
from vfxswap.job import Job
from vfxswap.render import render
from vfxswap.shot import parse_frames
report = render(Job.read({job!r}), frames=parse_frames({frames!r}), threads=1)
sys.exit(report.exit_code)
"""


def run_chunk(job: Path, frames: str) -> int:
    code = CHUNK.format(job=str(job), frames=frames)
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=root, timeout=120).returncode


def test_order_and_chunks_do_not_change_a_single_byte(shot: Path) -> None:
    job = gain_job(shot, noise=0.7, gain={"keys": {"1001": 1.0, "1004": 5.0}})
    render(job, threads=1)
    whole = hashes(shot / "out")

    def again(name: str) -> Job:
        pattern = str(shot / name / "comp.#.exr")
        return job.model_copy(update={"output": Output(pattern=pattern)})

    render(again("backwards"), frames=(1004, 1003, 1002, 1001), threads=1)
    assert hashes(shot / "backwards") == whole
    for frame in (1002, 1004, 1001, 1003):
        render(again("single"), frames=(frame,), threads=1)
    assert hashes(shot / "single") == whole


def test_the_swap_does_not_depend_on_order_chunks_or_processes(
    shot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = write_models(shot / "models")
    monkeypatch.setenv("VFXSWAP_MODELS", str(models))
    pattern = str(shot / "plate.#.exr")
    job = Job(
        plate=Plate(pattern=pattern),
        frames="1001-1004",
        effects=(EffectSpec(effect="swap", settings={"persona": SYNTHETIC}),),
        tracks=str(write_face_tracks(shot / "t.json", pattern, FRAMES)),
        output=Output(pattern=str(shot / "out" / "comp.#.exr")),
    )
    assert render(job, threads=1).exit_code == 0
    whole = hashes(shot / "out")
    result = comp(shot, 1002)
    swapped = matte_of(result, "swap_matte.red") > 0
    assert swapped.any() and not swapped.all()
    plate = plate_image(1002)
    for name in "RGB":
        before, after = plate.part.channels[name], result.part.channels[name]
        assert np.array_equal(before[~swapped].view(np.uint16), after[~swapped].view(np.uint16))
        assert (before[swapped] != after[swapped]).mean() > 0.2

    def again(name: str) -> Job:
        output = Output(pattern=str(shot / name / "comp.#.exr"))
        return job.model_copy(update={"output": output})

    render(again("backwards"), frames=(1004, 1002, 1003, 1001), threads=1)
    assert hashes(shot / "backwards") == whole
    again("processes").write(shot / "job.json")
    render(again("processes"), frames=(1003,), threads=1)
    assert run_chunk(shot / "job.json", "1004,1001-1002") == 0
    assert hashes(shot / "processes") == whole


def test_seeds_differ_between_frames_and_jobs(shot: Path) -> None:
    write_image(shot / "plate.1002.exr", plate_image(1001))
    render(gain_job(shot, "1001-1002", noise=1.0))
    first, second = (comp(shot, f).part.channels["R"] for f in (1001, 1002))
    assert not np.array_equal(first, second)
    render(gain_job(shot, "1001", noise=1.0).model_copy(update={"seed": 9}))
    assert not np.array_equal(first, comp(shot, 1001).part.channels["R"])
