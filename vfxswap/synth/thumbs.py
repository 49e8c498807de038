"""Portraits of synthetic personas for choosers: `models/<model>/thumbs/<persona>.jpg`.

python -m vfxswap.synth.thumbs comb-starter
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.files import write_atomically
from vfxswap.io.weights import THUMBS_FOLDER, find_model
from vfxswap.synth.camera import portrait_camera
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import persona
from vfxswap.synth.light import direction, studio_rig
from vfxswap.synth.performance import State, actions
from vfxswap.synth.render import render
from vfxswap.synth.shot import FACE_CENTRE

SIDE_PX = 128
_OVERSIZE = 4
_MOST_BYTES = 10_000


def portrait(name: str) -> NDArray[np.uint8]:
    """[128, 128, 3] sRGB: a calm face under a soft key before a neutral ground."""
    side = SIDE_PX * _OVERSIZE
    camera = portrait_camera(
        FACE_CENTRE + np.array([0.0, 0.0, 0.018]), size=(side, side), height_m=0.325, distance_m=1.6
    )
    rig = replace(studio_rig(), key_direction=direction(0.5, 0.45), softness_m=0.006)
    state = State(actions(mouthSmile=0.25, cheekSquint=0.1)).posed(-0.16, 0.0, 0.0)
    truth = render(persona(name), state, camera, rig.scaled(1.05), background=_ground(side))
    small = cv2.resize(truth.rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(np.round(255 * _display(small)), np.uint8)


def _ground(side: int) -> Floats:
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    level = 0.16 * np.exp(-2.2 * (x**2 + (y - 0.05) ** 2))
    return np.asarray(level[..., None] * np.array([0.95, 1.0, 1.08]), np.float32)


def _display(linear: Floats) -> Floats:
    """sRGB, with a shoulder that rolls off above 0.8."""
    rolled = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.6), linear)
    kept = np.clip(rolled, 0, 1)
    encoded = np.where(kept <= 0.0031308, 12.92 * kept, 1.055 * kept ** (1 / 2.4) - 0.055)
    return np.asarray(encoded, np.float32)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """As a file of at most 10 kB, as good as that allows."""
    for quality in range(92, 40, -4):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        _, data = cv2.imencode(".jpg", picture[..., ::-1], options)
        if len(data) <= _MOST_BYTES:
            return bytes(data)
    raise ValueError("a thumbnail does not fit 10 kB")


def main(model: str) -> None:
    """Draws the personas of a model of synthetic performers into its folder."""
    stored = find_model(model)
    for known in stored.card.personas:
        path = stored.folder / THUMBS_FOLDER / f"{known.id}.jpg"
        write_atomically(path, jpeg(portrait(known.id)))
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]).name)
