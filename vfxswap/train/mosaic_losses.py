"""The losses of one theme's generator and critic: Eq. 35 and 36 with what regularises them.

See `mosaic` for the source and for what is beyond it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vfxswap.nets.mosaic import (
    CODE_PX,
    GrowingCritic,
    GrowingGenerator,
    MosaicEncoder,
    MosaicGenerator,
)
from vfxswap.train.mosaic_training import MosaicTraining


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of each sample by the root of its size, averaged over the batch."""
    squares = (a - b).flatten(1).square().mean(1)
    return (squares + 1e-8).sqrt().mean()


def as_seen(patches: Tensor) -> Tensor:
    """[B, 3, 32, 32]: as E takes patches of 32 or 64 pixels."""
    side = patches.shape[-1]
    return patches if side == CODE_PX else F.avg_pool2d(patches, side // CODE_PX)


def from_afar(patches: Tensor, afar_px: int) -> Tensor:
    """Patches [B, 3, 32, 32] averaged over `afar_px` pixels, at their own size again."""
    if afar_px == 1:
        return patches
    small = F.avg_pool2d(patches, afar_px)
    return F.interpolate(small, size=CODE_PX, mode="bilinear", align_corners=False)


def code_distance(encoder: MosaicEncoder, made: Tensor, plate: Tensor, *, afar_px: int) -> Tensor:
    """‖z − E(G(z))‖ of Eq. 35, by the spread of z: of what G made [B, 3, s, s] and of the patches
    [B, 3, 32, 32] that it was to follow, both seen from afar and of one mean colour."""
    seen = from_afar(as_seen(made), afar_px)
    wanted = from_afar(plate, afar_px)
    if afar_px > 1:
        seen = seen + (wanted - seen).mean((2, 3), keepdim=True)
    z = encoder(wanted).float()
    spread = z.detach().std(0).mean().clamp_min(1e-3)
    apart: Tensor = distance(encoder(seen).float(), z) / spread
    return apart


def made_by(net: MosaicGenerator, z: Tensor, free: Tensor, alpha: float) -> Tensor:
    """What a generator makes of codes; `alpha` is how far its level of 64 pixels is faded in."""
    if isinstance(net, GrowingGenerator):
        return net.faded(z, alpha, free)
    patches: Tensor = net(z, free)
    return patches


def scores_of(critic: nn.Module, patches: Tensor, alpha: float) -> Tensor:
    """[B]: how real a critic finds patches."""
    if isinstance(critic, GrowingCritic):
        return critic.faded(patches, alpha)
    scores: Tensor = critic(patches)
    return scores


def counted(difference: Tensor, training: MosaicTraining) -> Tensor:
    """Mean of differences of scores [B] as `pairing` counts them."""
    linear = training.pairing == "linear"
    return difference.mean() if linear else F.softplus(difference).mean()


def sameness(made: Tensor, real: Tensor) -> Tensor:
    """By how much patches that share a code, the first and the second half of `made` [B, 3, s, s],
    differ less than half as much as real ones do: 0 when varied enough.

    In the spirit of mode-seeking GANs (Mao et al. 2019), with an end to what is sought.
    """
    half = len(made) // 2
    centred = [p - p.mean((2, 3), keepdim=True) for p in (made.float(), real)]
    apart = [(p[:half] - p[half : 2 * half]).abs().mean((1, 2, 3)) for p in centred]
    return F.relu(0.5 * apart[1].mean() - apart[0]).mean()


def slope_penalty(score: Callable[[Tensor], Tensor], made: Tensor, real: Tensor) -> Tensor:
    """Mean squared slope of a critic on real and on made patches, half a batch of each, in
    float32."""
    half = max(1, len(real) // 2)
    both = torch.cat([made[:half].to(real), real[:half]]).requires_grad_(True)
    (slope,) = torch.autograd.grad(score(both).sum(), both, create_graph=True)
    squares: Tensor = slope.flatten(1).square().sum(1).mean()
    return squares
