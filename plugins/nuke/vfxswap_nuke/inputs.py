"""The pictures that Nuke wrote for the engine, by what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Callable, Iterable, Tuple

from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.exr_content import picture_hash
from vfxswap_nuke.files import read_json, write_json
from vfxswap_nuke.layout import card_of, file_of

Unit = Tuple[int, str]
"""A frame and a view."""


class Inputs:
    """Hashes of a node's plate, mattes and pictures, remembered from one render to the next.

    Nuke writes them anew for every render. Where a picture is the same as before its file gets
    its earlier time back: by the times of the plate's files the engine knows whether tracks and
    what effects prepared are still good.
    """

    def __init__(self, index: str) -> None:
        self._index = index
        self._known = read_json(index)

    def hashes(
        self,
        patterns: dict[str, str],
        units: Iterable[Unit],
        *,
        tell: Callable[[int], None] = lambda done: None,
    ) -> dict[Unit, dict[str, str]]:
        """By unit, the hash of each input by its name. Raises NodeError for a missing file."""
        found: dict[Unit, dict[str, str]] = {}
        try:
            for done, unit in enumerate(units, 1):
                found[unit] = {
                    name: self._hash(file_of(pattern, *unit))
                    for name, pattern in sorted(patterns.items())
                }
                tell(done)
        finally:
            with contextlib.suppress(OSError):
                write_json(self._index, self._known)
        return found

    def _hash(self, path: str) -> str:
        try:
            stat = os.stat(path)
            known = self._known.get(os.path.basename(path))
            if known and known["size"] == stat.st_size and known["mtime_ns"] == stat.st_mtime_ns:
                return str(known["hash"])
            found = picture_hash(path)
            if known and known["hash"] == found and known["size"] == stat.st_size:
                os.utime(path, ns=(stat.st_atime_ns, known["mtime_ns"]))
                stat = os.stat(path)
        except OSError as error:
            raise NodeError(f"Nuke did not write {path}: {error.strerror}") from None
        entry = {"hash": found, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        self._known[os.path.basename(path)] = entry
        return found


def file_mark(setting: str, path: str) -> str:
    """A word that changes with a file that a setting names, and with the card beside it. Raises
    NodeError for a file that is not there."""
    try:
        words = [_file_hash(path)]
    except OSError as error:
        raise NodeError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    return digest([*words, card_mark(path)])


def card_mark(path: str) -> str:
    """A word that changes with the card beside a picture; empty where there is none."""
    with contextlib.suppress(OSError):
        return _file_hash(card_of(path))
    return ""


def _file_hash(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def digest(parts: Iterable[str]) -> str:
    """SHA-256 (hex) of words."""
    sum_ = hashlib.sha256()
    for part in parts:
        sum_.update(part.encode("utf-8") + b"\0")
    return sum_.hexdigest()


def units_of(frames: Iterable[int], views: list[str]) -> list[Unit]:
    """Frames in order, views in order within a frame."""
    return [(frame, view) for frame in frames for view in views]
