"""Pictures that style trainings learn from: procedural materials, renders, free photographs, and
style pictures drawn from them.

The photographs ship inside scikit-image (extra `test`); none is downloaded. Two of them, and
performers of their own numbers, are held out for contact sheets and metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vfxswap.color import DISPLAY_SPACE, ColorManager, to_net
from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.synth.background import random_background
from vfxswap.synth.shot import Shot, ShotSpec
from vfxswap.train import style_marks as marks
from vfxswap.train.classifier import Labelled, packed
from vfxswap.train.photo import faceless, fractal
from vfxswap.train.style_marks import Generator
from vfxswap.train.style_media import MEDIA, Palette

Maker = Callable[[int, Generator], Pixels]
"""Gives picture number k of a class."""

PHOTOGRAPHS = ("coffee.png", "rocket.jpg", "camera.png", "coins.png")
"""Free photographs with content, as scikit-image ships them; those whose licence it does not state
(motorcycle_left, moon, page) are left out."""
SURFACES = ("brick.png", "grass.png", "gravel.png", "ihc.png", "hubble_deep_field.jpg",
            "retina.jpg")  # fmt: skip
"""Photographs of materials and surfaces."""
HELD_OUT = ("chelsea.png", "astronaut.png")
"""Never trained on: contact sheets and metrics."""


def photograph(name: str, side: int = 0) -> Pixels:
    """A photograph of scikit-image, display-referred [H, W, 3] in 0…1, its shorter side `side`.

    Raises JobError when scikit-image is not installed.
    """
    try:
        import skimage
    except ImportError:
        raise JobError(
            "photographs for training are not there", wanted="pip install scikit-image"
        ) from None
    file = Path(skimage.__file__).parent / "data" / name
    read = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if read is None:
        raise JobError("photograph cannot be read", file=file)
    picture = np.ascontiguousarray(read[..., ::-1], np.float32) / np.float32(255)
    if not side:
        return picture
    scale = side / min(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=way).clip(0, 1), np.float32)


def performer(number: int, *, height: int, width: int) -> Pixels:
    """A synthetic performer in a set, scene-linear Rec.709 [H, W, 3]."""
    return Shot(performer_shot(number, height=height, width=width)).frame(1001)[0].rgb


def performer_shot(number: int, *, height: int, width: int, frames: int = 1) -> ShotSpec:
    """The shot of a performer, whose framing depends on the number."""
    rng = np.random.default_rng([31, number])
    return ShotSpec(
        personas=(str(number),),
        frames=frames,
        seed=number,
        width=width,
        height=height,
        framing_m=float(rng.uniform(0.28, 0.62)),
        texture_rows=384,
    )


def shown(linear: Pixels) -> Pixels:
    """Scene-linear Rec.709 as display-referred sRGB 0…1."""
    x = np.clip(linear, 0, 1)
    curve = np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-4) ** (1 / 2.4) - 0.055)
    return np.asarray(curve, np.float32)


def as_net(picture: Pixels) -> Pixels:
    """Display-referred sRGB as net space over the built-in config's working space."""
    return to_net(ColorManager(None).to_working(picture, DISPLAY_SPACE))


