"""Tools of the drawn media: tone, flow along forms, streaks, hatching lines, paper.

Pictures are display-referred sRGB [H, W, 3] float32 in 0…1, fields [H, W] float32. What looks like
chance comes from the screens or the generator passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.image import Pixels
from vfxswap.nets import screens
from vfxswap.train.photo import fractal

Generator = np.random.Generator
Fields = Mapping[str, Pixels]
"""Screens by name, [H, W] in -1…1."""
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def fields_of(height: int, width: int, origin: tuple[int, int] = (0, 0)) -> Fields:
    """The screens of a picture whose corner lies at `origin` (x, y)."""
    found = screens.named(height, width, origin)
    return {name: field.numpy() for name, field in found.items()}


def tone(picture: Pixels) -> Pixels:
    """Lightness [H, W] in 0…1, stretched so that 2 % lie at either end, as a draughtsman would."""
    light: Pixels = picture @ _LUMA
    low, high = np.percentile(light, (2, 98))
    return clipped((light - low) / max(float(high - low), 1e-3))


def clipped(values: NDArray[Any]) -> Pixels:
    """Values of any shape as float32 in 0…1."""
    return np.asarray(np.clip(values, 0, 1), np.float32)


def _single(values: NDArray[Any]) -> Pixels:
    return np.asarray(values, np.float32)


def blurred(field: Pixels, sigma: float) -> Pixels:
    """Gaussian blur of a field or picture."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def smoothed(picture: Pixels, strength: int = 2) -> Pixels:
    """Flattened inside forms, sharp at their edges: what a painter blocks in first."""
    out = picture
    for _ in range(strength):
        out = cv2.bilateralFilter(out, 9, 0.12, 5.0)
    return np.asarray(out, np.float32)


def flow(light: Pixels, sigma: float, *, swirl: Pixels | None = None) -> Pixels:
    """Angle [H, W] of strokes in radians: along edges, by the smoothed structure tensor.

    `swirl` (any field) turns the strokes where the picture gives no direction.
    """
    soft = blurred(light, 1.2)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    xx, yy, xy = (blurred(f, sigma) for f in (gx * gx, gy * gy, gx * gy))
    if swirl is not None:
        weak = np.float32(0.15 * float(np.mean(xx + yy)))
        turn = (2 * swirl).astype(np.float32)
        xx, yy = _single(xx - weak * np.cos(turn)), _single(yy + weak * np.cos(turn))
        xy = _single(xy - weak * np.sin(turn))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    return np.asarray(across + np.pi / 2, np.float32)


def noise(shape: tuple[int, int], rng: Generator, *, coarsest: float = 0.5) -> Pixels:
    """Fractal noise [H, W] of about unit variance."""
    side = max(shape)
    return np.ascontiguousarray(fractal(side, rng, coarsest=coarsest)[: shape[0], : shape[1]])


