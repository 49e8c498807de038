"""The OpenEXR container: headers read byte for byte, scanline files written with ZIPS.

OpenImageIO decodes pixels well, but its Python side renames attributes and cannot write channels
of different types into one part; a plate's headers and untouched bits must come out as they came
in. Layout: "The OpenEXR File Layout", openexr.com.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from os import PathLike, fstat
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import PlateError
from vfxswap.geometry import Box
from vfxswap.image import ChannelArray, MetaValue, TypedTuple
from vfxswap.io.attributes import STRUCTURE, decode, encode

MAGIC: Final = 20000630
_TILED, _LONG_NAMES, _DEEP, _MULTI_PART = 0x200, 0x400, 0x800, 0x1000
_PIXEL_TYPES: Final = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))
_NO_COMPRESSION, _ZIPS = 0, 2
_LINES_PER_CHUNK: Final = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256, 256, 32)
"""By compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB, HTJ2K256, HTJ2K32."""
_MAX_HEADER_BYTES: Final = 1 << 28
MAX_DECODED_BYTES: Final = 16 << 30
"""Of all pixels of a file. A 16384 x 16384 plate of sixteen half channels has half of it; headers
that promise more are damaged or meant to fill the memory."""
_MAX_CHANNELS, _MAX_PARTS = 4096, 1024
_LEVEL = 4
"""zlib's level: the OpenEXR library's default."""


@dataclass(frozen=True)
class ChannelInfo:
    """A channel as its header states it."""

    name: str
    dtype: np.dtype[Any]
    x_sampling: int
    y_sampling: int


@dataclass(frozen=True)
class Header:
    """One part's header; `attributes` holds all of it, decoded by `decode`."""

    attributes: Mapping[str, MetaValue]
    channels: tuple[ChannelInfo, ...]
    data_window: Box
    display_window: Box
    tiled: bool
    deep: bool
    chunks: int

    @property
    def decoded_bytes(self) -> int:
        """Of all channels over the data window."""
        window = self.data_window
        return window.width * window.height * sum(c.dtype.itemsize for c in self.channels)


