"""Highlights and grain: what the swap takes back from its plate."""

from __future__ import annotations

import torch
from torch import Tensor

from vfxswap import color
from vfxswap.ops.grain import STOP, grain_of, restore_highlights, without_highlights

SIZE = 96


def _noise(sigma: float, seed: int = 0) -> Tensor:
    return sigma * torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def _ramp() -> Tensor:
    return torch.linspace(0.3, 0.5, SIZE).expand(1, 3, SIZE, SIZE).clone()


def test_one_stop_is_the_slope_of_the_net_curve() -> None:
    two, one = color.to_net(torch.tensor([2.0])), color.to_net(torch.tensor([1.0]))
    assert torch.allclose(two - one, torch.tensor([STOP]))


def test_a_highlight_of_twelve_comes_back_at_twelve_and_skin_stays_swapped() -> None:
    face, mean = torch.full((1, 3, 8, 8), 0.3), color.to_net(torch.full((1, 3, 1, 1), 0.3))
    plate = color.to_net(face)
    plate[..., 4, 4] = color.to_net(torch.tensor([12.0]))
    swapped = plate.clone().fill_(0.4)
    out = restore_highlights(swapped, plate, mean, amount=1.0)
    assert torch.allclose(color.from_net(out[..., 4, 4]), torch.tensor(12.0), rtol=1e-4)
    out[..., 4, 4] = 0.4
    assert torch.equal(out, swapped)


def test_when_amount_is_zero_then_highlights_are_left_out_even_inf() -> None:
    plate = torch.full((1, 3, 4, 4), torch.inf)
    swapped, mean = torch.full((1, 3, 4, 4), 0.4), torch.full((1, 3, 1, 1), 0.4)
    assert torch.equal(restore_highlights(swapped, plate, mean, amount=0.0), swapped)


def test_grain_keeps_its_strength_and_detail_stays_out() -> None:
    noise, matte = _noise(0.01), torch.ones(1, 1, SIZE, SIZE)
    clean = grain_of(_ramp() + noise, matte)
    # Of white noise the 5-tap binomial leaves 1 - 2 * (6/16)^2 + (70/256)^2 = 0.79 in variance.
    assert 0.8 < float(clean[..., 4:-4, 4:-4].std() / noise.std()) < 0.92
    edge = _ramp() + noise
    edge[..., SIZE // 2 :] += 0.3
    beside = slice(SIZE // 2 - 2, SIZE // 2 + 2)
    assert float(grain_of(edge, matte)[..., beside].abs().max()) < 0.06


def test_a_plate_without_grain_gives_none() -> None:
    grain = grain_of(torch.full((1, 3, SIZE, SIZE), 0.4), torch.ones(1, 1, SIZE, SIZE))
    assert float(grain.abs().max()) < 1e-6


def test_an_empty_matte_and_broken_pixels_give_finite_grain() -> None:
    plate = _ramp()
    plate[..., 3, 3], plate[..., 5, 5] = torch.nan, torch.inf
    assert float(grain_of(plate, torch.zeros(1, 1, SIZE, SIZE)).abs().max()) == 0.0
    assert bool(torch.isfinite(grain_of(plate, torch.ones(1, 1, SIZE, SIZE))).all())


def test_a_plate_without_highlights_lies_within_four_stops_of_the_mean() -> None:
    plate, mean = _ramp(), torch.full((1, 3, 1, 1), 0.4)
    plate[..., 3, 3] = torch.inf
    assert float(without_highlights(plate, mean).max()) < 0.4 + 4 * STOP
    assert torch.equal(without_highlights(_ramp(), mean), _ramp())
