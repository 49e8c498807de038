"""A shot's frames and handles; frame ranges in fileseq's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.errors import JobError
from vfxswap.shot import Shot, format_frames, parse_frames


def test_handles_surround_the_frames_once_and_in_order() -> None:
    shot = Shot("p.#.exr", (1026, 1024, 1022), handles=2)
    assert shot.frames_with_handles == (1020, 1021, 1022, 1024, 1026, 1027, 1028)
    assert Shot("p.#.exr", ()).frames_with_handles == ()


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("1001", (1001,)),
        ("1-10x3", (1, 4, 7, 10)),
        ("3-1", (3, 2, 1)),
        ("5,1-3,2", (5, 1, 2, 3)),
        ("-2-1", (-2, -1, 0, 1)),
        (" 1 - 3 , 5 ", (1, 2, 3, 5)),
    ],
)
def test_frame_ranges_are_fileseqs(text: str, frames: tuple[int, ...]) -> None:
    assert parse_frames(text) == frames


@pytest.mark.parametrize("text", ["", " ", "a", "1-", "1.5", "1-2x0.5", "1-5x0", "#", "1-2000000"])
def test_what_is_no_frame_range_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="frame range"):
        parse_frames(text)


@given(st.sets(st.integers(-500, 3000), min_size=1, max_size=40))
def test_formatted_frames_read_back_sorted(frames: set[int]) -> None:
    assert parse_frames(format_frames(frames)) == tuple(sorted(frames))


def test_handles_below_zero_are_refused() -> None:
    with pytest.raises(JobError, match="handles"):
        Shot("p.#.exr", (1,), handles=-1)
