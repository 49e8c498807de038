"""What makes an encoder and its decoders keep expression: eyes, mouth and brows as pictures of
their own, and landmarks that a linear layer must be able to read off the latent vector.

Over a whole face, pose and light outweigh a glance by far: a comb trained on them alone may carry
none of it (a linear layer on the latents of the first starter comb read gaze with R² 0). Both
terms are this project's, not the source's; both work on footage as well as on rendered takes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.align.crop import template
from vfxswap.geometry import BROWS, LEFT_EYE, MOUTH, RIGHT_EYE
from vfxswap.train.losses import WINDOW_PX, ssim

PARTS = {"right eye": RIGHT_EYE, "left eye": LEFT_EYE, "mouth": MOUTH, "brows": BROWS}
REACH = 0.06
"""How far a part's window reaches beyond its template landmarks, in crop sides."""
_READ: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((17, 18, 19, 20, 21, 36, 37, 38, 39, 40, 41, 68), (36, 39)),
    ((22, 23, 24, 25, 26, 42, 43, 44, 45, 46, 47, 69), (42, 45)),
    (tuple(range(48, 68)), (33,)),
)
"""Landmarks of brow, eye and pupil from the middle of the eye's corners; mouth from the nose."""
READINGS = 2 * sum(len(points) for points, _ in _READ)
_KINDS = (range(17, 27), range(36, 48), range(48, 68), range(68, 70))
"""Brows, lids, mouth, pupils: each counts alike, or a glance would be four numbers of 88."""


@lru_cache(maxsize=64)
def window(part: str, size: int) -> tuple[slice, slice]:
    """Rows and columns of a part in an aligned crop of this side."""
    points = template(size)[PARTS[part]]
    x0, y0 = np.floor(points.min(0) - REACH * size).astype(int).tolist()
    x1, y1 = np.ceil(points.max(0) + REACH * size).astype(int).tolist()
    return slice(max(0, y0), min(size, y1)), slice(max(0, x0), min(size, x1))


def part_loss(target: Tensor, decoded: Tensor) -> Tensor:
    """Mean over eyes, mouth and brows of their absolute difference and 1 − SSIM; a number.

    target, decoded [B, 3, S, S]. SSIM enters where a part has room for its window, from 32² on.
    """
    total = decoded.new_zeros(())
    for part in PARTS:
        rows, columns = window(part, target.shape[-1])
        x, y = target[..., rows, columns], decoded[..., rows, columns]
        total = total + (x - y).abs().mean()
        if min(x.shape[-2:]) >= WINDOW_PX:
            total = total + (1 - ssim(x, y)).mean()
    return total / len(PARTS)


def readings(points: Tensor, placement: Tensor, *, stored_px: int) -> Tensor:
    """[B, READINGS] landmarks about their part's place, in half crop sides as the crop is turned.

    points [B, 70, 2] in stored pixels, placement [B, 2, 3] as `crops.placements` gives it.
    """
    apart = []
    for chosen, about in _READ:
        centre = points[:, list(about)].mean(1, keepdim=True)
        apart.append(points[:, list(chosen)] - centre)
    offsets = torch.cat(apart, 1) * (2 / stored_px)
    back = torch.linalg.inv(placement[:, :, :2])
    return torch.einsum("bij,bnj->bni", back, offsets).flatten(1)


class LandmarkReader(nn.Module):
    """A linear layer from the latent vector to `readings`, each in units of its spread.

    It learns beside the comb and is no part of the finished model.
    """

    spread: Tensor
    mean: Tensor
    weight: Tensor

    def __init__(self, latent: int, sample: Tensor) -> None:
        """`sample` [N, READINGS] gives mean and spread."""
        super().__init__()
        self.linear = nn.Linear(latent, READINGS)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("weight", _weight(), persistent=False)
        self.register_buffer("mean", sample.mean(0))
        self.register_buffer("spread", sample.std(0, correction=0).clamp(min=1e-4))

    def loss(self, latent: Tensor, wanted: Tensor) -> Tensor:
        """Smooth absolute difference of latent [B, L, 1, 1] as read from `wanted` [B, READINGS]."""
        read = self.linear(latent.float().flatten(1))
        error = F.smooth_l1_loss(read, (wanted - self.mean) / self.spread, reduction="none")
        return (error * self.weight).mean()


def _weight() -> Tensor:
    """[READINGS] with mean 1; the sum over each of `_KINDS` is the same."""
    chosen = [point for points, _ in _READ for point in points]
    kinds = [next(kind for kind in _KINDS if point in kind) for point in chosen]
    each = torch.tensor([1.0 / len(kind) for kind in kinds]).repeat_interleave(2)
    return each / each.mean()
