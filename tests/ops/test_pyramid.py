from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vfxswap.ops.pyramid import (
    expand,
    expand_plain,
    gaussian_pyramid,
    laplacian_pyramid,
    reconstruct,
    reduce,
    reduce_plain,
)

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def picture(size: tuple[int, int], channels: int = 2) -> Tensor:
    return torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(size[0]))


@given(sizes, st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_laplacian_pyramid_gives_its_picture_back(
    size: tuple[int, int], levels: int, channels: int
) -> None:
    image = picture(size, channels)
    pyramid = laplacian_pyramid(image, levels)
    assert len(pyramid) == levels
    assert (reconstruct(pyramid) - image).abs().max() < 1e-5


@given(sizes)
@settings(max_examples=40, deadline=None)
def test_fast_levels_equal_the_plain_ones(size: tuple[int, int]) -> None:
    image = picture(size)
    small = reduce(image)
    assert small.shape[-2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    assert (small - reduce_plain(image)).abs().max() < 1e-6
    assert (expand(small, size) - expand_plain(small, size)).abs().max() < 1e-6


def test_constants_stay_and_their_bands_are_empty() -> None:
    *bands, top = laplacian_pyramid(torch.full((1, 3, 37, 21), 0.3), 5)
    assert all(float(band.abs().max()) < 1e-6 for band in bands)
    assert (top - 0.3).abs().max() < 1e-6


def test_levels_keep_the_position_of_a_ramp() -> None:
    ramp = torch.arange(65.0).expand(1, 1, 65, 65)
    third = gaussian_pyramid(ramp, 4)[3]
    assert (third[0, 0, 4, 2:7] - torch.arange(2, 7) * 8.0).abs().max() < 0.01


def test_expanding_to_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expand"):
        expand(picture((8, 8)), (17, 16))


def test_views_reduce_like_copies() -> None:
    image = picture((24, 30)).transpose(2, 3)[..., 3:, 5:]
    assert torch.equal(reduce(image), reduce(image.contiguous()))
