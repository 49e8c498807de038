"""EXR attributes to and from Python values, without loss."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

import numpy as np

from vfxswap.image import MetaValue, TypedTuple

STRUCTURE: Final = frozenset(
    {
        "channels",
        "compression",
        "dataWindow",
        "displayWindow",
        "lineOrder",
        "pixelAspectRatio",
        "type",
        "name",
        "view",
        "version",
        "chunkCount",
        "tiles",
        "preview",
        "maxSamplesPerPixel",
        "dwaCompressionLevel",
        "zipCompressionLevel",
    }
)
"""Attributes that state a file's own storage (or picture it: preview), not its content."""

_FORMATS: Final[Mapping[str, str]] = {
    "int": "i",
    "float": "f",
    "double": "d",
    "v2i": "2i",
    "v2f": "2f",
    "v2d": "2d",
    "v3i": "3i",
    "v3f": "3f",
    "v3d": "3d",
    "v4f": "4f",
    "box2i": "4i",
    "box2f": "4f",
    "m33f": "9f",
    "m33d": "9d",
    "m44f": "16f",
    "m44d": "16d",
    "chromaticities": "8f",
    "rational": "iI",
    "timecode": "2I",
    "keycode": "7i",
}


def decode(kind: str, data: bytes) -> MetaValue:
    """An attribute's value: str, int, float, or a TypedTuple that remembers its EXR type.

    Types without plain numbers (opaque ones too) come as a TypedTuple of their bytes.
    """
    if kind == "string":
        return data.decode("utf-8", "surrogateescape")
    if kind == "stringvector":
        texts, at = [], 0
        while at + 4 <= len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            texts.append(data[at + 4 : at + 4 + size].decode("utf-8", "surrogateescape"))
            at += 4 + size
        return TypedTuple(kind, texts)
    layout = _FORMATS.get(kind)
    if layout is None or struct.calcsize("<" + layout) != len(data):
        return TypedTuple(kind, (data,))
    values = struct.unpack("<" + layout, data)
    return values[0] if kind in ("int", "float") else TypedTuple(kind, values)


def encode(value: MetaValue) -> tuple[str, bytes]:
    """EXR type and bytes of a metadata value: what `decode` gives, and plain Python values.

    Raises TypeError for what has no EXR type.
    """
    if isinstance(value, TypedTuple):
        if value.kind == "stringvector":
            texts = [str(v).encode("utf-8", "surrogateescape") for v in value]
            return value.kind, b"".join(struct.pack("<i", len(t)) + t for t in texts)
        if value.kind in _FORMATS and not isinstance(value[0], bytes):
            return value.kind, struct.pack("<" + _FORMATS[value.kind], *value)
        return value.kind, bytes(value[0])
    if isinstance(value, str):
        return "string", value.encode("utf-8", "surrogateescape")
    if isinstance(value, bool | int | np.integer):
        number = int(value)
        if -(2**31) <= number < 2**31:
            return "int", struct.pack("<i", number)
        return "string", str(number).encode()
    if isinstance(value, float | np.floating):
        return "float", struct.pack("<f", float(value))
    if isinstance(value, tuple | list) and value:
        if all(isinstance(v, str) for v in value):
            return encode(TypedTuple("stringvector", value))
        whole = all(isinstance(v, int | np.integer) for v in value)
        kinds = {2: "v2i", 3: "v3i"} if whole else {}
        kind = kinds.get(len(value)) or {
            2: "v2f", 3: "v3f", 4: "v4f", 9: "m33f", 16: "m44f"
        }.get(len(value))  # fmt: skip
        if kind:
            return encode(TypedTuple(kind, value))
    raise TypeError(f"no EXR attribute for {type(value).__name__}")
