"""Media of paint, glass, tile and thread: impasto, pointillism, watercolour, stained glass,
mosaic, facets, embroidery, marbling, pastel.

Each takes a display-referred picture [H, W, 3] in 0…1 and the screens of its place, and gives it
made in the medium; where its marks lie the screens say, and nothing is left to chance.
"""

from __future__ import annotations

import cv2
import numpy as np

from vfxswap.image import Pixels
from vfxswap.train import style_marks as marks
from vfxswap.train.style_marks import Fields


def impasto(picture: Pixels, fields: Fields) -> Pixels:
    """Thick oil in swirling strokes, lit from the side."""
    source = marks.vivid(marks.smoothed(picture, 3), 1.75)
    light = marks.tone(marks.blurred(picture, 1.5))
    angle = marks.flow(light, 9.0, swirl=3.0 * fields["cloud_a"])
    bristle = marks.streaks(angle, fields["tooth"], length=30)
    touch = marks.step(bristle, 0.5, 0.5)[..., None]
    paint = np.clip(source * (0.72 + 0.42 * touch) + 0.10 * (touch - 0.5), 0, 1)
    lit = marks.relief(marks.blurred(bristle, 0.8), strength=0.9)
    shine = np.clip(lit - 1.22, 0, 1)[..., None] * 0.6
    return marks.clipped(paint * lit[..., None] + shine)


def pointillism(picture: Pixels, fields: Fields) -> Pixels:
    """Pure dots of neighbouring hues on primed canvas."""
    source = marks.cell_colours(marks.vivid(picture, 1.8), fields["spot_value"])
    chance = fields["spot_value"]
    hsv = cv2.cvtColor(source, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 28 * chance) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.1 + 0.15, 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] * (1 + 0.22 * chance) + 0.04, 0, 1)
    dots = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)
    cover = marks.step(fields["spot"], 0.30 * marks.tone(picture) - 0.45, 0.35)
    canvas = marks.paper((0.94, 0.91, 0.83), fields, tooth=0.03)
    return marks.clipped(marks.mixed(canvas, dots, cover))


def watercolour(picture: Pixels, fields: Fields) -> Pixels:
    """Transparent washes with dark wet edges, blooms and granulation on rough white paper."""
    flat = marks.shifted(marks.smoothed(picture, 5), 6 * fields["cloud_a"], 6 * fields["cloud_b"])
    thin = marks.vivid(marks.blurred(flat, 1.2), 1.8)
    density = 1 - (0.26 + 0.74 * thin)
    light = marks.tone(flat)
    edge = np.abs(light - marks.blurred(light, 2.8))
    load = 0.95 + 0.55 * fields["cloud_b"] + 0.16 * fields["tooth"] + 2.6 * edge
    dry = marks.step(light + 0.1 * fields["tooth"], 0.96, 0.12)
    wash = np.clip(1 - density * load[..., None], 0, 1)
    sheet = marks.paper((0.985, 0.975, 0.95), fields, tooth=0.02)
    return marks.clipped(marks.mixed(wash * sheet, sheet, dry))


def stained_glass(picture: Pixels, fields: Fields) -> Pixels:
    """Panes of glowing glass in lead."""
    value = fields["pane_value"][..., None]
    colour = marks.cell_colours(marks.vivid(picture, 2.4), fields["pane_value"])
    glass = np.clip(colour * 1.15 + 0.05, 0, 1) * (1 + 0.26 * value)
    glow = 0.86 + 0.14 * marks.clipped(fields["pane"])[..., None]
    glow = glow + 0.10 * fields["cloud_b"][..., None]
    lead = 1 - marks.step(fields["pane"], -0.52, 0.34)
    return marks.clipped(marks.mixed(marks.clipped(glass * glow), (0.035, 0.035, 0.045), lead))


