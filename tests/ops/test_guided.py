import torch

from vfxswap.ops.guided import guided_matte


def disc(size: int, radius: float) -> torch.Tensor:
    at = torch.arange(size) + 0.5 - size / 2
    away = (at[:, None] ** 2 + at[None] ** 2).sqrt()
    return (radius - away + 0.5).clamp(0, 1)[None, None]


def blurred(matte: torch.Tensor, factor: int) -> torch.Tensor:
    small = torch.nn.functional.avg_pool2d(matte, factor)
    return torch.nn.functional.interpolate(small, scale_factor=factor, mode="bilinear")


def test_a_coarse_edge_becomes_that_of_the_guide() -> None:
    truth = disc(256, 70)
    coarse = blurred(truth, 8)
    guide = 0.3 + 0.2 * truth + 0.005 * torch.randn(truth.shape, generator=torch.manual_seed(1))
    refined = guided_matte(coarse, guide, radius_px=8, noise=0.02)
    assert (refined - truth).abs().mean() < 0.05 * (coarse - truth).abs().mean()


def test_without_an_edge_in_the_guide_the_outline_stays_where_it_was() -> None:
    coarse = blurred(disc(128, 40), 8)
    refined = guided_matte(coarse, torch.full_like(coarse, 0.4), radius_px=4, noise=0.02)
    assert ((refined > 0.5) == (coarse > 0.5)).float().mean() > 0.97


def test_nothing_and_everything_stay() -> None:
    guide = torch.rand(1, 1, 64, 64)
    for level in (0.0, 1.0):
        matte = torch.full((1, 1, 64, 64), level)
        torch.testing.assert_close(
            guided_matte(matte, guide, radius_px=5, noise=0.02), matte, atol=1e-4, rtol=0
        )


def test_the_guides_level_does_not_matter() -> None:
    coarse, guide = blurred(disc(128, 40), 8), torch.rand(1, 1, 128, 128)
    one = guided_matte(coarse, guide, radius_px=6, noise=0.05)
    torch.testing.assert_close(
        guided_matte(coarse, guide + 0.5, radius_px=6, noise=0.05), one, atol=1e-4, rtol=0
    )
