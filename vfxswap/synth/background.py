"""Procedural backgrounds: gradients, noise, polygons and material-like textures."""

from __future__ import annotations

import cv2
import numpy as np

from vfxswap.synth.head import Floats
from vfxswap.synth.paint import cloud


def random_background(rng: np.random.Generator, height: int, width: int) -> Floats:
    """[H, W, 3] float32 scene-linear, mostly below 1, at times with lights far above 1."""
    side = max(height, width)
    picture = np.empty((side, side, 3), np.float32)
    low, high = rng.uniform(0, 0.6, (2, 3)) * rng.uniform(0.05, 1.0, (2, 1))
    turn = rng.uniform(0, 2 * np.pi)
    v, u = np.mgrid[0:side, 0:side] / side - 0.5
    ramp = np.clip(u * np.cos(turn) + v * np.sin(turn) + 0.5, 0, 1)[..., None]
    picture[:] = low * (1 - ramp) + high * ramp
    kind = rng.integers(4)
    if kind >= 1:
        strength = rng.uniform(0.1, 0.9)
        for channel in range(3):
            noise = cloud(rng, (side, side), float(rng.uniform(1 / 24, 0.3)), 3)
            picture[..., channel] *= np.exp(strength * 0.5 * noise)
        picture *= np.exp(0.4 * cloud(rng, (side, side), float(rng.uniform(1 / 60, 0.2)), 3))[
            ..., None
        ]
    if kind == 2:
        period = rng.uniform(0.03, 0.25)
        wave = np.sin((u * np.cos(turn) - v * np.sin(turn)) * 2 * np.pi / period)
        stripes = np.clip(wave * rng.uniform(1, 8), -1, 1)[..., None]
        picture *= 1 + rng.uniform(0.1, 0.7) * stripes.astype(np.float32)
    for _ in range(int(rng.integers(0, 7))):
        color = rng.uniform(0, 0.8, 3) * rng.uniform(0.1, 1)
        corners = rng.integers(-side // 5, side + side // 5, (int(rng.integers(3, 6)), 2))
        if rng.random() < 0.5:
            cv2.fillConvexPoly(picture, cv2.convexHull(corners.astype(np.int32)), color.tolist())
        else:
            axes = (int(side * rng.uniform(0.02, 0.25)), int(side * rng.uniform(0.02, 0.3)))
            middle = (int(corners[0, 0]), int(corners[0, 1]))
            cv2.ellipse(picture, middle, axes, float(rng.uniform(0, 180)), 0, 360,
                        color.tolist(), -1, cv2.LINE_AA)  # fmt: skip
    if rng.random() < 0.4:
        sigma = side * float(rng.uniform(0.005, 0.06))
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    if rng.random() < 0.15:
        cx, cy = rng.integers(0, side, 2)
        glow = np.exp(-(((u + 0.5) * side - cx) ** 2 + ((v + 0.5) * side - cy) ** 2)
                      / (side * rng.uniform(0.01, 0.06)) ** 2)  # fmt: skip
        picture += (rng.uniform(2, 15) * glow)[..., None].astype(np.float32)
    return np.ascontiguousarray(np.clip(picture[:height, :width], 0, None), np.float32)
