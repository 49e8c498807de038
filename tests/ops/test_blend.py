from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vfxswap.ops import blend, pyramid
from vfxswap.ops.blend import level_count, multiband_blend
from vfxswap.ops.matte import polygon_matte, smoothed
from vfxswap.ops.pyramid import laplacian_pyramid, reconstruct


def texture(seed: int, size: int = 128, grain: int = 40) -> Tensor:
    noise = torch.rand(1, 3, grain, grain, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=size, mode="bicubic")


def face_matte(size: int = 128) -> Tensor:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = 0.5 + 0.27 * np.cos(angle), 0.55 + 0.36 * np.sin(angle)
    return polygon_matte(np.stack([x, y], 1) * size, (size, size))


def test_outside_the_outline_not_a_bit_changes() -> None:
    source, target, matte = texture(1), texture(2), face_matte()
    target[0, 0, 0, 0] = -0.0
    blended = multiband_blend(source, target, matte)
    outside = (matte == 0).expand_as(target)
    assert blended[outside].numpy().tobytes() == target[outside].numpy().tobytes()
    assert (blended - target)[~outside].abs().max() > 0.2


@given(st.floats(-0.5, 0.5), st.sampled_from([16, 64, 100, 128]))
@settings(max_examples=10, deadline=None)
def test_a_constant_cast_of_the_target_carries_over_to_the_face(cast: float, size: int) -> None:
    source, target, matte = texture(1, size), texture(2, size), face_matte(size)
    plain = multiband_blend(source, target, matte)
    with_cast = multiband_blend(source, target + cast, matte)
    assert (with_cast - plain - cast).abs().max() < 2e-6


def test_a_cast_of_the_source_does_not_reach_the_picture() -> None:
    source, target, matte = texture(1), texture(2), face_matte()
    plain = multiband_blend(source, target, matte)
    assert (multiband_blend(source + 0.4, target, matte) - plain).abs().max() < 2e-6


def test_without_target_levels_the_source_keeps_its_own_light() -> None:
    source, target, matte = texture(1), texture(2), face_matte()
    plain = multiband_blend(source, target, matte, target_levels=0)
    lit = multiband_blend(source + 0.4, target, matte, target_levels=0)
    assert (lit - plain)[0, 0, 70, 64] > 0.3


@pytest.mark.parametrize("cycles", [1, 2, 4, 8])
def test_there_is_no_step_at_the_outline(cycles: int) -> None:
    size = 256
    across = torch.cos((torch.arange(size) / size - 0.5) * (2 * np.pi * cycles))
    wave = across.expand(1, 1, size, size).contiguous()
    change = multiband_blend(wave, torch.zeros_like(wave), face_matte(size))
    # The fade itself goes from crest to plate over a tenth of the crop.
    steepest = max(float(wave.diff(dim=-1).abs().max()), 2 / (size / 10))
    assert float(change.diff(dim=-1).abs().max()) < 1.5 * steepest


def test_the_change_fades_out_towards_the_outline() -> None:
    matte = face_matte(256)
    change = multiband_blend(texture(1, 256), texture(2, 256), matte) - texture(2, 256)
    rim = ((matte > 0) & (smoothed(matte, 3.0) < 0.6)).expand_as(change)
    deep = (smoothed(matte, 24.0) == 1).expand_as(change)
    assert change[rim].abs().mean() < 0.1 * change[deep].abs().mean()


def test_equal_pictures_stay_as_they_are() -> None:
    assert torch.equal(multiband_blend(texture(1), texture(1), face_matte()), texture(1))


def test_well_inside_the_difference_pyramid_equals_the_figure_with_two_pyramids() -> None:
    source, target = texture(1), texture(2)
    count = level_count((128, 128))
    pairs = zip(laplacian_pyramid(source, count), laplacian_pyramid(target, count), strict=True)
    figure = reconstruct([t if level >= count - 2 else s for level, (s, t) in enumerate(pairs)])
    blended = multiband_blend(source, target, torch.ones(1, 1, 128, 128))
    assert (blended - figure).abs().max() < 1e-5


def test_levels_are_log2_of_the_side_and_clamped() -> None:
    assert level_count((1024, 1024)) == 10
    assert level_count((1024, 100)) == 6
    assert level_count((1024, 1024), 4) == 4
    assert level_count((4, 4), 9) == 2
    assert level_count((1, 1)) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_tiny_crops_blend(size: int) -> None:
    source, target = texture(1, size), texture(2, size)
    blended = multiband_blend(source, target, torch.ones(1, 1, size, size))
    assert bool(torch.isfinite(blended).all())


def test_an_empty_matte_leaves_the_target() -> None:
    empty = torch.zeros(1, 1, 128, 128)
    assert torch.equal(multiband_blend(texture(1), texture(2), empty), texture(2))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="blend"):
        multiband_blend(texture(1), texture(2, 64), face_matte())


@pytest.mark.gpu
def test_gpu_and_cpu_blends_agree() -> None:
    source, target, matte = texture(1), texture(2), face_matte()
    cpu = multiband_blend(source, target, matte)
    gpu = multiband_blend(source.cuda(), target.cuda(), matte.cuda()).cpu()
    assert (cpu - gpu).abs().max() < 1e-5


def test_cost_is_linear_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    touched = {128: 0, 512: 0}

    def counted(side: int, work: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any) -> Tensor:
            result = work(*args)
            touched[side] += result.numel()
            return result

        return call

    for side in touched:
        with monkeypatch.context() as patch:
            for module, name in (
                (blend, "expand"),
                (blend, "smoothed"),
                (blend, "feather_inwards"),
                (pyramid, "reduce"),
            ):
                patch.setattr(module, name, counted(side, getattr(module, name)))
            multiband_blend(texture(1, side), texture(2, side), face_matte(side))
    assert touched[128] > 3 * 128**2
    assert touched[512] < 17 * touched[128]


@pytest.mark.parametrize("target_levels", [0, 2])
def test_what_the_source_says_outside_the_matte_does_not_reach_the_face(target_levels: int) -> None:
    generator = torch.Generator().manual_seed(3)
    source, target = torch.rand(2, 1, 3, 96, 96, generator=generator)
    matte = torch.zeros(1, 1, 96, 96)
    matte[..., 30:70, 25:75] = 1
    wild = torch.where(matte > 0, source, source + 5)
    kept = multiband_blend(source, target, matte, target_levels=target_levels)
    assert torch.equal(multiband_blend(wild, target, matte, target_levels=target_levels), kept)


def test_the_plates_colour_carries_over_whatever_lies_behind_the_face() -> None:
    face, matte = torch.full((1, 3, 128, 128), 0.45), torch.zeros(1, 1, 128, 128)
    matte[..., 30:100, 35:95] = 1
    behind = torch.tensor([0.1, 0.3, 0.6]).view(1, 3, 1, 1).expand_as(face)
    target = torch.where(matte > 0, face, behind)
    blended = multiband_blend(face + 0.1, target, matte)
    assert float((blended - target).abs().max()) < 1e-5
