"""What a feature network reaches on held-out identities, and sheets to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.nets.feature_refine import refined
from vfxswap.nets.features import FeatureNet
from vfxswap.train.features_data import BACKGROUND, PartCrops
from vfxswap.train.losses import ssim_maps
from vfxswap.train.steps import evaluating

_BATCH = 16


def measured(
    net: FeatureNet, data: PartCrops, indices: NDArray[np.int64], *, steps: int = 0
) -> dict[str, float]:
    """How crops are reconstructed, over the object alone (the background is not its business):
    `psnr` in dB (peak 1 of the normalised space, mean over crops), `ssim`, and `psnr_<part>` for
    each part (over all of its pixels). With `steps`, coefficients are refined for each crop."""
    device = next(net.parameters()).device
    squares = torch.zeros(len(data.parts))
    counts = torch.zeros(len(data.parts))
    decibels: list[Tensor] = []
    similarity: list[Tensor] = []
    for start in range(0, len(indices), _BATCH):
        draw = data.centred(indices[start : start + _BATCH])
        picture = reconstructed(net, draw.crops.to(device), steps=steps).cpu()
        inside = (draw.labels != BACKGROUND)[:, None].float()
        target = torch.where(inside > 0, draw.crops, 0.5)
        square = (picture - target).square().mean(1)
        each = (square * inside[:, 0]).sum((1, 2)) / inside.sum((1, 2, 3)).clamp_min(1)
        decibels.append(-10 * each.clamp_min(1e-10).log10())
        luminance, contrast = ssim_maps(picture, target)
        both = (luminance * contrast).mean(1, keepdim=True) * inside
        similarity.append(both.sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1))
        for part in range(len(data.parts)):
            here = draw.labels == part
            squares[part] += square[here].sum()
            counts[part] += here.sum()
    found = {"psnr": torch.cat(decibels).mean().item(), "ssim": torch.cat(similarity).mean().item()}
    for part, name in enumerate(data.parts):
        if part != BACKGROUND and counts[part] > 0:
            mean = (squares[part] / counts[part]).clamp_min(1e-10)
            found[f"psnr_{name}"] = -10 * mean.log10().item()
    return found


def reconstructed(net: FeatureNet, crops: Tensor, *, steps: int = 0) -> Tensor:
    """What the network makes of crops [B, 3, S, S], refined by `steps`."""
    with evaluating(net):
        sigma = net.encode(crops)
    if steps:
        sigma = refined(net, crops, sigma, steps=steps)
    with evaluating(net):
        picture: Tensor = net.generate(sigma).picture
    return picture


def write_preview(path: Path, net: FeatureNet, data: PartCrops, indices: NDArray[np.int64]) -> None:
    """A sheet of crops over what the network makes of them."""
    device = next(net.parameters()).device
    draw = data.centred(indices)
    picture = reconstructed(net, draw.crops.to(device)).cpu()
    rows = [torch.cat(list(p), 2) for p in (draw.crops, picture)]
    write_sheet(path, torch.cat(rows, 1))


def write_sheet(path: Path, sheet: Tensor, *, enlarged: int = 1) -> None:
    """Writes [3, H, W] normalised pixels as PNG; the normalised space is shown as it is."""
    shown = (sheet.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    shown = shown.repeat(enlarged, 0).repeat(enlarged, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(shown[..., ::-1]))
