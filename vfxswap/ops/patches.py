"""Many small turned rectangles out of a picture, and back over one another: sampled and pasted.

Everything runs on all patches at once. Pasting goes in rounds: a patch comes one round after the
latest of those below it that it touches, so patches of one round never overlap, one indexed write
pastes them all, and the result equals painting them one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.geometry import Array

_AT_ONCE = 512
"""Patches that are sampled together."""
_ROUND_CELL_PX = 8
"""Rounds are found on a grid of this step: close patches count as touching."""
_SPLIT_PX = 1 << 21
"""Pixels that are pasted together: bounds the memory of a round."""

Shape = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Alpha [n] in 0…1 at u, v [n] in -1…1, for patches of half sizes in pixels [n], [n]."""


@dataclass(frozen=True, eq=False)
class Pasted:
    """`rgb` [H, W, 3], premultiplied by `alpha` [H, W]; `index` [H, W] of the patch on top, -1
    for none; `uv` [H, W, 2] in it: (0, 0) bottom left, -1 outside; `edge` [H, W]: its alpha."""

    rgb: Tensor
    alpha: Tensor
    index: Tensor
    uv: Tensor
    edge: Tensor


def sampled(image: Tensor, matrices: Array, size: int) -> Tensor:
    """Patches [N, C, size, size] of `image` [1, C, H, W], its edge repeated outside.

    `matrices` [N, 2, 3] map the unit square (u right, v down) to pixels. Large patches are read
    from a picture reduced by halves, so that they do not alias.
    """
    levels = [image]
    spans = np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2]))) / size
    wanted = np.floor(np.log2(np.maximum(spans, 1.0)) + 0.5).astype(int)
    while len(levels) <= wanted.max(initial=0) and min(levels[-1].shape[-2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    height, width = image.shape[-2:]
    step = (torch.arange(size, dtype=torch.float32, device=image.device) + 0.5) / size
    maps = torch.as_tensor(matrices, dtype=torch.float32, device=image.device)
    out = image.new_empty((len(matrices), image.shape[1], size, size), dtype=torch.float32)
    for level, picture in enumerate(levels):
        which = np.flatnonzero(np.minimum(wanted, len(levels) - 1) == level)
        # Pixels that pooling added at an odd edge make the reduced picture a little larger.
        full = (picture.shape[-1] << level, picture.shape[-2] << level)
        for start in range(0, len(which), _AT_ONCE):
            part = torch.as_tensor(which[start : start + _AT_ONCE], device=image.device)
            m = maps[part]
            u, v = step[None, None, :], step[None, :, None]
            x = m[:, 0, 0, None, None] * u + m[:, 0, 1, None, None] * v + m[:, 0, 2, None, None]
            y = m[:, 1, 0, None, None] * u + m[:, 1, 1, None, None] * v + m[:, 1, 2, None, None]
            # Beyond the whole picture's edge there is only what pooling made of it.
            x, y = x.clamp(0.5, width - 0.5), y.clamp(0.5, height - 0.5)
            grid = torch.stack([2 * x / full[0] - 1, 2 * y / full[1] - 1], -1)
            grid = grid.reshape(1, len(part) * size, size, 2)
            found = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
            tiles = found[0].reshape(image.shape[1], len(part), size, size)
            out[part] = tiles.transpose(0, 1)
    return out


def pasted(
    patches: Tensor,
    matrices: Array,
    order: NDArray[np.int64],
    size: tuple[int, int],
    *,
    shape: Shape,
    decode: Callable[[Tensor], Tensor] = lambda x: x,
) -> Pasted:
    """Patches [N, 3, s, s] painted over nothing, on a picture of `size` (height, width).

    `matrices` as for `sampled`; `order` [N] lists the patches, lowest first. Colours are read
    linearly between a patch's pixels, from it reduced by halves where it shrinks, and go through
    `decode` [n, 3] before they are laid over one another.
    """
    height, width = size
    device = patches.device
    n = height * width
    rgb = torch.zeros((n, 3), device=device)
    alpha, edge = torch.zeros(n, device=device), torch.zeros(n, device=device)
    index = torch.full((n,), -1, dtype=torch.int32, device=device)
    uv = torch.full((n, 2), -1.0, device=device)
    boxes = _boxes(matrices, size)
    texels = _Texels(patches, matrices)
    forward = torch.as_tensor(_inverses(matrices), dtype=torch.float32, device=device)
    half = torch.as_tensor(np.linalg.norm(matrices[:, :, :2], axis=1) / 2, device=device).float()
    for group in _rounds(boxes, order):
        which, x, y = _pixels(boxes, group, device)
        m = forward[which]
        px, py = x.float() + 0.5, y.float() + 0.5
        u = m[:, 0] * px + m[:, 1] * py + m[:, 2]
        v = m[:, 3] * px + m[:, 4] * py + m[:, 5]
        near = half[which]
        a = shape(2 * u - 1, 2 * v - 1, near[:, 0], near[:, 1])
        seen = (a > 0).nonzero()[:, 0]
        which, u, v, a = which[seen], u[seen], v[seen], a[seen]
        at = y[seen] * width + x[seen]
        colour = decode(texels.read(which, u, v))
        keep = 1 - a
        rgb[at] = rgb[at] * keep[:, None] + colour * a[:, None]
        alpha[at] = alpha[at] * keep + a
        edge[at] = a
        top = (a >= 0.5).nonzero()[:, 0]
        at = at[top]
        index[at] = which[top].to(torch.int32)
        uv[at] = torch.stack([u[top], 1 - v[top]], 1)
    return Pasted(
        rgb.reshape(height, width, 3),
        alpha.reshape(height, width),
        index.reshape(height, width),
        uv.reshape(height, width, 2),
        edge.reshape(height, width),
    )


class _Texels:
    """All patches with their reductions by halves as one table of pixels."""

    def __init__(self, patches: Tensor, matrices: Array) -> None:
        count, channels, side, _ = patches.shape
        scale = np.linalg.norm(matrices[:, :, :2], axis=1).min(1) / side
        level = np.floor(np.log2(1 / np.maximum(scale, 1e-6)) + 0.25).clip(0)
        level = np.minimum(level, max(0, side.bit_length() - 2)).astype(int)
        tables, first = [], np.zeros(count, np.int64)
        begin = 0
        for each in range(level.max(initial=0) + 1):
            chosen = np.flatnonzero(level == each)
            first[chosen] = begin + np.arange(len(chosen)) * (side >> each) ** 2
            part = patches[torch.as_tensor(chosen, device=patches.device)]
            part = F.avg_pool2d(part, 1 << each) if each and len(chosen) else part
            tables.append(part.permute(0, 2, 3, 1).reshape(-1, channels))
            begin += len(chosen) * (side >> each) ** 2
        self._table = torch.cat(tables).contiguous()
        self._first = torch.as_tensor(first, dtype=torch.int32, device=patches.device)
        sides = torch.as_tensor(side >> level, dtype=torch.int32, device=patches.device)
        self._side = sides

    def read(self, which: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Colours [n, C] at u, v (0…1) of patches `which` [n], linear between four pixels."""
        side = self._side[which]
        last = (side - 1).float()
        x = (u * side - 0.5).clamp_min(0).minimum(last)
        y = (v * side - 0.5).clamp_min(0).minimum(last)
        left, top = x.to(torch.int32), y.to(torch.int32)
        right = (left + 1).minimum(side - 1) - left
        down = ((top + 1).minimum(side - 1) - top) * side
        fx, fy = x - left, y - top
        base = self._first[which] + top * side + left
        index = torch.stack([base, base + right, base + down, base + down + right], 1)
        gx, gy = 1 - fx, 1 - fy
        weights = torch.stack([gx * gy, fx * gy, gx * fy, fx * fy], 1)
        return F.embedding_bag(index, self._table, mode="sum", per_sample_weights=weights)


def _inverses(matrices: Array) -> Array:
    """[N, 6]: pixels to the unit square."""
    inner = np.linalg.inv(matrices[:, :, :2])
    shift = -np.einsum("nij,nj->ni", inner, matrices[:, :, 2])
    return np.concatenate([inner, shift[:, :, None]], 2).reshape(-1, 6)


def _boxes(matrices: Array, size: tuple[int, int]) -> NDArray[np.int64]:
    """[N, 4]: left, top, right, bottom of the pixels a patch may touch, inside the picture."""
    centre = matrices[:, :, 2] + matrices[:, :, :2].sum(2) / 2
    reach = np.abs(matrices[:, :, :2]).sum(2) / 2
    low, high = np.floor(centre - reach), np.ceil(centre + reach)
    limit = np.array([size[1], size[0]])
    low, high = low.clip(0, limit), high.clip(0, limit)
    return np.concatenate([low, high], 1).astype(np.int64)


def _rounds(boxes: NDArray[np.int64], order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Patches that can be pasted at once, round by round."""
    if not len(boxes):
        return []
    cells = boxes.copy()
    cells[:, :2] //= _ROUND_CELL_PX
    cells[:, 2:] = -(-cells[:, 2:] // _ROUND_CELL_PX)
    level = np.zeros((int(cells[:, 3].max()) + 1, int(cells[:, 2].max()) + 1), np.int32)
    of = np.zeros(len(boxes), np.int32)
    for patch, (left, top, right, bottom) in zip(order.tolist(), cells[order].tolist()):
        here = level[top:bottom, left:right]
        if here.size:
            of[patch] = latest = int(here.max()) + 1
            here[:] = latest
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    groups = []
    for each in range(1, int(of.max()) + 1):
        members = np.flatnonzero((of == each) & (area > 0))
        parts = np.cumsum(area[members]) // _SPLIT_PX
        groups += [members[parts == part] for part in np.unique(parts)]
    return groups


def _pixels(
    boxes: NDArray[np.int64], group: NDArray[np.int64], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Patch, x and y of every pixel in the boxes of a group, each [n], one box after the other."""
    box = torch.as_tensor(boxes[group], device=device)
    wide, high = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    counts = wide * high
    own = torch.repeat_interleave(torch.arange(len(group), device=device), counts)
    ends = counts.cumsum(0)
    place = torch.arange(int(ends[-1]), device=device) - (ends - counts)[own]
    row = torch.div(place, wide[own], rounding_mode="floor")
    column = place - row * wide[own]
    return torch.as_tensor(group, device=device)[own], column + box[own, 0], row + box[own, 1]
