"""Skin of a performer, painted in the UV map of the head from its template positions.

Texture channels: 0-2 albedo (scene-linear Rec.709), 3 specular strength, 4 wetness, 5 mouth
cavity, 6-8 surface slope in head axes (metres a metre), 9 lips, 10 brows, 11 scalp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.synth.head import MAP_SIZE, Floats, head_asset

Array = NDArray[np.float32]
CHANNELS = 12

# Measured skin spans roughly this path from light to dark (scene-linear Rec.709).
SKIN_TONES = np.array(
    [
        [0.62, 0.40, 0.31],
        [0.56, 0.34, 0.245],
        [0.46, 0.27, 0.18],
        [0.35, 0.195, 0.12],
        [0.23, 0.12, 0.07],
        [0.13, 0.066, 0.04],
        [0.07, 0.036, 0.023],
    ]
)
CAVITY_ROW = 0.822
"""Rows of the UV crop below this share belong to the mouth cavity's own island."""


@dataclass(frozen=True)
class Maps:
    """The head's maps at one resolution, and what painting derives from them alone."""

    position: Array
    gradient: Array
    inside: Array
    lips: Array
    lids: Array
    points: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.position.shape[0], self.position.shape[1]

    def near(self, point: NDArray[np.floating], radius_m: float, *, power: int = 2) -> Array:
        """1 at a template point, falling like a Gaussian over `radius_m`."""
        distance = np.linalg.norm(self.position - point.astype(np.float32), axis=-1) / radius_m
        return np.asarray(np.exp(-(distance**power)), np.float32)


@lru_cache(maxsize=3)
def maps_of(rows: int) -> Maps:
    """The asset's maps, scaled to `rows` rows."""
    asset = head_asset()
    columns = round(rows * MAP_SIZE[1] / MAP_SIZE[0])
    factor = rows / MAP_SIZE[0]
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR

    def scaled(image: Floats) -> Array:
        return np.asarray(cv2.resize(image, (columns, rows), interpolation=how), np.float32)

    gradient = np.stack(
        [scaled(np.ascontiguousarray(asset.gradient_map[:, :, i])) for i in (0, 1)], 2
    )
    return Maps(
        position=scaled(asset.position_map),
        gradient=gradient * factor,
        inside=scaled(asset.inside_map),
        lips=scaled(asset.lips_map),
        lids=scaled(asset.lids_map),
        points=asset.template[asset.landmarks],
    )


def smoothstep(x: Array, low: float, high: float) -> Array:
    """Hermite step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def cloud(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3) -> Array:
    """Smooth noise of unit variance; `cell` is the coarsest cell as a share of the height.

    The lattice depends on the cell alone, so every resolution shows the same pattern.
    """
    rows, columns = shape
    total, weight, power = np.zeros(shape, np.float32), 1.0, 0.0
    for _ in range(octaves):
        lattice = (int(np.ceil(1.0 / cell)) + 3, int(np.ceil(0.55 / cell)) + 3)
        grid = rng.standard_normal(lattice).astype(np.float32)
        if cell * rows >= 1.0:
            total += weight * cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
            power += weight * weight
        weight, cell = weight * 0.5, max(cell / 2.0, 1 / 400)
    return np.asarray(total / np.sqrt(max(power, 1e-6)), np.float32)


def hairline(points: Array, raised_m: float, side_m: float) -> Array:
    """Signed metres inside the hairy scalp, at template positions [..., 3]."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    front = z - (0.799 + raised_m - 2.2 * x * x - 0.5 * np.maximum(0.0, x - 0.045))
    side = (y + 0.062 + side_m) * 0.9 + (z - 0.74) * 0.35
    nape = np.minimum(z - 0.672, 0.05)
    crown = np.maximum(front, np.minimum(side, z - 0.715))
    return np.asarray(np.where(y > -0.03, nape, crown), np.float32)


@dataclass(frozen=True)
class Complexion:
    """What the painter needs to know of a performer."""

    tone: float
    """0 light … 6 dark, an index into `SKIN_TONES`."""
    ruddy: float
    age: float
    female: bool
    hair: Floats
    hairline_m: float
    hairline_side_m: float
    scalp: float
    """How much hair covers the painted scalp, 0…1."""
    beard: float
    brow_thickness_m: float
    brow_density: float
    brow_lift_m: float
    brow_arch: float
    lipstick: float


