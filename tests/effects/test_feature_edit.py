"""Facts about an edit in the crop: which channels move, where it shows, what is behind."""

from __future__ import annotations

import torch
from feature_world import FEATURES, tiny_net

from vfxswap.effects.feature_edit import (
    BACKGROUND,
    Seen,
    against_background,
    border,
    edit,
    named_vectors,
    seen,
    vectors_of_pair,
    without_slivers,
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
    assert not made.new.any() and not made.kept.any()
    edge = border(32, made.regions)[0, 0]
    assert edge[16, 16] == 1 and not edge[0].any() and not edge[:, -1].any()


def test_what_appears_and_what_is_kept_are_never_in_one_place() -> None:
    net = net_with_background()
    source, reference = both(net)
    wish = {POSE: 2.0, "hair": 2.0}
    made = edit(net, source, reference, wish, vectors=vectors_of_pair(net, 0.5))
    assert made.new.any() or made.kept.any()
    assert not (made.new * made.kept).any()
    for plane in (made.new, made.kept):
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


def memberships(net: FeatureNet, labels: torch.Tensor) -> torch.Tensor:
    """One-hot [1, K, h, w] of feature numbers [h, w]."""
    one_hot = torch.nn.functional.one_hot(labels, len(net.feature_names))
    return one_hot.movedim(-1, 0)[None].float()


def test_of_what_covers_background_only_the_feature_that_is_moved_is_new() -> None:
    net = net_with_background()
    names = net.feature_names
    before = torch.zeros(16, 16, dtype=torch.long)
    after = before.clone()
    after[2:6, 2:6], after[10:14, 10:14] = names.index("nose"), names.index("hair")
    states = memberships(net, before), memberships(net, after)
    new, kept = against_background(net, *states, ["nose"])
    # Crops are twice as fine as places; the edge is a ramp.
    assert bool((new[..., 5:11, 5:11] == 1).all()) and not new[..., 14:, 14:].any()
    assert bool((kept[..., 21:27, 21:27] == 1).all()) and not kept[..., :14, :14].any()
    both_new, none_kept = against_background(net, *states, ["nose", "hair"])
    assert not none_kept.any() and torch.equal(both_new, new + kept)
    for wish in ([POSE], [POSE, "nose"]):
        assert torch.equal(against_background(net, *states, wish)[0], both_new)
    assert not against_background(net, *states, [BACKGROUND])[0].any()


def test_background_behind_an_object_that_goes_is_kept_whatever_is_moved() -> None:
    net = net_with_background()
    before = torch.zeros(16, 16, dtype=torch.long)
    before[4:8, 4:8] = net.feature_names.index("hair")
    states = memberships(net, before), memberships(net, torch.zeros_like(before))
    for feature in ("hair", "nose", POSE):
        new, kept = against_background(net, *states, [feature])
        assert not new.any() and bool((kept[..., 9:15, 9:15] == 1).all())


def test_an_outline_that_shifts_by_one_place_is_no_new_part() -> None:
    net = net_with_background()
    before = torch.zeros(16, 16, dtype=torch.long)
    before[:, :8] = net.feature_names.index("skin")
    after = before.clone()
    after[3:9, 8] = net.feature_names.index("skin")
    new, kept = against_background(net, memberships(net, before), memberships(net, after), ["skin"])
    assert not new.any() and kept.any()
    after[3:9, 9] = net.feature_names.index("skin")
    new, kept = against_background(net, memberships(net, before), memberships(net, after), ["skin"])
    assert new.any() and not kept.any()


def test_a_model_without_background_has_nothing_new_and_nothing_kept() -> None:
    net = tiny_net()
    labels = torch.arange(256).reshape(16, 16) % len(FEATURES)
    states = memberships(net, labels), memberships(net, labels.T)
    for plane in against_background(net, *states, [POSE]):
        assert plane.shape == (1, 1, 32, 32) and not plane.any()


def test_slivers_are_what_no_block_of_four_places_covers() -> None:
    generator = torch.Generator().manual_seed(2)
    places = (torch.rand(1, 1, 20, 20, generator=generator) < 0.6).float()
    wanted = torch.zeros_like(places)
    for y in range(19):
        for x in range(19):
            if bool((places[..., y : y + 2, x : x + 2] == 1).all()):
                wanted[..., y : y + 2, x : x + 2] = 1
    found = without_slivers(places)
    assert torch.equal(found, wanted) and 0 < found.sum() < places.sum()
    assert torch.equal(without_slivers(found), found)
