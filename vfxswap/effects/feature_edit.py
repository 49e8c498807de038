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
    [1, F, S, S] in 0…1 are where each of the features shows in either of them. `new` [1, 1, S, S]
    in 0…1 is where one of the features is after and background was before. `kept` [1, 1, S, S] in
    0…1 is where the edit has nothing to show: background is after where the object was before, or
    another feature is after where background was."""

    before: Tensor
    after: Tensor
    regions: Tensor
    new: Tensor
    kept: Tensor


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
    new, kept = against_background(net, source.memberships, after, features)
    return Edit(source.generated.picture, generated.picture, regions, new, kept)


def against_background(
    net: FeatureNet, before: Tensor, after: Tensor, features: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """`new` and `kept` of an `Edit` of the named features, out of the memberships [1, K, h, w]
    before and after; both 0 where the model knows no background.

    The outline of the object shifts by a place here and there whatever is moved: where that shows
    another feature than those asked for, or no more than a sliver, it is not the edit.
    """
    if BACKGROUND not in net.feature_names:
        nowhere = before.new_zeros(1, 1, net.size, net.size)
        return nowhere, nowhere
    behind = net.feature_names.index(BACKGROUND)
    wanted = {k for feature in features for k in _numbers_of(net, feature)} - {behind}
    empty, emptied = before[:, behind][:, None], after[:, behind][:, None]
    shown = after[:, sorted(wanted)].sum(1, keepdim=True)
    new = without_slivers(empty * shown)
    kept = empty * (1 - emptied) - new + (1 - empty) * emptied
    difference = _enlarged(net, new) - _enlarged(net, kept)
    return difference.clamp_min(0), (-difference).clamp_min(0)


def without_slivers(places: Tensor) -> Tensor:
    """Places [1, 1, h, w] of 0 and 1 without the parts less than two places wide, which say no
    more than where a border was rounded to: the union of all blocks of 2×2 that lie inside."""
    blocks = -F.max_pool2d(-places, 2, stride=1)
    return F.max_pool2d(F.pad(blocks, (1, 1, 1, 1)), 2, stride=1)


def border(size: int, like: Tensor) -> Tensor:
    """[1, 1, size, size]: 1 inside, falling to 0 at the crop's border."""
    centres = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) / size
    ramp = (torch.minimum(centres, 1 - centres) / _EDGE - 0.25).clamp(0, 1)
    return torch.minimum(ramp[:, None], ramp[None])[None, None]


def _region(net: FeatureNet, memberships: Tensor, feature: str) -> Tensor:
    """[1, 1, S, S] in 0…1: where a feature shows."""
    places = memberships[:, _numbers_of(net, feature)]
    return _enlarged(net, places.amax(1, keepdim=True))


def _numbers_of(net: FeatureNet, feature: str) -> list[int]:
    """The numbers of a feature's memberships; those of the pose are the whole object's."""
    names = net.feature_names
    if feature != POSE:
        return [names.index(feature)]
    return [k for k, name in enumerate(names) if name != BACKGROUND]


def _enlarged(net: FeatureNet, place: Tensor) -> Tensor:
    """A plane at the size of the clustered layer in the crop: a place is a few pixels wide, and
    becomes a ramp of that width instead of a staircase."""
    soft = F.interpolate(place, size=(net.size,) * 2, mode="bilinear", align_corners=False)
    return soft.clamp(0, 1)
