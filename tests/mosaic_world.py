"""A mosaic with small random networks, and plates to put it on."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch

from vfxswap.effects.base import Frame
from vfxswap.effects.mosaic import Mosaic, MosaicSettings
from vfxswap.effects.mosaic_themes import Themes
from vfxswap.geometry import Box, Face
from vfxswap.image import Pixels
from vfxswap.nets.mosaic import (
    MosaicEncoder,
    MosaicEncoderSettings,
    MosaicGenerator,
    MosaicGeneratorSettings,
)

CPU = torch.device("cpu")


def encoder() -> MosaicEncoder:
    """The same random encoder every time."""
    torch.manual_seed(3)
    return (
        MosaicEncoder(MosaicEncoderSettings(code=16, channels=(8, 8, 16)))
        .eval()
        .requires_grad_(False)
    )


def generator(seed: int, *, free: int = 0) -> MosaicGenerator:
    """The random generator of a seed."""
    torch.manual_seed(seed)
    shape = MosaicGeneratorSettings(code=16, free=free, channels=(16, 8, 8, 8, 8), encoder="e")
    return MosaicGenerator(shape).eval().requires_grad_(False)


def effect(*settings: MosaicSettings, free: int = 0) -> Mosaic:
    """The effect with themes flowers and gems; flowers take so many random elements."""
    nets = {"flowers": generator(1, free=free), "gems": generator(2)}
    return Mosaic(Themes(nets, {"e": encoder()}, CPU), settings, CPU)


def plate(width: int = 192, height: int = 128, *, shift: float = 0.0, seed: int = 0) -> Pixels:
    """[height, width, 3] soft blobs of 0…1, moved to the right by `shift` pixels."""
    noise = np.random.default_rng(seed).random((height // 8, 2 * width // 8, 3), np.float32)
    wide = cv2.resize(noise, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    matrix = np.array([[1, 0, shift - width / 2], [0, 1, 0]], np.float64)
    moved: Pixels = np.clip(cv2.warpAffine(wide, matrix, (width, height)), 0, None)
    return moved


def frame(
    rgb: Pixels,
    *,
    number: int = 1001,
    view: str = "",
    mattes: Mapping[str, Pixels] | None = None,
    faces: tuple[Face, ...] = (),
    at: tuple[int, int] = (0, 0),
    pixel_aspect: float = 1.0,
) -> Frame:
    """A frame whose data window starts at `at` in a display window of the same size."""
    height, width = rgb.shape[:2]
    return Frame(
        number,
        rgb,
        Box(at[0], at[1], width, height),
        Box(0, 0, width, height),
        seed=number,
        view=view,
        mattes=mattes or {},
        faces=faces,
        pixel_aspect=pixel_aspect,
    )
