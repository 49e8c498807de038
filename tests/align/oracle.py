"""A landmark finder that reads the truth from a picture whose colours are its coordinates."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vfxswap.align.pose import CROP_SHARE
from vfxswap.geometry import LANDMARK_COUNT, Array

_STEP = 1e-3


class Found(NamedTuple):
    points: Tensor
    confidence: Tensor
    score: Tensor


class Scan(NamedTuple):
    logit: Tensor
    box: Tensor


def ramps(width: int, height: int, *, origin: tuple[int, int] = (0, 0)) -> Tensor:
    """[1, 3, height, width]: red is the plate x of the pixel's centre, green y, in thousands."""
    x = torch.arange(width, dtype=torch.float64) + 0.5 + origin[0]
    y = torch.arange(height, dtype=torch.float64) + 0.5 + origin[1]
    planes = [x.expand(height, width), y[:, None].expand(height, width), torch.zeros(height, width)]
    return (torch.stack(planes)[None] * _STEP).float()


class Oracle:
    """Finds the plate points `truth` [70, 2] in crops of `ramps`, plus `error(i)` [70, 2] crop
    pixels in crop i of a batch. Sees faces everywhere with confidence and score 0.9."""

    SIZE = 96
    SHARE = CROP_SHARE

    def __init__(self, truth: Array, error: Callable[[int], Array] | None = None) -> None:
        self.truth = truth
        self.error = error
        self.batches: list[int] = []

    def __call__(self, crops: Tensor, /) -> Found:
        self.batches.append(len(crops))
        grid = np.arange(20, 76, 5)
        v, u = np.meshgrid(grid, grid, indexing="ij")
        design = np.stack([u.ravel() + 0.5, v.ravel() + 0.5, np.ones(u.size)], 1)
        points = []
        for index, crop in enumerate(crops.double().numpy()):
            seen = np.stack([crop[0][v, u].ravel(), crop[1][v, u].ravel()], 1) / _STEP
            affine = np.linalg.lstsq(design, seen, rcond=None)[0]
            found = (self.truth - affine[2]) @ np.linalg.inv(affine[:2])
            points.append(found if self.error is None else found + self.error(index))
        nine = torch.full((len(crops), LANDMARK_COUNT), 0.9)
        return Found(torch.from_numpy(np.stack(points)), nine, nine[:, 0])

    def likely(self, confidence: Array, /) -> Array:
        return confidence

    def scan(self, picture: Tensor, /) -> Scan:
        height, width = picture.shape[2] // 4, picture.shape[3] // 4
        return Scan(torch.full((1, height, width), -9.0), torch.zeros(1, 3, height, width))