def contents(count: int, side: int, *, seed: int) -> list[Pixels]:
    """Display-referred pictures [side, side, 3] to be stylised: photographs (many cuts), rendered
    performers, procedural scenes, in turn."""
    photographs = [photograph(name, max(side, 300)) for name in PHOTOGRAPHS]
    made = []
    for k in range(count):
        rng = np.random.default_rng([32, seed, k])
        if k % 2 == 0:
            made.append(_cut(photographs[(k // 2) % len(photographs)], side, rng))
        elif k % 4 == 1:
            made.append(shown(performer(5000 + k, height=side, width=side) * 1.6))
        elif k % 8 == 3:
            made.append(shown(faceless(side, rng)))
        else:
            made.append(shown(random_background(rng, side, side)))
    return made


def _cut(picture: Pixels, side: int, rng: Generator) -> Pixels:
    """A square of the picture, of any size and place, perhaps mirrored."""
    low = min(picture.shape[:2])
    size = int(low * rng.uniform(0.5, 1.0))
    y = int(rng.integers(0, picture.shape[0] - size + 1))
    x = int(rng.integers(0, picture.shape[1] - size + 1))
    cut = picture[y : y + size, x : x + size]
    way = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    cut = cv2.resize(cut, (side, side), interpolation=way).clip(0, 1)
    return np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut, np.float32)


def _tinted(field: Pixels, rng: Generator) -> Pixels:
    """A field of unit variance between two random colours."""
    low, high = rng.uniform(0, 1, (2, 3))
    return marks.mixed(tuple(low), tuple(high), np.clip(0.5 + 0.3 * field, 0, 1))


def _stripes(side: int, rng: Generator) -> Pixels:
    bend = rng.uniform(0, 6) * fractal(side, rng, coarsest=0.3)
    line = marks.waves((side, side), rng.uniform(5, 22), rng.uniform(0, np.pi), bend=bend)
    return marks.step(line, rng.uniform(0.3, 0.7), 0.25) * 3 - 1.5


def _checks(side: int, rng: Generator) -> Pixels:
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 30)
    a = marks.waves((side, side), period, angle) > 0.5
    b = marks.waves((side, side), period, angle + np.pi / 2) > 0.5
    return np.where(a ^ b, 1.5, -1.5).astype(np.float32)


def _weave(side: int, rng: Generator) -> Pixels:
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 14)
    a = marks.waves((side, side), period, angle)
    b = marks.waves((side, side), period, angle + np.pi / 2)
    over = _checks(side, np.random.default_rng(int(rng.integers(1 << 30)))) > 0
    return np.where(over, 1.5 - 3 * a, 1.5 - 3 * b).astype(np.float32)


def _wood(side: int, rng: Generator) -> Pixels:
    bend = 8 * fractal(side, rng, coarsest=0.6)
    ring = marks.waves((side, side), rng.uniform(9, 24), rng.uniform(0, np.pi), bend=bend)
    fibre = marks.streaks(
        np.full((side, side), 0.1, np.float32), marks.white((side, side), rng), length=30
    )
    return np.asarray(1.6 * ring - 0.8 + fibre - 0.5, np.float32)


def _cells(side: int, rng: Generator) -> Pixels:
    points = marks.scattered((side, side), rng.uniform(10, 30), rng)
    seeds = np.ones((side, side), np.uint8)
    seeds[points[:, 1].astype(int), points[:, 0].astype(int)] = 0
    away = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
    return np.asarray(away / away.std() - 2, np.float32)


def _fur(side: int, rng: Generator) -> Pixels:
    angle = rng.uniform(0, np.pi) + 0.8 * fractal(side, rng, coarsest=0.6)
    white = marks.white((side, side), rng)
    return np.asarray(
        3 * marks.streaks(angle.astype(np.float32), white, length=24) - 1.5, np.float32
    )


def _spots(side: int, rng: Generator) -> Pixels:
    field = np.full((side, side), -1.3, np.float32)
    spacing = rng.uniform(10, 26)
    for x, y in marks.scattered((side, side), spacing, rng):
        radius = max(1, int(spacing * rng.uniform(0.15, 0.42)))
        cv2.circle(field, (int(x), int(y)), radius, 1.3, -1, cv2.LINE_AA)
    return field


def _clouds(side: int, rng: Generator) -> Pixels:
    return fractal(side, rng, coarsest=rng.uniform(0.2, 0.8))


def _sand(side: int, rng: Generator) -> Pixels:
    grain = rng.standard_normal((side, side), dtype=np.float32)
    return marks.blurred(grain, rng.uniform(0.5, 1.4)) * 3


def _ridges(side: int, rng: Generator) -> Pixels:
    return np.asarray(2.2 - 3.4 * np.abs(fractal(side, rng, coarsest=0.35)), np.float32)


def _gradient(side: int, rng: Generator) -> Pixels:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return np.asarray(1.6 * (x * np.cos(angle) + y * np.sin(angle)), np.float32)


def _strokes(side: int, rng: Generator) -> Pixels:
    field = np.zeros((side, side), np.float32)
    for x, y in marks.scattered((side, side), 7, rng):
        a, reach = rng.normal(0.7, 0.6), rng.uniform(4, 14)
        far = (int(x + reach * np.cos(a)), int(y + reach * np.sin(a)))
        cv2.line(field, (int(x), int(y)), far, float(rng.normal()), int(rng.integers(1, 5)),
                 cv2.LINE_AA)  # fmt: skip
    return field


MATERIALS: dict[str, Callable[[int, Generator], Pixels]] = {
    "stripes": _stripes, "checks": _checks, "weave": _weave, "wood": _wood, "cells": _cells,
    "fur": _fur, "spots": _spots, "clouds": _clouds, "sand": _sand, "ridges": _ridges,
    "gradient": _gradient, "strokes": _strokes,
}  # fmt: skip
"""Procedural materials: fields [side, side] of about unit variance."""


def material(name: str, side: int, rng: Generator) -> Pixels:
    """A procedural material in random colours, display-referred."""
    picture = _tinted(MATERIALS[name](side, rng), rng)
    if rng.random() < 0.5:
        picture = picture * np.exp2(0.4 * fractal(side, rng))[..., None]
    return marks.clipped(picture)


def labelled(
    per_class: int,
    side: int,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Labelled:
    """Pictures of every class: procedural materials, photographed surfaces, drawn media (of many
    contents in any colours), photographs' scenes, performers, abstract scenes."""
    makers: dict[str, Maker] = {}
    for name in MATERIALS:
        makers[f"material {name}"] = partial(_of_material, name, side)
    for name in (*SURFACES, *PHOTOGRAPHS):
        makers[f"photograph {name}"] = partial(_of_photograph, photograph(name, 300), side)
    pool = contents(32, int(1.5 * side), seed=seed)
    for name in MEDIA:
        makers[f"medium {name}"] = partial(_of_medium, name, pool, side)
    makers["performer"] = partial(_of_performer, 9000 + 97 * seed, side)
    makers["scene"] = partial(_of_scene, side)
    pictures, labels = [], []
    color = ColorManager(None)
    for label, maker in enumerate(makers.values()):
        for k in range(per_class):
            picture = maker(k, np.random.default_rng([33, seed, label, k]))
            pictures.append(packed(to_net(color.to_working(picture, DISPLAY_SPACE))))
            labels.append(label)
        progress(label + 1, len(makers))
    return Labelled(np.stack(pictures), np.array(labels), tuple(makers))


def _of_material(name: str, side: int, k: int, rng: Generator) -> Pixels:
    return material(name, side, rng)


def _of_photograph(picture: Pixels, side: int, k: int, rng: Generator) -> Pixels:
    return _cut(picture, side, rng)


def _of_performer(first: int, side: int, k: int, rng: Generator) -> Pixels:
    return shown(performer(first + k, height=side, width=side) * np.float32(1.6))


def _of_scene(side: int, k: int, rng: Generator) -> Pixels:
    return shown(random_background(rng, side, side))


def _of_medium(name: str, pool: list[Pixels], side: int, k: int, rng: Generator) -> Pixels:
    """A medium over any content in any palette, at about the size that styles are drawn in."""
    picture = pool[int(rng.integers(len(pool)))]
    if rng.random() < 0.5:
        ramp = tuple(map(tuple, np.sort(rng.uniform(0, 1, (4, 3)), 0) + rng.normal(0, 0.1, (4, 3))))
        picture = Palette(ramp, 0.3).on(picture)
    x, y = rng.integers(4096, size=2).tolist()
    fields = marks.fields_of(picture.shape[0], picture.shape[1], origin=(x, y))
    return _cut(marks.clipped(MEDIA[name](picture, fields)), side, rng)
