from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vfxswap.nets.feature_math import (
    channel_map,
    combined_vector,
    interpolation_vector,
    layer_normalised,
    pair_map,
    pose_vector,
    resized_memberships,
    retrieval_vector,
    transferred,
)

LAYERS = tuple(slice(2 * k, 2 * k + 2) for k in range(6))
"""Six layers of two coefficients; the first four are the pose's."""


def one_hot(labels: list[list[int]], count: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), count).movedim(-1, 0)[None].float()


def random_map(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 12, generator=torch.Generator().manual_seed(seed))


def test_channel_map_is_the_share_of_squared_activations_in_each_feature() -> None:
    u = one_hot([[0, 0], [1, 1]], 2)
    a = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [5.0, 0.0]]]])
    m = channel_map([a], u, centred=False)
    torch.testing.assert_close(m[0, :, 0], torch.tensor([5.0, 25.0]) / 30)
    torch.testing.assert_close(m[0, :, 1], torch.tensor([0.0, 1.0]))


def test_an_offset_of_a_channel_is_no_feature() -> None:
    u = one_hot([[0, 0, 0, 1]], 2)
    a = torch.tensor([[[[1.0, -1.0, 0.0, 4.0]]]])
    torch.testing.assert_close(channel_map([a + 7], u), channel_map([a], u))
    centred = a - 1.0
    total = centred.square().sum()
    wanted = torch.stack([centred[..., :3].square().sum(), centred[..., 3:].square().sum()])
    torch.testing.assert_close(channel_map([a], u)[0, :, 0], wanted / total)


def test_memberships_of_a_coarser_layer_are_shares_that_add_up() -> None:
    u = one_hot([[0, 1, 1, 1], [0, 1, 1, 1]], 2)
    coarse = resized_memberships(u, (1, 2))
    torch.testing.assert_close(coarse[0, :, 0], torch.tensor([[0.5, 0.0], [0.5, 1.0]]))
    fine = resized_memberships(u, (4, 8))
    assert torch.equal(fine[:, :, ::2, ::2], u)
    a = torch.tensor([[[[2.0, 1.0]]]])
    m = channel_map([a], u, centred=False)
    torch.testing.assert_close(m[0, :, 0], torch.tensor([0.5 * 4, 0.5 * 4 + 1]) / 5)


def test_channels_of_all_layers_stand_one_after_the_other() -> None:
    u = one_hot([[0, 1], [1, 0]], 2)
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(1, c, 2, 2, generator=generator) for c in (3, 5)]
    m = channel_map(layers, u)
    assert m.shape == (1, 2, 8)
    torch.testing.assert_close(m[:, :, 3:], channel_map(layers[1:], u))
    torch.testing.assert_close(m.sum(1), torch.ones(1, 8))


def test_a_flat_channel_belongs_to_no_feature() -> None:
    m = channel_map([torch.full((1, 1, 2, 2), 3.0)], one_hot([[0, 1], [1, 0]], 2))
    assert torch.equal(m, torch.zeros(1, 2, 1))


def test_the_map_of_a_pair_is_the_larger_of_both() -> None:
    a, b = random_map(1), random_map(2)
    pair = pair_map(a, b)
    assert torch.equal(pair, pair_map(b, a))
    assert bool(((pair == a) | (pair == b)).all()) and bool((pair >= a).all())


def test_interpolation_vectors_are_a_softmax_over_features_closed_to_the_pose_layers() -> None:
    m = random_map()
    q = interpolation_vector(m, temperature=0.5, layers=LAYERS)
    assert torch.equal(q[..., :8], torch.zeros(2, 3, 8))
    torch.testing.assert_close(q[..., 8:].sum(1), torch.ones(2, 4))
    wanted = math.exp(m[0, 1, 9] / 0.5) / sum(math.exp(v / 0.5) for v in m[0, :, 9].tolist())
    assert q[0, 1, 9].item() == pytest.approx(wanted, rel=1e-5)


def test_a_low_temperature_gives_each_channel_to_one_feature() -> None:
    m = random_map()
    sharp = interpolation_vector(m, temperature=1e-4, layers=LAYERS)[..., 8:]
    assert torch.equal(sharp.argmax(1), m[..., 8:].argmax(1))
    assert sharp.amax(1).min().item() > 0.99
    even = interpolation_vector(m, temperature=1e4, layers=LAYERS)[..., 8:]
    torch.testing.assert_close(even, torch.full_like(even, 1 / 3), atol=1e-3, rtol=0)


def test_pose_is_what_hair_leaves_of_the_first_four_layers() -> None:
    m = random_map()
    pose = pose_vector(m, hair=2, temperature=0.5, layers=LAYERS)
    torch.testing.assert_close(pose[:, :8], 1 - torch.softmax(m / 0.5, 1)[:, 2, :8])
    assert torch.equal(pose[:, 8:], torch.zeros(2, 4))
    bald = pose_vector(m, hair=None, temperature=0.5, layers=LAYERS)
    assert torch.equal(bald[:, :8], torch.ones(2, 8))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        interpolation_vector(random_map(), temperature=temperature, layers=LAYERS)


def test_transfer_goes_from_source_to_reference_and_beyond() -> None:
    source, reference = random_map(1)[:, 0], random_map(2)[:, 0]
    ones = torch.ones(2, 12)
    assert torch.equal(transferred(source, reference, ones, 0.0), source)
    torch.testing.assert_close(transferred(source, reference, ones, 1.0), reference)
    past = transferred(source, reference, ones, 1.5)
    torch.testing.assert_close(past, 1.5 * reference - 0.5 * source)
    assert torch.equal(transferred(source, reference, 0 * ones, 1.5), source)
    q = torch.rand(2, 12, generator=torch.Generator().manual_seed(5))
    moved = transferred(source, reference, q, 0.3)
    torch.testing.assert_close(moved, (1 - 0.3 * q) * source + 0.3 * q * reference)


def test_several_features_add_up_but_share_a_channel_once() -> None:
    a, b = torch.tensor([[0.9, 0.2, 0.0]]), torch.tensor([[0.9, 0.3, 0.1]])
    torch.testing.assert_close(combined_vector([a, b], [1, 1]), torch.tensor([[1.0, 0.5, 0.1]]))
    torch.testing.assert_close(
        combined_vector([a, b], [1.5, -0.5]), torch.tensor([[0.9, 0.15, -0.05]])
    )
    assert torch.equal(combined_vector([a], [0.8]), 0.8 * a)
    with pytest.raises(ValueError):
        combined_vector([], [])
    with pytest.raises(ValueError):
        combined_vector([a], [1.0, 2.0])


def test_retrieval_looks_at_a_features_coefficients_alone() -> None:
    sigma = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    q = torch.zeros(2, 12)
    q[:, 4] = 1.0
    changed = sigma.clone()
    changed[:, 5:] += 1.0
    assert torch.equal(retrieval_vector(sigma, q), retrieval_vector(changed, q))
    normal = layer_normalised(sigma, LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(normal[:, layer].mean(1), torch.zeros(2), atol=1e-5, rtol=0)
        spread = normal[:, layer].std(1, correction=0)
        torch.testing.assert_close(spread, torch.ones(2), atol=1e-4, rtol=0)
    found = retrieval_vector(sigma, torch.ones(2, 12), normalised_layers=LAYERS)
    assert torch.equal(found, normal)
