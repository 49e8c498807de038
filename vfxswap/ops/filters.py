"""Separable convolution, quick on CPUs and GPUs."""

from __future__ import annotations

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor


def convolved(image: Tensor, kernel: Tensor) -> Tensor:
    """`image` [B, C, H, W] convolved along x and y by an odd, symmetric `kernel` [K].

    The picture's edge is repeated.
    """
    # Convolutions of one channel are slow in torch on a CPU: OpenCV's take a fiftieth.
    if image.device.type == "cpu" and image.dtype == torch.float32 and not image.requires_grad:
        return _by_opencv(image, kernel)
    return convolved_plain(image, kernel)


def convolved_plain(image: Tensor, kernel: Tensor) -> Tensor:
    """`convolved` in torch alone: for every device, and the reference of the fast path."""
    reach = len(kernel) // 2
    weights = kernel.to(image)
    flat = image.reshape(-1, 1, *image.shape[-2:])
    rows = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), weights[None, None, None])
    tall = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(tall, weights[None, None, :, None]).reshape_as(image)


def _by_opencv(image: Tensor, kernel: Tensor) -> Tensor:
    result = torch.empty_like(image, memory_format=torch.contiguous_format)
    taps = kernel.to("cpu", torch.float64).numpy()
    for picture, made in zip(image, result):
        for plane, out in zip(picture, made):
            pixels = plane.contiguous().numpy()
            cv2.sepFilter2D(pixels, -1, taps, taps, out.numpy(), borderType=cv2.BORDER_REPLICATE)
    return result
