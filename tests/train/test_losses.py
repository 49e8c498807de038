"""Losses against plain references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from vfxswap.train import losses
from vfxswap.train.losses import (
    SCALE_WEIGHTS,
    level_loss,
    ms_ssim,
    scale_count,
    ssim,
    ssim_maps,
)


def _pair(size: int, *, seed: int = 0, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, 3, size, size, generator=generator, dtype=torch.float64)
    noise = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    return x, 0.7 * x + 0.3 * noise


def _reference_map(x: Tensor, y: Tensor) -> np.ndarray:
    """skimage's SSIM map [H, W, C]; its window is Wang's 11x11."""
    _, full = structural_similarity(
        x.permute(1, 2, 0).numpy(),
        y.permute(1, 2, 0).numpy(),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(full)


@pytest.mark.parametrize("size", [16, 33])
def test_ssim_map_equals_skimage(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "WINDOW_PX", 11)
    x, y = _pair(size)
    luminance, contrast = ssim_maps(x, y)
    for i in range(len(x)):
        got = (luminance * contrast)[i].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(got, _reference_map(x[i], y[i]), atol=1e-10)


def test_ssim_is_the_maps_weighted_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "WINDOW_PX", 11)
    x, y = _pair(16)
    weight = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    weight[..., 4:9, 5:7] = 3.0
    want = _reference_map(x[0], y[0])[4:9, 5:7].mean()
    assert ssim(x, y, weight=weight)[0].item() == pytest.approx(want, abs=1e-9)
    assert ssim(x, y)[1].item() == pytest.approx(_reference_map(x[1], y[1]).mean(), abs=1e-9)


@pytest.mark.parametrize(("size", "scales"), [(4, 1), (16, 2), (32, 3), (64, 4), (512, 5)])
def test_ms_ssim_uses_as_many_scales_as_fit(size: int, scales: int) -> None:
    assert scale_count(size) == scales


def test_ms_ssim_is_the_product_of_wangs_terms() -> None:
    x, y = _pair(32, seed=3)
    weights = np.array(SCALE_WEIGHTS[:3]) / sum(SCALE_WEIGHTS[:3])
    want, a, b = torch.ones(2, dtype=torch.float64), x, y
    for scale in range(3):
        luminance, contrast = ssim_maps(a, b)
        terms = luminance * contrast if scale == 2 else contrast
        want = want * terms.mean(dim=(1, 2, 3)) ** weights[scale]
        a, b = (t.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-1, -2)) for t in (a, b))
    torch.testing.assert_close(ms_ssim(x, y), want)


@pytest.mark.parametrize("level", range(6))
def test_loss_is_zero_on_equal_images_and_grows_with_error(level: int) -> None:
    x, y = _pair(4 * 2**level)
    matte = torch.ones_like(x[:, :1])
    zero = level_loss(x, x, matte, level=level)
    torch.testing.assert_close(zero, torch.zeros_like(zero), atol=1e-9, rtol=0)
    small = level_loss(x, 0.9 * x + 0.1 * y, matte, level=level)
    assert bool((small < level_loss(x, y, matte, level=level)).all())


@pytest.mark.parametrize("level", [1, 2, 3])
def test_equation_2_ignores_the_background_and_equation_1_does_not(level: int) -> None:
    x, y = _pair(4 * 2**level)
    matte = torch.zeros_like(x[:, :1])
    matte[..., : matte.shape[-1] // 2] = 1
    other = torch.where(matte > 0, y, 1 - y)
    eq2 = [level_loss(x, t, matte, level=level) for t in (y, other)]
    eq1 = [level_loss(x, t, matte, level=level, background_invariant=False) for t in (y, other)]
    torch.testing.assert_close(eq2[0], eq2[1])
    assert bool((eq1[0] - eq1[1]).abs().min() > 1e-3)


def test_levels_below_three_are_plain_ssim_at_16_px_or_more() -> None:
    x, y = _pair(8)
    matte = torch.ones_like(x[:, :1])
    big = [
        torch.nn.functional.interpolate(t, size=(16, 16), mode="bilinear", align_corners=False)
        for t in (x, y)
    ]
    torch.testing.assert_close(level_loss(x, y, matte, level=1), 1 - ssim(*big))
    x, y = _pair(16)
    torch.testing.assert_close(level_loss(x, y, torch.ones_like(x[:, :1]), level=2), 1 - ssim(x, y))


def test_gradient_is_finite_on_flat_and_on_opposite_images() -> None:
    x, _ = _pair(32)
    for y in (torch.full_like(x, 0.5), 1 - x):
        y.requires_grad_()
        torch.autograd.backward(level_loss(x, y, torch.ones_like(x[:, :1]), level=3).sum())
        assert y.grad is not None
        assert bool(torch.isfinite(y.grad).all())