def mosaic_tiles(picture: Pixels, fields: Fields) -> Pixels:
    """Hand-cut tesserae bedded in pale grout."""
    value = fields["tile_value"][..., None]
    colour = marks.cell_colours(marks.vivid(picture, 1.5), fields["tile_value"])
    lit = marks.relief(marks.step(fields["tile"], -0.3, 1.2), strength=0.25)
    tile = np.clip(colour * (1 + 0.24 * value), 0, 1) * lit[..., None]
    grout = marks.paper((0.74, 0.71, 0.65), fields, tooth=0.06)
    return marks.clipped(marks.mixed(grout, tile, marks.step(fields["tile"], -0.50, 0.45)))


def facets(picture: Pixels, fields: Fields) -> Pixels:
    """Cubist planes in ochre, umber and slate, each shaded across."""
    ramp = [(0.10, 0.09, 0.10), (0.27, 0.20, 0.15), (0.42, 0.40, 0.38), (0.66, 0.50, 0.28),
            (0.80, 0.70, 0.50), (0.94, 0.90, 0.80)]  # fmt: skip
    light = marks.tone(marks.blurred(picture, 1.5))
    tinted = marks.palette_map(light, ramp)
    value = fields["pane_value"][..., None]
    plane = marks.cell_colours(tinted, fields["pane_value"]) * (1 + 0.22 * value)
    plane = plane * (0.82 + 0.30 * marks.clipped(0.5 + 0.5 * fields["pane"])[..., None])
    return marks.clipped(0.6 * plane + 0.4 * tinted)


def embroidery(picture: Pixels, fields: Fields) -> Pixels:
    """Satin stitches of glossy thread, laid in slanted courses."""
    source = marks.vivid(marks.smoothed(picture, 3), 1.7)
    thread = source * (0.98 + 0.22 * fields["stitch_value"][..., None])
    round_ = marks.clipped(0.5 + 0.5 * fields["stitch"])
    out = np.clip(thread, 0, 1) * (0.22 + 0.80 * round_)[..., None]
    gloss = 0.26 * marks.step(fields["stitch"], 0.75, 0.5)
    return marks.clipped(out + gloss[..., None] * (0.3 + 0.7 * source))


def marbling(picture: Pixels, fields: Fields) -> Pixels:
    """Marbled paper whose veins follow the picture's tones."""
    light = marks.tone(marks.blurred(picture, 3.0))
    phase = (3.6 * light + 1.1 * fields["cloud_a"] + 0.7 * fields["cloud_b"] + 4).astype(np.float32)
    index = np.floor(phase).astype(np.int64)
    colours = np.array([(0.50, 0.06, 0.12), (0.95, 0.86, 0.68), (0.05, 0.22, 0.42),
                        (0.86, 0.55, 0.12), (0.10, 0.42, 0.36), (0.92, 0.78, 0.72)])  # fmt: skip
    flat = colours[index % len(colours)].astype(np.float32)
    inside = phase - index
    vein = 1 - marks.step(np.minimum(inside, 1 - inside), 0.09, 0.08)
    shaded = flat * (0.72 + 0.40 * light)[..., None]
    return marks.clipped(marks.mixed(shaded, (0.98, 0.95, 0.88), 0.9 * vein))


def pastel(picture: Pixels, fields: Fields) -> Pixels:
    """Soft pastel strokes in two layers on tinted, toothed paper."""
    light = marks.tone(picture)
    source = np.clip(marks.vivid(marks.smoothed(picture, 3), 1.7) * 0.8 + 0.17, 0, 1)
    out = marks.paper((0.46, 0.40, 0.47), fields, tooth=0.08)
    tooth = fields["tooth"]
    for turn, level in ((0.9, 0.30), (-0.5, 0.52)):
        drag = marks.streaks(np.full_like(light, turn), tooth, length=30)
        cover = marks.step(drag + 0.2 * tooth, level, 0.25)
        tinted = source * (0.86 + 0.28 * drag[..., None])
        out = marks.mixed(out, np.clip(tinted, 0, 1), 0.92 * cover)
    line = marks.contours(light, sigma=2.6, sharp=22) * marks.step(tooth, -0.1, 0.5)
    return marks.clipped(marks.mixed(out, (0.20, 0.14, 0.24), 0.7 * line))
