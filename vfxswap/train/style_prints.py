"""Media of lines and prints: hatching, engraving, woodcut, linocut, blueprint, halftone, chalk,
neon, ink wash.

Each takes a display-referred picture [H, W, 3] in 0…1 and gives it drawn in the medium.
"""

from __future__ import annotations

import cv2
import numpy as np

from vfxswap.image import Pixels
from vfxswap.train import style_marks as marks
from vfxswap.train.style_marks import Generator


def hatching(picture: Pixels, rng: Generator) -> Pixels:
    """Pen and dark ink in three directions of long, slightly wobbling strokes on cream paper."""
    light = marks.tone(marks.blurred(picture, 0.8)) ** np.float32(0.7)
    ink = np.zeros_like(light)
    for level, angle in ((0.84, 0.8), (0.56, -0.75), (0.30, 0.05)):
        bend = 1.4 * marks.noise(light.shape, rng, coarsest=0.5)
        line = marks.waves(light.shape, 6.5, angle, bend=bend)
        pressure = marks.streaks(np.full_like(light, angle), rng, length=26, width=1.0)
        dark = marks.step(level - light + 0.25 * (pressure - 0.5), 0.0, 0.18)
        width = 0.22 + 0.38 * dark * pressure
        ink = np.maximum(ink, dark * (1 - marks.step(line, width, 0.22)))
    ink = np.maximum(ink, 0.9 * marks.contours(light, sigma=1.1, sharp=25))
    sheet = marks.paper(light.shape, (0.95, 0.91, 0.82), rng)
    return marks.mixed(sheet, (0.08, 0.07, 0.12), 0.95 * ink)


def engraving(picture: Pixels, rng: Generator) -> Pixels:
    """Banknote engraving: swelling lines that bulge over the form, crossed in the shadows."""
    light = marks.tone(marks.blurred(picture, 1.0))
    form = marks.blurred(light, 5.0)
    dark = 1 - light
    ink = np.zeros_like(light)
    for angle, period, bulge, begins in ((0.35, 5.6, 13.0, 0.06), (-0.9, 5.6, -10.0, 0.52)):
        bend = bulge * form + 0.3 * marks.noise(light.shape, rng, coarsest=0.05)
        line = marks.waves(light.shape, period, angle, bend=bend)
        width = np.clip((dark - begins) * 1.05, 0, 0.86)
        ink = np.maximum(ink, (width > 0.02) * (1 - marks.step(line, width, 0.30)))
    ink = np.maximum(ink, 0.7 * marks.contours(light, sigma=0.9))
    sheet = marks.paper(light.shape, (0.93, 0.90, 0.80), rng, tooth=0.015)
    return marks.mixed(sheet, (0.16, 0.26, 0.20), ink)


def woodcut(picture: Pixels, rng: Generator) -> Pixels:
    """Bold black key block with gouged flow lines over a vermilion block on warm paper."""
    light = marks.tone(marks.smoothed(picture))
    angle = marks.flow(light, 7.0, swirl=0.4 * marks.noise(light.shape, rng))
    gouge = marks.streaks(angle, rng, length=44, width=1.7)
    key = marks.step(light + 0.62 * (gouge - 0.5), 0.42, 0.10)
    key = np.minimum(key, 1 - marks.contours(light, sigma=1.8, sharp=30))
    second = marks.step(light + 0.3 * (gouge - 0.5), 0.72, 0.10)
    sheet = marks.paper(light.shape, (0.94, 0.86, 0.70), rng, tooth=0.02)
    grain = marks.streaks(np.full_like(light, 0.03), rng, length=60, width=0.9)
    block = marks.mixed((0.80, 0.25, 0.13), (0.88, 0.38, 0.22), marks.step(grain, 0.6, 0.4))
    colour = marks.mixed(block, sheet, second)
    return marks.mixed((0.07, 0.05, 0.05), colour, key)


