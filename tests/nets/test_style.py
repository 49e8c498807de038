"""The style network: published sizes, blends, and strips that equal the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vfxswap.nets.layers import parameter_count
from vfxswap.nets.screens import SCREENS
from vfxswap.nets.style import StyleNet, StyleSettings
from vfxswap.nets.style_strips import bytes_per_pixel, styled

STYLES = ("chalk", "ink", "neon")


SHAPES: dict[str, dict[str, Any]] = {
    "quarter": {"trunk": 4},
    "half": {"trunk": 2},
    "screens": {"trunk": 2, "screens": True},
}


@pytest.fixture(scope="module", params=list(SHAPES))
def net(request: pytest.FixtureRequest) -> StyleNet:
    """Small networks whose blocks run at a quarter and at half of the picture's size."""
    torch.manual_seed(3)
    shape = StyleSettings(styles=STYLES, widths=(8, 12, 16), blocks=2, **SHAPES[request.param])
    small = StyleNet(shape)
    small.gamma.data.normal_(1, 0.4)
    small.beta.data.normal_(0, 0.4)
    return small.eval().requires_grad_(False)


def _picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.rand(1, 3, height, width, generator=generator) * 0.9 - 0.1


def test_at_full_width_the_numbers_are_the_published_ones() -> None:
    full = StyleNet(StyleSettings(styles=tuple(f"s{k}" for k in range(32))))
    assert full.numbers_per_style == 3206  # "around 3.2K"
    shared = sum(p.numel() for p in full.shared())
    assert shared == 1_674_432  # "1.6 million"
    assert parameter_count(full) == shared + 32 * 3206


def test_many_styles_of_one_picture_in_one_pass_equal_one_after_the_other(net: StyleNet) -> None:
    picture = _picture(40, 52)
    together = net(picture, torch.eye(3))
    for k, row in enumerate(torch.eye(3)):
        assert torch.allclose(together[k], net(picture, row[None])[0], atol=1e-6)


def test_a_blend_is_the_network_of_blended_rows(net: StyleNet) -> None:
    blended = net.only(("ink",))
    blended.gamma.data = 0.25 * net.gamma[:1] + 0.75 * net.gamma[2:]
    blended.beta.data = 0.25 * net.beta[:1] + 0.75 * net.beta[2:]
    picture = _picture(32, 32)
    wanted = blended(picture, torch.ones(1, 1))
    row = net.row({"chalk": 1, "neon": 3})
    assert torch.allclose(net(picture, row), wanted, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 80), (61, 83), (130, 18), (17, 16)])
@pytest.mark.parametrize("rows", [4, 12, 40])
def test_strips_equal_the_whole(net: StyleNet, height: int, width: int, rows: int) -> None:
    picture = _picture(height, width)
    shares = torch.rand(1, 3, height, width).softmax(1)
    for weights in (net.row({"ink": 0.3, "neon": 0.7}), torch.eye(3), shares):
        off = styled(net, picture, weights, rows=rows) - net(picture, weights)
        assert float(off.abs().max()) < 1e-5


def test_statistics_are_of_the_whole_picture_not_of_strips(net: StyleNet) -> None:
    picture = torch.cat([_picture(40, 40), _picture(40, 40) + 0.4], 2)
    row = net.row({"ink": 1})
    whole = styled(net, picture, row, rows=8)
    alone = styled(net, picture[..., :40, :], row, rows=8)
    assert float((whole[..., :36, :] - alone[..., :36, :]).abs().max()) > 0.01


def test_weights_that_vary_over_the_picture_mix_styles_by_place(net: StyleNet) -> None:
    picture = _picture(48, 48)
    constant = torch.zeros(1, 3, 48, 48)
    constant[:, 1] = 1
    assert torch.allclose(net(picture, constant), net(picture, net.row({"ink": 1})), atol=1e-6)


def test_unknown_and_weightless_styles_are_refused(net: StyleNet) -> None:
    with pytest.raises(KeyError):
        net.row({"oil": 1})
    with pytest.raises(ValueError, match="zero"):
        net.row({"ink": 0})
    with pytest.raises(ValueError, match="not unique"):
        StyleNet(StyleSettings(styles=("ink", "ink")))


def test_a_lamp_in_the_picture_does_not_rule_the_statistics(net: StyleNet) -> None:
    picture = _picture(48, 48).clamp(0.1, 0.5)
    lit = picture.clone()
    lit[..., :3, :3] = 0.7
    lit[..., 0, 0] = 1.4
    lamp = net(lit, net.row({"ink": 1}))
    lit[..., :3, :3] = 1.4
    brighter = net(lit, net.row({"ink": 1}))
    assert float((lamp - brighter)[..., 24:, 24:].abs().max()) < 2e-3


def test_a_style_more_leaves_the_others_bit_for_bit(net: StyleNet) -> None:
    grown = net.with_style("oil", like={"ink": 1}).eval()
    assert grown.styles == (*STYLES, "oil")
    assert torch.equal(grown.gamma[:3], net.gamma) and torch.equal(grown.beta[:3], net.beta)
    picture = _picture(32, 36)
    for name in STYLES:
        assert torch.equal(grown(picture, grown.row({name: 1})), net(picture, net.row({name: 1})))
    assert torch.equal(grown.gamma[3], net.gamma[1])


def test_memory_between_layers_is_stated(net: StyleNet) -> None:
    full = StyleNet(StyleSettings(styles=("ink",)))
    # The widest moment: half-size 64 channels feed 32 full-size ones (and those the output).
    assert bytes_per_pixel(full) == pytest.approx(4 * (32 + 64 / 4))
    # Blocks at half size: what goes in, what comes out, and what is added at the end.
    half = StyleNet(StyleSettings(styles=("ink",), widths=(16, 48, 64), trunk=2))
    assert bytes_per_pixel(half) == pytest.approx(4 * 3 * 64 / 4)
    # Screens are kept as bytes, once for all styles.
    seen = StyleNet(half.settings.model_copy(update={"screens": True}))
    assert bytes_per_pixel(seen) == bytes_per_pixel(half) + len(SCREENS)
