"""Whether two EXR files hold the same picture: a hash of their pixels and of what says how they
lie, without the rest of the header, in which Nuke puts dates and hashes of its own.

Header and offset table as in the OpenEXR file layout document.
"""

from __future__ import annotations

import hashlib
import struct
from typing import BinaryIO

_MAGIC = 20000630
_PLAIN_FLAGS = 0x400
"""Long names; tiles (0x200), deep data (0x800) and several parts (0x1000) are hashed whole."""
_PICTURE = (
    b"channels", b"compression", b"dataWindow", b"displayWindow", b"lineOrder",
    b"pixelAspectRatio", b"colorInteropID", b"chromaticities",
)  # fmt: skip
_BLOCK = 1 << 20
_MAX_HEADER = 1 << 24


def picture_hash(path: str) -> str:
    """SHA-256 (hex) of the picture in a file; of the whole file where it is no plain scanline EXR.

    Raises OSError.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        header = _header(file)
        if header is None:
            file.seek(0)
        else:
            for name in _PICTURE:
                digest.update(name + b"\0" + header.get(name, b"") + b"\0")
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _header(file: BinaryIO) -> dict[bytes, bytes] | None:
    """The attributes, with the file placed at its first chunk; None for other kinds of file."""
    start = file.read(8)
    if len(start) < 8:
        return None
    magic, version = struct.unpack("<II", start)
    if magic != _MAGIC or version & 0xFF != 2 or (version & ~0xFF) & ~_PLAIN_FLAGS:
        return None
    attributes: dict[bytes, bytes] = {}
    while True:
        name = _word(file)
        if name is None:
            return None
        if not name:
            break
        kind, size = _word(file), file.read(4)
        if kind is None or len(size) < 4:
            return None
        (length,) = struct.unpack("<I", size)
        if length > _MAX_HEADER:
            return None
        attributes[name] = file.read(length)
    # Chunks may lie in any order of lines: the table's smallest entry is where they begin.
    table = file.tell()
    first = file.read(8)
    if len(first) < 8:
        return None
    (begin,) = struct.unpack("<Q", first)
    if begin < table + 8 or attributes.get(b"lineOrder", b"\0") != b"\0":
        return None
    file.seek(begin)
    return attributes


def _word(file: BinaryIO) -> bytes | None:
    """A name ended by a zero byte; None where there is none."""
    letters = bytearray()
    while len(letters) < 256:
        letter = file.read(1)
        if not letter:
            return None
        if letter == b"\0":
            return bytes(letters)
        letters += letter
    return None
