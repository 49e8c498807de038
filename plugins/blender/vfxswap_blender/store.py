# SPDX-License-Identifier: GPL-3.0-or-later
"""Results by the hash of what they depend on; without bpy.

`objects/KEY.exr` are results, `results/NODE/` what a node shows: hard links to objects (copies
where a disk has none), so that a node's frames stay when their object is pruned.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from typing import Any

_SIDECAR = ".vfxswap.json"
_DAY_S = 86400.0


def key_of(facts: Any) -> str:
    """Hash of JSON values, whatever the order of their keys."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_state(path: str) -> str:
    """What tells a file on disk from an earlier one: size and time; "missing" without it."""
    try:
        stat = os.stat(path)
    except OSError:
        return "missing"
    return f"{stat.st_size} {stat.st_mtime_ns}"


def content(path: str) -> str:
    """Hash of a file's bytes. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: str, data: bytes) -> None:
    """Writes a file that appears whole or not at all. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


class Store:
    """Results in a folder, pruned to `limit_bytes`: the longest unused go first."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self.folder, self.limit = folder, limit_bytes

    def path(self, key: str) -> str:
        """Where the result of a key lies, or would lie."""
        return os.path.join(self.folder, "objects", key[:2], key + ".exr")

    def has(self, key: str) -> bool:
        """Whether the result is there; it counts as used now."""
        try:
            os.utime(self.path(key))
        except OSError:
            return False
        return True

    def adopt(self, file: str, key: str) -> None:
        """Moves a frame that the engine wrote, and its sidecar, into the store. Raises OSError."""
        target = self.path(key)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(_sidecar(file), _sidecar(target))
        os.replace(file, target)

    def show(self, key: str, target: str) -> bool:
        """Makes `target` the result of a key; False where it is so already. Raises OSError."""
        source = self.path(key)
        if os.path.exists(target) and os.path.samefile(source, target):
            return False
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _link(source, target)
        if os.path.exists(_sidecar(source)):
            _link(_sidecar(source), _sidecar(target))
        return True

    def hide(self, target: str) -> bool:
        """Removes what a node shows on a frame; False where it shows nothing."""
        with contextlib.suppress(OSError):
            os.unlink(_sidecar(target))
        try:
            os.unlink(target)
        except OSError:
            return False
        return True

    def size(self) -> int:
        """Bytes that the results take, each file counted once."""
        return sum({(s.st_dev, s.st_ino): s.st_size for _, s in self._files("")}.values())

    def prune(self) -> int:
        """Removes the longest unused results until the rest is within the limit; frames that a
        node shows stay. What a crash left under way goes after a day. Returns the bytes freed."""
        work = os.path.join(self.folder, "work")
        for name in os.listdir(work) if os.path.isdir(work) else ():
            left = os.path.join(work, name)
            with contextlib.suppress(OSError):
                if os.stat(left).st_mtime < time.time() - _DAY_S:
                    shutil.rmtree(left, ignore_errors=True)
        return self._drop_unshown(self.size() - self.limit)

    def _drop_unshown(self, excess: int) -> int:
        """Removes results that no node shows, the longest unused first, until so many bytes are
        free. Returns the bytes freed."""
        freed = 0
        for path, stat in sorted(self._files("objects"), key=lambda found: found[1].st_mtime):
            if freed >= excess:
                break
            if stat.st_nlink == 1 and path.endswith(".exr"):
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    freed += stat.st_size
                with contextlib.suppress(OSError):
                    os.unlink(_sidecar(path))
        return freed

    def remove_unused(self, used: Collection[str]) -> int:
        """Removes what nodes show and have baked, but for those `used`, and then every result that
        no node shows. Returns the bytes freed."""
        before = self.size()
        shown = os.path.join(self.folder, "results")
        for name in os.listdir(shown) if os.path.isdir(shown) else ():
            if name not in used:
                shutil.rmtree(os.path.join(shown, name), ignore_errors=True)
        self._drop_unshown(before)
        return before - self.size()

    def _files(self, inside: str) -> Iterator[tuple[str, os.stat_result]]:
        for folder, _, names in os.walk(os.path.join(self.folder, inside)):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    yield path, os.stat(path)


def _sidecar(path: str) -> str:
    return os.path.splitext(path)[0] + _SIDECAR


def _link(source: str, target: str) -> None:
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        # Renaming one link of a file over another of the same does nothing at all.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
