"""Chunks hold each frame once, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.errors import JobError
from vfxswap.farm.chunks import chunks


@given(st.lists(st.integers(-50, 50)), st.integers(1, 12))
def test_chunks_hold_every_frame_once_in_the_order_given(frames: list[int], size: int) -> None:
    pieces = chunks(frames, size)
    assert [frame for piece in pieces for frame in piece] == list(dict.fromkeys(frames))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(1 <= len(piece) <= size for piece in pieces)


@pytest.mark.parametrize("size", [0, -3])
def test_a_chunk_of_no_frames_is_refused(size: int) -> None:
    with pytest.raises(JobError, match="wanted 1 or more"):
        chunks([1001], size)