def linocut(picture: Pixels, rng: Generator) -> Pixels:
    """Reduction linocut in four flat inks with short carving marks left in the cleared parts."""
    light = marks.tone(marks.smoothed(picture, 4))
    angle = marks.flow(light, 9.0, swirl=marks.noise(light.shape, rng))
    chatter = marks.step(marks.streaks(angle, rng, length=16, width=1.9), 0.72, 0.16)
    colours = [(0.95, 0.90, 0.75), (0.96, 0.66, 0.22), (0.10, 0.55, 0.55), (0.08, 0.13, 0.28)]
    out = marks.paper(light.shape, colours[0], rng, tooth=0.012)
    for colour, level in zip(colours[1:], (0.78, 0.52, 0.28), strict=True):
        inked = 1 - marks.step(light + 0.16 * (chatter - 0.3), level, 0.05)
        speck = marks.blurred(rng.standard_normal(light.shape, dtype=np.float32), 0.9)
        inked = inked * (1 - 0.75 * marks.step(speck, 0.62, 0.3))
        out = marks.mixed(out, colour, inked)
    return out


def blueprint(picture: Pixels, rng: Generator) -> Pixels:
    """White draughting lines and a fine grid on Prussian blue."""
    light = marks.tone(marks.smoothed(picture))
    line = np.maximum(
        marks.contours(light, sigma=1.2, sharp=40), 0.6 * marks.contours(light, sigma=2.6, sharp=22)
    )
    shade = marks.waves(light.shape, 7.0, 0.785)
    hatch = marks.step(0.45 - light, 0.0, 0.2) * (1 - marks.step(shade, 0.24, 0.2))
    height, width = light.shape
    grid = np.zeros_like(light)
    for pitch, strength in ((16, 0.16), (64, 0.34)):
        grid[::pitch, :] = np.maximum(grid[::pitch, :], strength)
        grid[:, ::pitch] = np.maximum(grid[:, ::pitch], strength)
    sheet = marks.paper((height, width), (0.06, 0.20, 0.50), rng, tooth=0.05)
    ink = np.clip(np.maximum(line, 0.55 * hatch) + grid, 0, 1)
    chalky = 0.8 + 0.2 * marks.uniform(rng.standard_normal(light.shape, dtype=np.float32))
    return marks.mixed(sheet + 0.06 * light[..., None], (0.86, 0.93, 1.0), 0.95 * ink * chalky)


def halftone(picture: Pixels, rng: Generator) -> Pixels:
    """Four-colour newsprint with coarse rosettes of dots."""
    bright = marks.vivid(np.clip(picture * 1.08 + 0.02, 0, 1), 1.7)
    cmy = 1 - marks.blurred(bright, 1.0)
    black = cmy.min(-1)
    plates = [np.clip((cmy[..., c] - 0.75 * black), 0, 1) for c in range(3)]
    plates.append(black**1.6)
    inks = [(0.0, 0.62, 0.85), (0.88, 0.08, 0.50), (1.0, 0.88, 0.05), (0.08, 0.07, 0.09)]
    out = marks.paper(black.shape, (0.97, 0.94, 0.86), rng, tooth=0.015)
    for plate, ink, angle in zip(plates, inks, (0.26, 1.31, 0.0, 0.785), strict=True):
        y, x = np.mgrid[0 : black.shape[0], 0 : black.shape[1]].astype(np.float32)
        u = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / 8.0)
        v = (-x * np.sin(angle) + y * np.cos(angle)) * (2 * np.pi / 8.0)
        screen = 0.5 + 0.25 * (np.cos(u) + np.cos(v))
        dot = marks.step(plate.astype(np.float32) * 1.05, 1 - screen.astype(np.float32), 0.16)
        out = out * marks.mixed((1.0, 1.0, 1.0), ink, dot)
    return np.asarray(out, np.float32)


