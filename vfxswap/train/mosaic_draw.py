"""Pictures of the starter themes, drawn: nothing is stored, nobody's picture is used.

Every picture is [size, size, 3] float32, display-referred sRGB in 0…1, and depends on its
generator alone. One object fills most of a picture, clear of its ground, so that a patch of 32
pixels reads as the theme.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.settings import nearest
from vfxswap.train.mosaic_canvas import (
    OVERSAMPLING,
    about_middle,
    blended,
    clouds,
    color,
    grid,
    smooth,
    varied,
)
from vfxswap.train.mosaic_scenes import galaxies, numbers, sunsets

Draw = Callable[[Generator, int], Pixels]


def flowers(rng: Generator, size: int) -> Pixels:
    """An open blossom over leaves."""
    leaf = color(rng, hue=(0.2, 0.45), saturation=(0.3, 0.9), value=(0.08, 0.4))
    picture = leaf * (0.45 + 1.1 * clouds(rng, size, coarsest=6)[..., None])
    picture = picture.astype(np.float32)
    for _ in range(rng.integers(2, 7)):
        _leaf(rng, picture, leaf)
    petals = color(rng, hue=(-0.3, 0.18), saturation=(0.0, 1.0), value=(0.75, 1.0))
    radius = size * rng.uniform(0.38, 0.5)
    _blossom(rng, picture, about_middle(rng, size), radius, petals)
    return picture


def _leaf(rng: Generator, picture: Pixels, leaf: Pixels) -> None:
    size = picture.shape[0]
    x, y = grid(size, rng.uniform(0, 1, 2) * size, rng.uniform(0, 2 * np.pi))
    length = size * rng.uniform(0.08, 0.3)
    half = 0.35 * length * np.clip(1 - (x / length) ** 2, 0, 1)
    vein = 1 - 0.35 * np.exp(-((y / (0.03 * length)) ** 2)) - 0.25 * (y > 0)
    shade = varied(rng, leaf, 0.1) * vein[..., None] * rng.uniform(0.7, 1.7)
    blended(picture, shade, np.clip(half - np.abs(y) + 0.5, 0, 1) * (np.abs(x) < length))


def _blossom(
    rng: Generator, picture: Pixels, centre: NDArray[np.float64], radius: float, petals: Pixels
) -> None:
    size = picture.shape[0]
    kind = int(rng.integers(5, 9))
    layers = int(rng.integers(1, 3))
    pointed = rng.uniform(0.4, 1.0)
    heart = varied(rng, petals, 0.35)
    for layer in range(layers):
        x, y = grid(size, centre, rng.uniform(0, 2 * np.pi))
        y = y * rng.uniform(0.85, 1.0)
        r, angle = np.hypot(x, y), np.arctan2(y, x)
        reach = radius * (1 - 0.27 * layer)
        lobe = np.abs(np.cos(angle * kind / 2)) ** pointed
        edge = reach * (0.32 + 0.68 * lobe)
        alpha = np.clip(edge - r + 0.5, 0, 1)
        along = np.clip(r / edge.clip(1e-3), 0, 1)
        folds = 0.62 + 0.38 * lobe
        veins = 1 + 0.12 * np.cos(angle * kind * 5) * along
        shade = heart + (petals - heart) * smooth(along * rng.uniform(0.9, 1.5))[..., None]
        light = 0.72 + 0.28 * np.cos(angle - 2.2) + 0.1 * layer
        shadow = np.clip((edge * 1.12 - r) / (0.12 * reach), 0, 1) * 0.35
        picture *= 1 - shadow[..., None]
        blended(picture, shade * (folds * veins * light)[..., None] * 1.15, alpha)
    x, y = grid(size, centre, 0.0)
    disc = radius * rng.uniform(0.2, 0.32)
    dots = 0.55 + 0.45 * np.cos(x * 9 / disc) * np.cos(y * 9 / disc)
    middle = color(rng, hue=(0.05, 0.17), saturation=(0.5, 1.0), value=(0.2, 1.0))
    blended(picture, middle * dots[..., None] * 1.2, np.clip(disc - np.hypot(x, y) + 0.5, 0, 1))


def eyes(rng: Generator, size: int) -> Pixels:
    """A painted eye: iris, pupil, lids, lashes and brow."""
    skin = color(rng, hue=(0.02, 0.1), saturation=(0.15, 0.65), value=(0.15, 1.0))
    tone = 0.85 + 0.3 * clouds(rng, size, coarsest=4)
    picture = (skin * tone[..., None]).astype(np.float32)
    _eye(rng, picture, about_middle(rng, size), size * rng.uniform(0.4, 0.5), skin)
    return picture


def _eye(
    rng: Generator, picture: Pixels, centre: NDArray[np.float64], width: float, skin: Pixels
) -> None:
    size = picture.shape[0]
    x, y = grid(size, centre, rng.normal(0, 0.25))
    u = x / width
    arch = np.clip(1 - u**2, 0, 1)
    upper, lower = rng.uniform(0.45, 0.75), rng.uniform(0.3, 0.5)
    top, bottom = -upper * width * arch**0.8, lower * width * arch
    socket = np.exp(-((u / 1.25) ** 2 + (y / (0.9 * width)) ** 2) * 1.5)
    picture *= 1 - (rng.uniform(0.1, 0.55) * socket)[..., None]
    inside = np.clip(np.minimum(y - top, bottom - y) + 0.5, 0, 1) * (np.abs(u) < 1)
    white = np.array([0.95, 0.93, 0.9]) * (1 - 0.5 * np.abs(u) ** 3)[..., None]
    blended(picture, white, inside)
    gaze = rng.normal(0, 0.16, 2) * width
    ix, iy = x - gaze[0], y - gaze[1] * 0.5 + 0.05 * width
    r, angle = np.hypot(ix, iy), np.arctan2(iy, ix)
    iris = width * rng.uniform(0.42, 0.52)
    hue = color(rng, hue=(0.04, 0.65), saturation=(0.2, 0.95), value=(0.3, 0.95))
    fibres = 1 + 0.28 * np.cos(angle * rng.integers(18, 40) + 4 * np.cos(angle * 5))
    ring = 1 - 0.75 * smooth((r / iris - 0.78) * 4.5)
    inner = 1 + 0.7 * np.exp(-(((r / iris - 0.45) / 0.15) ** 2))
    disc = hue * (fibres * ring * inner * (0.75 + 0.35 * iy / iris))[..., None]
    blended(picture, disc, np.clip(iris - r + 0.5, 0, 1) * inside)
    pupil = iris * rng.uniform(0.28, 0.52)
    blended(picture, np.full(3, 0.02), np.clip(pupil - r + 0.5, 0, 1) * inside)
    glint = np.hypot(ix + 0.3 * iris, iy + 0.32 * iris)
    blended(picture, np.ones(3), np.clip(0.2 * iris - glint + 0.5, 0, 1) * inside)
    lid = np.exp(-(((y - top) / (0.09 * width)) ** 2)) * (np.abs(u) < 1)
    blended(picture, skin * 0.12, lid * 0.95)
    lash = (np.cos(u * rng.integers(40, 60)) > 0.2) * (y < top) * (y > top - 0.28 * width * arch)
    blended(picture, skin * 0.1, lash * (np.abs(u) < 0.98) * 0.85)
    fold = np.exp(-(((y - top * 1.55) / (0.05 * width)) ** 2)) * (np.abs(u) < 1.05)
    blended(picture, skin * 0.45, fold * 0.6)
    brow = np.exp(-(((y + (1.25 - 0.35 * u**2) * width * upper * 1.5) / (0.11 * width)) ** 2))
    hairs = 0.6 + 0.4 * np.cos(x * 60 / width + y * 45 / width)
    blended(picture, skin * 0.2, brow * hairs * (np.abs(u) < 1.2))


def gems(rng: Generator, size: int) -> Pixels:
    """A cut stone, facet by facet, on cloth."""
    dark = rng.random() < 0.6
    cloth = color(rng, saturation=(0.0, 0.8), value=(0.02, 0.25) if dark else (0.6, 0.95))
    picture = (cloth * (0.6 + 0.8 * clouds(rng, size, coarsest=3)[..., None])).astype(np.float32)
    stone = color(rng, saturation=(0.3, 1.0), value=(0.7, 1.0) if dark else (0.3, 0.9))
    _gem(rng, picture, about_middle(rng, size), size * rng.uniform(0.38, 0.47), stone)
    return picture


def _gem(
    rng: Generator, picture: Pixels, centre: NDArray[np.float64], radius: float, stone: Pixels
) -> None:
    size = picture.shape[0]
    x, y = grid(size, centre + 0.12 * radius, 0.0)
    shadow = np.exp(-((np.hypot(x, y) / (1.05 * radius)) ** 4))
    picture *= 1 - 0.6 * shadow[..., None]
    sides = int(rng.choice([6, 6, 8, 8]))
    turn, squash = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.0)
    tilt = rng.uniform(0, np.pi)

    def ring(scale: float, offset: float) -> NDArray[np.float64]:
        angle = turn + (np.arange(sides) + offset) * 2 * np.pi / sides
        oval = np.stack([np.cos(angle), squash * np.sin(angle)], 1) * scale * radius
        c, s = np.cos(tilt), np.sin(tilt)
        corners: NDArray[np.float64] = oval @ np.array([[c, s], [-s, c]]) + centre
        return corners

    girdle, star, table = ring(1.0, 0.0), ring(0.78, 0.5), ring(rng.uniform(0.45, 0.6), 0.0)
    light = rng.uniform(0, 2 * np.pi)

    def facet(points: list[NDArray[np.float64]], gain: float) -> None:
        middle = np.mean(points, 0) - centre
        facing = np.cos(np.arctan2(middle[1], middle[0]) - light)
        level = np.clip(0.5 + 0.35 * facing + rng.normal(0, 0.22), 0.06, 1.3) * gain
        shade = stone * level + max(0.0, level - 0.8) * 0.9
        fixed = np.round(np.array(points) * 16).astype(np.int32)
        cv2.fillConvexPoly(picture, fixed, shade.tolist(), cv2.LINE_AA, 4)

    for k in range(sides):
        after, before = (k + 1) % sides, (k - 1) % sides
        facet([girdle[k], girdle[after], star[k]], 0.75)
        facet([girdle[k], star[k], table[k], star[before]], 1.05)
        facet([star[k], table[k], table[after]], 1.25)
    facet(list(table), 1.0)
    for k in range(sides):
        after = (k + 1) % sides
        inside = centre + (table[k] - centre) * 0.15
        facet([table[k], table[after], inside], rng.uniform(0.6, 1.5))
    glint = centre + radius * 0.35 * np.array([np.cos(light), np.sin(light)])
    x, y = grid(size, glint, rng.uniform(0, np.pi))
    spark = np.exp(-np.abs(x * y) / (0.002 * radius**2) - np.hypot(x, y) / (0.16 * radius))
    blended(picture, np.ones(3), np.clip(spark * 1.6, 0, 1))


THEMES: dict[str, Draw] = {
    "flowers": flowers,
    "galaxies": galaxies,
    "numbers": numbers,
    "sunsets": sunsets,
    "eyes": eyes,
    "gems": gems,
}
"""What can be drawn, by name."""


def drawn(theme: str, count: int, *, size: int, seed: int) -> NDArray[np.uint8]:
    """[count, size, size, 3] display sRGB; picture i depends on theme, seed and i alone.

    Raises JobError for an unknown theme.
    """
    if theme not in THEMES:
        raise JobError("nothing here draws this theme", got=theme, wanted=nearest(theme, THEMES))
    pictures = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        rng = np.random.default_rng([seed, index, *theme.encode()])
        picture = THEMES[theme](rng, size * OVERSAMPLING)
        small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        pictures[index] = np.rint(np.clip(small, 0, 1) * 255)
    return pictures
