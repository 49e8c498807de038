"""Files appear whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from vfxswap import files
from vfxswap.errors import OutputError
from vfxswap.files import ABANDONED_S, atomic_path, remove_abandoned, write_atomically


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


def killed_while_writing(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_by_name(tmp_path: Path) -> None:
    for name in ("a.exr", "b.exr"):
        process = multiprocessing.get_context("fork").Process(
            target=killed_while_writing, args=(tmp_path / name,)
        )
        process.start()
        process.join(30)
    left = names(tmp_path)
    assert len(left) == 2 and all(".tmp" in name for name in left)
    removed = remove_abandoned(tmp_path, {"a.exr", "c.exr"}, now=time.time())
    assert [p.name for p in removed] == [left[0]] and names(tmp_path) == [left[1]]


def test_what_a_running_process_writes_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.exr") as temporary:
        temporary.write_bytes(b"half")
        later = time.time() + 2 * ABANDONED_S
        assert remove_abandoned(tmp_path, {"a.exr"}, now=later) == []
    assert names(tmp_path) == ["a.exr"]


def test_what_another_machine_left_is_removed_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_path(tmp_path / "a.exr") as temporary:
        temporary.write_bytes(b"half")
        name = temporary.name
        written = temporary.stat().st_mtime
    (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / name, (written, written))
    monkeypatch.setattr(files, "_place", lambda: "00000000")
    assert remove_abandoned(tmp_path, {"a.exr"}, now=written + ABANDONED_S - 60) == []
    assert len(remove_abandoned(tmp_path, {"a.exr"}, now=written + ABANDONED_S + 60)) == 1
    assert names(tmp_path) == ["a.exr"]


def test_files_that_only_look_alike_are_never_removed(tmp_path: Path) -> None:
    alike = (".a.exr.tmp", ".a.exr.tmp.exr", "a.exr", ".a.exr.00000000-1-0000000.tmp.exr")
    for name in alike:
        (tmp_path / name).write_bytes(b"")
    assert remove_abandoned(tmp_path, {"a.exr"}, now=time.time() + 1e9) == []
    assert names(tmp_path) == sorted(alike)


def test_the_longest_name_that_a_file_may_have_is_written(tmp_path: Path) -> None:
    name = "n" * 251 + ".exr"
    write_atomically(tmp_path / name, b"x")
    assert names(tmp_path) == [name]
