"""Gaussian and Laplacian pyramids (Burt & Adelson 1983) with the binomial filter 1 4 6 4 1.

Pictures are [B, C, H, W] of any size and number of channels. Level k+1 keeps every second pixel
of level k, beginning with the first; so odd sizes work and `expand` is told the size wanted.
Edges are mirrored about the edge pixel; beyond the last row and column `expand` repeats them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import torch
from torch import Tensor


def reduce(image: Tensor) -> Tensor:
    """Next coarser level, [B, C, ceil(H/2), ceil(W/2)] float32."""
    # OpenCV's filter is about ten times as fast as any way to write it in torch on a CPU.
    if _fits_opencv(image):
        return _by_plane(image, ((image.shape[-2] + 1) // 2, (image.shape[-1] + 1) // 2), up=False)
    return reduce_plain(image)


def expand(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Next finer level of `size` (H, W), each twice the coarser one's or one less.

    Raises ValueError for another size.
    """
    if any(have != (want + 1) // 2 for have, want in zip(image.shape[-2:], size, strict=True)):
        raise ValueError(f"{tuple(image.shape[-2:])} does not expand to {size}")
    if _fits_opencv(image):
        return _by_plane(image, size, up=True)
    return expand_plain(image, size)


def gaussian_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """`levels` ≥ 1 pictures, the finest, `image` itself, first."""
    pyramid = [image]
    while len(pyramid) < levels:
        pyramid.append(reduce(pyramid[-1]))
    return pyramid


def laplacian_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """`levels` ≥ 1 pictures: bands, the finest first, and the coarsest Gaussian level last."""
    smooth = gaussian_pyramid(image, levels)
    bands = [a - expand(b, _size(a)) for a, b in pairwise(smooth)]
    return [*bands, smooth[-1]]


def reconstruct(pyramid: Sequence[Tensor]) -> Tensor:
    """The picture whose `laplacian_pyramid` this is."""
    image = pyramid[-1]
    for band in reversed(pyramid[:-1]):
        image = expand(image, _size(band)) + band
    return image


def reduce_plain(image: Tensor) -> Tensor:
    """`reduce` in torch alone: for every device, and the reference of the fast path."""
    for axis in (2, 3):
        last = image.shape[axis] - 1
        centres = torch.arange(0, last + 1, 2, device=image.device)
        taps = []
        for offset in (-2, -1, 0, 1, 2):
            at = (centres + offset).abs()
            at = torch.where(at > last, 2 * last - at, at).clamp_min(0)
            taps.append(image.index_select(axis, at))
        image = taps[2] * 0.375 + (taps[1] + taps[3]) * 0.25 + (taps[0] + taps[4]) * 0.0625
    return image


def expand_plain(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`expand` in torch alone."""
    for axis, want in ((2, size[0]), (3, size[1])):
        n = image.shape[axis]
        index = torch.arange(n, device=image.device)
        before = image.index_select(axis, (index - 1).abs().clamp_max(n - 1))
        after = image.index_select(axis, (index + 1).clamp_max(n - 1))
        even = image * 0.75 + (before + after) * 0.125
        odd = (image + after) * 0.5
        both = torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)
        image = both.narrow(axis, 0, want)
    return image


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _fits_opencv(image: Tensor) -> bool:
    return (
        image.device.type == "cpu"
        and image.dtype == torch.float32
        and not image.requires_grad
        and min(image.shape[-2:]) > 1
    )


def _by_plane(image: Tensor, size: tuple[int, int], *, up: bool) -> Tensor:
    result = image.new_empty((*image.shape[:2], *size))
    step = cv2.pyrUp if up else cv2.pyrDown
    for picture, made in zip(image, result):
        for plane, out in zip(picture, made):
            step(plane.contiguous().numpy(), out.numpy(), (size[1], size[0]))
    return result