class _Cursor:
    """Reads a header; running off its end is a truncated file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.taken = 0

    def take(self, count: int) -> bytes:
        self.taken += count
        if count < 0 or self.taken > _MAX_HEADER_BYTES:
            raise ValueError("header is damaged")
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError("header is cut off")
        return data

    def integer(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def text(self) -> str:
        name = bytearray()
        while (char := self.take(1)) != b"\0":
            name += char
            if len(name) > 255:
                raise ValueError("header is damaged")
        return name.decode("utf-8", "surrogateescape")


def _channels(data: bytes) -> tuple[ChannelInfo, ...]:
    found, at = [], 0
    while at < len(data) and data[at] != 0:
        end = data.index(b"\0", at)
        kind, _linear, x, y = struct.unpack_from("<iB3xii", data, end + 1)
        if not 0 <= kind < 3 or x < 1 or y < 1:
            raise ValueError("channel list is damaged")
        name = data[at:end].decode("utf-8", "surrogateescape")
        found.append(ChannelInfo(name, _PIXEL_TYPES[kind], x, y))
        if len(found) > _MAX_CHANNELS:
            raise ValueError(f"more than {_MAX_CHANNELS} channels")
        at = end + 17
    return tuple(found)


def _box(data: bytes) -> Box:
    left, top, right, bottom = struct.unpack("<4i", data)
    return Box(left, top, right - left + 1, bottom - top + 1)


def _level_sizes(size: int, round_up: bool) -> list[int]:
    sizes = [size]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2 if round_up else sizes[-1] // 2)
    return sizes


def _tile_count(window: Box, tiles: bytes) -> int:
    width, height = (int(v) for v in struct.unpack("<II", tiles[:8]))
    mode = tiles[8]
    if not width or not height:
        raise ValueError("tile size is damaged")
    if mode & 15 == 0:
        return ceil(window.width / width) * ceil(window.height / height)
    xs, ys = (_level_sizes(s, mode >> 4 == 1) for s in (window.width, window.height))
    if mode & 15 == 1:
        levels = max(len(xs), len(ys))
        pairs = [(xs[min(i, len(xs) - 1)], ys[min(i, len(ys) - 1)]) for i in range(levels)]
    else:
        pairs = [(x, y) for x in xs for y in ys]
    return sum(ceil(x / width) * ceil(y / height) for x, y in pairs)


def _header(raw: Mapping[str, tuple[str, bytes]], flags: int) -> Header:
    missing = {"channels", "compression", "dataWindow", "displayWindow"} - raw.keys()
    if missing:
        raise ValueError(f"header has no {', '.join(sorted(missing))}")
    kind = raw["type"][1].decode() if "type" in raw else ""
    tiled = "tile" in kind if flags & _MULTI_PART else bool(flags & _TILED)
    window, compression = _box(raw["dataWindow"][1]), raw["compression"][1][0]
    if window.empty or max(window.width, window.height) > 1 << 24:
        raise ValueError(f"data window is {window.width} x {window.height}")
    if "chunkCount" in raw:
        chunks = int.from_bytes(raw["chunkCount"][1], "little")
    elif tiled:
        chunks = _tile_count(window, raw["tiles"][1])
    else:
        lines = _LINES_PER_CHUNK[compression] if compression < len(_LINES_PER_CHUNK) else 1
        chunks = ceil(window.height / lines)
    return Header(
        attributes={name: decode(*value) for name, value in raw.items() if name != "channels"},
        channels=_channels(raw["channels"][1]),
        data_window=window,
        display_window=_box(raw["displayWindow"][1]),
        tiled=tiled,
        deep=bool(flags & _DEEP) and (not kind or kind.startswith("deep")),
        chunks=chunks,
    )


def read_headers(path: str | PathLike[str], *, frame: int | None = None) -> tuple[Header, ...]:
    """The headers of all parts, after a check that every chunk they promise lies in the file.

    Raises PlateError for what is no EXR, is damaged, cut off, or was never finished.
    """
    try:
        with Path(path).open("rb") as file:
            headers = _read_headers(file)
    except FileNotFoundError as error:
        raise PlateError("no such file", file=path, frame=frame) from error
    except OSError as error:
        raise PlateError("cannot be opened", got=error.strerror, file=path, frame=frame) from error
    except (ValueError, struct.error, IndexError, KeyError) as error:
        reason = str(error) if isinstance(error, ValueError) else "header is damaged"
        raise PlateError(
            "not a complete EXR", got=reason, file=path, frame=frame, wanted="a finished file"
        ) from error
    decoded = sum(header.decoded_bytes for header in headers)
    check_decoded_bytes(decoded, path=path, frame=frame)
    return headers


def check_decoded_bytes(count: int, *, path: str | PathLike[str], frame: int | None) -> None:
    """Raises PlateError for a picture of more than `MAX_DECODED_BYTES`."""
    if count > MAX_DECODED_BYTES:
        raise PlateError(
            "picture is too large",
            got=f"{count / (1 << 30):.1f} GiB of pixels",
            wanted=f"up to {MAX_DECODED_BYTES >> 30} GiB",
            file=path,
            frame=frame,
        )


def _read_headers(file: BinaryIO) -> tuple[Header, ...]:
    size = fstat(file.fileno()).st_size
    if size == 0:
        raise ValueError("an empty file")
    cursor = _Cursor(file)
    magic, version = struct.unpack("<II", cursor.take(8))
    if magic != MAGIC:
        raise ValueError("a file of another kind")
    multi = bool(version & _MULTI_PART)
    headers: list[Header] = []
    while True:
        raw: dict[str, tuple[str, bytes]] = {}
        while name := cursor.text():
            kind = cursor.text()
            raw[name] = (kind, cursor.take(cursor.integer()))
        if not raw:
            break
        headers.append(_header(raw, version))
        if not multi:
            break
        if len(headers) > _MAX_PARTS:
            raise ValueError(f"more than {_MAX_PARTS} parts")
    if not headers:
        raise ValueError("no header")
    for header in headers:
        if header.chunks * 8 > size:
            raise ValueError("cut off")
        offsets = np.frombuffer(cursor.take(header.chunks * 8), "<u8")
        if (offsets == 0).any():
            raise ValueError(f"{int((offsets == 0).sum())} of {header.chunks} chunks missing")
        if (offsets >= size).any():
            raise ValueError(f"{size} bytes, cut off")
        _check_last_chunk(file, int(offsets.max()), size, header, multi)
    return tuple(headers)


def _check_last_chunk(file: BinaryIO, offset: int, size: int, header: Header, multi: bool) -> None:
    """Chunks are stored whole one after another: if the last one fits, all do."""
    if header.deep:
        return
    back = file.tell()
    lead = 4 * multi + (16 if header.tiled else 4)
    file.seek(offset + lead)
    length = file.read(4)
    file.seek(back)
    if len(length) < 4 or offset + lead + 4 + int.from_bytes(length, "little") > size:
        raise ValueError(f"{size} bytes, cut off")


@dataclass(frozen=True, eq=False)
class PartToWrite:
    """Channels [H, W] of types float16, float32 or uint32, and every attribute but STRUCTURE's."""

    name: str
    channels: Mapping[str, ChannelArray]
    attributes: Mapping[str, MetaValue]
    view: str = ""


