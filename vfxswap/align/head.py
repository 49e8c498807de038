"""The head in three dimensions: where it looks, and where points fixed to it lie on the plate.

Head coordinates are millimetres from midway between the corneas: x to the picture's right when
the head faces the camera (the subject's left), y down, z out of the face. They are those of the
synthetic performers' neutral mean head (MakeHuman's base mesh, CC0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.align.crop import template
from vfxswap.errors import VfxSwapError
from vfxswap.geometry import BROWS, LANDMARK_COUNT, NOSE, STABLE, Array

CROP_MM: Final = 232.2
"""What an aligned crop is wide on the mean head."""

# z of the 70 landmarks, whose x and y are the crop template's.
_DEPTH_MM: Final = (
    *(-80.3, -67.4, -54.0, -49.0, -41.6, -28.5, -15.6, -5.7),
    *(-0.7, -5.7, -15.6, -28.5, -41.6, -49.0, -54.0, -67.4, -80.3),
    *(-12.8, -0.8, 3.8, 7.0, 10.4, 10.4, 7.0, 3.8, -0.8, -12.8),
    *(12.9, 15.1, 22.3, 29.6, 12.3, 15.0, 18.8, 15.0, 12.3),
    *(-3.9, -2.3, 1.3, -0.7, 1.3, -1.0, -0.7, 1.3, -2.3, -3.9, -1.0, 1.3),
    *(2.7, 17.2, 20.3, 21.7, 20.3, 17.2, 2.7, 8.0, 15.7, 13.1, 15.7, 8.0),
    *(5.2, 16.0, 16.8, 16.0, 5.2, 12.3, 15.5, 12.3),
    *(0.0, 0.0),
)
_PUPILS: Final = (68, 69)
_RIGID: Final = (*range(LANDMARK_COUNT)[BROWS], *range(LANDMARK_COUNT)[NOSE], *STABLE[:4], 0, 16)
"""Points that tell the pose: jaw, lips and lids move, the ears' jaw points do not."""

_STEP_MM: Final = 10
_TOP_MM: Final = -60
# z of the mean head's front over y (rows from `_TOP_MM` down) and x (columns from the middle out,
# the head is symmetric): skin and eyeballs, smoothed over 2 mm; beyond the silhouette -95.
# fmt: off
_SURFACE_MM: Final = (
    (7, 6, 4, -1, -8, -17, -32, -62, -95, -95),
    (11, 10, 7, 2, -5, -14, -28, -54, -95, -95),
    (14, 12, 10, 5, -2, -11, -25, -53, -95, -95),
    (15, 13, 10, 6, 0, -9, -24, -56, -95, -95),
    (14, 12, 9, 5, 0, -8, -24, -59, -95, -95),
    (12, 10, 6, 3, 0, -7, -23, -61, -95, -95),
    (12, 6, 0, 1, -3, -8, -21, -60, -87, -95),
    (15, 8, 2, 1, -2, -9, -20, -59, -90, -95),
    (21, 14, 6, 4, 0, -7, -20, -62, -94, -95),
    (27, 22, 8, 6, 1, -7, -21, -67, -94, -95),
    (27, 20, 8, 5, 0, -9, -27, -73, -95, -95),
    (18, 15, 9, 4, -2, -12, -36, -94, -95, -95),
    (21, 18, 11, 3, -4, -18, -58, -95, -95, -95),
    (16, 8, 2, 1, -8, -26, -93, -95, -95, -95),
    (14, 11, 5, -2, -14, -56, -95, -95, -95, -95),
)
# fmt: on


def head_points() -> Array:
    """[70, 3] landmarks of the mean head, in millimetres."""
    flat = template(1) * CROP_MM
    flat -= flat[list(_PUPILS)].mean(0)
    return np.concatenate([flat, np.array(_DEPTH_MM)[:, None]], 1)


