"""The one door between pictures [H, W, C] in numpy and tensors [B, C, H, W] in torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vfxswap.image import Pixels


def to_tensor(pixels: Pixels, *, device: torch.device | str = "cpu") -> Tensor:
    """[H, W, C] or [H, W] float32 pixels as a contiguous [1, C, H, W] float32 tensor.

    Values are untouched (inf and nan too); the tensor never shares memory with `pixels`.
    Raises ValueError for other shapes.
    """
    if pixels.ndim not in (2, 3):
        raise ValueError(f"pixels of shape {pixels.shape}, wanted [H, W] or [H, W, C]")
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    planar = np.array(planes.transpose(2, 0, 1), dtype=np.float32, order="C", copy=True)
    return torch.from_numpy(planar)[None].to(device)


def to_pixels(tensor: Tensor) -> Pixels:
    """A [1, C, H, W] or [C, H, W] tensor on any device as contiguous [H, W, C] float32 pixels.

    Raises ValueError for other shapes, batches of several pictures among them.
    """
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3:
        raise ValueError(f"tensor of shape {tuple(tensor.shape)}, wanted [1, C, H, W]")
    hwc = tensor.detach().to("cpu", torch.float32).permute(1, 2, 0)
    return np.array(hwc.numpy(), dtype=np.float32, order="C", copy=True)
