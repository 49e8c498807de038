"""Plates, layers and files for the tests of reading and writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813

from vfxswap.geometry import Box
from vfxswap.image import ChannelArray, Image, Layer, Part


def bits(pixels: ChannelArray) -> bytes:
    return np.ascontiguousarray(pixels).tobytes()


def noise(rng: np.random.Generator, kind: Any, shape: tuple[int, int]) -> ChannelArray:
    """Every bit pattern, so infinities and nan with payloads too, beside ordinary values."""
    dtype = np.dtype(kind)
    octets = rng.integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8)
    whole: ChannelArray = octets.view(dtype)[..., 0]
    if dtype.kind == "u":
        return whole
    usual = rng.uniform(-1, 60000, shape).astype(dtype)
    return np.where(rng.random(shape) < 0.3, whole, usual)


def some_layers(height: int, width: int, seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)

    def pixels(count: int) -> Any:
        return rng.uniform(-1, 2, (height, width, count)).astype(np.float32)

    rgba = ("red", "green", "blue", "alpha")
    return [
        Layer("swap_face", rgba, pixels(4), "color", True),
        Layer("swap_matte", rgba, np.abs(pixels(4)).clip(0, 1), "matte"),
        Layer("swap_conf", ("red",), pixels(1), "matte"),
        Layer("swap_uv", ("red", "green"), pixels(2), "data"),
    ]


def plain(height: int = 6, width: int = 9, kind: Any = np.float16, **fields: Any) -> Image:
    rng = np.random.default_rng(1)
    channels = {n: noise(rng, kind, (height, width)) for n in "RGBA"}
    box = Box(0, 0, width, height)
    return Image((Part(channels, box, box, **fields),), ("R", "G", "B"), 0, "A")


def sink_for(path: Path) -> Any:
    sink = oiio.ImageOutput.create(str(path))
    assert sink is not None
    return sink


def write_with_oiio(path: Path, pixels: Any, *, kind: Any = oiio.HALF, **attributes: Any) -> None:
    height, width, count = pixels.shape
    spec = oiio.ImageSpec(width, height, count, kind)
    for name, value in attributes.items():
        if name.startswith("tile_"):
            setattr(spec, name, value)
        else:
            spec.attribute(name.replace("__", ":"), value)
    sink = sink_for(path)
    assert sink.open(str(path), spec), sink.geterror()
    assert sink.write_image(pixels), sink.geterror()
    assert sink.close()
