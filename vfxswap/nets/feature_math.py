"""Which coefficients make a feature, and moving them: the formulas of feature transfer.

Source: US 2022/0374625 A1 (see the README on patents). Everything is computed from the pictures
at hand, never from averages over a data set. Shapes: B pictures (or pairs), K features, C
coefficients σ of all modulated convolutions; `layers` says which part of C belongs to which
convolution, coarse to fine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

POSE_LAYERS = 4
"""Modulated convolutions, the coarsest ones, that belong to the pose alone."""
_FLAT = 1e-10
"""Energy of a channel, a place, below which it says nothing about any feature."""


def channel_map(
    activations: Sequence[Tensor], memberships: Tensor, *, centred: bool = True
) -> Tensor:
    """M [B, K, C] in 0…1: `M[k, c] = Σ A[c, h, w]² U[k, h, w]` of one picture, scaled so that a
    channel's shares of all features add up to 1 (a flat channel's are 0). The source leaves the
    scale open. A share says which part of what a channel does falls on a feature, so that the rest
    is what a transfer by it spills; scales by a feature's area, or by the largest of a feature or
    a layer, let transfers spill twice to six times as much.

    `activations` are A of each layer, [B, C_l, h_l, w_l]; `memberships` U [B, K, h, w], one-hot,
    are brought to each layer's size by the mean over the places that a coarser place covers (a
    finer one copies the place it lies in), so that they still add up to 1. `centred` takes each
    channel's mean over the picture off first: an offset that a channel has everywhere is no
    feature's, and would hand the channel to the largest one. Raises ValueError when they do not
    fit.
    """
    maps = []
    for layer in activations:
        if layer.shape[0] != memberships.shape[0]:
            raise ValueError(f"{layer.shape[0]} activations, {memberships.shape[0]} memberships")
        a = layer.float()
        if centred:
            a = a - a.mean((2, 3), keepdim=True)
        u = resized_memberships(memberships, (a.shape[2], a.shape[3]))
        energy = torch.einsum("bchw,bkhw->bkc", a.square(), u)
        total = energy.sum(1, keepdim=True)
        flat = total <= _FLAT * a.shape[2] * a.shape[3]
        maps.append(torch.where(flat, 0.0, energy / total.clamp_min(_FLAT)))
    return torch.cat(maps, 2)


def resized_memberships(memberships: Tensor, size: tuple[int, int]) -> Tensor:
    """U [B, K, h, w] at another size: shares 0…1 that still add up to 1 at every place."""
    return F.adaptive_avg_pool2d(memberships.float(), size)


def pair_map(source: Tensor, reference: Tensor) -> Tensor:
    """M [B, K, C] of a pair: the larger share of the two pictures' maps, element by element."""
    return torch.maximum(source, reference)


def interpolation_vector(
    channel_map: Tensor, *, temperature: float, layers: Sequence[slice]
) -> Tensor:
    """q [B, K, C] in 0…1: `softmax_k(M / temperature)`, 0 in the pose's layers, which are closed
    to every other feature. Raises ValueError unless the temperature is above 0."""
    return _softmax(channel_map, temperature) * ~_of_pose(channel_map, layers)


def pose_vector(
    channel_map: Tensor, *, hair: int | None, temperature: float, layers: Sequence[slice]
) -> Tensor:
    """q [B, C] of the pose: `1 - q_hair` in the first `POSE_LAYERS` layers, 0 in the others.

    `hair` is the number of that feature; None (an object without hair) leaves nothing out.
    Raises ValueError unless the temperature is above 0.
    """
    q = _softmax(channel_map, temperature)
    held = q[:, hair] if hair is not None else torch.zeros_like(q[:, 0])
    return (1 - held) * _of_pose(channel_map, layers)


def transferred(
    sigma_source: Tensor, sigma_reference: Tensor, q: Tensor, alpha: float | Tensor = 1.0
) -> Tensor:
    """σ_G [B, C]: `σ_S + α q ⊙ (σ_R - σ_S)`. `alpha` 0…1 goes from source to reference, beyond
    1 past it, below 0 away from it; a number or anything that broadcasts with [B, C]."""
    return sigma_source + alpha * q * (sigma_reference - sigma_source)


def combined_vector(q: Sequence[Tensor], alphas: Sequence[float]) -> Tensor:
    """αq [B, C] of several features at once, for `transferred(…, alpha=1)`: `Σ αᵢ qᵢ`, clipped to
    the range from the least to the greatest α (and 0), so that a channel that two features share
    goes no further than the further one. Raises ValueError without a feature, or when the counts
    differ."""
    if not q or len(q) != len(alphas):
        raise ValueError(f"{len(q)} features with {len(alphas)} amounts")
    total = torch.stack([alpha * each for each, alpha in zip(q, alphas)]).sum(0)
    return total.clamp(min(0.0, *alphas), max(0.0, *alphas))


def retrieval_vector(
    sigma: Tensor, q: Tensor, *, normalised_layers: Sequence[slice] | None = None
) -> Tensor:
    """v [B, C]: `q ⊙ σ`, the picture as far as one feature goes, compared by distance.

    With `normalised_layers`, σ's part of each layer is first brought to mean 0 and standard
    deviation 1 over its own coefficients, so that layers of large coefficients do not outweigh
    the others.
    """
    return q * (sigma if normalised_layers is None else layer_normalised(sigma, normalised_layers))


def layer_normalised(sigma: Tensor, layers: Sequence[slice]) -> Tensor:
    """σ [B, C] with each layer's coefficients at mean 0 and standard deviation 1."""
    parts = []
    for layer in layers:
        part = sigma[:, layer]
        deviation = part.std(1, correction=0, keepdim=True).clamp_min(1e-6)
        parts.append((part - part.mean(1, keepdim=True)) / deviation)
    return torch.cat(parts, 1)


def _softmax(channel_map: Tensor, temperature: float) -> Tensor:
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}, wanted more than 0")
    return torch.softmax(channel_map / temperature, 1)


def _of_pose(channel_map: Tensor, layers: Sequence[slice]) -> Tensor:
    """[C] whether a coefficient belongs to the pose's layers."""
    end: int = layers[min(POSE_LAYERS, len(layers)) - 1].stop
    return torch.arange(channel_map.shape[-1], device=channel_map.device) < end