def skin_color(tone: float) -> NDArray[np.float64]:
    """Scene-linear Rec.709 albedo of a tone 0…6."""
    t = float(np.clip(tone, 0.0, 5.999))
    i = int(t)
    return np.asarray(SKIN_TONES[i] * (1 - (t - i)) + SKIN_TONES[i + 1] * (t - i), np.float64)


def paint_skin(rng: np.random.Generator, look: Complexion, rows: int) -> Array:
    """Texture [rows, W, 12] float32 of one performer."""
    m = maps_of(rows)
    y, z = m.position[..., 1], m.position[..., 2]
    dark = look.tone / 6.0
    base = skin_color(look.tone).astype(np.float32)
    base = base * rng.uniform([0.97, 0.93, 0.9], [1.03, 1.05, 1.08]).astype(np.float32)
    color = np.ones((*m.shape, 3), np.float32) * base
    mottle, fine = cloud(rng, m.shape, 1 / 18, 4), cloud(rng, m.shape, 1 / 190, 2)
    color *= 1 + (0.05 * mottle + 0.035 * fine)[..., None] * np.array([0.6, 1, 1.1], np.float32)
    _blush(rng, color, m, look, dark)
    _marks(rng, color, m, look)
    beard = _beard(rng, color, m, look, base)
    # lips
    lips = cv2.GaussianBlur(m.lips, (0, 0), max(0.6, rows / 420))
    lip_color = base * np.array([0.93, 0.58, 0.62], np.float32) * (1 - 0.25 * dark)
    lip_color += np.array([0.04, 0.0, 0.008], np.float32)
    stick = np.array([0.36, 0.045, 0.06], np.float32) * rng.uniform(0.5, 1.2)
    stick = stick * rng.uniform([1, 0.6, 0.6], [1, 2.0, 2.0]).astype(np.float32)
    lip_color = lip_color * (1 - look.lipstick) + stick * look.lipstick
    _over(color, lip_color * (1 + 0.1 * fine)[..., None], lips * rng.uniform(0.7, 0.95))
    if look.female and rng.random() < 0.4:
        shade = rng.uniform([0.05, 0.03, 0.03], [0.35, 0.2, 0.25]).astype(np.float32)
        soft = cv2.GaussianBlur(m.lids, (0, 0), rows / 150) * rng.uniform(0.15, 0.5)
        _over(color, shade, soft * (z > 0.727))
    brows = _brows(rng, m, look)
    _over(color, look.hair * 0.4 + base * 0.03, brows)
    line = hairline(m.position, look.hairline_m, look.hairline_side_m)
    edge = 0.004 * cloud(rng, m.shape, 1 / 110, 2)
    scalp = smoothstep(line + edge, -0.004, 0.009) * look.scalp * (m.inside > 0.5)
    _over(color, look.hair, scalp)
    cavity = (np.arange(rows)[:, None] > rows * CAVITY_ROW) & np.ones(m.shape, bool)
    color[cavity] = (0.2, 0.045, 0.045)
    specular = 1.0 + m.lips * (0.5 + 1.2 * look.lipstick) - 0.6 * scalp - 0.4 * beard
    oily = m.near(m.points[30], 0.02) + smoothstep(z, 0.755, 0.785) * (y < -0.09)
    specular = specular + 0.35 * np.minimum(oily, 1.0)
    lid_edge = np.zeros(m.shape, np.float32)
    for k in (40, 41, 46, 47):
        lid_edge = np.maximum(lid_edge, m.near(m.points[k] + [0, 0.001, 0.001], 0.0022, power=4))
    wet = np.clip(0.35 * lid_edge + 0.1 * m.lips, 0, 1)
    out = np.empty((*m.shape, CHANNELS), np.float32)
    out[..., 0:3] = np.clip(color, 0.004, 0.95)
    out[..., 3] = np.clip(specular, 0.05, 4.0)
    out[..., 4] = wet
    out[..., 5] = cavity
    out[..., 6:9] = _slopes(rng, m, look, fine)
    out[..., 9] = m.lips
    out[..., 10] = brows
    out[..., 11] = scalp
    return out


def neck_color(texture: Array) -> Array:
    """Albedo [3] under the jaw, which the plain-coloured neck goes on with."""
    m = maps_of(texture.shape[0])
    under = (m.inside > 0.5) & (m.position[..., 2] < 0.63) & (texture[..., 5] < 0.5)
    return np.asarray(np.median(texture[under][:, :3], axis=0), np.float32)


