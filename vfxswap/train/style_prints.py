"""Media of lines and prints: hatching, engraving, woodcut, linocut, stipple, blueprint, halftone,
chalk, neon, ink wash.

Each takes a display-referred picture [H, W, 3] in 0…1 and the screens of its place, and gives it
drawn in the medium; where its marks lie the screens say, and nothing is left to chance.
"""

from __future__ import annotations

import numpy as np

from vfxswap.image import Pixels
from vfxswap.train import style_marks as marks
from vfxswap.train.style_marks import Fields


def hatching(picture: Pixels, fields: Fields) -> Pixels:
    """Pen and dark ink in two directions of slightly wobbling strokes on cream paper."""
    light = marks.tone(marks.blurred(picture, 1.2)) ** np.float32(0.8)
    ink = np.zeros_like(light)
    for name, level in (("line_a", 0.86), ("line_b", 0.50)):
        dark = marks.clipped((level - light) / 0.55)
        stroke = marks.inked(fields[name], 0.24 + 0.40 * dark, 0.5)
        ink = np.maximum(ink, stroke * marks.step(dark, 0.10, 0.16))
    ink = np.maximum(ink, 0.9 * marks.contours(light, sigma=1.8, sharp=25))
    sheet = marks.paper((0.96, 0.92, 0.82), fields)
    return marks.mixed(sheet, (0.08, 0.07, 0.14), 0.95 * ink)


def engraving(picture: Pixels, fields: Fields) -> Pixels:
    """Banknote engraving: level lines that swell with the dark, crossed in the shadows."""
    light = marks.tone(marks.blurred(picture, 1.4))
    dark = 1 - light
    ink = marks.inked(fields["line_c"], 0.10 + 0.66 * dark, 0.5)
    cross = marks.inked(fields["line_a"], 0.9 * (dark - 0.45), 0.5)
    ink = np.maximum(ink, cross * marks.step(dark, 0.58, 0.1))
    ink = np.maximum(ink, 0.7 * marks.contours(light, sigma=1.6))
    sheet = marks.paper((0.93, 0.92, 0.80), fields, tooth=0.015)
    return marks.mixed(sheet, (0.05, 0.28, 0.20), ink)


def woodcut(picture: Pixels, fields: Fields) -> Pixels:
    """Bold black key block with gouged flow lines over a vermilion block on warm paper."""
    light = marks.tone(marks.smoothed(picture, 3))
    angle = marks.flow(light, 10.0, swirl=1.5 * fields["cloud_a"])
    gouge = marks.streaks(angle, fields["tooth"], length=36)
    key = marks.step(light + 0.55 * (gouge - 0.5), 0.42, 0.10)
    key = np.minimum(key, 1 - marks.contours(light, sigma=2.4, sharp=30))
    second = marks.step(light + 0.3 * (gouge - 0.5), 0.72, 0.10)
    sheet = marks.paper((0.95, 0.86, 0.70), fields, tooth=0.02)
    colour = marks.mixed((0.84, 0.26, 0.12), sheet, second)
    return marks.mixed((0.06, 0.05, 0.05), colour, key)


def linocut(picture: Pixels, fields: Fields) -> Pixels:
    """Reduction linocut in four flat inks with short carving marks left in the cleared parts."""
    light = marks.tone(marks.smoothed(picture, 4))
    chatter = marks.inked(fields["line_b"], 0.30, 0.5) * marks.step(fields["tooth"], 0.1, 0.3)
    colours = [(0.96, 0.91, 0.75), (0.97, 0.66, 0.20), (0.08, 0.55, 0.56), (0.08, 0.12, 0.30)]
    out = marks.paper(colours[0], fields, tooth=0.012)
    for colour, level in zip(colours[1:], (0.76, 0.50, 0.27), strict=True):
        inked = 1 - marks.step(light + 0.16 * (chatter - 0.3), level, 0.05)
        out = marks.mixed(out, colour, inked)
    return out


def stipple(picture: Pixels, fields: Fields) -> Pixels:
    """Pen stipple: dots of one dark ink, larger in the dark, on white paper."""
    light = marks.tone(marks.blurred(picture, 1.6))
    dot = marks.step(fields["spot"], 1.75 * light ** np.float32(0.8) - 0.85, 0.35)
    dot = dot * marks.step(0.93 - light, 0.0, 0.1)
    ink = np.maximum(dot, 0.8 * marks.contours(light, sigma=1.8, sharp=25))
    return marks.mixed(
        marks.paper((0.98, 0.975, 0.96), fields, tooth=0.015), (0.16, 0.09, 0.06), ink
    )


def blueprint(picture: Pixels, fields: Fields) -> Pixels:
    """White draughting lines and a fine grid on Prussian blue."""
    light = marks.tone(marks.smoothed(picture))
    line = np.maximum(
        marks.contours(light, sigma=1.6, sharp=40), 0.6 * marks.contours(light, sigma=3.4, sharp=22)
    )
    hatch = marks.step(0.42 - light, 0.0, 0.2) * marks.inked(fields["line_a"], 0.24, 0.5)
    grid = 0.34 * marks.clipped(0.5 + 0.5 * fields["grid"])
    sheet = marks.paper((0.06, 0.20, 0.50), fields, tooth=0.05)
    ink = np.clip(np.maximum(line, 0.5 * hatch) + grid, 0, 1)
    return marks.mixed(sheet + 0.06 * light[..., None], (0.86, 0.93, 1.0), 0.95 * ink)


