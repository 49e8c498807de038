"""Small display pictures of a shot's results, for reports."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from vfxswap.color import ColorManager
from vfxswap.errors import ColorError, PlateError
from vfxswap.image import Pixels
from vfxswap.io.exr import read_image

WIDTH_PX = 192
_QUALITY = 82
_TALLEST = 2.0
"""Height over width at most, so that no odd picture fills the page."""


def thumbnails(
    files: Sequence[tuple[Path, str]], manager: ColorManager, *, threads: int
) -> list[str | None]:
    """Data URIs (JPEG) of comps given with their colour space, `WIDTH_PX` wide at square pixels;
    None for what cannot be shown."""
    with ThreadPoolExecutor(threads) as pool:
        small = list(pool.map(lambda each: _small(each[0]), files))
    shown = []
    for rgb, (_, space) in zip(small, files, strict=True):
        try:
            shown.append(None if rgb is None else jpeg_uri(_display(rgb, space, manager)))
        except ColorError:
            shown.append(None)
    return shown


def tone_mapped(linear: Pixels) -> Pixels:
    """Scene-linear [H, W, 3] with highlights rolled off into about 0…1, middle grey where it was.

    The curve of Reinhard et al. 2002 (equation 4) on the largest channel, with the picture's own
    white; a picture without highlights stays as it is.
    """
    light = np.maximum(linear.max(axis=-1, keepdims=True), 0)
    white = max(float(np.percentile(light, 99.5)), 1.0)
    if white <= 1.0:
        return linear
    scale = (1 + light / np.float32(white) ** 2) / (1 + light)
    mapped = linear * scale
    grey = 0.18
    mapped *= (1 + grey) / (1 + grey / white**2)
    return np.asarray(mapped, np.float32)


def _small(path: Path) -> Pixels | None:
    try:
        image = read_image(path)
    except PlateError:
        return None
    rgb = np.nan_to_num(image.rgb(), nan=0.0, posinf=65504.0, neginf=0.0)
    ratio = rgb.shape[0] / rgb.shape[1] / image.part.pixel_aspect
    height = max(1, round(WIDTH_PX * min(ratio, _TALLEST)))
    small = cv2.resize(rgb.astype(np.float32), (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _display(rgb: Pixels, space: str, manager: ColorManager) -> Pixels:
    working = manager.to_working(np.ascontiguousarray(rgb), space) if space else rgb
    return manager.to_display(np.ascontiguousarray(tone_mapped(working)))


def jpeg_uri(shown: Pixels) -> str:
    """A picture [H, W, 3] of display values 0…1 as a data URI (JPEG)."""
    levels = np.rint(shown[..., ::-1] * 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