def _over(color: Array, paint: Array | NDArray[np.floating], alpha: Array) -> None:
    color += (np.asarray(paint, np.float32) - color) * alpha[..., None].astype(np.float32)


def _blush(rng: np.random.Generator, color: Array, m: Maps, look: Complexion, dark: float) -> None:
    z, y, across = m.position[..., 2], m.position[..., 1], np.abs(m.position[..., 0])
    red = 0.8 * m.near(m.points[30], 0.016) + 0.4 * m.near(m.points[8], 0.015)
    red += 0.5 * (m.near(m.points[35], 0.012) + m.near(m.points[31], 0.012))
    cheeks = rng.uniform(0.4, 1.0)
    for side in (-1, 1):
        red += cheeks * m.near(np.array([side * 0.042, -0.125, 0.693]), 0.022)
    ears = smoothstep(across, 0.068, 0.075) * smoothstep(y, -0.06, -0.04)
    red += 0.7 * ears * (z > 0.67) * (z < 0.745)
    strength = (red * look.ruddy)[..., None] * (1 - 0.6 * dark)
    color *= 1 + strength * np.array([0.25, -0.75, -0.7], np.float32)
    rings = rng.uniform(0.05, 0.22) + 0.12 * look.age
    below = np.array([0, 0, 0.006])
    for a, b in ((46, 47), (40, 41)):
        hollow = m.near((m.points[a] + m.points[b]) / 2 - below, 0.008)
        color *= 1 - (rings * hollow)[..., None] * np.array([0.7, 0.9, 0.7], np.float32)
    lids = m.lids * rng.uniform(0.08, 0.28)
    color *= 1 - lids[..., None] * np.array([0.6, 1, 0.9], np.float32)


def _marks(rng: np.random.Generator, color: Array, m: Maps, look: Complexion) -> None:
    z, y = m.position[..., 2], m.position[..., 1]
    freckles, field = rng.random() < 0.3, cloud(rng, m.shape, 1 / 230, 1)
    threshold = rng.uniform(1.1, 1.7)
    if freckles:
        spots = 0.6 * np.clip(field - threshold, 0, 0.5) * np.exp(-(((z - 0.70) / 0.03) ** 2))
        color *= 1 - (spots * (y < -0.08))[..., None] * np.array([0.5, 0.8, 0.9], np.float32)
    for _ in range(int(rng.integers(0, 4))):
        v, u = rng.random(2)
        spot = m.position[int(v * 0.8 * m.shape[0]), int(u * m.shape[1])]
        color *= 1 - (0.6 * m.near(spot, 0.0016, power=4))[..., None]
    if look.age > 0.5:
        patches = np.clip(cloud(rng, m.shape, 1 / 60, 3) - 1.6, 0, 0.6) * (look.age - 0.5)
        color *= 1 - patches[..., None] * np.array([0.4, 0.6, 0.7], np.float32)


def _beard(rng: np.random.Generator, color: Array, m: Maps, look: Complexion, base: Array) -> Array:
    x, y, z = m.position[..., 0], m.position[..., 1], m.position[..., 2]
    across = np.abs(x)
    grain, patch = cloud(rng, m.shape, 1 / 320, 1), cloud(rng, m.shape, 1 / 55, 2)
    moustache = np.exp(-(((z - 0.676) / 0.0065) ** 2)) * smoothstep(-across, -0.03, -0.02)
    moustache *= y < -0.11
    jaw = smoothstep(-z, -0.664, -0.640) * smoothstep(z, 0.592, 0.612) * (y < -0.03)
    sides = smoothstep(across, 0.052, 0.062) * smoothstep(-z, -0.725, -0.68) * (y < -0.05)
    where = np.clip(np.maximum(moustache, jaw + sides * smoothstep(z, 0.6, 0.62)), 0, 1)
    where = where * (1 - m.lips)
    amount = np.clip(look.beard * (0.85 + 0.2 * grain + 0.08 * patch), 0, 0.95) * where
    if look.beard > 0:
        _over(color, look.hair * 0.7 + base * 0.08, amount)
    return np.asarray(amount, np.float32)


