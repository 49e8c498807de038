"""Eyeballs of the Cycles renderer: a ball along the gaze, and the picture of iris and sclera."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import JobError
from vfxswap.synth.clothes import linear
from vfxswap.synth.head import Floats, Ints
from vfxswap.synth.identity import Identity
from vfxswap.synth.paint import smoothstep

Array = NDArray[np.float64]
RINGS, SEGMENTS = 56, 64
IRIS_RAD = 0.43
EYE_MAP_RAD = 1.6
"""Angle from the gaze at the last row of an eye's picture."""
IRIS_AT = (0.29, 0.70)
IRIS_SHARE, EYE_SHARE, PUPIL_SHARE = 0.116, 0.29, 0.034
"""Where the pictures show one eye: centre (x, y), radii of iris, eyeball and pupil, as shares."""


def eyeball_faces() -> tuple[Ints, Floats]:
    """Triangles of a ball of `RINGS` rings around the gaze, and their place on `eye_map`."""
    ring, segment = np.mgrid[0 : RINGS - 1, 0:SEGMENTS]
    after = (segment + 1) % SEGMENTS
    a, b = ring * SEGMENTS + segment, ring * SEGMENTS + after
    c, d = a + SEGMENTS, b + SEGMENTS
    v = 1 - np.minimum(_ring_angles() / EYE_MAP_RAD, 1.0)
    low, high = v[ring], v[ring + 1]
    u, w = segment / SEGMENTS, (segment + 1) / SEGMENTS
    faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], 2)
    corner = [(u, low), (u, high), (w, low)], [(w, low), (u, high), (w, high)]
    uv = np.stack([np.stack([np.stack(p, -1) for p in three], 2) for three in corner], 2)
    return faces.reshape(-1, 3).astype(np.int32), uv.reshape(-1, 3, 2).astype(np.float32)


def _ring_angles() -> Array:
    """Closer together where the iris is."""
    share = np.linspace(0.0, 1.0, RINGS)
    return np.asarray(1e-3 + (np.pi - 2e-3) * (0.45 * share + 0.55 * share**3))


def eyeball(radius: float, axes: Array) -> tuple[Array, Array, Array]:
    """Points [V, 3] around the centre, normals of the iris (a shallow bowl) and of the cornea.

    `axes` has rows east, up, gaze.
    """
    angle, around = np.meshgrid(
        _ring_angles(), np.arange(SEGMENTS) / SEGMENTS * 2 * np.pi, indexing="ij"
    )
    sine = np.sin(angle)
    local = np.stack([sine * np.cos(around), sine * np.sin(around), np.cos(angle)], -1)
    gaze = np.array([0.0, 0.0, 1.0])
    inside = 1 - smoothstep((angle / IRIS_RAD).astype(np.float32), 0.97, 1.1)[..., None]
    bowl = _unit(gaze - 1.2 * (local - gaze))
    iris = _unit(local * (1 - 0.5 * inside) + bowl * 0.5 * inside)
    bulge = 1 - smoothstep(angle.astype(np.float32), 0.42, 0.52)[..., None]
    coat = _unit(local + (local - gaze * local[..., 2:]) * 0.55 * bulge)
    points, iris, coat = (each.reshape(-1, 3) @ axes for each in (local, iris, coat))
    return points * radius, iris, coat


def _unit(v: Array) -> Array:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))


def eye_axes(gaze: Array, head: Array) -> Array:
    forward = _unit(gaze)
    up = head @ np.array([0.0, 0.0, 1.0])
    up = _unit(up - forward * (forward @ up))
    return np.stack([np.cross(up, forward), up, forward])


