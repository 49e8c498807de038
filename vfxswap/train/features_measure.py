"""What a feature network reaches on held-out identities, and sheets to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.nets.feature_math import (
    channel_map,
    interpolation_vector,
    pair_map,
    transferred,
)
from vfxswap.nets.feature_refine import refined
from vfxswap.nets.features import FeatureNet
from vfxswap.train.features_data import BACKGROUND, PartCrops
from vfxswap.train.features_edits import EditSet
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


def transfers_measured(
    net: FeatureNet,
    edits: EditSet,
    indices: NDArray[np.int64],
    *,
    temperature: float = 0.1,
) -> dict[str, float]:
    """How transfers agree with truth, by the network's own clusters: `transfer_error_<feature>`,
    the mean error of the change in the feature's region over the mean true change there (1 is
    doing nothing), and `transfer_leak_<feature>`, the mean change elsewhere over the same. A
    feature that the network does not name is left out."""
    errors: dict[str, list[Tensor]] = {}
    device = next(net.parameters()).device
    for start in range(0, len(indices), _BATCH):
        batch = edits.batch(indices[start : start + _BATCH], device)
        known = [edits.parts[k] in net.feature_names for k in batch.feature.tolist()]
        names = [edits.parts[k] for k in batch.feature.tolist()]
        with evaluating(net):
            moved, plain = transfer(
                net,
                batch.source,
                batch.reference,
                [name if there else net.feature_names[0] for name, there in zip(names, known)],
                temperature=temperature,
            )
        change = moved - plain
        inside, outside = batch.region, 1 - batch.region
        for k, (name, there) in enumerate(zip(names, known)):
            if not there:
                continue
            area = inside[k].sum().clamp_min(1)
            true = batch.change[k].abs().mean(0).mul(inside[k, 0]).sum() / area
            error = (change[k] - batch.change[k]).abs().mean(0).mul(inside[k, 0]).sum() / area
            leak = change[k].abs().mean(0).mul(outside[k, 0]).sum() / outside[k].sum()
            errors.setdefault(name, []).append(torch.stack([true, error, leak]).cpu())
    found = {}
    for name in (part for part in edits.parts if part in errors):
        true, error, leak = torch.stack(errors[name]).mean(0).tolist()
        found[f"transfer_error_{name}"] = error / max(true, 1e-6)
        found[f"transfer_leak_{name}"] = leak / max(true, 1e-6)
    return found


def transfer(
    net: FeatureNet,
    source: Tensor,
    reference: Tensor,
    features: list[str],
    *,
    alpha: float = 1.0,
    temperature: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Pictures [B, 3, S, S] of sources [B, 3, S, S] with a named feature each of their
    references, and of the sources unchanged, by the clusters of the pair alone."""
    count = len(source)
    sigma = net.encode(torch.cat([source, reference]))
    plain = net.generate(sigma)
    maps = channel_map(plain.activations, net.memberships(plain.activations))
    q = interpolation_vector(
        pair_map(maps[:count], maps[count:]), temperature=temperature, layers=net.layers
    )
    rows = torch.tensor([net.feature_names.index(name) for name in features], device=q.device)
    chosen = q[torch.arange(count, device=q.device), rows]
    moved = net.generate(transferred(sigma[:count], sigma[count:], chosen, alpha))
    return moved.picture, plain.picture[:count]
