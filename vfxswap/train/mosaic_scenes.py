"""Drawn themes that fill the picture: galaxies, numbers, sunsets. See `mosaic_draw`."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vfxswap.image import Pixels
from vfxswap.train.mosaic_canvas import (
    about_middle,
    blended,
    clouds,
    color,
    grid,
    smooth,
    varied,
)

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)


def galaxies(rng: Generator, size: int) -> Pixels:
    """A spiral with dust, before stars and faint nebulae."""
    sky = color(rng, hue=(0.5, 0.9), saturation=(0.2, 0.9), value=(0.01, 0.12))
    haze = color(rng, saturation=(0.4, 1.0), value=(0.1, 0.7))
    cloud = clouds(rng, size, coarsest=3) ** 3 * rng.uniform(0.1, 1.2)
    picture = (sky + haze * cloud[..., None]).astype(np.float32)
    _galaxy(rng, picture, size * rng.uniform(0.55, 0.75))
    for _ in range(rng.integers(10, 40)):
        at = rng.uniform(0, 1, 2) * size
        radius = rng.exponential(0.004) * size + 0.6
        light = varied(rng, np.full(3, 0.9, np.float32), 0.12).tolist()
        cv2.circle(picture, (int(at[0] * 8), int(at[1] * 8)), int(radius * 8), light, -1, 16, 3)
    return picture


def _galaxy(rng: Generator, picture: Pixels, radius: float) -> None:
    size = picture.shape[0]
    x, y = grid(size, about_middle(rng, size), rng.uniform(0, 2 * np.pi))
    y = y / rng.uniform(0.5, 1.0)
    r, angle = np.hypot(x, y) / radius, np.arctan2(y, x)
    arms, wound = 2, rng.uniform(1.5, 2.6) * rng.choice([-1, 1])
    dust = clouds(rng, size, coarsest=10)
    phase = arms * angle - wound * 2 * np.log(r + 0.08) + 1.0 * (dust - 0.5)
    arm = (0.5 + 0.5 * np.cos(phase)) ** rng.uniform(1.5, 3.0)
    disc = np.exp(-r * 1.7) * np.clip(1.35 - r, 0, 1)
    core = np.exp(-((r / 0.17) ** 2)) + 0.5 * np.exp(-r / 0.2)
    outer = color(rng, hue=(0.5, 0.95), saturation=(0.3, 0.8), value=(0.8, 1.0))
    inner = color(rng, hue=(0.04, 0.15), saturation=(0.1, 0.6), value=(0.9, 1.0))
    light = outer * (disc * (0.12 + 1.9 * arm) * (0.6 + 0.8 * dust))[..., None]
    picture += light + inner * core[..., None]
    knots = (dust > 0.72) & (arm > 0.5) & (r < 0.9)
    picture += np.float32(0.3) * (knots * disc)[..., None] * np.array([1.0, 0.4, 0.6], np.float32)


def numbers(rng: Generator, size: int) -> Pixels:
    """A digit of some font and weight, on paper of any colour."""
    paper = color(
        rng, saturation=(0.0, 0.8), value=(0.05, 0.3) if rng.random() < 0.4 else (0.7, 1.0)
    )
    picture = (paper * (0.85 + 0.3 * clouds(rng, size)[..., None])).astype(np.float32)
    dark = paper.mean() > 0.5
    value = (0.0, 0.3) if dark else (0.75, 1.0)
    ink = color(rng, saturation=(0.0, 1.0), value=value)
    height = size * rng.uniform(0.62, 0.8)
    weight = max(1, round(height * rng.uniform(0.14, 0.24)))
    text = str(rng.integers(10))
    stamp = _stamp(text, _FONTS[rng.integers(len(_FONTS))], height, weight, size)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.normal(0, 7), 1.0)
    matrix[:, 2] += about_middle(rng, size) - size / 2
    alpha = cv2.warpAffine(stamp, matrix, (size, size))
    if rng.random() < 0.35:
        offset = np.array([[1, 0, weight * 0.3], [0, 1, weight * 0.3]])
        blended(picture, ink * 0.2, cv2.warpAffine(alpha, offset, (size, size)) * 0.5)
    blended(picture, ink, alpha)
    return picture


def _stamp(text: str, font: int, height: float, weight: int, size: int) -> Pixels:
    """Alpha [size, size] of a text in the middle."""
    (_, unit), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = height / max(1, unit)
    (wide, high), _ = cv2.getTextSize(text, font, scale, weight)
    alpha = np.zeros((size, size), np.uint8)
    origin = (round((size - wide) / 2), round((size + high) / 2))
    cv2.putText(alpha, text, origin, font, scale, 255, weight, cv2.LINE_AA)
    return alpha.astype(np.float32) / np.float32(255)


def sunsets(rng: Generator, size: int) -> Pixels:
    """Low sun, clouds and its road on the water, or hills before it."""
    y = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    x = ((np.arange(size, dtype=np.float32) + 0.5) / size)[None]
    horizon = rng.uniform(0.45, 0.85)
    zenith = color(rng, hue=(0.52, 0.95), saturation=(0.3, 0.9), value=(0.1, 0.6))
    middle = color(rng, hue=(-0.1, 0.09), saturation=(0.5, 0.95), value=(0.5, 1.0))
    low = color(rng, hue=(0.05, 0.15), saturation=(0.4, 0.9), value=(0.85, 1.0))
    t = np.clip(y / horizon, 0, 1)[..., None].astype(np.float32)
    sky = zenith + (middle - zenith) * smooth(t * 1.6) + (low - middle) * smooth(t * 2 - 1)
    picture = np.broadcast_to(sky, (size, size, 3)).astype(np.float32)
    sun_x, sun_y = rng.uniform(0.2, 0.8), horizon - rng.uniform(-0.02, 0.25)
    radius = rng.uniform(0.07, 0.16)
    away = np.hypot(x - sun_x, y - sun_y)
    glow = 0.75 * np.exp(-away / rng.uniform(0.08, 0.25))
    picture = picture + low * glow[..., None].astype(np.float32)
    blended(picture, np.array([1.0, 0.96, 0.8]), np.clip((radius - away) * size + 0.5, 0, 1))
    narrow = clouds(rng, size, coarsest=6)[:, : max(2, size // 5)]
    band = cv2.resize(narrow, (size, size))
    clear, dense = rng.uniform(0.45, 0.7), np.float32(rng.uniform(0.3, 0.95))
    cover = dense * smooth(((band - clear) * 4).astype(np.float32))
    tint = varied(rng, middle * rng.uniform(0.3, 0.9), 0.1)
    blended(picture, tint + 0.5 * low * np.exp(-away * 4)[..., None], cover)
    below = np.clip((y - horizon) * size + 0.5, 0, 1) * np.ones_like(x)
    if rng.random() < 0.65:
        _water(rng, picture, below, y, x, horizon, sun_x, low)
    else:
        line = horizon - 0.12 * (clouds(rng, size, coarsest=4)[size // 2] - 0.4)[None]
        hills = np.clip((y - line) * size + 0.5, 0, 1)
        blended(picture, zenith * rng.uniform(0.05, 0.4), hills)
    return picture


def _water(
    rng: Generator,
    picture: Pixels,
    below: NDArray[np.floating],
    y: NDArray[np.floating],
    x: NDArray[np.floating],
    horizon: float,
    sun_x: float,
    low: Pixels,
) -> None:
    size = picture.shape[0]
    mirror = np.clip((2 * horizon - y) * size, 0, size - 1).astype(int)[:, 0]
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    ripple = np.sin(depth**0.5 * 90 + 6 * clouds(rng, size, coarsest=5))
    sea = picture[mirror] * (0.45 + 0.2 * ripple)[..., None]
    road = np.exp(-(((x - sun_x) / (0.03 + 0.18 * depth)) ** 2)) * (0.55 + 0.45 * ripple)
    blended(picture, sea + low * road[..., None] * 0.9, below)
