"""One feature transferred in the aligned crop, and where it shows.

Source: US 2022/0374625 A1 (see the README on patents); the formulas are in `nets.feature_math`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vfxswap.effects.features_settings import POSE
from vfxswap.nets.feature_math import (
    channel_map,
    combined_vector,
    interpolation_vector,
    pair_map,
    pose_vector,
    transferred,
)
from vfxswap.nets.features import FeatureNet, Generated

BACKGROUND, HAIR = "background", "hair"
"""Names of features that have a part in rules, where a model has them."""
_EDGE = 1 / 16
"""Share of the crop over which a region that reaches its border fades: beyond it nothing is
known."""


class Seen(NamedTuple):
    """What the generator makes of a picture's coefficients `sigma` [1, C]: its picture and
    activations, memberships U [1, K, h, w], and channel map M [1, K, C]."""

    sigma: Tensor
    generated: Generated
    memberships: Tensor
    channels: Tensor


class Edit(NamedTuple):
    """The generator's pictures [1, 3, S, S] before and after, normalised as crops are; `regions`
    [1, F, S, S] in 0…1 are where each of the features shows in either of them. `new` and `gone`
    [1, 1, S, S] in 0…1 are where the object is after but was not before, and the reverse."""

    before: Tensor
    after: Tensor
    regions: Tensor
    new: Tensor
    gone: Tensor


ChannelVectors = Callable[[Seen, Seen, Sequence[str]], list[Tensor]]
"""q [1, C] of each named feature for a source and a reference."""


def seen(net: FeatureNet, sigma: Tensor) -> Seen:
    """Everything about coefficients that an edit and a search need."""
    generated = net.generate(sigma)
    memberships = net.memberships(generated.activations)
    return Seen(sigma, generated, memberships, channel_map(generated.activations, memberships))


def vectors_of_pair(net: FeatureNet, temperature: float) -> ChannelVectors:
    """The method's own rule: from the two pictures at hand alone."""

    def vectors(source: Seen, reference: Seen, features: Sequence[str]) -> list[Tensor]:
        channels = pair_map(source.channels, reference.channels)
        return named_vectors(net, channels, features, temperature=temperature)

    return vectors


def named_vectors(
    net: FeatureNet, channels: Tensor, features: Sequence[str], *, temperature: float
) -> list[Tensor]:
    """q [B, C] of each feature, out of a channel map [B, K, C]; the pose by its own rule."""
    names = net.feature_names
    found = interpolation_vector(channels, temperature=temperature, layers=net.layers)
    hair = names.index(HAIR) if HAIR in names else None

    def vector(feature: str) -> Tensor:
        if feature == POSE:
            return pose_vector(channels, hair=hair, temperature=temperature, layers=net.layers)
        return found[:, names.index(feature)]

    return [vector(feature) for feature in features]


def edit(
    net: FeatureNet,
    source: Seen,
    reference: Seen,
    amounts: Mapping[str, float],
    *,
    vectors: ChannelVectors,
) -> Edit:
    """Each named feature of the source moved towards the reference's by its amount, together."""
    features = list(amounts)
    direction = combined_vector(vectors(source, reference, features), list(amounts.values()))
    sigma = transferred(source.sigma, reference.sigma, direction)
    generated = net.generate(sigma)
    after = net.memberships(generated.activations)
    both = torch.maximum(source.memberships, after)
    regions = torch.cat([_region(net, both, feature) for feature in features], 1)
    spread = _background(net, source.memberships) - _background(net, after)
    return Edit(
        source.generated.picture,
        generated.picture,
        regions,
        new=spread.clamp_min(0),
        gone=(-spread).clamp_min(0),
    )


def border(size: int, like: Tensor) -> Tensor:
    """[1, 1, size, size]: 1 inside, falling to 0 at the crop's border."""
    centres = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) / size
    ramp = (torch.minimum(centres, 1 - centres) / _EDGE - 0.25).clamp(0, 1)
    return torch.minimum(ramp[:, None], ramp[None])[None, None]


def _region(net: FeatureNet, memberships: Tensor, feature: str) -> Tensor:
    """[1, 1, S, S] in 0…1; that of the pose is the whole object."""
    names = net.feature_names
    if feature != POSE:
        return _enlarged(net, memberships[:, names.index(feature)][:, None])
    others = [k for k, name in enumerate(names) if name != BACKGROUND]
    return _enlarged(net, memberships[:, others].amax(1, keepdim=True))


def _background(net: FeatureNet, memberships: Tensor) -> Tensor:
    """[1, 1, S, S] in 0…1: what is not the object; 0 where the model does not tell."""
    if BACKGROUND not in net.feature_names:
        return memberships.new_zeros(1, 1, net.size, net.size)
    return _enlarged(net, memberships[:, net.feature_names.index(BACKGROUND)][:, None])


def _enlarged(net: FeatureNet, place: Tensor) -> Tensor:
    """A plane at the size of the clustered layer in the crop: a place is a few pixels wide, and
    becomes a ramp of that width instead of a staircase."""
    soft = F.interpolate(place, size=(net.size,) * 2, mode="bilinear", align_corners=False)
    return soft.clamp(0, 1)
