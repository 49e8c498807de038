from __future__ import annotations

import torch

from vfxswap.nets import NETS
from vfxswap.nets.layers import parameter_count
from vfxswap.nets.mosaic import (
    GrowingCritic,
    GrowingGenerator,
    MosaicCritic,
    MosaicEncoder,
    MosaicEncoderSettings,
    MosaicGenerator,
    MosaicGeneratorSettings,
    as_input,
    as_net,
)


def test_codes_have_the_elements_asked_for() -> None:
    for code in (16, 2048):
        encoder = MosaicEncoder(MosaicEncoderSettings(code=code, channels=(8, 8, 8)))
        assert encoder(torch.randn(3, 3, 32, 32)).shape == (3, code)


def test_generators_write_patches_of_their_size() -> None:
    for size in (32, 64):
        settings = MosaicGeneratorSettings(code=16, size=size)
        assert MosaicGenerator(settings)(torch.randn(2, 16)).shape == (2, 3, size, size)


def test_input_and_net_space_are_inverse() -> None:
    net = torch.linspace(-1, 2, 64)
    assert torch.allclose(as_net(as_input(net)), net, atol=1e-6)


def test_a_grown_generator_begins_as_the_small_one_enlarged() -> None:
    torch.manual_seed(0)
    small = MosaicGenerator(MosaicGeneratorSettings(code=16))
    large = GrowingGenerator(small.settings)
    large.begin(small)
    z = torch.randn(2, 16)
    before = torch.nn.functional.interpolate(
        small(z), scale_factor=2, mode="bilinear", align_corners=False
    )
    assert torch.allclose(large.faded(z, 0.0), before, atol=1e-5)
    assert torch.equal(large.faded(z, 1.0), large.grown()(z))
    assert large.grown().size == 64


def test_a_grown_critic_begins_as_the_small_one_on_halves() -> None:
    torch.manual_seed(0)
    small, large = MosaicCritic(), GrowingCritic()
    large.begin(small)
    x = torch.randn(4, 3, 64, 64)
    halves = torch.nn.functional.avg_pool2d(x, 2)
    assert torch.allclose(large.faded(x, 0.0), small(halves), atol=1e-5)


def test_a_theme_is_a_small_file() -> None:
    theme = MosaicGenerator(MosaicGeneratorSettings(size=64))
    assert 2 * parameter_count(theme) < 1_000_000


def test_networks_are_known_by_name() -> None:
    assert NETS["mosaic_encoder"] is MosaicEncoder
    assert NETS["mosaic_generator"] is MosaicGenerator
