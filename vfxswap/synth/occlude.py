"""Things in front of a face: glasses, hands, microphones, strands of hair; each with its matte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from vfxswap.synth.camera import Camera
from vfxswap.synth.head import Floats
from vfxswap.synth.light import LightRig
from vfxswap.synth.paint import cloud, skin_color
from vfxswap.synth.performance import Array
from vfxswap.synth.render import Truth

FINE = 4
"""Shapes are drawn at this multiple of the resolution in fixed point, antialiased."""


def occlude(
    rng: np.random.Generator,
    truth: Truth,
    camera: Camera,
    rig: LightRig,
    *,
    glasses: bool,
    occluder: bool,
) -> Truth:
    """The picture with random glasses and/or one random occluder over it.

    Adds `mattes["occluder"]` (zero where there is none) and takes the covered share out of the
    other mattes; covered landmarks become invisible, their positions stay.
    """
    shape = truth.alpha.shape
    points = truth.landmarks - [camera.window.x, camera.window.y]
    light = rig.ambient[0] + 0.5 * rig.key_color + 0.3 * rig.fill_color
    cover = np.zeros(shape, np.float32)
    if glasses:
        truth = _glasses(rng, truth, points, light)
    if occluder:
        kind = str(rng.choice(list(MAKERS)))
        lit, cover = draw_occluder(rng, kind, points, shape, rig)
        truth = _covered(truth, lit, cover)
    hidden = cover[_pixel(points, shape)] > 0.5
    return replace(
        truth,
        mattes={**truth.mattes, "occluder": cover},
        visible=truth.visible & ~hidden,
    )


def draw_occluder(
    rng: np.random.Generator,
    kind: str,
    points: Array,
    shape: tuple[int, ...],
    rig: LightRig,
    pixel_aspect: float = 1.0,
) -> tuple[Floats, Floats]:
    """Colour [H, W, 3] (scene-linear, defined everywhere) and cover [H, W] of an occluder.

    `kind` is one of `MAKERS`; `points` [70, 2] are landmarks in array pixels that it goes by.
    """
    height, width = shape[:2]
    square = (height, round(width * pixel_aspect))
    color, cover = MAKERS[kind](rng, points * [pixel_aspect, 1.0], square)
    shade = 0.55 + 0.45 * np.clip(1 + 0.35 * cloud(rng, square, 1 / 9, 3), 0.2, 1.8)
    light = rig.ambient[0] + 0.5 * rig.key_color + 0.3 * rig.fill_color
    lit = np.asarray(color * shade[..., None] * light, np.float32)
    if square[1] != width:
        lit, cover = (
            np.asarray(cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA), np.float32)
            for x in (lit, cover)
        )
    return lit, cover


def over(truth: Truth, cover: Floats, *, as_occluder: bool = False) -> Truth:
    """Takes what `cover` [H, W] hides out of a truth's mattes, and hidden landmarks out of sight.

    `as_occluder` counts the cover as the truth's own occluder; the picture stays as it is.
    """
    keep = 1 - cover
    mattes = {name: matte * keep for name, matte in truth.mattes.items()}
    alpha = truth.alpha * keep
    if as_occluder:
        mattes["occluder"] = mattes["occluder"] + cover
        alpha = alpha + cover
    return replace(
        truth,
        alpha=np.asarray(alpha, np.float32),
        mattes=mattes,
        face_matte=truth.face_matte * keep,
    )


def _pixel(points: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    column = np.clip(np.floor(points[:, 0]).astype(int), 0, shape[1] - 1)
    row = np.clip(np.floor(points[:, 1]).astype(int), 0, shape[0] - 1)
    return row, column


def _covered(truth: Truth, color: Floats, cover: Floats) -> Truth:
    keep = 1 - cover
    return replace(
        truth,
        rgb=truth.rgb * keep[..., None] + color * cover[..., None],
        alpha=truth.alpha * keep + cover,
        mattes={name: matte * keep for name, matte in truth.mattes.items()},
        face_matte=truth.face_matte * keep,
    )


def _fixed(points: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Pixel-edge coordinates for OpenCV's fixed point, whose centres are whole numbers."""
    return np.rint((np.asarray(points) - 0.5) * 16).astype(np.int32)


