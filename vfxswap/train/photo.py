"""Rendered pictures made to look like plates and photographs, and pictures without a face.

All randomness comes from the generator passed in; nothing here needs a file.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.color import from_net, to_net
from vfxswap.image import Pixels

Generator = np.random.Generator
Ints = NDArray[np.int64]


def photographed(linear: Pixels, rng: Generator) -> Pixels:
    """A scene-linear picture [H, W, 3] as a plate or a photograph would show it, in net space.

    Varies exposure, white balance, light falloff, contrast, saturation, focus, motion blur,
    resolution and grain; about half are display-referred pictures with clipped lights and JPEG
    blocks, decoded by plain sRGB.
    """
    stops = rng.normal(0.0, 1.1) + rng.normal(0.0, 0.15, 3)
    if rng.random() < 0.3:
        stops = stops + _falloff(linear.shape[:2], rng)[..., None]
    net = to_net((linear * np.exp2(stops)).astype(np.float32))
    net = net if rng.random() < 0.45 else _display_referred(net, rng)
    if rng.random() < 0.5:
        net = 0.4 + (net - np.float32(0.4)) * np.float32(rng.uniform(0.7, 1.35))
    if rng.random() < 0.5:
        grey = net.mean(-1, keepdims=True)
        strength = 0.0 if rng.random() < 0.25 else rng.uniform(0.4, 1.4)
        net = grey + (net - grey) * np.float32(strength)
    net = _softened(net, rng)
    if rng.random() < 0.7:
        grain = rng.standard_normal(net.shape, dtype=np.float32)
        if rng.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.7) * 2.0
        net = net + grain * np.float32(rng.uniform(0.0, 0.035))
    return net


def _falloff(size: tuple[int, ...], rng: Generator) -> Pixels:
    """A ramp, or the edge of a soft shadow, in stops."""
    angle = rng.uniform(0, 2 * np.pi)
    v, u = (np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in size)
    along = u[None] * np.float32(np.cos(angle)) + v[:, None] * np.float32(np.sin(angle))
    depth = np.float32(rng.uniform(-1.8, 1.8))
    if rng.random() < 0.6:
        return depth * along
    edge, softness = rng.uniform(-0.6, 0.6), rng.uniform(0.03, 0.4)
    shadow: Pixels = np.clip((along - np.float32(edge)) / np.float32(softness), -1.0, 1.0)
    return depth * shadow


def _display_referred(net: Pixels, rng: Generator) -> Pixels:
    linear = from_net(net)
    level = float(np.exp2(rng.normal(0.0, 0.7))) * 0.22 / max(float(np.median(linear)), 1e-3)
    shown = np.clip(linear * np.float32(np.clip(level, 0.02, 50.0)), 0.0, 1.0)
    coded = cv2.pow(shown, 1 / 2.2)
    coded = np.clip(0.5 + (coded - 0.5) * np.float32(rng.uniform(0.75, 1.25)), 0.0, 1.0)
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 92))
        bytes_ = np.rint(coded * 255).astype(np.uint8)
        _, jpeg = cv2.imencode(".jpg", bytes_, [cv2.IMWRITE_JPEG_QUALITY, quality])
        coded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.float32) / 255
    decoded: Pixels = cv2.pow(coded.astype(np.float32), 2.2)
    return to_net(decoded)


def _softened(net: Pixels, rng: Generator) -> Pixels:
    chance = rng.random()
    out = net
    if chance < 0.30:
        out = cv2.GaussianBlur(net, (0, 0), float(rng.uniform(0.3, 1.7)))
    elif chance < 0.40:
        length = 3 + 2 * int(rng.integers(0, 4))
        kernel = np.zeros((length, length), np.float32)
        ends = rng.integers(0, length, 2).tolist()
        cv2.line(kernel, (0, ends[0]), (length - 1, ends[1]), 1.0)
        kernel = kernel if rng.random() < 0.5 else np.ascontiguousarray(kernel.T)
        out = cv2.filter2D(net, -1, kernel / kernel.sum())
    elif chance < 0.60:
        height, width = net.shape[:2]
        share = rng.uniform(0.22, 0.8)
        low = (int(width * share), int(height * share))
        small = cv2.resize(net, low, interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return out


def occluded(linear: Pixels, points: NDArray[np.float32], rng: Generator) -> tuple[Pixels, Pixels]:
    """One or two soft objects (hands, microphones, bars, flat patches) over parts of a face: the
    picture, and how much of each pixel [S, S] they cover."""
    size = linear.shape[0]
    out, seen = linear, np.ones((size, size), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        at = points[int(rng.integers(0, 68))] + rng.normal(0, 0.12 * size, 2)
        mask = np.zeros((size, size), np.float32)
        centre = (int(np.clip(at[0], 0, size)), int(np.clip(at[1], 0, size)))
        if rng.random() < 0.6:
            axes = (int(rng.uniform(0.03, 0.16) * size) + 1, int(rng.uniform(0.05, 0.3) * size) + 1)
            cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        else:
            half = rng.uniform(0.02, 0.2, 2) * size
            box = (centre, (2 * half[0], 2 * half[1] * 2), float(rng.uniform(0, 180)))
            cv2.fillConvexPoly(mask, np.rint(cv2.boxPoints(box)).astype(np.int32), 1.0)
        mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.4, 2.0)))[..., None]
        colour = np.array([0.45, 0.27, 0.18]) if rng.random() < 0.4 else rng.uniform(0.01, 0.8, 3)
        level = float(np.median(linear)) * rng.uniform(0.3, 2.5)
        texture = np.exp2(0.6 * fractal(size, rng, coarsest=0.2))[..., None]
        seen *= 1 - mask[..., 0]
        out = out * (1 - mask) + mask * texture * (colour * level / 0.3).astype(np.float32)
    return out.astype(np.float32), 1 - seen


def fractal(size: int, rng: Generator, *, coarsest: float = 0.5) -> Pixels:
    """[size, size] noise of about unit variance; its largest blobs are `coarsest` of the width."""
    out = np.zeros((size, size), np.float32)
    cells, weight, total = max(2, round(1 / coarsest)), 1.0, 0.0
    while cells < size:
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        out += np.float32(weight) * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        total += 0.6 * weight**2
        cells, weight = cells * 2, weight * 0.6
    return out / np.float32(np.sqrt(max(total, 1e-6)))


def faceless(size: int, rng: Generator) -> Pixels:
    """A scene-linear picture [size, size, 3] of textures, shapes, stripes and letters: no face."""
    base = rng.uniform(0.02, 0.7, 3) * np.ones((size, size, 3))
    noise = np.stack([fractal(size, rng, coarsest=rng.uniform(0.1, 1.0))] * 3, -1)
    if rng.random() < 0.5:
        noise = noise + 0.5 * np.stack([fractal(size, rng) for _ in range(3)], -1)
    picture: Pixels = (base * np.exp2(noise * rng.uniform(0.0, 1.5))).astype(np.float32)
    for _ in range(int(rng.integers(0, 7))):
        colour = (rng.uniform(0, 1, 3) ** 2).tolist()
        _draw(picture, colour, rng)
    if rng.random() < 0.2:
        period, angle = rng.uniform(2.5, size / 3), rng.uniform(0, np.pi)
        u = np.arange(size, dtype=np.float32)
        phase = (u[None] * np.cos(angle) + u[:, None] * np.sin(angle)) * (2 * np.pi / period)
        wave = np.sin(phase)
        wave = np.sign(wave) if rng.random() < 0.5 else wave
        picture = picture * np.exp2(rng.uniform(0.2, 1.5) * wave)[..., None].astype(np.float32)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 4.0)))
    return picture.astype(np.float32)


def _draw(picture: Pixels, colour: list[float], rng: Generator) -> None:
    size = picture.shape[0]
    kind = rng.random()
    centre = tuple(rng.integers(-size // 8, size + size // 8, 2).tolist())
    thickness = -1 if rng.random() < 0.7 else int(rng.integers(1, 4))
    if kind < 0.4:
        axes = tuple((rng.uniform(0.02, 0.45, 2) * size + 1).astype(int).tolist())
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(picture, centre, axes, angle, 0, 360, colour, thickness, cv2.LINE_AA)
    elif kind < 0.75:
        corners = rng.integers(-size // 4, size + size // 4, (int(rng.integers(3, 6)), 2))
        if thickness < 0:
            cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            cv2.polylines(picture, [corners.astype(np.int32)], True, colour, thickness, cv2.LINE_AA)
    else:
        letters = "".join(chr(int(c)) for c in rng.integers(33, 127, 12))
        scale = float(rng.uniform(0.2, 1.2))
        start = (int(rng.integers(-size // 2, size)), int(rng.integers(0, size)))
        ink = np.zeros((size, size), np.uint8)
        cv2.putText(ink, letters, start, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
        cover = ink[..., None].astype(np.float32) / 255
        picture += cover * (np.array(colour, np.float32) - picture)
