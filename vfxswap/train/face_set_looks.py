"""What a face's picture shows: where its light comes from, how blurred it is, how it looks."""

from __future__ import annotations

import base64
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from vfxswap.align.head import HeadPose
from vfxswap.geometry import Array
from vfxswap.image import Pixels
from vfxswap.settings import Settings

_LUMA: Final = np.array([0.2722287, 0.6740818, 0.0536895], np.float32)
"""Luminance of ACEScg primaries; near enough for other wide working spaces."""

LIGHT_PX: Final = 48
_RADII_MM: Final = np.array([84.0, 116.0, 98.0])
_CENTRE_MM: Final = np.array([0.0, 38.0, -59.0])
"""An ellipsoid for the front of the head: the normals of a face in the large."""
_FACING: Final = 0.25
_LEAST_SKIN: Final = 60

BLUR_PX: Final = 192
_SOFTENED: Final = (1.0, 2.0)
_BLOCK: Final = 8
_DIRECTIONS: Final = 4
_MOST_BLUR: Final = 8.0
"""Beyond so many pixels of `BLUR_PX` the two energies no longer tell."""

APPEARANCE_PX: Final = 12
_APPEARANCE_TOP: Final = 1.25


class Light(Settings):
    """Where the light on a face comes from, as the viewer sees it."""

    azimuth_deg: FiniteFloat = Field(description="From image right > 0, from the front 0.")
    elevation_deg: FiniteFloat = Field(description="From above > 0.")
    contrast: FiniteFloat = Field(
        ge=0, description="How much the side in the light outshines the mean; 0 is flat."
    )
    level: FiniteFloat = Field(description="Mean luminance of the skin, scene-linear.")


def light_of(rgb: Pixels, skin: Pixels, pose: HeadPose) -> Light | None:
    """The light on an aligned crop, from its skin.

    `rgb` [48, 48, 3] is scene-linear, `skin` [48, 48] the share of skin; `pose` is in pixels of
    these. Luminance over its mean is fitted by a constant and one term in the normals' direction
    (the first two orders of Ramamoorthi & Hanrahan 2001), highlights and the darkest left out.
    None where too little skin is seen.
    """
    normals, facing = _normals(pose, rgb.shape[0])
    luminance = rgb @ _LUMA
    wanted = facing & (skin > 0.8) & np.isfinite(luminance)
    if int(wanted.sum()) < _LEAST_SKIN:
        return None
    values = luminance[wanted].astype(np.float64)
    mean = float(values.mean())
    if not mean > 0.0:
        return None
    low, high = np.percentile(values, [5, 95])
    middle = (values >= low) & (values <= high)
    design = np.concatenate([np.ones((int(middle.sum()), 1)), normals[wanted][middle]], 1)
    steady = 1e-3 * len(design) * np.diag([0.0, 1.0, 1.0, 1.0])
    fit = np.linalg.solve(design.T @ design + steady, design.T @ (values[middle] / mean))
    x, y, z = fit[1:]
    length = max(float(np.linalg.norm(fit[1:])), 1e-9)
    return Light(
        azimuth_deg=round(float(np.degrees(np.arctan2(x, max(z, 0.15 * length)))), 1),
        elevation_deg=round(float(np.degrees(np.arcsin(np.clip(-y / length, -1, 1)))), 1),
        contrast=round(length, 3),
        level=round(mean, 5),
    )


def blur_of(luma: Pixels, matte: Pixels) -> float | None:
    """Blur of an aligned crop: its standard deviation in the direction of most blur, in percent
    of the crop's width. None where too little of the face is seen.

    `luma` [192, 192] is net space, `matte` [192, 192] the face in 0…1, both finite. An edge blurred
    by σ has a gradient energy in proportion to 1/σ, so the energies after two more blurs tell σ.
    Of every block's energy the middle block's is taken off: that is grain and plain skin. Read
    low under heavy grain, high in the direction of motion.
    """
    cells = luma.shape[0] // _BLOCK
    inside = cv2.resize(matte, (cells, cells), interpolation=cv2.INTER_AREA) > 0.9
    if int(inside.sum()) < 16:
        return None
    energies = np.empty((2, _DIRECTIONS))
    for i, sigma in enumerate(_SOFTENED):
        soft = cv2.GaussianBlur(luma, (0, 0), sigma)
        gx = (np.roll(soft, -1, 1) - np.roll(soft, 1, 1)) / 2
        gy = (np.roll(soft, -1, 0) - np.roll(soft, 1, 0)) / 2
        for k, angle in enumerate(np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS):
            energy = (gx * np.float32(np.cos(angle)) + gy * np.float32(np.sin(angle))) ** 2
            blocks = cv2.resize(energy, (cells, cells), interpolation=cv2.INTER_AREA)[inside]
            energies[i, k] = np.maximum(blocks - np.median(blocks), 0).mean() + 1e-12
    ratio = (energies[0] / energies[1]) ** 2
    first, second = _SOFTENED
    variance = (second**2 - ratio * first**2) / np.maximum(ratio - 1, 1e-6)
    sigma = float(np.sqrt(np.clip(variance.max(), 0, _MOST_BLUR**2)))
    return round(100 * sigma / float(luma.shape[0]), 3)


def appearance(net_luma: Pixels) -> str:
    """A small grey picture of the face for telling near-duplicates: 144 bytes of [S, S] net
    space, as base64."""
    size = (APPEARANCE_PX, APPEARANCE_PX)
    small = cv2.resize(np.nan_to_num(net_luma, posinf=2.0, neginf=0.0), size,
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    levels = np.rint(np.clip(small / _APPEARANCE_TOP, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


def appearance_values(stored: str) -> Array:
    """[144] net-space values of what `appearance` made."""
    levels = np.frombuffer(base64.b64decode(stored), np.uint8)
    return levels.astype(np.float64) * (_APPEARANCE_TOP / 255)


def luma_of(rgb: Pixels) -> Pixels:
    """[H, W] of [H, W, 3], any space."""
    return np.asarray(rgb @ _LUMA, np.float32)


def packed(values: Array) -> str:
    """Numbers as text: base64 of little-endian float32."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> Array:
    """[N] of what `packed` made. Raises ValueError for anything else."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)


def _normals(pose: HeadPose, size: int) -> tuple[Array, NDArray[np.bool_]]:
    """[S, S, 3] unit normals of the ellipsoid in a crop of `size` pixels, and where it faces us."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    turn, radii = pose.rotation, _RADII_MM * pose.scale
    centre = pose.project(_CENTRE_MM)
    form = turn @ np.diag(1 / radii**2) @ turn.T
    dx, dy = x - centre[0], y - centre[1]
    half = form[0, 2] * dx + form[1, 2] * dy
    rest = form[0, 0] * dx**2 + 2 * form[0, 1] * dx * dy + form[1, 1] * dy**2 - 1
    root = half**2 - form[2, 2] * rest
    dz = (-half + np.sqrt(np.maximum(root, 0))) / form[2, 2]
    normals = np.stack([dx, dy, dz], -1) @ form
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    return normals, (root > 0) & (normals[..., 2] > _FACING)
