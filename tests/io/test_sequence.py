"""Frame patterns and files that appear whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.errors import JobError, OutputError
from vfxswap.io.sequence import PlateSequence, atomic_path, format_frames, parse_frames


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a/plate.####.exr", "a/plate.1001.exr"),
        ("a/plate.#####.exr", "a/plate.01001.exr"),
        ("a/plate.%04d.exr", "a/plate.1001.exr"),
        ("a/plate.%d.exr", "a/plate.1001.exr"),
        ("a/plate.$F4.exr", "a/plate.1001.exr"),
        ("a/plate.$F.exr", "a/plate.1001.exr"),
        ("a/plate_@@@@@.dpx", "a/plate_01001.dpx"),
        ("a/v002_[x].#.exr", "a/v002_[x].1001.exr"),
        ("a/still_1080.exr", "a/still_1080.exr"),
    ],
)
def test_a_pattern_names_a_frames_file(pattern: str, path: str) -> None:
    assert PlateSequence(pattern).path(1001) == Path(path)


@pytest.mark.parametrize(
    ("token", "name"),
    [("#", "0007"), ("####", "0007"), ("##", "07"), ("@@@", "007"), ("%06d", "000007"),
     ("%d", "7"), ("$F3", "007"), ("$F", "7")],
)  # fmt: skip
def test_padding_is_what_hosts_make_of_it(token: str, name: str) -> None:
    assert PlateSequence(f"p.{token}.exr").path(7).name == f"p.{name}.exr"


def test_negative_frames_pad_like_printf() -> None:
    assert PlateSequence("p.####.exr").path(-3).name == f"p.{-3:04d}.exr" == "p.-003.exr"


def test_views_fill_their_token() -> None:
    sequence = PlateSequence("%V/p_%v.####.exr")
    assert sequence.path(1, "left") == Path("left/p_l.0001.exr")
    with pytest.raises(JobError, match="pattern asks for a view"):
        sequence.path(1)


@pytest.mark.parametrize("pattern", ["", "folder/", "a.####.%04d.exr", "####/a.exr"])
def test_a_pattern_that_names_no_single_file_a_frame_is_a_bad_job(pattern: str) -> None:
    with pytest.raises(JobError):
        PlateSequence(pattern)


def test_frames_on_disk_are_those_the_pattern_would_name(tmp_path: Path) -> None:
    names = ["p.1001.exr", "p.1003.exr", "p.0002.exr", "p.-001.exr", "p.10010.exr", "p.007.exr",
             "p.1002.exr.tmp", ".p.1004.exr", "p.x.exr", "q.1005.exr", "p.01006.exr"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    sequence = PlateSequence(str(tmp_path / "p.####.exr"))
    assert sequence.frames_on_disk() == (-1, 2, 1001, 1003, 10010)
    assert sequence.missing((1003, 1002, 1001)) == (1002,)
    assert PlateSequence(str(tmp_path / "none" / "p.#.exr")).frames_on_disk() == ()


def test_files_half_written_do_not_count_as_frames(tmp_path: Path) -> None:
    sequence = PlateSequence(str(tmp_path / "p.####.exr"))
    with atomic_path(sequence.path(5)) as temporary:
        temporary.write_bytes(b"x")
        assert sequence.frames_on_disk() == ()
    assert sequence.frames_on_disk() == (5,)


def test_a_still_serves_every_frame(tmp_path: Path) -> None:
    (tmp_path / "still.exr").touch()
    still = PlateSequence(str(tmp_path / "still.exr"))
    assert still.still
    assert still.path(1) == still.path(1200)
    assert still.missing((1, 2)) == ()
    assert still.frames_on_disk() == ()


def test_ranges_are_those_of_fileseq() -> None:
    assert parse_frames("1001-1009x4,1200") == (1001, 1005, 1009, 1200)
    assert parse_frames("5-1x2") == (5, 3, 1)
    assert parse_frames(" -2 - 1 ") == (-2, -1, 0, 1)
    assert parse_frames("1-3,2-4") == (1, 2, 3, 4)
    assert parse_frames("1-5:2") == (1, 3, 5, 2, 4), "a colon staggers, it is no step"


@pytest.mark.parametrize(
    "text", ["", "  ", "a-b", "1-", "1-3x0", "1.5", "1-2x0.5", "1..5", "#", "1-999999999"]
)
def test_what_is_no_range_is_a_bad_job(text: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_frames(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@given(st.sets(st.integers(-99, 2000), min_size=1, max_size=30))
def test_a_written_range_reads_back_as_the_same_frames(frames: set[int]) -> None:
    assert parse_frames(format_frames(frames)) == tuple(sorted(frames))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert temporary.parent == target.parent, "a move across disks is not atomic"
        assert temporary.suffix == target.suffix
        assert not target.exists()
    assert target.read_text() == "half"
    with pytest.raises(KeyError), atomic_path(target) as temporary:
        temporary.write_text("broken")
        raise KeyError
    assert target.read_text() == "half"
    with pytest.raises(OutputError), atomic_path(target):
        pass
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]