def _glasses(rng: np.random.Generator, truth: Truth, points: Array, light: Array) -> Truth:
    frame, lens = np.zeros((2, *truth.alpha.shape), np.float32)
    across = points[45] - points[36]
    length = float(np.hypot(*across))
    turn = float(np.degrees(np.arctan2(across[1], across[0])))
    thick = max(1, round(length * float(rng.uniform(0.015, 0.05))))
    wide, tall = rng.uniform(0.26, 0.34), rng.uniform(0.18, 0.29)
    boxy = rng.random() < 0.5
    down = np.array([-across[1], across[0]]) / max(length, 1e-6)
    for a, b in ((36, 39), (42, 45)):
        width = float(np.hypot(*(points[b] - points[a]))) / 0.36
        middle = (points[a] + points[b]) / 2 + down * length * 0.03
        if boxy:
            u = across / max(length, 1e-6)
            angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
            c, s = np.cos(angles), np.sin(angles)
            ring = np.stack([np.sign(c) * np.abs(c) ** 0.45, np.sign(s) * np.abs(s) ** 0.45], 1)
            outline = middle + ring[:, :1] * u * wide * width + ring[:, 1:] * down * tall * length
            polygon = _fixed(outline)
            cv2.fillPoly(lens, [polygon], 1.0, cv2.LINE_AA, 4)
            cv2.polylines(frame, [polygon], True, 1.0, thick, cv2.LINE_AA, 4)
        else:
            axes = (int(wide * width * 16), int(tall * length * 16))
            at = tuple(int(v) for v in _fixed(middle))
            cv2.ellipse(lens, at, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA, 4)
            cv2.ellipse(frame, at, axes, turn, 0, 360, 1.0, thick, cv2.LINE_AA, 4)
    bridge = [points[39] + down * 0.01 * length, points[42] + down * 0.01 * length]
    ends = [tuple(int(v) for v in _fixed(p)) for p in bridge]
    cv2.line(frame, ends[0], ends[1], 1.0, thick, cv2.LINE_AA, 4)
    for start, end in ((36, 0), (45, 16)):
        outer = points[start] + (across if start == 45 else -across) * 0.07
        edge = points[end] - down * length * 0.05
        pair = [tuple(int(v) for v in _fixed(p)) for p in (outer, edge)]
        cv2.line(frame, pair[0], pair[1], 1.0, thick, cv2.LINE_AA, 4)
    color = (
        rng.uniform(0.005, 0.3, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(0.003, 0.04))
    )
    dark = rng.uniform(0.6, 0.97) if rng.random() < 0.3 else rng.uniform(0.0, 0.2)
    tint = (1 - lens[..., None] * dark * rng.uniform(0.8, 1.0, 3)).astype(np.float32)
    rgb = truth.rgb * tint
    sheen = np.clip(cloud(rng, lens.shape, 0.3, 1) - 0.4, 0, 1) * lens * rng.uniform(0, 0.25)
    rgb = rgb + (sheen[..., None] * light).astype(np.float32)
    frame *= (truth.alpha > 0.05).astype(np.float32)
    truth = _covered(
        replace(truth, rgb=rgb), np.asarray(color * light, np.float32)[None, None], frame
    )
    glasses = np.maximum(truth.mattes["glasses"], frame)
    return replace(truth, mattes={**truth.mattes, "glasses": glasses})


def _face_side(points: Array) -> float:
    return float(np.ptp(points[:68], axis=0).max())


