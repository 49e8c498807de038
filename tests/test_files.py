"""Files appear whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from vfxswap.errors import OutputError
from vfxswap.files import atomic_path, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.bin"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists() and temporary.parent == target.parent
    assert target.read_bytes() == b"half" and names(target.parent) == ["a.bin"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_atomically(target, b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


def test_two_files_move_only_when_both_are_whole(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError),
        atomic_path(tmp_path / "a") as first,
        atomic_path(tmp_path / "b") as second,
    ):
        first.write_bytes(b"1")
        second.write_bytes(b"2")
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_a_full_disk_is_an_output_error_with_file_and_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"a\.bin: cannot be written \(got No space left"),
        atomic_path(tmp_path / "a.bin"),
    ):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("target", ["taken", "file/a.bin"])
def test_a_target_that_cannot_be_is_an_output_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=target):
        write_atomically(tmp_path / target, b"x")
    assert names(tmp_path) == ["file", "taken"] and names(tmp_path / "taken") == []


def test_a_written_file_may_be_read_by_those_whom_the_umask_allows(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_atomically(tmp_path / "a.bin", b"x")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (plain, tmp_path / "a.bin")}
    assert len(modes) == 1