def chalk(picture: Pixels, rng: Generator) -> Pixels:
    """Coloured chalk dragged over a slate board."""
    light = marks.tone(marks.smoothed(picture))
    board = marks.paper(light.shape, (0.10, 0.13, 0.13), rng, tooth=0.12)
    dust = marks.noise(light.shape, rng, coarsest=0.3)
    board = board * (1 + 0.12 * dust[..., None])
    tooth = marks.uniform(marks.blurred(rng.standard_normal(light.shape, dtype=np.float32), 0.7))
    drag = marks.streaks(np.full_like(light, -0.9), rng, length=34, width=1.2)
    cover = marks.step(light + 0.55 * (drag - 0.5) + 0.5 * (tooth - 0.5), 0.58, 0.35)
    line = marks.contours(1 - light, sigma=1.6, sharp=26) * marks.step(tooth, 0.28, 0.4)
    colour = np.clip(marks.vivid(marks.smoothed(picture, 3), 2.0) * 0.55 + 0.42, 0, 1)
    out = marks.mixed(board, colour, 0.82 * cover)
    return marks.mixed(out, (0.96, 0.95, 0.90), 0.9 * line)


def neon(picture: Pixels, rng: Generator) -> Pixels:
    """Glowing tubes of pink, cyan and amber in the dark."""
    light = marks.tone(marks.smoothed(picture, 3))
    tube = np.maximum(
        marks.contours(light, sigma=1.5, sharp=30),
        0.6 * marks.contours(1 - light, sigma=1.5, sharp=20),
    )
    where = marks.uniform(marks.noise(light.shape, rng, coarsest=0.7) + 1.2 * (light - 0.5))
    ramp = [(1.0, 0.12, 0.62), (0.75, 0.2, 1.0), (0.10, 0.75, 1.0), (0.2, 1.0, 0.75), (1, 0.7, 0.1)]
    colour = marks.palette_map(where, [tuple(c) for c in ramp])  # type: ignore[misc]
    emitted = colour * tube[..., None]
    glow = sum(g * marks.blurred(emitted, s) for g, s in ((0.55, 2.0), (0.6, 6.0), (0.45, 16.0)))
    wall = marks.mixed((0.03, 0.015, 0.07), (0.11, 0.06, 0.20), light)
    core = marks.blurred(tube, 0.7)[..., None] * (0.55 * colour + 0.45)
    return marks.clipped(wall + glow + core)


def ink_wash(picture: Pixels, rng: Generator) -> Pixels:
    """Brush and black ink on rice paper: soft pooled washes, dry accents, few dark lines."""
    light = marks.tone(marks.smoothed(picture, 4))
    bleed = marks.noise(light.shape, rng, coarsest=0.12)
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]].astype(np.float32)
    moved = cv2.remap(light, x + 2.2 * bleed, y + 2.2 * np.roll(bleed, 37, 0), cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    wash = np.zeros_like(light)
    for level, depth in ((0.80, 0.16), (0.58, 0.22), (0.36, 0.30), (0.18, 0.28)):
        pool = 1 - marks.step(marks.blurred(moved, 1.6), level, 0.10)
        rim = np.clip(pool - marks.blurred(pool, 3.0), 0, 1)
        wash = wash + np.float32(depth) * (0.86 * pool + 1.1 * rim)
    grain = marks.uniform(marks.blurred(rng.standard_normal(light.shape, dtype=np.float32), 1.0))
    wash = wash * (0.86 + 0.24 * grain)
    angle = marks.flow(light, 5.0)
    dry = marks.streaks(angle, rng, length=30, width=0.9)
    brush = marks.contours(light, sigma=2.4, sharp=30) * marks.step(dry, 0.3, 0.4)
    sheet = marks.paper(light.shape, (0.945, 0.935, 0.90), rng, tooth=0.022)
    return marks.mixed(sheet, (0.055, 0.06, 0.085), np.clip(np.maximum(wash, 0.95 * brush), 0, 1))
