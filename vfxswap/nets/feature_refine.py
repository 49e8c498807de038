"""Coefficients of one picture, refined by a few steps of an optimiser."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vfxswap.nets.features import FeatureNet

RATE = 0.1
"""Step of the optimiser, in coefficients, whose usual size is 1."""
KEPT = 1e-5
"""Weight that holds coefficients near the encoder's: far from them edits come out wrong."""
_SCALES = 3


def refined(
    net: FeatureNet,
    crops: Tensor,
    sigma: Tensor,
    *,
    steps: int = 20,
    matte: Tensor | None = None,
) -> Tensor:
    """σ [B, C] after `steps` of Adam that bring the generated picture closer to `crops`
    [B, 3, S, S] (normalised as `FeatureNet` takes them), from `sigma` [B, C].

    `matte` [B, 1, S, S] in 0…1 says where the object is: the generator leaves the rest neutral,
    so without one the coefficients would strain after the background; when it is not given,
    places that the generator leaves within 0.02 of neutral do not count. The loss is the mean
    absolute difference at full, half and quarter size. Each crop is refined on its own, whatever
    else is in the batch; the network stays as it is.
    """
    # Renders run in inference mode, whose tensors no gradient may pass through.
    with torch.inference_mode(False), torch.enable_grad():
        first = sigma.detach().clone()
        wanted = crops.detach().clone()
        if matte is None:
            neutral = (net.generate(first).picture.detach() - 0.5).abs().amax(1, keepdim=True)
            matte = (neutral > 0.02).to(wanted)
        weight = matte.detach().clone()
        found = first.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([found], lr=RATE, betas=(0.9, 0.95))
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            error = (net.generate(found).picture - wanted) * weight
            loss = KEPT * (found - first).square().sum()
            for scale in range(_SCALES):
                small = F.avg_pool2d(error, 1 << scale)
                loss = loss + small.abs().mean((1, 2, 3)).sum()
            (found.grad,) = torch.autograd.grad(loss, found)
            optimiser.step()
        return found.detach()
