"""Small plates with one rendered face of a stated size and pose, to measure a detector with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.synth.background import random_background
from vfxswap.synth.crops import face_camera
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import random_rig
from vfxswap.synth.performance import random_expression
from vfxswap.synth.render import render

SEED = 95_000_000
TIGHTNESS = 2.6
RENDERED_PX = 512
"""Faces are rendered with at most this side of the picture around them, then scaled."""


@dataclass(frozen=True)
class Condition:
    """What faces of a measurement have in common. `face_px` is the larger side of the box of the
    68 landmarks; `roll_deg` and `yaw_deg` go either way, head by head."""

    name: str
    face_px: float = 120
    roll_deg: float = 0.0
    yaw_deg: float = 0.0
    full_frame: bool = False


CONDITIONS = (
    *(Condition(f"roll {deg} degrees", roll_deg=deg) for deg in (0, 15, 30, 45)),
    *(Condition(f"yaw {deg} degrees", yaw_deg=deg) for deg in (30, 45, 60)),
    *(Condition(f"{px} px", face_px=px) for px in (24, 32, 48, 240)),
    Condition("full frame", face_px=340, full_frame=True),
)


class FacePlate(NamedTuple):
    """`linear` [H, W, 3] scene-linear, and its one face's landmarks [70, 2] in plate pixels."""

    linear: Floats
    points: NDArray[np.float64]


def face_plate(
    condition: Condition, number: int, *, size: tuple[int, int] = (360, 480)
) -> FacePlate:
    """The plate `number` of a condition: another performer, expression, light and place each."""
    height, width = size
    seed = [SEED, round(condition.face_px), round(condition.roll_deg), round(condition.yaw_deg)]
    rng = np.random.default_rng([*seed, number])
    identity = Identity.from_seed(SEED + number, texture_rows=384)
    side = 1.0 if number % 2 else -1.0
    state = random_expression(rng).posed(
        side * np.radians(condition.yaw_deg) + rng.normal(0, 0.05),
        float(rng.normal(0, 0.1)),
        (1.0 if number % 4 < 2 else -1.0) * np.radians(condition.roll_deg),
    )
    around = min(RENDERED_PX, 2 * round(condition.face_px * TIGHTNESS / 2) + 2)
    camera = face_camera(identity, state, around, tightness=TIGHTNESS, distance_m=1.3)
    drawn = render(identity, state, camera, random_rig(rng, mild=True), samples=3)
    own = float(np.ptp(drawn.landmarks[:68], axis=0).max())
    scale = condition.face_px / own
    linear = random_background(rng, height, width)
    middle = np.array([width, height]) / 2
    if not condition.full_frame:
        room = np.maximum(0.0, middle - 0.55 * condition.face_px)
        middle = middle + rng.uniform(-1, 1, 2) * room
    corner = middle - drawn.landmarks.mean(0) * scale
    _paste(linear, drawn.rgb, drawn.alpha, scale, corner)
    return FacePlate(linear, drawn.landmarks * scale + corner)


def _paste(
    linear: Floats, rgb: Floats, alpha: Floats, scale: float, corner: NDArray[np.float64]
) -> None:
    """Lays a picture (premultiplied) over another, scaled, its corner at a place [2] of it."""
    x, y = corner.tolist()
    height, width = linear.shape[:2]
    while scale <= 0.5:
        rgb, alpha = (cv2.resize(a, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                      for a in (rgb, alpha))  # fmt: skip
        scale *= 2
    # OpenCV counts pixel centres from 0.
    matrix = np.array([[scale, 0, x + scale / 2 - 0.5], [0, scale, y + scale / 2 - 0.5]])
    laid, cover = (
        cv2.warpAffine(a, matrix, (width, height), flags=cv2.INTER_LINEAR) for a in (rgb, alpha)
    )
    linear *= 1 - cover[..., None]
    linear += laid
