import pytest
import torch

from vfxswap.geometry import LANDMARK_COUNT
from vfxswap.nets import NETS
from vfxswap.nets.landmark import LandmarkNet, LandmarkSettings, Scanner


@pytest.fixture(scope="module")
def net() -> LandmarkNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LandmarkNet(LandmarkSettings(width=8)).eval().requires_grad_(False)


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def test_net_is_in_the_table_with_its_settings() -> None:
    assert NETS["landmark"] is LandmarkNet
    assert LandmarkNet.settings_type is LandmarkSettings


def test_default_net_has_about_a_million_parameters() -> None:
    assert 1.0e6 < sum(p.numel() for p in LandmarkNet().parameters()) < 1.5e6


def test_when_a_heatmap_is_one_cell_then_the_point_is_its_centre(net: LandmarkNet) -> None:
    heat = torch.zeros(1, LANDMARK_COUNT, 28, 28)
    heat[:, :, 5, 20] = 1.0
    points, spread = net.moments(heat)
    # Cells are 4 px wide and two of them lie before the crop's edge.
    torch.testing.assert_close(
        points[0, 0] * 96, torch.tensor([(20 - 2 + 0.5) * 4, (5 - 2 + 0.5) * 4])
    )
    assert float(spread.max()) < 1e-3


def test_spread_of_a_flat_heatmap_is_that_of_a_uniform_square(net: LandmarkNet) -> None:
    _, spread = net.moments(torch.full((1, LANDMARK_COUNT, 28, 28), 1 / 28**2))
    width = 28 * 4 / 96
    torch.testing.assert_close(spread, torch.full_like(spread, width / 12**0.5), rtol=1e-2, atol=0)


def test_heatmaps_sum_to_one(net: LandmarkNet, crops: torch.Tensor) -> None:
    log_heat, logit = net.heatmaps(crops)
    torch.testing.assert_close(log_heat.exp().sum((2, 3)), torch.ones(3, LANDMARK_COUNT))
    assert logit.shape == (3,)


def test_exposure_and_contrast_do_not_move_points(net: LandmarkNet, crops: torch.Tensor) -> None:
    found, dimmed = net(crops), net(crops * 0.6 - 0.2)
    torch.testing.assert_close(found.points, dimmed.points, atol=0.2, rtol=0)


def test_result_does_not_depend_on_the_batch_neighbours(
    net: LandmarkNet, crops: torch.Tensor
) -> None:
    others = torch.stack([crops[0], crops[2] * 3, crops[1] + 1])
    assert torch.equal(net(crops).points[0], net(others).points[0])


def test_confidence_falls_with_the_spread(crops: torch.Tensor) -> None:
    net = LandmarkNet(LandmarkSettings(width=8)).eval().requires_grad_(False)
    spread = net(crops).spread[0]
    for ratio, confidence in ((1.0, 0.953), (2.0, 0.5), (3.0, 0.047)):
        net.calibrate(spread / ratio)
        found = net(crops).confidence[0]
        torch.testing.assert_close(found, torch.full_like(found, confidence), atol=2e-3, rtol=0)


def test_scanner_map_has_its_stride(net: LandmarkNet) -> None:
    scanned = net.scan(torch.rand(1, 3, 40, 64))
    assert scanned.logit.shape == (1, 10, 16)
    assert scanned.box.shape == (1, 3, 10, 16)
    assert Scanner.STRIDE == 4


def test_scanner_does_not_care_for_exposure(net: LandmarkNet) -> None:
    picture = torch.rand(1, 3, 40, 64, generator=torch.Generator().manual_seed(2))
    bright = net.scan(picture + 0.7)
    torch.testing.assert_close(net.scan(picture).logit, bright.logit, atol=1e-3, rtol=0)


def test_crops_of_another_size_are_refused(net: LandmarkNet) -> None:
    with pytest.raises(ValueError, match="wanted"):
        net(torch.zeros(1, 3, 64, 64))
