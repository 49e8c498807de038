"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Final

from vfxswap.errors import OutputError

ABANDONED_S: Final = 24 * 3600.0
"""A temporary file of another machine that nobody wrote to for so long belongs to nobody."""
_LONGEST_NAME: Final = 180
"""Bytes of a target's name that a temporary name repeats; file systems allow 255 in all."""
_PROBE: Final = "vfxswap-probe"
_TEMPORARY = re.compile(
    r"\.(?P<final>.+)\.(?P<place>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.tmp(\.\w+)?"
)


@contextmanager
def atomic_path(target: str | PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `target` to write to; moved over it by os.replace at the end.

    Whatever goes wrong, nothing is left: neither half a target nor the temporary file. Folders
    are made as needed. OSError (disk full, no permission …) becomes OutputError.
    """
    final = Path(target)
    temporary = _temporary(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            raise OutputError("cannot be written", got="a folder of that name", file=final)
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(final)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError("cannot be written", got=reason, file=final) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: str | PathLike[str], data: bytes) -> None:
    """Writes a small file, complete or not at all. Raises OutputError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def probe(folder: Path) -> float:
    """Makes the folder if need be and proves that files can be written there; the time by the clock
    of its file system. Raises OutputError."""
    temporary = _temporary(folder / _PROBE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        try:
            return temporary.stat().st_mtime
        finally:
            temporary.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError("output folder cannot be written", got=reason, file=folder) from error


def remove_abandoned(folder: Path, names: Collection[str], *, now: float) -> list[Path]:
    """Removes temporary files for targets of these `names` whose writers were killed; those gone.

    A writer on this machine is asked for by its process id; of others, files are abandoned that
    are `ABANDONED_S` older than `now`, which is a time by the clock of the folder's file system.
    """
    wanted = {_repeated(name) for name in (*names, _PROBE)}
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            stated = _TEMPORARY.fullmatch(entry.name)
            if stated is None or stated["final"] not in wanted:
                continue
            with suppress(OSError):
                if stated["place"] == _place():
                    abandoned = not _runs(int(stated["process"]))
                else:
                    abandoned = now - entry.stat().st_mtime > ABANDONED_S
                if abandoned:
                    Path(entry.path).unlink()
                    removed.append(Path(entry.path))
    return removed


def _temporary(final: Path) -> Path:
    token = f"{_place()}-{os.getpid()}-{secrets.token_hex(4)}"
    return final.with_name(f".{_repeated(final.name)}.{token}.tmp{final.suffix[:16]}")


def _repeated(name: str) -> str:
    """A target's name as temporary names repeat it: a long one by its hash."""
    data = os.fsencode(name)
    return name if len(data) <= _LONGEST_NAME else hashlib.sha256(data).hexdigest()[:32]


@cache
def _place() -> str:
    """Eight hex digits for where a process id means something: host, boot and id namespace."""
    known = [socket.gethostname()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
