"""Clusters of a feature network's activations, and their names by overlap with truth parts.

Spherical k-means (Dhillon & Modha 2001): places are compared by the angle of their standardised
activations. It knows no labels; those only name what it found.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vfxswap.nets.feature_math import resized_memberships
from vfxswap.nets.features import FeatureNet
from vfxswap.train.crops import seeded
from vfxswap.train.features_data import PartCrops
from vfxswap.train.steps import evaluating

_BATCH = 16
_ROUNDS = 40


def fit_clusters(
    net: FeatureNet,
    data: PartCrops,
    indices: NDArray[np.int64],
    *,
    seed: int = 0,
    places_each: int = 128,
) -> None:
    """Fits the network's clusters to its activations over these crops, at `places_each` random
    places of each, and stores mean, deviation and centres in it. Names are dropped."""
    layer = net.settings.cluster_layer
    generator = seeded(seed, len(indices))
    found: list[Tensor] = []
    for crops in _batches(data, indices):
        with evaluating(net):
            a = net.generate(net.encode(crops)).activations[layer].flatten(2)
        at = torch.randint(a.shape[2], (a.shape[0], 1, places_each), generator=generator)
        found.append(a.gather(2, at.expand(-1, a.shape[1], -1)).movedim(1, 2).flatten(0, 1))
    places = torch.cat(found)
    with torch.no_grad():
        net.cluster_mean.copy_(places.mean(0))
        net.cluster_std.copy_(places.std(0).clamp_min(1e-4))
        z = F.normalize((places - net.cluster_mean) / net.cluster_std, dim=1)
        net.cluster_centres.copy_(spherical_kmeans(z, net.settings.clusters, seed=seed))
    net.named((), ())


def spherical_kmeans(directions: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Centres [count, C], unit vectors, of unit vectors [N, C]: each is the direction of the mean
    of those nearest to it. Begun far apart (k-means++, Arthur & Vassilvitskii 2007), the same for
    the same seed. Raises ValueError for fewer vectors than centres."""
    if len(directions) < count:
        raise ValueError(f"{len(directions)} vectors for {count} clusters")
    generator = seeded(seed, count)
    centres = directions[torch.randint(len(directions), (1,), generator=generator)]
    while len(centres) < count:
        away = (1 - (directions @ centres.T).amax(1)).clamp_min(0) + 1e-12
        centres = torch.cat([centres, directions[torch.multinomial(away, 1, generator=generator)]])
    nearest = torch.full((len(directions),), -1)
    for _ in range(_ROUNDS):
        before, nearest = nearest, (directions @ centres.T).argmax(1)
        if torch.equal(before, nearest):
            break
        sums = torch.zeros_like(centres).index_add_(0, nearest, directions)
        held = torch.bincount(nearest, minlength=count) > 0
        centres = torch.where(held[:, None], F.normalize(sums, dim=1), centres)
    return centres


def overlap(net: FeatureNet, data: PartCrops, indices: NDArray[np.int64]) -> Tensor:
    """[clusters, parts] float64: how many places of each cluster show each part; a place of a
    coarser layer counts for the parts that it covers by their shares."""
    table = torch.zeros(net.settings.clusters, len(data.parts), dtype=torch.float64)
    for start in range(0, len(indices), _BATCH):
        draw = data.centred(indices[start : start + _BATCH])
        with evaluating(net):
            clusters = net.clusters(net.generate(net.encode(draw.crops)).activations)
        one_hot = F.one_hot(draw.labels, len(data.parts)).movedim(-1, 1)
        shares = resized_memberships(one_hot, (clusters.shape[1], clusters.shape[2]))
        rows = shares.movedim(1, -1).flatten(0, 2).double()
        table.index_add_(0, clusters.flatten(), rows)
    return table


def names_by_overlap(
    table: Tensor, parts: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the features and the feature of each cluster, from how clusters and parts overlap.

    Parts are joined greedily: a cluster belongs to the part to which it brings the most, as the
    share of its own places that show the part times the root of the part's share that it covers;
    so a small part wins the cluster that lies on it, though more of its places show skin. An
    empty cluster is the first part's. Parts that win no cluster are no features; the order of
    names is that of the parts.
    """
    of_cluster = table / table.sum(1, keepdim=True).clamp_min(1)
    of_part = table / table.sum(0, keepdim=True).clamp_min(1)
    won = (of_cluster * of_part.sqrt()).argmax(1)
    present = [k for k in range(len(parts)) if bool((won == k).any())]
    return tuple(parts[k] for k in present), tuple(present.index(k) for k in won.tolist())


def agreement(
    table: Tensor, parts: tuple[str, ...], features: tuple[str, ...], assignment: tuple[int, ...]
) -> dict[str, float]:
    """Intersection over union of each feature with the part whose name it has; 0 for a part
    that is no feature."""
    found = {}
    for part, name in enumerate(parts):
        if name not in features:
            found[name] = 0.0
            continue
        mine = torch.tensor(assignment) == features.index(name)
        both = table[mine, part].sum()
        either = table[mine].sum() + table[:, part].sum() - both
        found[name] = float(both / either.clamp_min(1))
    return found


def _batches(data: PartCrops, indices: NDArray[np.int64]) -> list[Tensor]:
    return [
        data.centred(indices[start : start + _BATCH]).crops
        for start in range(0, len(indices), _BATCH)
    ]
