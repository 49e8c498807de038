"""Frames for build_swap.py: a synthetic performer cut out of a grainy plate, and loose grain.

    python make_plate.py FOLDER

Run by the engine's Python (the `synth` extra). Writes FOLDER/performer.####.exr, premultiplied
RGBA, and FOLDER/grain.####.exr, the plate's grain on a level of 0.18 with alpha 0, so that laying
it over a picture adds it. Nobody in these pictures exists.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vfxswap.geometry import Box
from vfxswap.image import Image, Part, Pixels
from vfxswap.io.exr import read_image, write_image
from vfxswap.synth import command
from vfxswap.synth.shot import SPACE, ShotSpec, add_grain

SHOT = ShotSpec(
    personas=("amber",),
    frames=4,
    first_frame=1,
    seed=11,
    width=960,
    height=540,
    framing_m=0.5,
    light="studio",
    grain=0.06,
    motion_samples=2,
)


def main() -> None:
    """Renders the performer and writes both sequences."""
    folder = Path(sys.argv[1])
    command.run(SHOT, str(folder / "plate.####.exr"), device="cpu")
    for frame in range(SHOT.first_frame, SHOT.first_frame + SHOT.frames):
        rgb = read_image(folder / f"plate.{frame:04d}.exr").rgb()
        alpha = _alpha(folder / f"plate_truth.{frame:04d}.exr")
        cut = np.concatenate([rgb * alpha[..., None], alpha[..., None]], -1)
        _write(folder / f"performer.{frame:04d}.exr", cut)
        level = np.full(rgb.shape, 0.18, np.float32)
        noise = add_grain(level, SHOT.grain, seed=SHOT.seed + 1, frame=frame) - level
        loose = np.concatenate([noise, np.zeros_like(noise[..., :1])], -1)
        _write(folder / f"grain.{frame:04d}.exr", loose)


def _alpha(path: Path) -> Pixels:
    for part in read_image(path).parts:
        if "truth_other.alpha" in part.channels:
            return part.channels["truth_other.alpha"].astype(np.float32)
    raise KeyError(f"{path} holds no alpha")


def _write(path: Path, pixels: Pixels) -> None:
    box = Box(0, 0, pixels.shape[1], pixels.shape[0])
    channels = {name: pixels[..., i].astype(np.float16) for i, name in enumerate("RGBA")}
    part = Part(channels, box, box, metadata={"colorInteropID": SPACE})
    write_image(path, Image((part,), ("R", "G", "B"), 0, "A"))


if __name__ == "__main__":
    main()
