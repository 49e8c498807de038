"""Facts about an edit in the crop: which channels move, where it shows, what is behind."""

from __future__ import annotations

import torch
from feature_world import FEATURES, tiny_net

from vfxswap.effects.feature_edit import (
    BACKGROUND,
    Seen,
    border,
    edit,
    named_vectors,
    seen,
    vectors_of_pair,
)
from vfxswap.effects.features_settings import POSE
from vfxswap.nets.feature_math import POSE_LAYERS, pair_map
from vfxswap.nets.features import FeatureNet


def crops() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(2, 3, 32, 32, generator=generator)


def net_with_background() -> FeatureNet:
    net = tiny_net()
    net.named((BACKGROUND, *FEATURES[1:]), net.settings.assignment)
    return net


def both(net: FeatureNet) -> tuple[Seen, Seen]:
    one, two = (seen(net, net.encode(crop[None])) for crop in crops())
    return one, two


def test_other_features_leave_the_layers_of_the_pose_alone() -> None:
    net = tiny_net()
    source, reference = both(net)
    coarse = net.layers[POSE_LAYERS - 1].stop
    channels = pair_map(source.channels, reference.channels)
    q = named_vectors(net, channels, [*FEATURES, POSE], temperature=0.2)
    assert all(not each[:, :coarse].any() for each in q[:-1])
    assert not q[-1][:, coarse:].any() and q[-1][:, :coarse].any()
    # Of every other channel all features together hold exactly one.
    torch.testing.assert_close(
        sum(each[:, coarse:] for each in q[:-1]), torch.ones_like(q[0][:, coarse:])
    )


def test_amount_zero_is_the_source_and_a_region_fades_before_the_border() -> None:
    net = net_with_background()
    source, reference = both(net)
    made = edit(net, source, reference, {"nose": 0.0}, vectors=vectors_of_pair(net, 0.5))
    torch.testing.assert_close(made.after, made.before, rtol=0, atol=0)
    assert not made.new.any() and not made.gone.any()
    edge = border(32, made.regions)[0, 0]
    assert edge[16, 16] == 1 and not edge[0].any() and not edge[:, -1].any()


def test_what_appears_and_what_goes_are_never_in_one_place() -> None:
    net = net_with_background()
    source, reference = both(net)
    wish = {POSE: 2.0, "hair": 2.0}
    made = edit(net, source, reference, wish, vectors=vectors_of_pair(net, 0.5))
    assert made.new.any() or made.gone.any()
    assert not (made.new * made.gone).any()
    for plane in (made.new, made.gone):
        assert plane.min() >= 0 and plane.max() <= 1
    assert made.regions.shape == (1, 2, 32, 32)


def test_several_features_together_go_no_further_than_the_furthest_alone() -> None:
    net = tiny_net()
    source, reference = both(net)
    vectors = vectors_of_pair(net, 0.5)
    every = dict.fromkeys(FEATURES, 1.0)
    whole = edit(net, source, reference, {**every, POSE: 1.0}, vectors=vectors)
    parts = edit(net, source, reference, {**every, POSE: 0.0}, vectors=vectors)
    # All of every feature and the pose is the reference itself, but for the hair's coarse share.
    wanted = reference.generated.picture
    assert (whole.after - wanted).abs().mean() < (parts.after - wanted).abs().mean()
