"""Structural similarity (Wang et al. 2004) and its multi-scale form (Wang et al. 2003), weighted
per pixel, and the comb's level loss (Eq. 1 and 2 of the comb-network method).

Window: 7×7 Gaussian, sigma 1.5, symmetric border, K1 = 0.01, K2 = 0.03, peak 1. It is smaller
than the customary 11×11 so that 64 px gives four scales and 16 px still two.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW_PX, SIGMA_PX = 7, 1.5
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Wang et al. 2003; the first n are scaled to a sum of 1 when only n scales fit."""
SMALLEST_LOSS_PX = 16
"""Levels below 16² are enlarged to it before they are compared (the first two levels)."""
FIRST_MULTISCALE_LEVEL = 3


def level_loss(
    target: Tensor,
    decoded: Tensor,
    matte: Tensor,
    *,
    level: int,
    weight: Tensor | None = None,
    background_invariant: bool = True,
) -> Tensor:
    """1 − f(x⊙m, x̃⊙m) (Eq. 2), or 1 − f(x⊙m, x̃) (Eq. 1) when not background-invariant: [B].

    f is SSIM for levels 0…2 and MS-SSIM from level 3 on. target, decoded [B, 3, S, S] in
    normalised net space (0.5 is the face's mean), S = 4·2^level; matte [B, 1, S, S] 0…1;
    weight [B or 1, 1, S, S] counts some places (eyes, mouth) more.
    """
    x = target * matte
    y = decoded * matte if background_invariant else decoded
    if x.shape[-1] < SMALLEST_LOSS_PX:
        size = (SMALLEST_LOSS_PX, SMALLEST_LOSS_PX)
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        y = F.interpolate(y, size=size, mode="bilinear", align_corners=False)
        if weight is not None:
            weight = F.interpolate(weight, size=size, mode="bilinear", align_corners=False)
    similarity = ms_ssim if level >= FIRST_MULTISCALE_LEVEL else ssim
    return 1 - similarity(x, y, weight=weight)


def ssim(x: Tensor, y: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean structural similarity [B] of x and y [B, C, H, W] (peak 1), H and W ≥ 7.

    weight [B or 1, 1, H, W] ≥ 0 weighs the mean over places.
    """
    luminance, contrast = ssim_maps(x, y)
    return _mean(luminance * contrast, weight)


def ms_ssim(x: Tensor, y: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Multi-scale structural similarity [B] with as many scales (≤ 5) as the size allows.

    A scale is used while its shorter side is at least the window. Contrast terms below 0.001
    are held there: a negative one has no real power.
    """
    used = SCALE_WEIGHTS[: scale_count(min(x.shape[-2:]))]
    result = torch.ones(x.shape[0], dtype=x.dtype, device=x.device)
    for scale, scale_weight in enumerate(used):
        luminance, contrast = ssim_maps(x, y)
        last = scale == len(used) - 1
        value = _mean(luminance * contrast if last else contrast, weight)
        result = result * value.clamp(min=1e-3) ** (scale_weight / sum(used))
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            weight = None if weight is None else F.avg_pool2d(weight, 2)
    return result


def scale_count(size_px: int) -> int:
    """How many scales of the multi-scale index fit an image of this shorter side."""
    count = 1
    while count < len(SCALE_WEIGHTS) and size_px // 2 >= WINDOW_PX:
        count, size_px = count + 1, size_px // 2
    return count


def ssim_maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure terms [B, C, H, W]; their product is the SSIM map."""
    channels = x.shape[1]
    blurred = _blur(torch.cat((x, y, x * x, y * y, x * y), dim=1))
    mean_x, mean_y, xx, yy, xy = torch.split(blurred, channels, dim=1)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    covariance = xy - mean_x * mean_y
    variances = xx - mean_x**2 + yy - mean_y**2
    return luminance, (2 * covariance + C2) / (variances + C2)


def _blur(x: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW_PX, dtype=x.dtype, device=x.device) - WINDOW_PX // 2
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA_PX**2))
    kernel = kernel / kernel.sum()
    batch, channels, height, width = x.shape
    for dim in (2, 3):
        matrix = _symmetric_band(kernel, height if dim == 2 else width)
        # A banded matrix product: several times faster than a depthwise convolution on CPUs.
        x = torch.matmul(matrix, x) if dim == 2 else torch.matmul(x, matrix.T)
    return x.view(batch, channels, height, width)


def _symmetric_band(kernel: Tensor, size: int) -> Tensor:
    """[size, size] matrix that filters a column, its border mirrored with the edge repeated."""
    rows = torch.arange(size, device=kernel.device)
    matrix = kernel.new_zeros(size, size)
    for tap, value in enumerate(kernel):
        at = rows + tap - len(kernel) // 2
        at = torch.where(at < 0, -1 - at, at)
        at = torch.where(at >= size, 2 * size - 1 - at, at)
        matrix.index_put_((rows, at), value.expand(size), accumulate=True)
    return matrix


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    per_place = values.mean(dim=1, keepdim=True) * weight
    return per_place.mean(dim=(1, 2, 3)) / weight.mean(dim=(1, 2, 3)).clamp(min=1e-6)