def _brows(rng: np.random.Generator, m: Maps, look: Complexion) -> Array:
    x, y, z = m.position[..., 0], m.position[..., 1], m.position[..., 2]
    across = np.abs(x)
    wobble, gaps = cloud(rng, m.shape, 1 / 110, 2), cloud(rng, m.shape, 1 / 200, 2)
    brows = np.zeros(m.shape, np.float32)
    for side, chosen in ((1.0, slice(22, 27)), (-1.0, slice(17, 22))):
        curve = m.points[chosen]
        along = np.abs(curve[:, 0])
        order = np.argsort(along)
        height = curve[:, 2] + look.brow_lift_m
        height = height[order] + np.array([0, 0.0004, 0.001, 0.001, -0.0008]) * look.brow_arch
        along = along[order]
        t = (np.clip(across, along[0], along[-1]) - along[0]) / np.ptp(along)
        middle = np.interp(np.clip(across, along[0], along[-1]), along, height)
        width = look.brow_thickness_m * (1 - 0.62 * t) * (0.7 + 0.6 * np.minimum(1, t * 5))
        away = np.hypot(across - np.clip(across, along[0], along[-1]), z - middle) / width
        strokes = 0.5 + 0.5 * np.sin(x * side * 1500 + z * 2300 * (1 - 1.6 * t) + 3 * wobble)
        strokes = np.clip(0.78 + 0.4 * (strokes - 0.5) + 0.1 * gaps, 0, 1)
        alpha = smoothstep(-away, -1.35, -0.45) * look.brow_density * strokes
        brows = np.maximum(brows, alpha * (x * side > 0) * (y < -0.09))
    return np.asarray(np.clip(brows, 0, 1), np.float32)


def _slopes(rng: np.random.Generator, m: Maps, look: Complexion, fine: Array) -> Array:
    """Pores, lip creases and wrinkles as a height field in metres, turned into slopes."""
    x, y, z = m.position[..., 0], m.position[..., 1], m.position[..., 2]
    across = np.abs(x)
    bumps, swell = cloud(rng, m.shape, 1 / 260, 1), cloud(rng, m.shape, 1 / 60, 3)
    bend = cloud(rng, m.shape, 1 / 14, 2)
    height = 2.2e-5 * bumps + 1.2e-5 * fine + 6e-5 * swell
    height = height * (1 - m.lips)
    height += 7e-5 * m.lips * np.sin(x * 4200 + 2.0 * swell)
    age = look.age**1.3
    front = (y < -0.09).astype(np.float32)
    lines = np.sin((z + 0.0016 * bend - 0.12 * across * across) * 2 * np.pi / 0.0085)
    forehead = smoothstep(z, 0.757, 0.768) * smoothstep(-z, -0.80, -0.787)
    forehead *= smoothstep(-across, -0.05, -0.03)
    height -= 3.2e-4 * age * np.clip(lines, 0, 1) ** 2 * forehead * front
    for side in (-1.0, 1.0):
        wing = m.points[35] * [side, 1, 1] + [side * 0.003, 0, 0.001]
        corner = m.points[54] * [side, 1, 1] + [side * 0.009, 0, -0.006]
        t = np.clip((z - corner[2]) / (wing[2] - corner[2]), 0, 1)
        fold = np.abs(x - (corner[0] + t * (wing[0] - corner[0]))) / 0.0022
        ends = smoothstep(z, corner[2] - 0.012, corner[2]) * smoothstep(
            -z, -wing[2] - 0.004, -wing[2]
        )
        height -= (2e-4 + 7e-4 * age) * np.exp(-(fold**2)) * ends * front
        outer = m.points[45] * [side, 1, 1] + [side * 0.008, 0.004, 0]
        angle = np.arctan2(z - outer[2], (x - outer[0]) * side + 0.012)
        feet = np.clip(np.sin(angle * 16 + bend), 0, 1) ** 2 * m.near(outer, 0.010)
        height -= 2.2e-4 * age * feet
        bag = (m.points[46] + m.points[47]) / 2 * [side, 1, 1] - [0, 0, 0.0085]
        trench = np.exp(-(((z - bag[2] - 6 * (across - abs(bag[0])) ** 2) / 0.0016) ** 2))
        height -= (8e-5 + 4e-4 * age) * trench * m.near(bag, 0.014)
    du, dv = np.gradient(height, axis=1), np.gradient(height, axis=0)
    slope = du[..., None] * m.gradient[:, :, 0] + dv[..., None] * m.gradient[:, :, 1]
    return np.asarray(np.clip(slope, -0.9, 0.9), np.float32)
