"""Aligned crops, as parsing and identity networks see them, out of rendered pictures."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.align.crop import crop_matrix
from vfxswap.color import to_net
from vfxswap.image import Pixels
from vfxswap.nets.parsing import CLASSES
from vfxswap.train.landmark_data import FaceSet, Points, cut_picture, inverse, placing
from vfxswap.train.photo import Generator, occluded, photographed

OCCLUDER = CLASSES.index("occluder")
LANDMARK_NOISE = 0.012
"""Standard deviation of what landmarks are off by in training, in face heights: trackers err."""


class AlignedCrop(NamedTuple):
    """`crop` [S, S, 3] in net space; `labels` [S, S] of `nets.parsing.CLASSES`."""

    crop: Pixels
    labels: NDArray[np.uint8]


def aligned_crop(faces: FaceSet, index: int, *, size: int) -> AlignedCrop:
    """The face `index` as it was rendered, aligned by its true landmarks."""
    return _cut(faces.picture(index), faces.labels(index), faces.points[index], size)


def dressed_crop(
    faces: FaceSet, index: int, rng: Generator, *, size: int, occluder_chance: float
) -> AlignedCrop:
    """The same as training shows it: aligned by landmarks that are a little off, mirrored half
    of the time, behind objects at the given chance, photographed."""
    linear, labels, points = faces.picture(index), faces.labels(index), faces.points[index]
    if rng.random() < occluder_chance:
        linear, cover = occluded(linear, points, rng)
        labels = np.where(cover > 0.5, np.uint8(OCCLUDER), labels)
    height = float(np.ptp(points[:68, 1]))
    noisy = points + rng.normal(0, LANDMARK_NOISE * height, points.shape).astype(np.float32)
    middle = points.mean(0).astype(float)
    moved = placing(
        middle + rng.normal(0, 0.02, 2) * height,
        float(np.exp(rng.normal(0, 0.04))),
        float(rng.normal(0, 0.06)),
        (float(middle[0]), float(middle[1])),
    )
    noisy = (noisy @ moved[:, :2].T + moved[:, 2]).astype(np.float32)
    crop, cut_labels = _cut(linear, labels, noisy, size, net_space=False)
    if rng.random() < 0.5:
        crop, cut_labels = crop[:, ::-1], cut_labels[:, ::-1]
    return AlignedCrop(
        photographed(np.ascontiguousarray(crop), rng), np.ascontiguousarray(cut_labels)
    )


def _cut(
    linear: Pixels,
    labels: NDArray[np.uint8],
    points: Points,
    size: int,
    *,
    net_space: bool = True,
) -> AlignedCrop:
    matrix = inverse(crop_matrix(points.astype(float), size=size))
    crop = cut_picture(linear, matrix, size)
    # OpenCV counts pixel centres from 0.
    by_corner = matrix.copy()
    by_corner[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    parts = cv2.warpAffine(
        labels, by_corner, (size, size), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return AlignedCrop(to_net(crop) if net_space else crop, parts.astype(np.uint8))
