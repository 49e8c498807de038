"""Outlines of patches, as alpha over the patch's own coordinates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.image import Pixels
from vfxswap.ops.patches import Shape

_PICTURE_PX = 512
"""An alpha picture is read at no more than this: patches are small."""


def shape_of(settings: MosaicSettings, picture: Pixels | None, device: torch.device) -> Shape:
    """Alpha of a patch at u, v (-1…1). Edges fade inwards over `edge_px`, at least over one
    pixel, half of it outside, so that neighbours of a grid meet without a line between them."""
    edge_px = settings.edge_px * settings.work_scale
    if settings.shape == "picture":
        alpha = torch.zeros((1, 1)) if picture is None else torch.as_tensor(picture)
        return _pictured(alpha.to(device).float(), edge_px)
    if settings.shape == "soft":
        return _soft
    inside = {"rectangle": _rectangle, "ellipse": _ellipse, "hexagon": _hexagon}[settings.shape]

    def shape(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
        depth = inside(u, v, half_width, half_height)
        if edge_px > 1:
            return (depth / edge_px).clamp(0, 1)
        return (depth + 0.5).clamp(0, 1)

    return shape


def _rectangle(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    """Pixels to the nearest edge, above 0 inside."""
    return torch.minimum((1 - u.abs()) * half_width, (1 - v.abs()) * half_height)


def _ellipse(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    return (1 - torch.hypot(u, v)) * torch.minimum(half_width, half_height)


def _hexagon(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    """A point up and a point down."""
    side = (1 - u.abs()) * half_width
    # Distance from the line v = 1 - u/2, in pixels.
    slope = torch.hypot(half_height.reciprocal(), 0.5 * half_width.reciprocal())
    roof = (1 - v.abs() - u.abs() / 2) / slope
    return torch.minimum(side, roof)


def _soft(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    """A raised cosine over the whole patch: exactly 0 at its edge, 1 in the middle."""
    r = torch.hypot(u, v).clamp_max(1)
    return 0.5 + 0.5 * torch.cos(torch.pi * r)


def _pictured(alpha: Tensor, edge_px: float) -> Shape:
    step = max(1, max(alpha.shape) // _PICTURE_PX)
    small = F.avg_pool2d(alpha[None, None], step) if min(alpha.shape) >= step else alpha[None, None]

    def shape(u: Tensor, v: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
        grid = torch.stack([u, v], -1)[None, None]
        read = F.grid_sample(small, grid, padding_mode="border", align_corners=False)[0, 0, 0]
        depth = _rectangle(u, v, half_width, half_height)
        return read.clamp(0, 1) * (depth / max(edge_px, 1e-3)).clamp(0, 1)

    return shape