def halftone(picture: Pixels, fields: Fields) -> Pixels:
    """Newsprint in coarse dots of cyan, magenta and black over a flat yellow."""
    bright = marks.vivid(marks.clipped(picture * 1.08 + 0.02), 1.5)
    cmy = 1 - marks.blurred(bright, 2.0)
    black = cmy.min(-1)
    plates = [np.clip(cmy[..., c] - 0.7 * black, 0, 1) for c in range(3)]
    inks = [(0.0, 0.62, 0.85), (0.90, 0.08, 0.50), (1.0, 0.87, 0.10)]
    out = marks.paper((0.98, 0.95, 0.87), fields, tooth=0.015)
    out = out * marks.mixed((1.0, 1.0, 1.0), inks[2], 0.9 * plates[2].astype(np.float32))
    for plate, ink, name in ((plates[0], inks[0], "dots_a"), (plates[1], inks[1], "dots_b"),
                             (black**1.4, (0.08, 0.07, 0.09), "dots_c")):  # fmt: skip
        dot = marks.step(fields[name], 1 - 2.1 * plate.astype(np.float32), 0.35)
        out = out * marks.mixed((1.0, 1.0, 1.0), ink, dot * marks.step(plate, 0.05, 0.06))
    return np.asarray(out, np.float32)


def chalk(picture: Pixels, fields: Fields) -> Pixels:
    """Coloured chalk dragged over a slate board."""
    light = marks.tone(marks.smoothed(picture))
    board = marks.paper((0.10, 0.13, 0.13), fields, tooth=0.10)
    board = board * (1 + 0.25 * fields["cloud_a"][..., None])
    drag = marks.streaks(np.full_like(light, -0.9), fields["tooth"], length=26)
    tooth = fields["tooth"]
    cover = marks.step(light + 0.55 * (drag - 0.5) + 0.25 * tooth, 0.58, 0.30)
    line = marks.contours(1 - light, sigma=2.2, sharp=26) * marks.step(tooth, -0.2, 0.5)
    colour = np.clip(marks.vivid(marks.smoothed(picture, 3), 2.0) * 0.55 + 0.42, 0, 1)
    out = marks.mixed(board, colour, 0.86 * cover)
    return marks.mixed(out, (0.96, 0.95, 0.90), 0.9 * line)


def neon(picture: Pixels, fields: Fields) -> Pixels:
    """Glowing tubes of pink, cyan and amber in the dark."""
    light = marks.tone(marks.smoothed(picture, 3))
    tube = np.maximum(
        marks.contours(light, sigma=2.0, sharp=30),
        0.6 * marks.contours(1 - light, sigma=2.0, sharp=20),
    )
    where = marks.clipped(0.5 + 0.7 * fields["cloud_a"] + 0.5 * (light - 0.5))
    ramp = [(1.0, 0.12, 0.62), (0.75, 0.2, 1.0), (0.10, 0.75, 1.0), (0.2, 1.0, 0.75), (1, 0.7, 0.1)]
    colour = marks.palette_map(where, [tuple(c) for c in ramp])  # type: ignore[misc]
    emitted = colour * tube[..., None]
    glow = sum(g * marks.blurred(emitted, s) for g, s in ((0.55, 2.4), (0.6, 7.0), (0.4, 16.0)))
    wall = marks.mixed((0.03, 0.015, 0.07), (0.11, 0.06, 0.20), light)
    core = marks.blurred(tube, 0.8)[..., None] * (0.55 * colour + 0.45)
    return marks.clipped(wall + glow + core)


def ink_wash(picture: Pixels, fields: Fields) -> Pixels:
    """Brush and black ink on rice paper: soft pooled washes, dry accents, few dark lines."""
    light = marks.tone(marks.smoothed(picture, 4))
    moved = marks.shifted(light, 5 * fields["cloud_a"], 5 * fields["cloud_b"])
    wash = np.zeros_like(light)
    for level, depth in ((0.80, 0.16), (0.58, 0.22), (0.36, 0.30), (0.18, 0.28)):
        pool = 1 - marks.step(marks.blurred(moved, 2.0), level, 0.10)
        rim = np.clip(pool - marks.blurred(pool, 3.5), 0, 1)
        wash = wash + np.float32(depth) * (0.86 * pool + 1.1 * rim)
    wash = wash * (1 + 0.10 * fields["tooth"] + 0.12 * fields["cloud_b"])
    dry = marks.streaks(marks.flow(light, 6.0), fields["tooth"], length=22)
    brush = marks.contours(light, sigma=3.0, sharp=30) * marks.step(dry, 0.3, 0.4)
    sheet = marks.paper((0.955, 0.945, 0.905), fields, tooth=0.022)
    return marks.mixed(sheet, (0.05, 0.055, 0.08), np.clip(np.maximum(wash, 0.95 * brush), 0, 1))