def _hand(rng: np.random.Generator, points: Array, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    cover = np.zeros(shape, np.float32)
    side = _face_side(points)
    turn = rng.uniform(0, 2 * np.pi)
    toward = np.array([np.cos(turn), np.sin(turn)])
    normal = np.array([-toward[1], toward[0]])
    tip = points[int(rng.integers(0, 68))] + rng.normal(0, 0.08, 2) * side
    width = side * rng.uniform(0.07, 0.11)
    palm = tip - toward * side * rng.uniform(0.3, 0.45)
    for k in range(int(rng.integers(2, 5))):
        end = tip + normal * (k - 1.5) * width * 1.05 - toward * width * rng.uniform(0, 0.9)
        root = palm + normal * (k - 1.5) * width * 0.95
        pair = [tuple(int(v) for v in _fixed(p)) for p in (end, root)]
        cv2.line(cover, pair[0], pair[1], 1.0, max(1, int(width)), cv2.LINE_AA, 4)
    back = palm - toward * side * 0.2
    axes = (int(side * 0.3 * 16), int(width * 2.3 * 16))
    middle = tuple(int(v) for v in _fixed(back))
    cv2.ellipse(cover, middle, axes, float(np.degrees(turn)), 0, 360, 1.0, -1, cv2.LINE_AA, 4)
    arm = [middle, tuple(int(v) for v in _fixed(back - toward * side * 2))]
    cv2.line(cover, arm[0], arm[1], 1.0, max(1, int(width * 3.2)), cv2.LINE_AA, 4)
    ridges = cv2.GaussianBlur(cover, (0, 0), max(0.5, float(width) * 0.25))
    color = skin_color(float(rng.uniform(0, 5.5))) * (0.35 + 0.65 * ridges[..., None])
    return np.asarray(color, np.float32), cover


def _microphone(
    rng: np.random.Generator, points: Array, shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    cover = np.zeros(shape, np.float32)
    side = _face_side(points)
    head = points[48:68].mean(0) + rng.normal(0, 0.12, 2) * side + [0, 0.08 * side]
    radius = side * rng.uniform(0.07, 0.14)
    low = head + np.array([rng.normal(0, 0.4), 1.2]) * side
    pair = [tuple(int(v) for v in _fixed(p)) for p in (head, low)]
    cv2.line(cover, pair[0], pair[1], 1.0, max(1, int(radius * 1.2)), cv2.LINE_AA, 4)
    cv2.circle(cover, pair[0], int(radius * 16), 1.0, -1, cv2.LINE_AA, 4)
    color = np.full((*shape, 3), rng.uniform(0.01, 0.12), np.float32)
    if rng.random() < 0.3:
        color *= rng.uniform(0.3, 3, 3).astype(np.float32)
    return color, cover


def _strands(
    rng: np.random.Generator, points: Array, shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    cover = np.zeros(shape, np.float32)
    side = _face_side(points)
    root = (points[19] + points[24]) / 2 + [rng.normal(0, 0.25) * side, -0.35 * side]
    end = points[int(rng.integers(0, 68))] + rng.normal(0, 0.1, 2) * side
    bend = rng.normal(0, 0.2, 2) * side
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(int(rng.integers(3, 24))):
        a, b = root + rng.normal(0, 0.05, 2) * side, end + rng.normal(0, 0.06, 2) * side
        path = a * (1 - t) + b * t + 4 * t * (1 - t) * (bend + rng.normal(0, 0.02, 2) * side)
        thick = max(1, int(side * rng.uniform(0.004, 0.015)))
        cv2.polylines(
            cover, [_fixed(path)], False, float(rng.uniform(0.5, 1)), thick, cv2.LINE_AA, 4
        )
    color = np.ones((*shape, 3), np.float32) * rng.uniform([0.01, 0.007, 0.005], [0.3, 0.18, 0.1])
    return np.asarray(color, np.float32), np.clip(cover, 0, 1)


def _shape(
    rng: np.random.Generator, points: Array, shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    cover = np.zeros(shape, np.float32)
    side = _face_side(points)
    middle = points[int(rng.integers(0, 68))] + rng.normal(0, 0.2, 2) * side
    axes = (int(side * rng.uniform(0.06, 0.3) * 16), int(side * rng.uniform(0.06, 0.35) * 16))
    at = tuple(int(v) for v in _fixed(middle))
    cv2.ellipse(cover, at, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA, 4)
    color = rng.uniform(0.02, 0.7, 3) * np.ones((*shape, 1))
    return np.asarray(color, np.float32), cover


MAKERS: dict[
    str,
    Callable[
        [np.random.Generator, Array, tuple[int, ...]],
        tuple[Floats, Floats],
    ],
] = {"hand": _hand, "microphone": _microphone, "strands": _strands, "shape": _shape}
"""What may come before a face: colour and cover from a generator, landmarks and an array shape."""
