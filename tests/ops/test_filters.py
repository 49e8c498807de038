from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vfxswap.ops.filters import convolved, convolved_plain


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_the_fast_path_equals_the_plain_one(height: int, width: int, reach: int) -> None:
    generator = torch.Generator().manual_seed(height)
    image = torch.rand(2, 3, height, width, generator=generator)
    half = torch.rand(reach + 1, generator=generator)
    kernel = torch.cat([half, half[:-1].flip(0)])
    plain = convolved_plain(image, kernel / kernel.sum())
    assert (convolved(image, kernel / kernel.sum()) - plain).abs().max() < 1e-5


def test_strided_pictures_convolve_like_copies() -> None:
    image = torch.rand(1, 2, 9, 12).transpose(2, 3)[..., 1:]
    kernel = torch.tensor([0.25, 0.5, 0.25])
    assert torch.equal(convolved(image, kernel), convolved(image.contiguous(), kernel))
