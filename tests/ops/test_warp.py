"""Warps against a plain, slow evaluation of the same filter, and against exact cases."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vfxswap.geometry import Array, Similarity
from vfxswap.ops.warp import (
    between_windows,
    covered_window,
    filled,
    inverted,
    warp_affine,
    warp_field,
)

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def picture(height: int = 40, width: int = 50, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.rand(1, channels, height, width, generator=generator)


def plainly_warped(image: Tensor, matrix: Array, size: tuple[int, int], lobes: int) -> Array:
    """Every pixel by itself in float64: the definition of the filter, zeros outside."""
    pixels = image[0].double().numpy()
    steps = np.maximum(1.0, np.hypot(matrix[:, 0], matrix[:, 1]))
    out = np.zeros((pixels.shape[0], *size))
    for v in range(size[0]):
        for u in range(size[1]):
            at = matrix @ np.array([u + 0.5, v + 0.5, 1.0]) - 0.5
            weights = []
            for axis, count in ((0, pixels.shape[2]), (1, pixels.shape[1])):
                d = (np.arange(-100, count + 100) - at[axis]) / steps[axis]
                w = np.clip(1 - abs(d), 0, 1) if lobes == 1 else np.sinc(d) * np.sinc(d / 3)
                w = w * (abs(d) < lobes)
                weights.append((w / w.sum())[100:-100])
            out[:, v, u] = np.einsum("cyx,y,x->c", pixels, weights[1], weights[0])
    return out


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
@pytest.mark.parametrize(("name", "lobes"), [("lanczos3", 3), ("bilinear", 1)])
def test_warp_is_the_filter_at_exact_positions(
    scale: float, name: Literal["lanczos3", "bilinear"], lobes: int
) -> None:
    image, matrix = picture(), Similarity(scale, 0.4, 9.3, -2.7).matrix
    warped = warp_affine(image, matrix, (21, 17), filter=name)
    expected = plainly_warped(image, matrix, (21, 17), lobes)
    assert np.abs(warped[0].numpy() - expected).max() < 1e-6


def test_an_anamorphic_squeeze_filters_each_axis_by_its_own_step() -> None:
    image, matrix = picture(), np.array([[1.9, 0.0, 0.3], [0.0, 0.95, 0.6]])
    expected = plainly_warped(image, matrix, (30, 20), 3)
    assert np.abs(warp_affine(image, matrix, (30, 20))[0].numpy() - expected).max() < 1e-6


def test_identity_keeps_every_bit() -> None:
    image = picture()
    image[0, 0, 0, :4] = torch.tensor([math.inf, math.nan, -0.0, -math.inf])
    warped = warp_affine(image, IDENTITY, (40, 50))
    assert warped.numpy().tobytes() == image.numpy().tobytes()
    assert warped.data_ptr() != image.data_ptr()


@given(st.integers(-60, 60), st.integers(-60, 60), st.sampled_from(["zeros", "clamp"]))
@settings(max_examples=30, deadline=None)
def test_whole_pixel_shifts_are_exact(x: int, y: int, border: Literal["zeros", "clamp"]) -> None:
    image = picture(13, 17, 1)
    shift = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    warped = warp_affine(image, shift, (20, 20), border=border)[0, 0].numpy()
    rows, columns = np.arange(20) + y, np.arange(20) + x
    pixels = image[0, 0].numpy()
    expected = pixels[np.clip(rows, 0, 12)][:, np.clip(columns, 0, 16)]
    if border == "zeros":
        inside = ((rows >= 0) & (rows < 13))[:, None] & (columns >= 0) & (columns < 17)
        expected = expected * inside
    assert np.array_equal(warped, expected)


@given(st.floats(0.3, 9.0), st.floats(-3.2, 3.2), st.floats(-40, 40), st.floats(-40, 40))
@settings(max_examples=40, deadline=None)
def test_a_constant_picture_stays_constant(s: float, angle: float, x: float, y: float) -> None:
    matrix = Similarity(s, angle, x, y).matrix
    warped = warp_affine(torch.full((1, 1, 31, 23), 0.7), matrix, (9, 9), border="clamp")
    assert (warped - 0.7).abs().max() < 1e-5


@pytest.mark.parametrize("scale", [1.5, 2.0, 3.3, 7.0])
def test_shrinking_does_not_alias_and_keeps_pixel_centres(scale: float) -> None:
    ramp = (torch.arange(256.0) + 0.5).expand(1, 1, 256, 256)
    finest = (torch.arange(256) % 2 * 2.0 - 1.0).expand(1, 1, 256, 256)
    size = (8, 8)
    matrix = np.array([[scale, 0.0, 60.0], [0.0, scale, 60.0]])
    warped = warp_affine(ramp, matrix, size)[0, 0]
    centres = (torch.arange(8) + 0.5) * scale + 60.0
    assert (warped - centres).abs().max() < 0.02
    assert warp_affine(finest, matrix, size).abs().max() < 0.06


def test_there_and_back_loses_little_of_a_smooth_picture() -> None:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    image = (torch.sin(x / 5) + torch.cos(y / 4 + x / 9))[None, None]
    forth = Similarity(0.8, 0.3, 10.2, -7.7).matrix
    there = warp_affine(image, forth, (120, 120), border="clamp")
    back = warp_affine(there, inverted(forth), (96, 96), border="clamp")
    assert (back - image)[..., 40:56, 40:56].abs().max() < 1e-2


def test_windows_of_a_warp_are_cut_from_the_whole() -> None:
    image, matrix = picture(90, 80), Similarity(0.9, 0.2, 3.1, 4.7).matrix
    whole = warp_affine(image, matrix, (60, 64))
    part = warp_affine(image, between_windows(matrix, output=(11, 7)), (30, 20))
    assert (part - whole[:, :, 7:37, 11:31]).abs().max() < 1e-5


def test_data_windows_shift_the_input() -> None:
    image, matrix = picture(90, 80), Similarity(0.9, 0.2, 13.1, 14.7).matrix
    whole = warp_affine(image, matrix, (30, 30))
    cut = warp_affine(image[..., 4:, 6:], between_windows(matrix, input=(6, 4)), (30, 30))
    assert (whole - cut)[..., 8:, 8:].abs().max() < 1e-5


def test_inverted_matrices_undo_each_other() -> None:
    matrix = np.array([[1.3, 0.2, 5.0], [-0.4, 0.8, -3.0]])
    both = (
        inverted(matrix)[:, :2] @ matrix
        + np.array([[0, 0, 1], [0, 0, 1]]) * inverted(matrix)[:, 2:]
    )
    assert np.allclose(both, IDENTITY)


def test_covered_window_holds_all_corners() -> None:
    box = covered_window(Similarity(2.0, math.pi / 4, 10.0, 0.0).matrix, (10, 10), margin_px=1)
    reach = 20 * math.sqrt(0.5)
    assert (box.x, box.right) == (math.floor(10 - reach) - 1, math.ceil(10 + reach) + 1)
    assert (box.y, box.bottom) == (-1, math.ceil(2 * reach) + 1)


def test_a_burnt_pixel_does_not_spread() -> None:
    image = torch.full((1, 3, 40, 40), 0.25)
    image[0, :, 20, 20] = math.inf
    image[0, 1, 10:14, 10:14] = math.nan
    warped = warp_affine(image, Similarity(1.1, 0.1, 0.0, 0.0).matrix, (30, 30))
    assert bool(torch.isfinite(warped).all())
    assert (warped[..., 8:25, 8:25] - 0.25).abs().max() < 1e-5


def test_filled_keeps_finite_pixels_and_closes_holes() -> None:
    image = picture()
    assert filled(image) is image
    holed = image.clone()
    holed[0, 0, 3, 3] = math.nan
    repaired = filled(holed)
    neighbours = torch.cat(
        [image[0, 0, 2:5, 2:5].flatten()[:4], image[0, 0, 2:5, 2:5].flatten()[5:]]
    )
    assert torch.isclose(repaired[0, 0, 3, 3], neighbours.mean())
    repaired[0, 0, 3, 3] = image[0, 0, 3, 3]
    assert torch.equal(repaired, image)
    huge = torch.full((1, 1, 4, 4), 3e38)
    assert filled(huge) is huge
    assert not filled(torch.full((1, 1, 4, 4), math.nan)).any()


def test_warps_beside_the_picture_are_black_or_its_edge() -> None:
    image, far = picture(), Similarity(1.5, 0.3, 1000.0, 0.0).matrix
    assert not warp_affine(image, far, (8, 8)).any()
    right = warp_affine(image, far, (8, 8), border="clamp")
    assert right.min() >= image[..., -1].min() - 0.2
    assert right.std() > 0


def test_batches_warp_each_picture_by_its_own_matrix() -> None:
    image = torch.cat([picture(), picture().flip(-1)])
    maps = np.stack([Similarity(1.2, 0.2, 3.0, 1.0).matrix, IDENTITY])
    warped = warp_affine(image, torch.from_numpy(maps), (12, 12))
    assert torch.equal(warped[:1], warp_affine(image[:1], maps[0], (12, 12)))
    assert torch.equal(warped[1], image[1, :, :12, :12])


def test_wrong_shapes_and_broken_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="matrix"):
        warp_affine(picture(), np.full((2, 3), np.nan), (4, 4))
    with pytest.raises(ValueError, match="matrix"):
        warp_affine(picture(), np.zeros((3, 2, 3)), (4, 4))
    with pytest.raises(ValueError, match="shape"):
        warp_affine(picture()[0], IDENTITY, (4, 4))


@pytest.mark.gpu
def test_gpu_and_cpu_warps_agree() -> None:
    matrix = Similarity(1.4, 0.4, 3.0, -2.0).matrix
    cpu = warp_affine(picture(), matrix, (40, 40))
    gpu = warp_affine(picture().cuda(), matrix, (40, 40)).cpu()
    assert (cpu - gpu).abs().max() < 1e-5


@settings(max_examples=20)
@given(fraction=st.floats(0.001, 0.5), whole=st.integers(-9, 9))
def test_a_field_that_is_the_same_everywhere_is_a_shift(fraction: float, whole: int) -> None:
    picture = torch.rand(1, 3, 40, 300, generator=torch.Generator().manual_seed(3))
    field = torch.tensor([whole + fraction, -fraction]).view(1, 2, 1, 1).expand(1, 2, 40, 300)
    moved = warp_field(picture, field)
    shift = np.array([[1, 0, float(field[0, 0, 0, 0])], [0, 1, float(field[0, 1, 0, 0])]])
    expected = warp_affine(picture, shift, (40, 300), border="clamp")
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)


def test_where_a_field_is_zero_bits_are_copied() -> None:
    picture = torch.randn(1, 2, 60, 50, generator=torch.Generator().manual_seed(4)) * 1000
    field = torch.zeros(1, 2, 60, 50)
    field[..., 30:] = 1.7
    moved = warp_field(picture, field)
    assert torch.equal(moved[..., :30], picture[..., :30])
    assert not torch.equal(moved[..., 30:], picture[..., 30:])


def test_a_field_that_is_not_finite_or_of_another_size_is_refused() -> None:
    picture = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="not finite"):
        warp_field(picture, torch.full((1, 2, 8, 8), float("nan")))
    with pytest.raises(ValueError, match="by field"):
        warp_field(picture, torch.zeros(1, 2, 8, 9))