def streaks(angle: Pixels, grain: Pixels, *, length: int) -> Pixels:
    """A field of grain drawn out along `angle` (line integral convolution, Cabral & Leedom 1993),
    of mean 0.5 and about uniform in 0…1."""
    height, wide = angle.shape
    y0, x0 = np.mgrid[0:height, 0:wide].astype(np.float32)
    total = grain.copy()
    for sign in (1.0, -1.0):
        x, y = x0.copy(), y0.copy()
        dx, dy = np.cos(angle) * np.float32(sign), np.sin(angle) * np.float32(sign)
        for _ in range(length // 2):
            nx = cv2.remap(dx, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            ny = cv2.remap(dy, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            # The angle is known but for its sign: a line must not turn back on itself.
            turned = np.where(nx * dx + ny * dy < 0, np.float32(-1), np.float32(1))
            x, y = x + nx * turned, y + ny * turned
            total += cv2.remap(grain, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return uniform(total)


def white(shape: tuple[int, int], rng: Generator, *, sigma: float = 0.8) -> Pixels:
    """White noise, blurred."""
    return blurred(rng.standard_normal(shape, dtype=np.float32), sigma)


def shifted(picture: Pixels, right_px: Pixels, down_px: Pixels) -> Pixels:
    """A field or picture looked up at each pixel's place plus fields of offsets."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    moved = cv2.remap(picture, x + right_px, y + down_px, cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    return np.asarray(moved, np.float32)


def cell_colours(picture: Pixels, value: Pixels) -> Pixels:
    """The mean colour of each cell of a screen, over the cell; `value` [H, W] tells cells apart."""
    _, labels = np.unique(value, return_inverse=True)
    labels = labels.ravel()
    count = np.bincount(labels)
    sums = [np.bincount(labels, picture[..., c].ravel()) for c in range(3)]
    return clipped((np.stack(sums, -1) / count[:, None])[labels].reshape(picture.shape))


def inked(screen: Pixels, share: Pixels | float, softness: float) -> Pixels:
    """1 on lines that take `share` of their period, by a screen of cosines."""
    return step(screen, np.cos(np.pi * np.clip(share, 0, 1)).astype(np.float32), softness)


def uniform(field: Pixels) -> Pixels:
    """A roughly normal field as one that is about uniform in 0…1."""
    z = (field - field.mean()) / max(float(field.std()), 1e-6)
    return np.asarray(1 / (1 + np.exp(-1.702 * z)), np.float32)


def waves(
    shape: tuple[int, int], period_px: float, angle_rad: float, *, bend: Pixels | None = None
) -> Pixels:
    """Distance to the nearest of parallel lines, 0 on a line and 1 half-way; `bend` [H, W] pixels
    shifts them."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    along = -x * np.float32(np.sin(angle_rad)) + y * np.float32(np.cos(angle_rad))
    if bend is not None:
        along = along + bend
    phase = along / np.float32(period_px)
    return np.asarray(2 * np.abs(phase - np.round(phase)), np.float32)


def step(value: Pixels, edge: Pixels | float, softness: float) -> Pixels:
    """0 below `edge`, 1 above, over `softness`."""
    return clipped((value - edge) / np.float32(softness) + 0.5)


def mixed(low: Pixels | tuple[float, ...], high: Pixels | tuple[float, ...], t: Pixels) -> Pixels:
    """`low` where t [H, W] is 0, `high` where it is 1; colours or pictures."""
    a, b = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return np.asarray(a + (b - a) * t[..., None], np.float32)


def paper(colour: tuple[float, ...], fields: Fields, *, tooth: float = 0.03) -> Pixels:
    """A sheet with tooth and slight clouds."""
    level = 1 + np.float32(tooth) * fields["tooth"] * 2 + np.float32(0.012) * fields["cloud_b"]
    return np.asarray(np.array(colour, np.float32) * level[..., None], np.float32)


def contours(light: Pixels, *, sigma: float = 1.0, sharp: float = 18.0) -> Pixels:
    """Drawn outlines, 1 on a line: extended difference of Gaussians (Winnemöller et al. 2012)."""
    near, far = blurred(light, sigma), blurred(light, sigma * 1.6)
    edge = near - np.float32(0.98) * far
    return clipped(-np.tanh(np.float32(sharp) * (edge - 0.004)))


def vivid(picture: Pixels, gain: float) -> Pixels:
    """Saturation times `gain`."""
    grey = (picture @ _LUMA)[..., None]
    return clipped(grey + (picture - grey) * np.float32(gain))


def palette_map(light: Pixels, colours: list[tuple[float, float, float]]) -> Pixels:
    """Lightness through a ramp of colours, dark first."""
    stops = np.linspace(0, 1, len(colours))
    table = np.array(colours, np.float32)
    planes = [np.interp(light, stops, table[:, c]) for c in range(3)]
    return np.stack(planes, -1).astype(np.float32)


def scattered(shape: tuple[int, int], spacing_px: float, rng: Generator) -> NDArray[np.float32]:
    """Points [N, 2] (x, y) on a jittered hexagonal grid, in random order."""
    rows = np.arange(0, shape[0] + spacing_px, spacing_px * 0.87)
    columns = np.arange(0, shape[1] + spacing_px, spacing_px)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + (np.arange(len(rows)) % 2 * spacing_px / 2)[:, None]
    points = np.stack([x, y], -1).reshape(-1, 2)
    points = points + rng.uniform(-0.4, 0.4, points.shape) * spacing_px
    inside = (points >= 0).all(1) & (points[:, 0] < shape[1]) & (points[:, 1] < shape[0])
    kept = points[inside].astype(np.float32)
    return kept[rng.permutation(len(kept))]


def relief(height: Pixels, *, strength: float, light_rad: float = -2.2) -> Pixels:
    """Shading of a height field lit from one side, about 1 where it is flat."""
    gx, gy = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    lit = gx * np.float32(np.cos(light_rad)) + gy * np.float32(np.sin(light_rad))
    return _single(np.clip(1 - np.float32(strength) * lit, 0.4, 1.6))
