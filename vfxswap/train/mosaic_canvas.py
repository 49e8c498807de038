"""What the drawn themes are made of: soft noise, colours, turned grids and painting over."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vfxswap.image import Pixels

OVERSAMPLING = 2
"""Pictures are drawn this much larger and averaged down, so that edges are smooth."""

Range = tuple[float, float]


def clouds(rng: Generator, size: int, *, coarsest: int = 4, octaves: int = 4) -> Pixels:
    """[size, size] value noise in 0…1, mean about 0.5; `coarsest` is its lowest frequency."""
    total = np.zeros((size, size), np.float32)
    weight = 0.0
    for octave in range(octaves):
        cells = min(size, coarsest << octave)
        small = rng.random((cells, cells), np.float32)
        total += 0.55**octave * cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
        weight += 0.55**octave
    noise: Pixels = np.clip((total / weight - 0.5) * 1.6 + 0.5, 0, 1)
    return noise


def color(
    rng: Generator,
    *,
    hue: Range = (0.0, 1.0),
    saturation: Range = (0.3, 1.0),
    value: Range = (0.3, 1.0),
) -> Pixels:
    """A random colour [3] within ranges of hue, saturation and value (0…1)."""
    h, s, v = rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
    return np.array(colorsys.hsv_to_rgb(h % 1, s, v), np.float32)


def varied(rng: Generator, base: Pixels, amount: float) -> Pixels:
    """A colour near `base` [3]."""
    return np.clip(base + rng.normal(0, amount, 3), 0.01, 1).astype(np.float32)


def grid(size: int, centre: NDArray[np.float64], angle_rad: float) -> tuple[Pixels, Pixels]:
    """Pixel coordinates [size, size] about `centre` (x, y), turned by an angle."""
    axis = np.arange(size, dtype=np.float32) + 0.5
    x, y = axis[None] - np.float32(centre[0]), axis[:, None] - np.float32(centre[1])
    c, s = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    return c * x + s * y, c * y - s * x


def about_middle(rng: Generator, size: int) -> NDArray[np.float64]:
    """A place (x, y) near the middle of a picture."""
    place: NDArray[np.float64] = rng.uniform(0.42, 0.58, 2) * size
    return place


def smooth(t: Pixels) -> Pixels:
    """3t² - 2t³ between 0 and 1."""
    held: Pixels = np.clip(t, 0, 1)
    return held * held * (3 - 2 * held)


def blended(picture: Pixels, paint: NDArray[np.floating], alpha: NDArray[np.floating]) -> None:
    """Paints `paint` [..., 3] over `picture` in place, by `alpha` [size, size]."""
    a = alpha[..., None].astype(np.float32)
    picture += a * (paint.astype(np.float32) - picture)
