"""Media of paint, glass, tile and thread: impasto, pointillism, watercolour, stained glass,
mosaic, facets, embroidery, marbling, pastel.

Each takes a display-referred picture [H, W, 3] in 0…1 and gives it made in the medium.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.image import Pixels
from vfxswap.train import style_marks as marks
from vfxswap.train.style_marks import Generator

_TURN = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_ROUND = np.stack([np.cos(_TURN), np.sin(_TURN)], -1)
"""Corners [16, 2] of a dot of radius 1."""


def impasto(picture: Pixels, rng: Generator) -> Pixels:
    """Thick oil in swirling strokes, lit from the side."""
    source = marks.vivid(marks.smoothed(picture, 2), 1.75)
    light = marks.tone(picture)
    swirl = 1.3 * marks.noise(light.shape, rng, coarsest=0.35)
    angle = marks.flow(light, 8.0, swirl=swirl)
    out = np.clip(source * 0.9, 0, 1)
    height = np.zeros_like(light)
    for length, width, spacing in ((34, 9, 9.0), (24, 6, 6.0), (15, 4, 4.5)):
        for x, y in marks.scattered(light.shape, spacing, rng):
            a = float(angle[int(y), int(x)]) + rng.normal(0, 0.12)
            colour = source[int(y), int(x)] + rng.normal(0, 0.055, 3)
            colour = np.clip(colour * (1 + rng.normal(0, 0.09)), 0, 1)
            _stroke(out, height, (float(x), float(y)), a, length, width, colour, rng)
    bristle = marks.streaks(angle, rng, length=22, width=0.7)
    surface = marks.blurred(height, 0.9) + 0.55 * bristle
    lit = marks.relief(surface, strength=0.34)
    shine = np.clip(lit - 1.22, 0, 1)[..., None] * 0.7
    return marks.clipped(out * lit[..., None] + shine)


def _stroke(
    out: Pixels, height: Pixels, at: tuple[float, float], angle: float, length: float,
    width: int, colour: NDArray[np.float64], rng: Generator,
) -> None:  # fmt: skip
    """One curved stroke on paint and relief."""
    half = 0.5 * length
    bend = rng.normal(0, 0.25)
    t = np.linspace(-1, 1, 6)
    along, across = half * t, half * bend * (t**2 - 0.33)
    c, s = np.cos(angle), np.sin(angle)
    points = np.stack([at[0] + along * c - across * s, at[1] + along * s + across * c], -1)
    fixed = np.rint(points * 16).astype(np.int32)[None]
    cv2.polylines(out, fixed, False, colour.tolist(), width, cv2.LINE_AA, 4)
    cv2.polylines(height, fixed, False, float(rng.uniform(0.3, 1.0)), width, cv2.LINE_AA, 4)


def pointillism(picture: Pixels, rng: Generator) -> Pixels:
    """Pure dots of neighbouring and opposing hues on primed canvas."""
    source = marks.vivid(marks.blurred(picture, 1.5), 1.9)
    shape = picture.shape[:2]
    out = marks.paper((shape[0], shape[1]), (0.93, 0.90, 0.82), rng, tooth=0.03)
    for radius, spacing in ((4.2, 6.0), (3.2, 5.0), (2.4, 4.6)):
        for x, y in marks.scattered((shape[0], shape[1]), spacing, rng):
            colour = cv2.cvtColor(source[int(y), int(x)][None, None], cv2.COLOR_RGB2HSV)[0, 0]
            opposed = 165 if rng.random() < 0.12 else 0
            hue = (float(colour[0]) + rng.normal(0, 26) + opposed) % 360
            value = float(np.clip(colour[2] * rng.uniform(0.78, 1.22) + 0.03, 0, 1))
            hsv = np.array([[[hue, np.clip(colour[1] * 1.1 + 0.12, 0, 1), value]]], np.float32)
            rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
            # A polygon: OpenCV's own circles of a few pixels are diamonds.
            outline = (np.array([x, y]) + radius * rng.uniform(0.75, 1.1) * _ROUND) * 16
            cv2.fillConvexPoly(out, np.rint(outline).astype(np.int32), rgb.tolist(), cv2.LINE_AA, 4)
    return marks.clipped(out)


def watercolour(picture: Pixels, rng: Generator) -> Pixels:
    """Transparent washes with dark wet edges, blooms and granulation on rough white paper."""
    byte = np.rint(picture * 255).astype(np.uint8)
    flat = cv2.pyrMeanShiftFiltering(byte, 11, 26).astype(np.float32) / 255
    bleed = marks.noise(picture.shape[:2], rng, coarsest=0.08)
    y, x = np.mgrid[0 : flat.shape[0], 0 : flat.shape[1]].astype(np.float32)
    flat = cv2.remap(flat, x + 2.5 * bleed, y + 2.5 * np.roll(bleed, 51, 1), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    thin = marks.vivid(marks.blurred(flat, 1.0), 1.7)
    density = 1 - (0.30 + 0.70 * thin)
    light = marks.tone(flat)
    edge = np.abs(light - marks.blurred(light, 2.2))
    bloom = marks.uniform(marks.noise(light.shape, rng, coarsest=0.18))
    grit = marks.uniform(marks.blurred(rng.standard_normal(light.shape, dtype=np.float32), 1.0))
    load = 0.62 + 0.55 * bloom + 0.30 * (grit - 0.5) + 2.6 * edge
    dry = marks.step(light + 0.35 * (grit - 0.5), 0.93, 0.12)
    wash = np.clip(1 - density * load[..., None], 0, 1)
    sheet = marks.paper(light.shape, (0.985, 0.975, 0.95), rng, tooth=0.02)
    return marks.clipped(marks.mixed(wash * sheet, sheet, dry))


def stained_glass(picture: Pixels, rng: Generator) -> Pixels:
    """Panes of glowing glass in lead."""
    shape = (picture.shape[0], picture.shape[1])
    labels, points = _cells(shape, marks.scattered(shape, 21.0, rng))
    labels, points = _cells(shape, _drawn_to_edges(points, marks.tone(picture), rng))
    colour = _cell_means(marks.vivid(marks.blurred(picture, 1.0), 2.6), labels)
    bright = np.clip(colour * 1.25 + 0.06, 0, 1) * rng.uniform(0.75, 1.2, (len(colour), 1))
    glass = bright[labels].astype(np.float32)
    edge = _borders(labels)
    away = cv2.distanceTransform(1 - edge, cv2.DIST_L2, 5).astype(np.float32)
    ripple = marks.streaks(np.full(shape, 0.5, np.float32), rng, length=18, width=2.2)
    glow = 0.72 + 0.032 * np.minimum(away, 12) + 0.16 * (ripple - 0.5)
    glass = np.clip(glass * glow[..., None], 0, 1)
    came = 1 - marks.step(away, 2.4, 1.4)
    ridge = np.clip(1 - np.abs(away - 1.0) / 1.2, 0, 1) * 0.16
    lead = np.full((*shape, 3), 0.045, np.float32) + ridge[..., None]
    return marks.mixed(glass, lead, came)


def mosaic_tiles(picture: Pixels, rng: Generator) -> Pixels:
    """Hand-cut tesserae that follow the forms, bedded in pale grout."""
    light = marks.tone(marks.blurred(picture, 1.5))
    angle = marks.flow(light, 9.0, swirl=0.6 * marks.noise(light.shape, rng, coarsest=0.4))
    source = marks.vivid(marks.blurred(picture, 2.0), 1.5)
    out = marks.paper(light.shape, (0.71, 0.68, 0.62), rng, tooth=0.06)
    height = np.zeros_like(light)
    taken = np.zeros(light.shape, np.uint8)
    for side in (10.0, 10.0, 8.0, 6.0, 5.0):
        for x, y in marks.scattered(light.shape, side * 0.55, rng):
            if taken[int(y), int(x)]:
                continue
            a = np.degrees(float(angle[int(y), int(x)]))
            cut = (float(x), float(y)), (side * rng.uniform(0.92, 1.06), side), float(a)
            corners = np.rint(cv2.boxPoints(cut) * 16).astype(np.int32)
            if _overlaps(taken, corners, side):
                continue
            wide = (cut[0], (cut[1][0] + 2.0, cut[1][1] + 2.0), cut[2])
            grown = np.rint(cv2.boxPoints(wide) * 16).astype(np.int32)
            cv2.fillConvexPoly(taken, grown, 1, cv2.LINE_8, 4)
            colour = np.clip(source[int(y), int(x)] * rng.uniform(0.80, 1.20)
                             + rng.normal(0, 0.03, 3), 0, 1)  # fmt: skip
            cv2.fillConvexPoly(out, corners, colour.tolist(), cv2.LINE_AA, 4)
            cv2.fillConvexPoly(height, corners, float(rng.uniform(0.7, 1.0)), cv2.LINE_AA, 4)
    lit = marks.relief(marks.blurred(height, 1.0), strength=0.30)
    return marks.clipped(out * lit[..., None])


def facets(picture: Pixels, rng: Generator) -> Pixels:
    """Cubist planes in ochre, umber and slate, shaded edge to edge."""
    shape = (picture.shape[0], picture.shape[1])
    light = marks.tone(marks.blurred(picture, 1.5))
    points = _drawn_to_edges(marks.scattered(shape, 26.0, rng), light, rng)
    corners = [(0, 0), (shape[1] - 1, 0), (0, shape[0] - 1), (shape[1] - 1, shape[0] - 1)]
    grid = cv2.Subdiv2D((0, 0, shape[1], shape[0]))
    for x, y in [*corners, *points.tolist()]:
        grid.insert((float(np.clip(x, 0, shape[1] - 1)), float(np.clip(y, 0, shape[0] - 1))))
    ramp = [(0.10, 0.09, 0.10), (0.27, 0.20, 0.15), (0.42, 0.40, 0.38), (0.66, 0.50, 0.28),
            (0.80, 0.70, 0.50), (0.94, 0.90, 0.80)]  # fmt: skip
    tinted = 0.72 * marks.palette_map(light, ramp) + 0.28 * marks.vivid(picture, 1.2)
    out = np.asarray(tinted, np.float32).copy()
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    edges = np.zeros(shape, np.float32)
    for triangle in np.asarray(grid.getTriangleList()).reshape(-1, 3, 2):
        mask = np.zeros(shape, np.uint8)
        corner = np.rint(triangle).astype(np.int32)
        low, high = corner.min(0).clip(0), corner.max(0) + 1
        if (low >= (shape[1], shape[0])).any() or (high <= 0).any():
            continue
        cv2.fillConvexPoly(mask, corner, 1)
        area = (slice(low[1], high[1]), slice(low[0], high[0]))
        inside = mask[area] > 0
        if not inside.any():
            continue
        turn = rng.uniform(0, 2 * np.pi)
        ramp_here = (x[area] - low[0]) * np.cos(turn) + (y[area] - low[1]) * np.sin(turn)
        ramp_here = (ramp_here - ramp_here.mean()) / 22
        colour = tinted[area][inside].mean(0) * rng.uniform(0.82, 1.16)
        plane = colour * (1 + 0.30 * np.tanh(ramp_here))[..., None]
        out[area][inside] = np.clip(plane, 0, 1)[inside]
        cv2.polylines(edges, [corner], True, 1.0, 1, cv2.LINE_AA)
    scumble = marks.streaks(marks.flow(light, 12.0), rng, length=14, width=1.0)
    out = out * (0.88 + 0.24 * scumble[..., None])
    return marks.clipped(marks.mixed(out, (0.07, 0.06, 0.06), 0.75 * edges))


def embroidery(picture: Pixels, rng: Generator) -> Pixels:
    """Satin stitches of glossy thread laid along the forms."""
    light = marks.tone(marks.blurred(picture, 1.2))
    angle = marks.flow(light, 10.0, swirl=0.5 * marks.noise(light.shape, rng, coarsest=0.5))
    source = marks.vivid(marks.smoothed(picture, 2), 1.6)
    threads = np.round(source * 7) / 7
    out = np.asarray(threads * 0.45, np.float32)
    for x, y in marks.scattered(light.shape, 3.4, rng):
        a = float(angle[int(y), int(x)]) + rng.normal(0, 0.05)
        reach = rng.uniform(6.0, 9.0)
        dx, dy = reach * np.cos(a), reach * np.sin(a)
        near = (int((x - dx) * 16), int((y - dy) * 16))
        far = (int((x + dx) * 16), int((y + dy) * 16))
        nx, ny = int(-np.sin(a) * 11), int(np.cos(a) * 11)
        colour = threads[int(y), int(x)] * rng.uniform(0.88, 1.1)
        cv2.line(out, near, far, (colour * 0.38).tolist(), 4, cv2.LINE_AA, 4)
        cv2.line(out, near, far, np.clip(colour, 0, 1).tolist(), 2, cv2.LINE_AA, 4)
        bright = np.clip(colour * 1.25 + 0.14, 0, 1)
        side, lift = nx // 2, abs(ny) // 2
        cv2.line(out, (near[0] + side, near[1] - lift), (far[0] + side, far[1] - lift),
                 bright.tolist(), 1, cv2.LINE_AA, 4)  # fmt: skip
    return marks.clipped(out)


def marbling(picture: Pixels, rng: Generator) -> Pixels:
    """Combed marbled paper whose veins follow the picture's tones."""
    light = marks.tone(marks.blurred(picture, 2.0))
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]].astype(np.float32)
    for _ in range(2):
        drift = 9.0 * marks.noise(light.shape, rng, coarsest=0.25)
        comb = 7.0 * np.sin(2 * np.pi * (x / 52 + 0.15 * drift / 9))
        y, x = y + comb + drift, x + 0.6 * np.roll(drift, 91, 0)
    paint = cv2.remap(light, np.clip(x, 0, light.shape[1] - 1), np.clip(y, 0, light.shape[0] - 1),
                      cv2.INTER_LINEAR)  # fmt: skip
    band = 1.15 * light + 0.45 * paint
    phase = (band * 4.2).astype(np.float32)
    index = np.floor(phase).astype(np.int64)
    colours = np.array([(0.55, 0.08, 0.12), (0.93, 0.86, 0.70), (0.08, 0.24, 0.40),
                        (0.82, 0.55, 0.15), (0.15, 0.40, 0.36), (0.90, 0.78, 0.72)])  # fmt: skip
    flat = colours[index % len(colours)].astype(np.float32)
    inside = phase - index
    vein = 1 - marks.step(np.minimum(inside, 1 - inside), 0.07, 0.07)
    shaded = flat * (0.78 + 0.34 * light)[..., None] * (0.90 + 0.18 * inside)[..., None]
    out = marks.mixed(shaded, (0.97, 0.94, 0.86), 0.85 * vein)
    return marks.clipped(out)


