from __future__ import annotations

import pytest
import torch

from vfxswap.nets.features import FeatureNet, FeatureSettings, ModulatedConv

TINY = FeatureSettings(
    crop_size=16,
    width=4,
    widest=8,
    widest_encoder=8,
    code=8,
    pose_code=2,
    clusters=4,
    features=("eyes", "other"),
    assignment=(0, 1, 1, 0),
)


def tiny(seed: int = 0) -> FeatureNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FeatureNet(TINY).eval().requires_grad_(False)


def crops(count: int, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def test_layers_part_the_coefficients_and_match_the_activations() -> None:
    net = tiny()
    sigma = net.encode(crops(3))
    generated = net.generate(sigma)
    assert sigma.shape == (3, net.coefficients)
    assert generated.picture.shape == (3, 3, 16, 16)
    assert [a.shape[1] for a in generated.activations] == [s.stop - s.start for s in net.layers]
    assert [s.start for s in net.layers[1:]] == [s.stop for s in net.layers[:-1]]
    assert net.layers[0].start == 0 and net.layers[-1].stop == net.coefficients
    assert [a.shape[-1] for a in generated.activations] == [4, 4, 8, 8, 16]


def test_the_size_of_a_layer_s_coefficients_says_nothing_and_is_held() -> None:
    net = tiny()
    sigma = net.encode(crops(3))
    for layer in net.layers:
        assert torch.allclose(sigma[:, layer].square().mean(1), torch.ones(3), atol=1e-4)
    louder = sigma.clone()
    louder[:, net.layers[2]] *= 7
    assert torch.allclose(net.generate(louder).picture, net.generate(sigma).picture, atol=1e-4)


def test_every_place_belongs_to_one_feature() -> None:
    net = tiny()
    u = net.memberships(net.generate(net.encode(crops(2))).activations)
    assert u.shape == (2, 2, 16, 16)
    assert torch.equal(u.sum(1), torch.ones(2, 16, 16))
    assert bool(((u == 0) | (u == 1)).all())


def test_memberships_are_those_of_the_nearest_centre_by_angle() -> None:
    net = tiny()
    activations = net.generate(net.encode(crops(2))).activations
    clusters = net.clusters(activations)
    z = net.standardised(activations)
    cosine = torch.nn.functional.cosine_similarity(
        z[:, None], net.cluster_centres[None, :, :, None, None], dim=2
    )
    assert torch.equal(clusters, cosine.argmax(1))
    wanted = (clusters == 0) | (clusters == 3)
    assert torch.equal(net.memberships(activations)[:, 0].bool(), wanted)


def test_a_coefficient_scales_its_channel_of_activations() -> None:
    """Scaled weights, as the source has them, give what scaled activations give."""
    net = tiny()
    layer = net.plain[1]
    assert isinstance(layer, ModulatedConv)
    generator = torch.Generator().manual_seed(1)
    x, s = torch.randn(2, 8, 8, 8, generator=generator), torch.randn(2, 8, generator=generator)
    found = layer(x, s)
    for b in range(2):
        weight = layer.weight * s[b][None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        plain = torch.nn.functional.conv2d(x[b : b + 1], weight, padding=1)
        plain = 2**0.5 * torch.nn.functional.leaky_relu(plain + layer.bias[:, None, None], 0.2)
        torch.testing.assert_close(found[b : b + 1], plain, rtol=1e-4, atol=1e-5)


def test_the_same_crop_gives_the_same_alone_and_in_a_batch() -> None:
    net = tiny()
    batch = crops(4)
    together = net(batch)
    for k in range(4):
        torch.testing.assert_close(net(batch[k : k + 1])[0], together[k], rtol=1e-4, atol=1e-5)


def test_crops_and_coefficients_of_another_size_are_refused() -> None:
    net = tiny()
    with pytest.raises(ValueError, match=r"wanted \[B, 3, 16, 16\]"):
        net.encode(crops(1, 8))
    with pytest.raises(ValueError, match="coefficients of shape"):
        net.generate(torch.zeros(1, net.coefficients + 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_size": 48},
        {"cluster_layer": 5},
        {"features": ("eyes",), "assignment": ()},
        {"features": ("eyes", "eyes"), "assignment": (0, 1, 1, 0)},
        {"features": ("eyes", "other"), "assignment": (0, 1, 2, 0)},
        {"features": ("eyes", "other"), "assignment": (0, 1)},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        FeatureSettings.model_validate({**TINY.model_dump(), **wrong})


def test_features_without_names_are_the_clusters() -> None:
    net = FeatureNet(TINY.model_copy(update={"features": (), "assignment": ()}))
    assert net.feature_names == ("cluster-1", "cluster-2", "cluster-3", "cluster-4")
    u = net.memberships(net.generate(net.encode(crops(1))).activations)
    assert u.shape[1] == 4
