"""Smaller pictures for quick looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vfxswap.geometry import Box, Face
from vfxswap.image import ChannelArray, Image, Part, Pixels


def smaller_image(image: Image, factor: int) -> Image:
    """Every part at 1/factor of its size: colours are box means, integer ids are picked.

    Blocks that a data window cuts are dropped, so windows shrink inwards to whole blocks.
    """
    if factor == 1:
        return image
    return replace(image, parts=tuple(_smaller_part(part, factor) for part in image.parts))


def smaller_pixels(pixels: Pixels, window: Box, factor: int) -> Pixels:
    """[H, W] over `window` as box means over `smaller_box(window)`."""
    if factor == 1:
        return pixels
    means: Pixels = _means(_whole_blocks(pixels, window, factor), factor).astype(np.float32)
    return means


def smaller_faces(faces: tuple[Face, ...], factor: int) -> tuple[Face, ...]:
    """Faces in the smaller picture's pixels."""
    if factor == 1:
        return faces
    return tuple(replace(face, points=face.points / factor) for face in faces)


def smaller_box(box: Box, factor: int) -> Box:
    """The whole blocks inside a box, in the smaller picture's pixels; at least one pixel."""
    x, y = -(-box.x // factor), -(-box.y // factor)
    return Box(x, y, max(1, box.right // factor - x), max(1, box.bottom // factor - y))


def _smaller_part(part: Part, factor: int) -> Part:
    channels: dict[str, ChannelArray] = {}
    for name, pixels in part.channels.items():
        blocks = _whole_blocks(pixels, part.data_window, factor)
        ids = pixels.dtype.kind == "u" and pixels.dtype.itemsize == 4
        small = blocks[::factor, ::factor] if ids else _means(blocks, factor)
        if pixels.dtype.kind == "u" and not ids:
            small = np.rint(small)
        channels[name] = np.ascontiguousarray(small.astype(pixels.dtype))
    return replace(
        part,
        channels=channels,
        data_window=smaller_box(part.data_window, factor),
        display_window=smaller_box(part.display_window, factor),
    )


def _whole_blocks(pixels: Any, window: Box, factor: int) -> Any:
    """Rows and columns of whole blocks; a window without one repeats its edge to make one."""
    x, y = -window.x % factor, -window.y % factor
    small = smaller_box(window, factor)
    inside = pixels[y : y + small.height * factor, x : x + small.width * factor]
    missing = (small.height * factor - inside.shape[0], small.width * factor - inside.shape[1])
    if max(missing) > 0:
        inside = np.pad(
            pixels, ((0, max(0, missing[0] + y)), (0, max(0, missing[1] + x))), mode="edge"
        )[y : y + small.height * factor, x : x + small.width * factor]
    return inside


def _means(blocks: Any, factor: int) -> Any:
    height, width = blocks.shape[0] // factor, blocks.shape[1] // factor
    wide = blocks.reshape(height, factor, width, factor).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return wide.mean(axis=(1, 3))