def pastel(picture: Pixels, rng: Generator) -> Pixels:
    """Soft pastel strokes in two layers on tinted, toothed paper."""
    light = marks.tone(picture)
    source = np.clip(marks.vivid(marks.smoothed(picture, 3), 1.7) * 0.8 + 0.17, 0, 1)
    out = marks.paper(light.shape, (0.46, 0.40, 0.47), rng, tooth=0.06)
    tooth = marks.uniform(marks.blurred(rng.standard_normal(light.shape, dtype=np.float32), 0.8))
    for turn, level in ((0.9, 0.30), (-0.5, 0.52)):
        angle = np.full_like(light, turn) + 0.35 * marks.noise(light.shape, rng, coarsest=0.3)
        drag = marks.streaks(angle, rng, length=40, width=1.6)
        shifted = np.clip(source + rng.normal(0, 0.05, 3).astype(np.float32), 0, 1)
        cover = marks.step(0.6 * drag + 0.4 * tooth, level, 0.2)
        tinted = shifted * (0.86 + 0.28 * drag[..., None])
        out = marks.mixed(out, np.clip(tinted, 0, 1), 0.92 * cover)
    line = marks.contours(light, sigma=2.0, sharp=22) * marks.step(tooth, 0.4, 0.4)
    return marks.clipped(marks.mixed(out, (0.20, 0.14, 0.24), 0.7 * line))


