"""Pictures that settings name: whose word on their colour space counts, and where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_shot import DATA, DISPLAY, plate_image

from vfxswap.color import ColorManager
from vfxswap.errors import JobError
from vfxswap.io.exr import write_image
from vfxswap.job import Job
from vfxswap.render.models import Shelf
from vfxswap.render.plan import picture_spaces
from vfxswap.render.references import read_still
from vfxswap.settings import validated

REC709 = "Linear Rec.709 (sRGB)"  # the test's plates say ACEScg


@pytest.fixture
def still(tmp_path: Path) -> Path:
    path = tmp_path / "still.exr"
    write_image(path, plate_image(1))
    return path


def job(*effects: dict[str, object]) -> Job:
    stated = {"plate": {"pattern": "/a.#.exr"}, "output": {"pattern": "/b.#.exr"}}
    return validated(Job, {**stated, "effects": effects})


def guided(spaces: dict[str, str], picture: str = "/c.exr") -> dict[str, object]:
    return {"effect": "guided", "settings": {"clean_plate": picture}, "spaces": spaces}


def test_the_jobs_word_on_a_picture_comes_before_the_files(still: Path) -> None:
    color = ColorManager()
    stated = read_still(still, color=color, space=REC709)
    own = read_still(still, color=color)
    working = read_still(still, color=color, space=color.working)
    assert not np.allclose(stated, own, rtol=0.01)
    both = DATA.intersection(DISPLAY)
    plain = plate_image(1).rgb()[both.slices_in(DATA)].astype(np.float32)
    np.testing.assert_array_equal(working[both.slices_in(DISPLAY)][..., :3], plain)


def test_a_still_covers_the_display_window_whatever_is_stored(still: Path) -> None:
    assert DATA != DISPLAY
    made = read_still(still, color=ColorManager())
    assert made.shape == (DISPLAY.height, DISPLAY.width, 4)


def test_the_shelf_reads_a_picture_as_the_job_says(still: Path) -> None:
    import torch

    cpu = torch.device("cpu")
    spaces = picture_spaces(job(guided({"clean_plate": REC709}, str(still))))
    assert spaces == {str(still): REC709}
    wanted = read_still(still, color=ColorManager(), space=REC709)
    np.testing.assert_array_equal(Shelf(cpu, spaces=spaces).picture(str(still)), wanted)
    assert not np.array_equal(Shelf(cpu).picture(str(still)), wanted)


def test_a_picture_in_two_spaces_and_a_space_of_nothing_are_refused() -> None:
    two = job(guided({"clean_plate": "ACEScg"}), guided({"clean_plate": "ACES2065-1"}))
    with pytest.raises(JobError, match="picture in two colour spaces"):
        picture_spaces(two)
    with pytest.raises(JobError, match="spaces names amount, wanted a setting that names"):
        job(guided({"amount": "ACEScg"}))
