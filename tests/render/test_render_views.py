"""Plates and results of several views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rendered import matte_of
from small_shot import (
    DATA,
    DISPLAY,
    Gain,
    gain_effect,
    gain_job,
    plate_image,
)

from vfxswap.errors import JobError
from vfxswap.io.exr import read_image, write_image
from vfxswap.job import Output, Plate
from vfxswap.render import render

__all__ = ["gain_effect"]


def test_views_in_files_of_their_own(tmp_path: Path, gain_effect: type[Gain]) -> None:
    for view in ("left", "right"):
        for frame in (1001, 1002):
            write_image(tmp_path / view / f"p.{view}.{frame}.exr", plate_image(frame))
    job = gain_job(tmp_path, "1001-1002", noise=1.0).model_copy(
        update={
            "plate": Plate(pattern=str(tmp_path / "%V" / "p.%V.#.exr")),
            "output": Output(pattern=str(tmp_path / "out" / "comp.%V.#.exr")),
        }
    )
    report = render(job)
    assert [p.name for p in report.paths] == [
        f"comp.{v}.{f}.exr" for f in (1001, 1002) for v in ("left", "right")
    ]
    left, right = (read_image(p).part.channels["R"] for p in report.paths[:2])
    assert not np.array_equal(left, right)
    one_file = job.model_copy(update={"output": Output(pattern=str(tmp_path / "comp.#.exr"))})
    with pytest.raises(JobError, match="%V"):
        render(one_file)


def test_views_in_one_multi_part_file(tmp_path: Path, gain_effect: type[Gain]) -> None:
    from vfxswap.io.openexr import PartToWrite, write_scanlines

    for frame in (1001, 1002):
        parts = [
            PartToWrite(view, plate_image(frame + i).part.channels, {}, view)
            for i, view in enumerate(("left", "right"))
        ]
        with (tmp_path / f"plate.{frame}.exr").open("wb") as file:
            write_scanlines(file, parts, data_window=DATA, display_window=DISPLAY, pixel_aspect=1.0)
    output = Output(pattern=str(tmp_path / "out" / "comp.%V.#.exr"))
    job = gain_job(tmp_path, "1001-1002").model_copy(update={"output": output})
    report = render(job)
    assert [(w.frame, w.view) for w in report.written] == [
        (1001, "left"), (1001, "right"), (1002, "left"), (1002, "right")
    ]  # fmt: skip
    right = read_image(tmp_path / "out" / "comp.right.1001.exr")
    plate = plate_image(1002).part.channels
    outside = matte_of(right) == 0
    assert np.array_equal(right.part.channels["R"][outside], plate["R"][outside])
    only_right = job.model_copy(update={"views": ("right",)})
    assert [w.view for w in render(only_right).written] == ["right", "right"]
