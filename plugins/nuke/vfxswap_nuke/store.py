"""Results by what they were made from, so that going back to earlier settings costs nothing.

The store holds a second name (a hard link, or a copy where links cannot be) of each frame that
was rendered; the frames that scripts read lie elsewhere. So clearing the store breaks no script.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import NamedTuple

from vfxswap_nuke.files import link_or_copy

SIDECAR = ".vfxswap.json"


class _Entry(NamedTuple):
    shared: bool
    used: float
    size: int
    path: str


class Store:
    """The store of one cache folder; at most `limit_bytes`, 0 keeps nothing."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def has(self, key: str) -> bool:
        """Whether the frame of that key is kept."""
        return self.limit_bytes > 0 and os.path.exists(self._path(key))

    def fetch(self, key: str, target: str) -> bool:
        """Puts the frame of that key at `target`, with its sidecar; False where there is none."""
        if self.limit_bytes <= 0:
            return False
        kept = self._path(key)
        try:
            # The picture comes last: a frame without its sidecar counts as broken.
            if os.path.exists(_sidecar(kept)):
                link_or_copy(_sidecar(kept), _sidecar(target))
            link_or_copy(kept, target)
            # The time of last use alone: the other names of this file keep their time of change.
            os.utime(kept, (time.time(), os.stat(kept).st_mtime))
        except OSError:
            return False
        return True

    def keep(self, key: str, source: str) -> None:
        """Keeps a frame that was rendered. A disk that is full or of another kind is no error:
        the frame is there, it is only not kept."""
        if self.limit_bytes <= 0:
            return
        kept = self._path(key)
        with contextlib.suppress(OSError):
            if os.path.exists(_sidecar(source)):
                link_or_copy(_sidecar(source), _sidecar(kept))
            link_or_copy(source, kept)

    def prune(self) -> int:
        """Drops what was not used for longest until the limit is kept; how many frames went.

        Frames that are a result at the moment as well go last: dropping them frees nothing.
        """
        entries = sorted(self._entries())
        size = sum(entry.size for entry in entries)
        dropped = 0
        for entry in entries:
            if size <= self.limit_bytes:
                break
            for path in (entry.path, _sidecar(entry.path)):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            size -= entry.size
            dropped += 1
        return dropped

    def status(self) -> str:
        """What it holds, in words."""
        entries = self._entries()
        size = sum(entry.size for entry in entries)
        return f"{len(entries)} frames kept, {_gb(size)} of {_gb(self.limit_bytes)}"

    def _path(self, key: str) -> str:
        return f"{self.folder}/{key[:2]}/{key}.exr"

    def _entries(self) -> list[_Entry]:
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if name.endswith(".exr") and not name.startswith("."):
                    path = os.path.join(folder, name)
                    with contextlib.suppress(OSError):
                        stat = os.stat(path)
                        found.append(_Entry(stat.st_nlink > 1, stat.st_atime, stat.st_size, path))
        return found


def _sidecar(path: str) -> str:
    return os.path.splitext(path)[0] + SIDECAR


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