def eye_map(identity: Identity, picture: Path | None, *, rows: int = 256) -> Floats:
    """[rows, 2 rows, 3] albedo of an eyeball: down the rows the angle from the gaze, along them the
    turn around it. Painted, or taken from a picture of an eyeball and tinted."""
    angle = (np.arange(rows) + 0.5) / rows * EYE_MAP_RAD
    turn = (np.arange(2 * rows) + 0.5) / rows * np.pi
    painted = _painted_eye(identity, angle, turn)
    if picture is None:
        return painted
    pixels = eye_pixels(picture)
    pupil = identity.pupil_rad
    stops = [0.0, PUPIL_SHARE, IRIS_SHARE, EYE_SHARE * 0.9]
    radius = np.interp(angle, [0.0, pupil, IRIS_RAD, 1.1], stops)[:, None]
    height, width = pixels.shape[:2]
    x = ((IRIS_AT[0] + radius * np.cos(turn)) * width).astype(int)
    y = ((IRIS_AT[1] - radius * np.sin(turn)) * height).astype(int)
    out = pixels[y, x]
    ring = (angle > pupil * 1.3) & (angle < IRIS_RAD * 0.85)
    white = (angle > 0.55) & (angle < 0.9)
    share = (1 - smoothstep(angle.astype(np.float32), 0.40, 0.46))[:, None, None]
    tint = identity.iris / np.maximum(out[ring].mean((0, 1)), 1e-4)
    pale = identity.sclera * np.array([1.0, 0.93, 0.9]) / out[white].mean((0, 1))
    return np.asarray(out * (tint * share + pale * (1 - share)), np.float32)


def _painted_eye(identity: Identity, angle: Array, turn: Array) -> Floats:
    rng = np.random.default_rng([13, identity.seed])
    down, along = np.meshgrid(angle.astype(np.float32), turn, indexing="ij")

    def wave(cells: int, depth: float) -> Floats:
        """Value noise around the gaze, `cells` on a turn and `depth` a radian outwards."""
        lattice = rng.random((int(depth * EYE_MAP_RAD) + 3, cells)).astype(np.float32)
        x, y = along / (2 * np.pi) * cells, down * depth
        i, j = x.astype(int) % cells, y.astype(int)
        a = smoothstep((x % 1).astype(np.float32), 0, 1)
        b = smoothstep((y % 1).astype(np.float32), 0, 1)
        top = lattice[j, i] * (1 - a) + lattice[j, (i + 1) % cells] * a
        low = lattice[j + 1, i] * (1 - a) + lattice[j + 1, (i + 1) % cells] * a
        return np.asarray(top * (1 - b) + low * b, np.float32)

    red = np.clip((down - 0.5) * 1.1, 0, 0.4)
    vein = smoothstep(wave(57, 6.0), 0.62, 0.8) * red
    white = np.stack([np.ones_like(red), 0.93 - 0.6 * red - 0.5 * vein,
                      0.9 - 0.7 * red - 0.5 * vein], -1) * identity.sclera  # fmt: skip
    ratio = down / np.float32(IRIS_RAD)
    fibre = (0.55 + 0.75 * wave(69, 6.0)) * (0.8 + 0.4 * wave(170, 9.0))
    fibre *= (1 - 0.75 * smoothstep(ratio, 0.78, 1.0)) * (
        1 + 0.45 * (1 - smoothstep(ratio, 0.4, 0.65))
    )
    edge = (1 - smoothstep(ratio, 0.97, 1.1))[..., None]
    out = white * (1 - edge) + identity.iris * fibre[..., None] * edge
    hole = (1 - smoothstep(down, identity.pupil_rad - 0.025, identity.pupil_rad + 0.025))[..., None]
    return np.asarray(out * (1 - hole) + 0.004 * hole, np.float32)


def eye_picture(folder: Path, identity: Identity) -> Path | None:
    """The eyeball picture whose iris is nearest in colour to the performer's."""
    wanted = np.asarray(identity.iris, np.float64) / max(float(identity.iris.sum()), 1e-6)
    best: tuple[float, Path | None] = (np.inf, None)
    for file in sorted((folder / "eyes/materials").glob("*_eye.png")):
        color = iris_color(file)
        distance = float(np.abs(color / max(float(color.sum()), 1e-6) - wanted).sum())
        best = min(best, (distance, file), key=lambda b: b[0])
    return best[1]


@lru_cache(maxsize=16)
def eye_pixels(file: Path) -> Floats:
    """[H, W, 3] scene-linear Rec.709. Raises JobError when the picture cannot be read."""
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise JobError("an eye's picture cannot be read", file=file)
    return linear(picture[..., ::-1].astype(np.float32) / 255)


def iris_color(file: Path) -> Array:
    """[3] mean colour of the iris on an eyeball picture."""
    pixels = eye_pixels(file)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot((x + 0.5) / width - IRIS_AT[0], (y + 0.5) / height - IRIS_AT[1])
    ring = (radius > 1.3 * PUPIL_SHARE) & (radius < 0.85 * IRIS_SHARE)
    return np.asarray(pixels[ring].mean(0), np.float64)