def _overlaps(taken: NDArray[np.uint8], corners: NDArray[np.int32], side: float) -> bool:
    low = np.maximum(corners.min(0) // 16 - 1, 0)
    size = int(2 * side) + 4
    window = taken[low[1] : low[1] + size, low[0] : low[0] + size]
    mask = np.zeros_like(window)
    cv2.fillConvexPoly(mask, (corners - low * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    return bool((mask & window).any())


def _cells(
    shape: tuple[int, int], points: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest point's number [H, W], and the points."""
    seeds = np.ones(shape, np.uint8)
    x = np.clip(points[:, 0], 0, shape[1] - 1).astype(int)
    y = np.clip(points[:, 1], 0, shape[0] - 1).astype(int)
    seeds[y, x] = 0
    _, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    return labels.astype(np.int64) - 1, points


def _drawn_to_edges(
    points: NDArray[np.float32], light: Pixels, rng: Generator
) -> NDArray[np.float32]:
    """Points that climb towards edges, so that cells follow the forms."""
    gx, gy = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    edge = marks.blurred(np.hypot(gx, gy), 3.0)
    ux, uy = cv2.Sobel(edge, cv2.CV_32F, 1, 0), cv2.Sobel(edge, cv2.CV_32F, 0, 1)
    size = np.hypot(ux, uy) + 1e-5
    out = points.copy()
    for _ in range(6):
        x = np.clip(out[:, 0], 0, light.shape[1] - 1).astype(int)
        y = np.clip(out[:, 1], 0, light.shape[0] - 1).astype(int)
        pull = np.minimum(size[y, x] * 40, 1.5) / size[y, x]
        out[:, 0] += ux[y, x] * pull
        out[:, 1] += uy[y, x] * pull
    return (out + rng.normal(0, 0.4, out.shape)).astype(np.float32)


def _cell_means(picture: Pixels, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    count = np.bincount(labels.ravel())
    sums = [np.bincount(labels.ravel(), picture[..., c].ravel()) for c in range(3)]
    return np.stack(sums, -1) / np.maximum(count, 1)[:, None]


def _borders(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    edge = np.zeros(labels.shape, np.uint8)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    return edge