def write_scanlines(
    file: BinaryIO,
    parts: Sequence[PartToWrite],
    *,
    data_window: Box,
    display_window: Box,
    pixel_aspect: float,
    threads: int = 1,
) -> None:
    """Writes a whole file from position 0: scanline parts, ZIPS, lines increasing, one window.

    One part makes a single-part file (its `name` is not written then). Bits are kept, also of nan.
    """
    multi = len(parts) > 1
    headers = []
    for part in parts:
        attributes: dict[str, tuple[str, bytes]] = {
            "screenWindowCenter": encode(TypedTuple("v2f", (0.0, 0.0))),
            "screenWindowWidth": encode(1.0),
            **{k: encode(v) for k, v in part.attributes.items() if k not in STRUCTURE},
            "channels": ("chlist", _channel_list(part.channels)),
            "compression": ("compression", bytes([_ZIPS])),
            "dataWindow": ("box2i", _box_bytes(data_window)),
            "displayWindow": ("box2i", _box_bytes(display_window)),
            "lineOrder": ("lineOrder", b"\0"),
            "pixelAspectRatio": encode(float(pixel_aspect)),
            "type": ("string", b"scanlineimage"),
        }
        if multi:
            attributes["name"] = encode(part.name)
            attributes["chunkCount"] = encode(data_window.height)
        if part.view:
            attributes["view"] = encode(part.view)
        headers.append(attributes)
    names = [n for a in headers for n in a] + [c for p in parts for c in p.channels]
    long_names = any(len(_name_bytes(n)) > 31 for n in names)
    flags = 2 | (_MULTI_PART if multi else 0) | (_LONG_NAMES if long_names else 0)
    file.write(struct.pack("<II", MAGIC, flags))
    for attributes in headers:
        for name, (kind, data) in sorted(attributes.items()):
            file.write(_name_bytes(name) + b"\0" + kind.encode() + b"\0")
            file.write(struct.pack("<i", len(data)) + data)
        file.write(b"\0")
    file.write(b"\0" * multi)
    table_at = file.tell()
    offsets = np.zeros((len(parts), data_window.height), "<u8")
    file.write(offsets.tobytes())
    for number, part in enumerate(parts):
        lead = struct.pack("<i", number) if multi else b""
        for row, chunk in enumerate(_chunks(part.channels, threads)):
            offsets[number, row] = file.tell()
            file.write(lead + struct.pack("<ii", data_window.y + row, len(chunk)))
            file.write(chunk)
    file.seek(table_at)
    file.write(offsets.tobytes())


def _name_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _box_bytes(box: Box) -> bytes:
    return struct.pack("<4i", box.x, box.y, box.right - 1, box.bottom - 1)


def _sorted_channels(channels: Mapping[str, ChannelArray]) -> list[tuple[bytes, ChannelArray]]:
    return sorted((_name_bytes(n), pixels) for n, pixels in channels.items())


def _channel_list(channels: Mapping[str, ChannelArray]) -> bytes:
    entries = b"".join(
        name + b"\0" + struct.pack("<iB3xii", _PIXEL_TYPES.index(pixels.dtype), 0, 1, 1)
        for name, pixels in _sorted_channels(channels)
    )
    return entries + b"\0"


def _chunks(channels: Mapping[str, ChannelArray], threads: int) -> Iterator[bytes]:
    planes = [np.ascontiguousarray(p).view(np.uint8) for _, p in _sorted_channels(channels)]
    height = planes[0].shape[0]
    band = 64
    with ThreadPoolExecutor(max(1, threads)) as pool:
        bands = range(0, height, band)
        for rows in pool.map(lambda y: _zips([p[y : y + band] for p in planes]), bands):
            yield from rows


def _zips(planes: Sequence[NDArray[np.uint8]]) -> list[bytes]:
    """Rows of a few lines, each compressed on its own: bytes split into even and odd, their
    differences around 128 deflated; a row that does not shrink is stored as it is."""
    raw = np.concatenate(planes, axis=1)
    split = np.concatenate([raw[:, 0::2], raw[:, 1::2]], axis=1)
    delta = split.copy()
    delta[:, 1:] -= split[:, :-1]
    delta[:, 1:] += np.uint8(128)
    rows = []
    for plain, row in zip(raw, delta, strict=True):
        packed = zlib.compress(row.tobytes(), _LEVEL)
        rows.append(packed if len(packed) < plain.size else plain.tobytes())
    return rows
