from __future__ import annotations

import torch

from vfxswap.ops.normalise import GAIN, denormalise, normalise


def crop() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4


def test_denormalise_undoes_normalise_unclamped() -> None:
    picture = crop()
    picture[0, 0, 0, 0] = 5.0
    normalised, mean = normalise(picture, torch.ones(1, 1, 8, 8))
    assert mean.shape == (2, 3, 1, 1)
    assert float(normalised.max()) > 5.0
    assert (denormalise(normalised, mean) - picture).abs().max() < 1e-5


def test_a_cast_leaves_the_normalised_crop_alone() -> None:
    matte = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    cast = torch.tensor([0.1, -0.2, 0.3])[:, None, None]
    plain, mean = normalise(crop(), matte)
    with_cast, moved = normalise(crop() + cast, matte)
    assert (plain - with_cast).abs().max() < 1e-5
    assert (moved - mean - cast).abs().max() < 1e-6


def test_the_mean_is_taken_under_the_matte() -> None:
    picture = torch.zeros(1, 3, 4, 4)
    picture[..., :2] = 0.6
    matte = torch.zeros(1, 1, 4, 4)
    matte[..., 0] = 1.0
    normalised, mean = normalise(picture, matte)
    assert torch.allclose(mean, torch.full((1, 3, 1, 1), 0.6))
    assert torch.allclose(normalised[..., 3], torch.tensor(0.5 - GAIN * 0.6))


def test_an_empty_matte_takes_the_whole_crop() -> None:
    _, mean = normalise(crop(), torch.zeros(2, 1, 8, 8))
    assert torch.allclose(mean, crop().mean((2, 3), keepdim=True), atol=1e-6)
