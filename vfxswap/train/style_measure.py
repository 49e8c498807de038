"""What is measured of style networks: steadiness over a moving shot, and blends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.style import BLACK, WHITE, StyleNet
from vfxswap.train.style_losses import StyleTarget, sampled, stacked, style_loss, temporal_loss

AGREEMENT_PX = 1.0
"""Forward and backward flow must lead back to within this, or a pixel counts as occluded."""


class Flow(NamedTuple):
    """`flow_px` [1, 2, H, W] from each pixel to its place in the frame before; `visible`
    [1, 1, H, W] is 1 where that place was in frame and in sight."""

    flow_px: Tensor
    visible: Tensor


def flow_between(now: Tensor, before: Tensor) -> Flow:
    """Optical flow of plates [1, 3, H, W] in net space (OpenCV DIS: Kroeger et al. 2016), with an
    occlusion mask by forward-backward agreement, kept a pixel away from occlusions."""
    back, forth = _dis(now, before), _dis(before, now)
    height, width = now.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    source = torch.stack([x, y])[None] + back
    limit = torch.tensor([width - 1.0, height - 1.0]).view(1, 2, 1, 1)
    inside = ((source > 1) & (source < limit)).all(1, keepdim=True).float()
    returned = back + sampled(forth, back)
    agree = (returned.square().sum(1, keepdim=True).sqrt() < AGREEMENT_PX).float()
    return Flow(back, 1 - F.max_pool2d(1 - inside * agree, 3, 1, 1))


@torch.inference_mode()
def warp_error(net: StyleNet, frames: Tensor, flows: Sequence[Flow]) -> dict[str, float]:
    """Mean squared difference of consecutive outputs, the earlier brought to the later by `flows`
    (one for each frame but the first), in net space, by style. `frames` [T, 3, H, W]."""
    errors = {}
    for name in net.styles:
        row = net.row({name: 1.0})
        made = [net(frame[None], row) for frame in frames.unbind()]
        each = [
            float(temporal_loss(now, before, flow.flow_px, flow.visible))
            for (before, now), flow in zip(pairwise(made), flows, strict=True)
        ]
        errors[name] = sum(each) / len(each)
    return errors


@torch.inference_mode()
def blend_losses(
    net: StyleNet, classifier: Perceptual, picture: Tensor, *, first: str, target: StyleTarget,
    second: str, steps: int = 11,
) -> list[float]:  # fmt: skip
    """Style loss towards `second` (its `target`) of [1, 3, H, W], from all `first` to all
    `second` in even steps of weight."""
    grams = stacked([target])
    losses = []
    for share in np.linspace(0, 1, steps):
        made = net(picture, net.row({first: 1 - float(share), second: float(share)}))
        losses.append(float(style_loss(classifier(made, tuple(grams)), grams)))
    return losses


def _dis(now: Tensor, before: Tensor) -> Tensor:
    create = getattr(cv2, "DISOpticalFlow_create")  # noqa: B009  (absent from OpenCV's stubs)
    flow = create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(_grey(now), _grey(before), None)
    return torch.from_numpy(np.ascontiguousarray(flow)).permute(2, 0, 1)[None].float()


def _grey(net_space: Tensor) -> np.typing.NDArray[np.uint8]:
    light = ((net_space[0].mean(0) - BLACK) / (WHITE - BLACK)).clamp(0, 1)
    return np.ascontiguousarray(np.rint(light.numpy() * 255).astype(np.uint8))
