"""A pinhole camera that looks along +Y in the head's axes, with pixel aspect and overscan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfxswap.geometry import Box

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Camera:
    """`focal_px` is the focal length in rows of pixels; `centre_px` the principal point in
    plate pixels; `window` the data window that is rendered (overscan included). `pixel_aspect`
    is width over height of a pixel: 2 for unsqueezed anamorphic plates."""

    position: Array
    focal_px: float
    centre_px: tuple[float, float]
    window: Box
    pixel_aspect: float = 1.0

    def project(self, points: NDArray[np.floating]) -> Array:
        """[..., 3] metres to [..., 3]: x and y in plate pixels, and distance in metres."""
        d = np.asarray(points, np.float64) - self.position
        x = self.centre_px[0] + self.focal_px / self.pixel_aspect * d[..., 0] / d[..., 1]
        y = self.centre_px[1] - self.focal_px * d[..., 2] / d[..., 1]
        return np.stack([x, y, d[..., 1]], -1)


def portrait_camera(
    centre: NDArray[np.floating],
    *,
    size: tuple[int, int],
    height_m: float = 0.30,
    distance_m: float = 1.0,
    overscan_px: int = 0,
    pixel_aspect: float = 1.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    """A camera level with `centre` [3] metres that shows `height_m` metres there.

    `size` is (height, width) of the display window; `offset` moves the subject by that share of
    the height, right and down; `overscan_px` widens the data window on every side.
    """
    height, width = size
    at = np.asarray(centre, np.float64)
    focal = height * distance_m / height_m
    shift = (offset[0] * height / pixel_aspect, offset[1] * height)
    return Camera(
        position=at - np.array([0.0, distance_m, 0.0]),
        focal_px=focal,
        centre_px=(width / 2 + shift[0], height / 2 + shift[1]),
        window=Box(0, 0, width, height).grown(overscan_px),
        pixel_aspect=pixel_aspect,
    )
