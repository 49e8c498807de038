"""Crops of nothing and settings of a tiny comb, for trainings that take milliseconds."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vfxswap.train.crops import GUESTS, Crops, CropSet, seeded, stored_size
from vfxswap.train.schedule import CombTraining

PERSONAS = ("amber", "basalt")


def made_up(*, size: int = 16, count: int = 6, paired: bool = True) -> CropSet:
    """Smooth noise by role, its landmarks too."""
    generator = seeded(5)
    side = stored_size(size)
    roles = {}
    for role in (*PERSONAS, GUESTS):
        coarse = torch.rand(count, 3, 5, 5, generator=generator)
        pixels = 0.2 + 0.3 * F.interpolate(coarse, (side, side), mode="bilinear")
        matte = torch.zeros(count, 1, side, side, dtype=torch.uint8)
        matte[..., side // 5 : -side // 5, side // 5 : -side // 5] = 255
        points = torch.rand(count, 70, 2, generator=generator) * side
        roles[role] = Crops(pixels.half(), matte, matte, points)
    return CropSet(size, paired, roles)


def tiny(**changes: object) -> CombTraining:
    """Three levels, a dozen iterations, float32."""
    values = {
        "level": 2,
        "width": 0.02,
        "iterations": (2, 4, 4),
        "final_iterations": 2,
        "learning_rate": 1e-3,
        "batch": 2,
        "half": False,
        **changes,
    }
    return CombTraining.model_validate(values)
