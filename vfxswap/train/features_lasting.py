"""What of a face's coefficients lasts from picture to picture: fitted for retrieval.

σ of one picture says more of its light, pose and acting than of the shape of a nose. Crops come
several to a performer, so σ's covariance falls apart into that within performers, W, and that
between them, B (analysis of variance; no label is used but which crops show the same performer).
What lasts is then guessed linearly with the least mean square error (Wiener; "best linear unbiased
prediction" of Henderson 1975): `σ' = B (B + W)⁻¹ (σ − mean)`, in σ's own coordinates, so that the
method's q weighs it as it weighs σ. The few directions that last are kept. This is the project's
addition to US 2022/0374625 A1, which compares σ itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.nets.features import FeatureNet
from vfxswap.train.features_data import PartCrops
from vfxswap.train.steps import evaluating

DIRECTIONS = 64
"""Most directions kept."""
LEAST_SHARE = 0.5
"""Of a direction's variance between performers; those of less say more of the picture. On faces
at 64 px some 20 of 624 have it, and retrieve as well as the 78 above 0.2 and the 144 above 0.1."""
_RIDGE = 3e-4
"""Added to all variances, as a share of their mean: directions that nothing moves are no signal.
Ten times as much gave the same precision."""
_BATCH = 16


class Lasting(NamedTuple):
    """What `FeatureNet.put_lasting` takes, float64: `mean` [D], `read` [r, D], `write` [D, r];
    `shares` [r] in 0…1, how much of each direction's variance is between performers."""

    mean: Tensor
    read: Tensor
    write: Tensor
    shares: Tensor


def fit_lasting(net: FeatureNet, data: PartCrops, indices: NDArray[np.int64]) -> bool:
    """Fits what lasts to σ of these crops and stores it in the network; True. Nothing happens
    and it is False where no two performers have two crops, or nothing lasts."""
    identity = data.identity[indices]
    if (np.unique(identity, return_counts=True)[1] > 1).sum() < 2:
        return False
    found = lasting(coefficients(net, data, indices)[:, net.coarse :], identity)
    if not len(found.shares):
        return False
    net.put_lasting(found.mean, found.read, found.write)
    return True


def coefficients(net: FeatureNet, data: PartCrops, indices: NDArray[np.int64]) -> Tensor:
    """σ [N, C] of these crops."""
    found = []
    for start in range(0, len(indices), _BATCH):
        with evaluating(net):
            found.append(net.encode(data.centred(indices[start : start + _BATCH]).crops))
    return torch.cat(found)


def lasting(sigma: Tensor, identity: NDArray[np.int64]) -> Lasting:
    """The directions of coefficients [N, D] that last, most lasting first, at most `DIRECTIONS`.

    `identity` [N] says who is shown. Raises ValueError unless there are two performers and two
    crops of one of them.
    """
    _, inverse, counts = np.unique(identity, return_inverse=True, return_counts=True)
    performers, crops = len(counts), len(identity)
    if performers < 2 or crops == performers:
        raise ValueError(f"{crops} crops of {performers} performers tell nothing of what lasts")
    x = sigma.double()
    means = x.new_zeros(performers, x.shape[1]).index_add_(0, torch.from_numpy(inverse), x)
    means /= torch.from_numpy(counts)[:, None]
    mean = x.mean(0)
    rest = x - means[torch.from_numpy(inverse)]
    within = rest.T @ rest / (crops - performers)
    away = means - mean
    # A mean of few crops still holds a part of what changes between them.
    between = away.T @ away / (performers - 1) - within * float((1 / counts).mean())
    total = between + within
    ridge = _RIDGE * total.diagonal().mean() + torch.finfo(total.dtype).tiny
    root = torch.linalg.cholesky(total + ridge * torch.eye(len(total), dtype=total.dtype))
    half = torch.linalg.solve_triangular(root, between, upper=False)
    white = torch.linalg.solve_triangular(root, half.T, upper=False)
    shares, vectors = torch.linalg.eigh((white + white.T) / 2)
    kept = shares.argsort(descending=True)[:DIRECTIONS]
    kept = kept[shares[kept] > LEAST_SHARE]
    shares, vectors = shares[kept].clamp_max(1), vectors[:, kept]
    # In whitened coordinates the guess is V diag(shares) Vᵀ; `root` takes it back to σ's.
    read = torch.linalg.solve_triangular(root.T, vectors, upper=True).T
    return Lasting(mean, read, (root @ vectors) * shares, shares)


def recognised(values: Tensor, identity: NDArray[np.int64]) -> float:
    """The share of rows of `values` [N, D] whose nearest other row shows the same performer."""
    distances = torch.cdist(values.double(), values.double()).fill_diagonal_(torch.inf)
    nearest = distances.argmin(1).numpy()
    return float((identity[nearest] == identity).mean())
