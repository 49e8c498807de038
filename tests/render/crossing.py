"""Shots in which two performers cross, leave and come back, with a cut in between; truth by frame.

Each performer is rendered apart and laid over a background: who stands where is known exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vfxswap.geometry import Box, Face
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image
from vfxswap.synth.background import random_background
from vfxswap.synth.crops import face_camera
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import random_rig
from vfxswap.synth.performance import Performance
from vfxswap.synth.render import render

WIDTH, HEIGHT, SIDE = 720, 300, 240
TAKE = 24
"""Frames before the cut, and after it."""


@dataclass(frozen=True)
class CrossingShot:
    """`pattern` of the plate, and by frame and performer (0, 1) the middle of the face."""

    pattern: str
    truth: dict[int, dict[int, tuple[float, float]]]


def write_crossing(folder: Path, seed: int) -> CrossingShot:
    """Writes a shot of 48 frames. In the first take performer 1 passes before performer 0; in the
    second, from elsewhere and in other light, 1 leaves and comes back while 0 stays."""
    rng = np.random.default_rng([seed, 77])
    performers = [Identity.from_seed(2_000_000 + 2 * seed + k, texture_rows=384) for k in (0, 1)]
    acting = [Performance(int(rng.integers(1 << 30)), 2 * TAKE) for _ in performers]
    truth: dict[int, dict[int, tuple[float, float]]] = {}
    for take in range(2):
        background = random_background(rng, HEIGHT, WIDTH)
        rig = random_rig(rng, mild=True)
        flipped = bool(rng.random() < 0.5)
        for n in range(TAKE):
            frame = 1001 + take * TAKE + n
            picture = background.copy()
            places = _first_take(n) if take == 0 else _second_take(n)
            truth[frame] = {}
            for who, x in enumerate(places):
                if x is None:
                    continue
                middle = WIDTH - x if flipped else x
                state = acting[who].at(take * TAKE + n)
                camera = face_camera(performers[who], state, SIDE, tightness=1.9)
                drawn = render(performers[who], state, camera, rig, samples=2)
                alpha = np.clip(np.sum(list(drawn.mattes.values()), 0), 0, 1)
                _over(picture, drawn.rgb, alpha, round(middle - SIDE / 2), HEIGHT - SIDE)
                x_face, y_face = drawn.landmarks.mean(0).tolist()
                left = round(middle - SIDE / 2)
                truth[frame][who] = (x_face + left, y_face + HEIGHT - SIDE)
            if truth[frame].keys() == {0, 1}:
                (ax, _), (bx, _) = truth[frame][0], truth[frame][1]
                if abs(ax - bx) < 0.45 * SIDE:  # 1 hides 0
                    del truth[frame][0]
            grain = 1 + 0.01 * np.random.default_rng([seed, frame]).normal(size=picture.shape)
            _write(folder / f"plate.{frame}.exr", (picture * grain).astype(np.float32))
    return CrossingShot(str(folder / "plate.#.exr"), truth)


def identity_errors(shot: CrossingShot, faces: dict[int, tuple[Face, ...]]) -> tuple[int, int, int]:
    """Faces under another performer's id; faces matched; truths without a face."""
    seen: list[tuple[int, int]] = []
    missed = 0
    for frame, there in shot.truth.items():
        for who, (x, y) in there.items():
            away = [
                (float(np.hypot(*(face.points.mean(0) - [x, y]))), face.id)
                for face in faces.get(frame, ())
            ]
            if away and min(away)[0] < 0.15 * SIDE:
                seen.append((min(away)[1], who))
            else:
                missed += 1
    owner: dict[int, int] = {}
    taken: set[int] = set()
    for (id_, who), _ in Counter(seen).most_common():
        if id_ not in owner and who not in taken:
            owner[id_] = who
            taken.add(who)
    return sum(owner.get(id_) != who for id_, who in seen), len(seen), missed


def _first_take(n: int) -> tuple[float | None, float | None]:
    t = n / (TAKE - 1)
    return 130 + 460 * t, 590 - 460 * t


def _second_take(n: int) -> tuple[float | None, float | None]:
    if 7 <= n < 14:
        return 500.0, None
    return 500.0 - 2 * n, 180.0 + 3 * n


def _over(picture: Floats, rgb: Floats, alpha: Floats, left: int, top: int) -> None:
    """Lays [S, S] with alpha over the picture; `rgb` is premultiplied (rendered over black)."""
    box = Box(left, top, alpha.shape[1], alpha.shape[0])
    inside = box.intersection(Box(0, 0, picture.shape[1], picture.shape[0]))
    if inside.empty:
        return
    here, there = inside.slices_in(Box(0, 0, 1, 1)), inside.slices_in(box)
    cover = cv2.GaussianBlur(alpha, (0, 0), 0.4)[there][..., None]
    picture[here] = picture[here] * (1 - cover) + rgb[there] * np.minimum(
        1, cover / np.maximum(alpha[there][..., None], 1e-3)
    )


def _write(path: Path, rgb: Floats) -> None:
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    channels = {name: rgb[..., i].astype(np.float16) for i, name in enumerate("RGB")}
    part = Part(
        channels=channels, data_window=window, display_window=window,
        metadata={"colorInteropID": "lin_rec709_scene"},
    )  # fmt: skip
    write_image(path, Image((part,), ("R", "G", "B"), 0, None))
