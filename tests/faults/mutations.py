"""Real files, damaged: what disks, networks and malice make of plates."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
from small_shot import plate_image

from vfxswap.image import Layer
from vfxswap.io.exr import write_image, write_png

_NUMBERS = (0, 1, -1, 2, 255, 4096, 65535, 1 << 20, 1 << 24, 0x7FFFFFFF, -0x80000000, 0x40000000)
COMPRESSIONS = ("none", "rle", "zip", "zips", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")


def real_files(folder: Path) -> list[Path]:
    """EXR of every storage, and the other formats that come through the same door."""
    rng = np.random.default_rng(5)
    layer = Layer("swap_conf", ("red",), rng.random((34, 52, 1), np.float32), "matte")
    files = [folder / "multi.exr", folder / "single.exr"]
    for file in files:
        write_image(file, plate_image(1), [layer], single_part=file.stem == "single")
    for compression in COMPRESSIONS:
        for tile in (0, 16) if compression in ("zip", "piz", "dwaa") else (0,):
            file = folder / f"{compression}{tile or ''}.exr"
            spec = oiio.ImageSpec(40, 24, 4, oiio.HALF)
            spec.attribute("compression", compression)
            spec.tile_width = spec.tile_height = tile
            _write(file, spec)
            files.append(file)
    write_png(folder / "p.png", rng.random((24, 40, 3), np.float32))
    files.append(folder / "p.png")
    for suffix, kind in ((".tif", oiio.UINT16), (".dpx", oiio.UINT16), (".jpg", oiio.UINT8)):
        file = folder / f"p{suffix}"
        _write(file, oiio.ImageSpec(40, 24, 3, kind))
        files.append(file)
    return files


def _write(file: Path, spec: oiio.ImageSpec) -> None:
    pixels = np.random.default_rng(2).random((spec.height, spec.width, spec.nchannels), np.float32)
    sink = oiio.ImageOutput.create(str(file))
    assert sink is not None and sink.open(str(file), spec), file
    assert sink.write_image(pixels) and sink.close()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes: numbers of headers to extremes, bytes, cuts, repeats, swaps."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        # Headers lie in front, and most of what can go wrong is said there.
        reach = len(changed) if rng.random() < 0.3 else min(len(changed), 1200)
        at = int(rng.integers(0, max(reach - 4, 1)))
        kind = int(rng.integers(0, 7))
        if kind <= 2:
            number = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
            changed[at : at + 4] = struct.pack("<i" if kind < 2 else ">i", number)
        elif kind == 3:
            changed[at] = int(rng.integers(256))
        elif kind == 4:
            del changed[at : at + int(rng.integers(1, 60))]
        elif kind == 5:
            piece = changed[at : at + int(rng.integers(1, 60))]
            changed[at:at] = piece
        else:
            del changed[int(rng.integers(1, len(changed) + 1)) :]
        if not changed:
            changed = bytearray(b"\0")
    return bytes(changed)


def header_numbers(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """(attribute, place, bytes) of every value in the first header of an EXR."""
    at = 8
    while data[at]:
        name_end = data.index(b"\0", at)
        kind_end = data.index(b"\0", name_end + 1)
        size = int.from_bytes(data[kind_end + 1 : kind_end + 5], "little")
        start = kind_end + 5
        yield data[at:name_end].decode(), start, data[start : start + size]
        at = start + size
