"""Moving pairs with true flow and occlusion, made from stills, for the temporal term."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.train.style_losses import sampled


class Pair(NamedTuple):
    """Two frames [B, C, H, W] in net space; `flow_px` [B, 2, H, W] leads from each pixel of `now`
    to its place before, `visible` [B, 1, H, W] is 1 where that place was in frame and in sight."""

    before: Tensor
    now: Tensor
    flow_px: Tensor
    visible: Tensor


def moved(pictures: Tensor, generator: torch.Generator) -> Pair:
    """Camera moves over [B, C, H, W], with a soft-edged disc of another part of the picture that
    moves its own way in front, and grain of its own on either frame: what must not flicker in a
    shot. Pictures laid behind one another as channels move alike."""
    count, _, height, width = pictures.shape
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    place = torch.stack([x, y])[None]
    middle = torch.tensor([width / 2, height / 2]).view(1, 2, 1, 1)
    draw = torch.rand(count, 12, generator=generator) * 2 - 1

    angle, zoom = 0.04 * draw[:, 0], 1 + 0.03 * draw[:, 1]
    cos, sin = (torch.cos(angle) * zoom)[:, None, None], (torch.sin(angle) * zoom)[:, None, None]
    off = place - middle
    turned = torch.stack([cos * off[:, 0] - sin * off[:, 1], sin * off[:, 0] + cos * off[:, 1]], 1)
    back = turned + middle + 7 * draw[:, 2:4, None, None] - place

    own = 9 * draw[:, 4:6, None, None].expand(-1, -1, height, width)
    radius = (0.10 + 0.12 * (draw[:, 6] + 1) / 2) * min(height, width)
    radius = torch.where(draw[:, 7] < 0.2, radius, torch.zeros(count)).view(-1, 1, 1)
    centre = middle + draw[:, 8:10, None, None] * 0.35 * min(height, width)

    def disc(at: Tensor) -> Tensor:
        away = (at - centre).square().sum(1).sqrt()
        return ((radius - away) / 1.5).clamp(0, 1)[:, None]

    here, there = disc(place.expand(count, -1, -1, -1)), disc(place + own)
    front = pictures.roll((height // 2, width // 2), (2, 3))
    before = pictures + here * (front - pictures)
    scene = sampled(pictures, back)
    now = scene + there * (sampled(front, own) - scene)

    flow = torch.where(there > 0.5, own, back)
    source = place + flow
    inside = (source > 1) & (source < torch.tensor([width - 1, height - 1]).view(1, 2, 1, 1))
    visible = inside.all(1, keepdim=True).float()
    covered = sampled(here, flow) - there
    edge = F.max_pool2d(((there > 0) & (there < 1)).float(), 5, 1, 2)
    visible = visible * (covered.abs() < 0.05) * (1 - edge)
    grain = 0.006 * torch.randn(2, *pictures.shape, generator=generator)
    return Pair(before + grain[0], now + grain[1], flow, visible)
