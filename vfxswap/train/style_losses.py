"""Losses of style training: content, style, total variation, temporal consistency.

Gatys, Ecker & Bethge 2016: content is the Euclidean distance of high-level features, style the
Frobenius distance of Gram matrices of low and middle ones. (The source's description names the
layers the other way round in one passage; its equations and the paper agree on this.) Each
distance is divided by the size of its target, so that layers and styles weigh alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.nets.perceptual import Perceptual

_SMALL = 1e-6


def gram(features: Tensor) -> Tensor:
    """[B, C, C] mean products of the channels of [B, C, H, W]: no place, only what goes with what.

    Computed in float32: sums over thousands of pixels do not fit 16 bits.
    """
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


@dataclass(frozen=True, eq=False)
class StyleTarget:
    """Gram matrices [C, C] by layer: the mean over one or several pictures of a style."""

    grams: dict[str, Tensor]

    @classmethod
    @torch.no_grad()
    def of(
        cls, pictures: Sequence[Tensor], net: Perceptual, layers: tuple[str, ...]
    ) -> StyleTarget:
        """`pictures` [3, H, W] in net space, of any sizes."""
        found = [net(picture[None], layers) for picture in pictures]
        return cls({k: torch.cat([gram(f[k]) for f in found]).mean(0) for k in layers})


def stacked(targets: Sequence[StyleTarget]) -> dict[str, Tensor]:
    """[S, C, C] by layer."""
    return {k: torch.stack([t.grams[k] for t in targets]) for k in targets[0].grams}


def windowed(features: dict[str, Tensor], windows: int) -> dict[str, Tensor]:
    """Gram matrices [B, windows², C, C] by layer, of each of windows × windows parts of the
    picture: what goes with what, and about where. Sides must divide evenly at every layer.

    Multiplied in the features' own type (sums are float32 inside), given as float32.
    """
    found = {}
    for name, value in features.items():
        b, c, h, _ = value.shape
        parts = value.permute(0, 2, 3, 1).reshape(b, windows, h // windows, windows, -1, c)
        flat = parts.transpose(2, 3).reshape(b * windows**2, -1, c)
        products = (flat.transpose(1, 2) @ flat).float() / flat.shape[1]
        found[name] = products.reshape(b, windows**2, c, c)
    return found


def window_loss(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """[B]: squared Frobenius distance of `windowed` matrices over the target's, mean over the
    layers. All windows of a picture share a scale, so an empty one does not count for more."""
    losses = []
    for name, target in wanted.items():
        off = (found[name] - target).square().flatten(1).sum(1)
        losses.append(off / (target.square().flatten(1).sum(1) + _SMALL))
    return torch.stack(losses).mean(0)


def coarse(features: dict[str, Tensor], cell_px: int, side_px: int) -> dict[str, Tensor]:
    """Features averaged over cells of `cell_px` pixels of a picture `side_px` high: what is where,
    whatever the strokes inside a cell do."""
    return {
        name: F.avg_pool2d(value, k) if (k := cell_px * value.shape[-2] // side_px) > 1 else value
        for name, value in features.items()
    }  # fmt: skip


def style_loss(features: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """[B]: squared Frobenius distance of Gram matrices over the target's, mean over the layers.

    `target` has a matrix [B, C, C] for each layer that counts.
    """
    losses = []
    for name, wanted in target.items():
        off = (gram(features[name]) - wanted).square().sum((1, 2))
        losses.append(off / wanted.square().sum((1, 2)))
    return torch.stack(losses).mean(0)


def content_loss(features: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """[B]: squared distance of features over the size of the content's, mean over the layers."""
    losses = []
    for name, target in wanted.items():
        off = (features[name].float() - target.float()).square().mean((1, 2, 3))
        losses.append(off / (target.float().square().mean((1, 2, 3)) + _SMALL))
    return torch.stack(losses).mean(0)


def total_variation(picture: Tensor) -> Tensor:
    """[B]: mean squared difference of neighbouring pixels of [B, C, H, W]."""
    x = (picture[..., 1:] - picture[..., :-1]).square().mean((1, 2, 3))
    y = (picture[..., 1:, :] - picture[..., :-1, :]).square().mean((1, 2, 3))
    return x + y


def sampled(picture: Tensor, flow_px: Tensor) -> Tensor:
    """`picture` [B, C, H, W] looked up at each pixel's place plus `flow_px` [B, 2, H, W] (x, y),
    bilinear; the edge is repeated."""
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=picture.device) + 0.5,
        torch.arange(width, device=picture.device) + 0.5,
        indexing="ij",
    )
    at_x = (x + flow_px[:, 0]) * (2 / width) - 1
    at_y = (y + flow_px[:, 1]) * (2 / height) - 1
    grid = torch.stack([at_x, at_y], -1)
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)


def temporal_loss(now: Tensor, before: Tensor, flow_px: Tensor, visible: Tensor) -> Tensor:
    """[B]: mean squared difference of `now` and the earlier output brought to its place, where
    `visible` [B, 1, H, W] says that what is seen was seen before.

    `flow_px` [B, 2, H, W] leads from each pixel of now to its place before.
    """
    off = (now - sampled(before, flow_px)).square().mean(1, keepdim=True) * visible
    return off.sum((1, 2, 3)) / visible.sum((1, 2, 3)).clamp(min=1)
