"""Mattes that a job names, read beside the plate."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vfxswap.errors import PlateError
from vfxswap.geometry import Box
from vfxswap.image import Image, Pixels
from vfxswap.io.exr import read_image
from vfxswap.io.sequence import PlateSequence
from vfxswap.job import MatteSource


def read_matte(source: MatteSource, frame: int, view: str, *, plate: Image) -> Pixels:
    """[H, W] 0…1 over the plate's data window; 0 where the matte has no pixels.

    Values are clipped; nan counts as 0. Raises PlateError: missing, unreadable, of another size,
    or without the channel.
    """
    sequence = PlateSequence(source.pattern)
    path = sequence.path(frame, view if sequence.has_views else None)
    image = read_image(path, frame=frame)
    part, wanted = image.part, plate.part.display_window
    size = (part.display_window.width, part.display_window.height)
    if size != (wanted.width, wanted.height):
        raise PlateError(
            "matte of another size than the plate",
            got=f"{size[0]}x{size[1]}",
            wanted=f"{wanted.width}x{wanted.height}",
            file=path,
            frame=frame,
        )
    for candidate in image.parts:
        name = _channel(candidate.channels.keys(), source.channel)
        if name is not None:
            pixels = candidate.channels[name]
            scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
            values = np.nan_to_num(pixels.astype(np.float32) / np.float32(scale), nan=0.0)
            return _placed(np.clip(values, 0, 1), candidate.data_window, plate.part.data_window)
    found = ", ".join(name for p in image.parts for name in p.channels)
    raise PlateError(
        "matte channel is missing",
        got=found,
        wanted=source.channel or "one channel, or A",
        file=path,
        frame=frame,
    )


def _channel(names: Iterable[str], wanted: str) -> str | None:
    known = list(names)
    if wanted:
        return wanted if wanted in known else None
    if len(known) == 1:
        return known[0]
    return "A" if "A" in known else None


def _placed(pixels: Pixels, own: Box, window: Box) -> Pixels:
    placed = np.zeros((window.height, window.width), np.float32)
    common = own.intersection(window)
    if not common.empty:
        placed[common.slices_in(window)] = pixels[common.slices_in(own)]
    return placed
