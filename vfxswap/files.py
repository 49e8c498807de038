"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from vfxswap.errors import OutputError


@contextmanager
def atomic_path(target: str | PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `target` to write to; moved over it by os.replace at the end.

    Whatever goes wrong, nothing is left: neither half a target nor the temporary file. Folders
    are made as needed. OSError (disk full, no permission …) becomes OutputError.
    """
    final = Path(target)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp{final.suffix}")
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