@dataclass(frozen=True, eq=False)
class HeadPose:
    """Scaled orthography: plate pixel = origin + (scale · rotation · head mm) without its z, x
    divided by the pixel aspect.

    `rotation` [3, 3] turns head axes into picture axes (x right, y down, z to the camera);
    `scale` is square pixels a millimetre; `origin` [2] plate pixels.
    """

    rotation: Array
    scale: float
    origin: Array
    pixel_aspect: float = 1.0

    def project(self, points: Array) -> Array:
        """Head points [..., 3] in millimetres to plate pixels [..., 2]."""
        turned = points @ self.rotation.T
        flat: Array = turned[..., :2] * self.scale / [self.pixel_aspect, 1.0] + self.origin
        return flat

    def onto_plane(self, points: Array, depth_mm: float) -> Array:
        """Plate pixels [..., 2] to the head points [..., 3] of the plane z = `depth_mm` that are
        seen there."""
        flat = (points - self.origin) * [self.pixel_aspect, 1.0] / self.scale
        flat = flat - depth_mm * self.rotation[:2, 2]
        plane = flat @ np.linalg.inv(self.rotation[:2, :2]).T
        return np.concatenate([plane, np.full((*plane.shape[:-1], 1), depth_mm)], -1)

    @property
    def to_camera(self) -> Array:
        """[3] unit vector in head coordinates that points to the camera."""
        direction: Array = self.rotation[2]
        return direction

    @property
    def angles_deg(self) -> tuple[float, float, float]:
        """Yaw (above 0 the face looks to the picture's right), pitch (above 0 it looks down) and
        roll (above 0 clockwise on screen), in degrees."""
        ahead = self.rotation[:, 2]
        yaw = np.arctan2(ahead[0], ahead[2])
        pitch = np.arctan2(ahead[1], np.hypot(ahead[0], ahead[2]))
        across = self.rotation[:, 0]
        # Roll is what is left of the x axis' slope once the head is turned back.
        level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
        down = np.cross(ahead, level)
        roll = np.arctan2(across @ down, across @ level)
        return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def head_pose(points: Array, *, pixel_aspect: float = 1.0) -> HeadPose:
    """The pose of landmarks [70, 2] in plate pixels.

    Scaled orthography (DeMenthon & Davis 1995, first iteration): a linear fit of the points that
    expression moves least, its rows made orthogonal and of one length. Raises VfxSwapError for
    landmarks that are not finite or lie on a line.
    """
    if points.shape != (LANDMARK_COUNT, 2):
        raise ValueError(f"landmarks of shape {points.shape}")
    rows = list(_RIGID)
    seen = points[rows].astype(np.float64) * [pixel_aspect, 1.0]
    if not np.isfinite(seen).all():
        raise VfxSwapError("cannot pose a head", got="landmarks that are not finite numbers")
    model = np.concatenate([head_points()[rows], np.ones((len(rows), 1))], 1)
    solved, _, _, _ = np.linalg.lstsq(model, seen, rcond=None)
    u, sizes, vt = np.linalg.svd(solved[:3].T, full_matrices=False)
    if not sizes[1] > 1e-9 * max(sizes[0], 1e-9):
        raise VfxSwapError("cannot pose a head", got="landmarks on a line")
    two: Array = u @ vt
    rotation = np.stack([two[0], two[1], np.cross(two[0], two[1])])
    # Turned, the mean of the points stays where it was seen.
    scale = float(sizes.mean())
    centre = model[:, :3].mean(0)
    origin = seen.mean(0) - scale * (rotation @ centre)[:2]
    return HeadPose(rotation, scale, origin / [pixel_aspect, 1.0], pixel_aspect)


@lru_cache(maxsize=1)
def _surface() -> NDArray[np.float32]:
    """The face's z over x and y at every millimetre of its table."""
    half = np.array(_SURFACE_MM, np.float32)
    whole = np.concatenate([half[:, :0:-1], half], 1)
    rows, columns = whole.shape
    y = np.arange((rows - 1) * _STEP_MM + 1, dtype=np.float32) / _STEP_MM
    x = np.arange((columns - 1) * _STEP_MM + 1, dtype=np.float32) / _STEP_MM
    at_x, at_y = np.meshgrid(x, y)
    fine = cv2.remap(whole, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(fine, np.float32)


def face_points(pose: HeadPose, pixels: Array) -> Array:
    """[..., 3] head points, in millimetres, where the mean head is seen at plate pixels
    [..., 2]."""
    ahead = pose.to_camera
    start = pose.onto_plane(pixels, 0.0)
    return met(start, np.broadcast_to(-ahead[:2] / ahead[2], start[..., :2].shape))


def met(start: Array, slopes: Array) -> Array:
    """[..., 3] where rays from head points `start` meet the mean head's front; `slopes` [..., 2]
    are the millimetres that they go along x and y for each one into the head."""
    way = np.zeros_like(start[..., 0])
    for _ in range(8):
        flat = start[..., :2] + way[..., None] * slopes
        # Half steps: at the edge of the silhouette whole ones would jump to and fro.
        way = 0.5 * way + 0.5 * (start[..., 2] - surface_depth(flat))
    flat = start[..., :2] + way[..., None] * slopes
    return np.concatenate([flat, (start[..., 2] - way)[..., None]], -1)


def surface_normals(points: Array) -> Array:
    """Unit normals [..., 3] of the mean head's front at head points' x and y."""
    step = 3.0
    x, y = np.array([step, 0.0]), np.array([0.0, step])
    flat = points[..., :2]
    rise_x = (surface_depth(flat + x) - surface_depth(flat - x)) / (2 * step)
    rise_y = (surface_depth(flat + y) - surface_depth(flat - y)) / (2 * step)
    normals = np.stack([-rise_x, -rise_y, np.ones_like(rise_x)], -1)
    unit: Array = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
    return unit


def surface_depth(points: Array) -> Array:
    """z [...] of the mean head's front, in millimetres, at head points' x and y [..., 2+].

    Known to 0.8 mm (standard deviation, on the mean head itself) around the eyes; where the
    table ends its edge goes on.
    """
    table = _surface()
    middle = (table.shape[1] - 1) / 2
    at_x = np.asarray(points[..., 0] + middle, np.float32)
    at_y = np.asarray(points[..., 1] - _TOP_MM, np.float32)
    flat = (at_x.reshape(1, -1), at_y.reshape(1, -1))
    # Rows of remap are short integers: long lists are taken in pieces.
    pieces = [
        cv2.remap(table, flat[0][:, i : i + 32_000], flat[1][:, i : i + 32_000],
                  cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for i in range(0, flat[0].shape[1], 32_000)
    ]  # fmt: skip
    return np.concatenate(pieces, 1).reshape(at_x.shape).astype(np.float64)
