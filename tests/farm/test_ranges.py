"""Frame ranges against the parsers that schedulers and artists use."""

from __future__ import annotations

import fileseq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openjd.model import IntRangeExpr

from vfxswap.errors import JobError
from vfxswap.farm.ranges import from_openjd, to_openjd
from vfxswap.shot import format_frames, parse_frames

NUMBERS = st.integers(-60, 60)
FRAMES = st.sets(NUMBERS, min_size=1, max_size=40)


@st.composite
def near_ranges(draw: st.DrawFn) -> str:
    """Text that is often, but not always, a range of OpenJD."""
    space = st.sampled_from(["", "", "", " ", "\t"])
    elements = []
    for _ in range(draw(st.integers(1, 4))):
        first = draw(NUMBERS)
        words = [str(first)]
        if draw(st.booleans()):
            words += ["-", str(first + draw(st.integers(-20, 20)))]
            if draw(st.booleans()):
                words += [":", str(draw(st.integers(-4, 4)))]
        elements.append("".join(draw(space) + word for word in words) + draw(space))
    return ",".join(elements)


@given(FRAMES)
def test_openjd_reads_the_same_frames(frames: set[int]) -> None:
    assert list(IntRangeExpr.from_str(to_openjd(frames))) == sorted(frames)


@given(FRAMES)
def test_there_and_back_is_the_same_range(frames: set[int]) -> None:
    there = to_openjd(format_frames(frames))
    back = from_openjd(there)
    assert back == format_frames(frames)
    assert to_openjd(back) == there
    assert sorted(fileseq.FrameSet(back)) == sorted(frames)


@given(near_ranges())
def test_what_openjd_reads_is_read_alike_and_what_it_refuses_is_refused(text: str) -> None:
    try:
        frames = sorted(IntRangeExpr.from_str(text))
    except Exception:
        with pytest.raises(JobError):
            from_openjd(text)
    else:
        assert sorted(parse_frames(from_openjd(text))) == frames


@given(FRAMES)
def test_what_openjd_itself_writes_is_read(frames: set[int]) -> None:
    assert sorted(parse_frames(from_openjd(str(IntRangeExpr.from_list(sorted(frames)))))) == sorted(
        frames
    )


@pytest.mark.parametrize(
    ("fileseq_range", "openjd_range"),
    [
        ("1-10x3", "1-10:3"),
        ("1001-1100", "1001-1100"),
        ("5-1", "1-5"),
        ("5-1x-2", "1-5:2"),
        ("1001,1003", "1001,1003"),
        ("1-9x2,2-10x2", "1-10"),
        ("-5--1", "-5--1"),
        (" 7 ", "7"),
    ],
)
def test_ranges_in_both_words(fileseq_range: str, openjd_range: str) -> None:
    assert to_openjd(fileseq_range) == openjd_range


def test_descending_range_of_openjd_holds_the_same_frames() -> None:
    assert from_openjd("5-1:-1") == "1-5"


@pytest.mark.parametrize(("text", "word"), [("1-10:3", "stagger"), ("1-10y3", "fill")])
def test_when_order_has_no_words_in_openjd_then_the_range_is_refused(text: str, word: str) -> None:
    with pytest.raises(JobError, match=word):
        to_openjd(text)


@pytest.mark.parametrize("text", ["", "1-", "5-1", "1-5:0", "1-5:-1", "1,1", "1-9:2,2-10:2", "1x3"])
def test_when_openjd_would_refuse_a_range_then_one_sentence_says_so(text: str) -> None:
    with pytest.raises(JobError) as caught:
        from_openjd(text)
    assert "\n" not in str(caught.value)


def test_when_a_range_is_too_long_then_it_is_not_spelled_out() -> None:
    with pytest.raises(JobError, match="too long"):
        from_openjd("1-999999999999")
