"""Screens: functions of the pixel's place alone, in every part of a picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vfxswap.nets.screens import SCREENS, named, packed, screens, unpacked
from vfxswap.nets.style import StyleNet, StyleSettings, screens_of
from vfxswap.nets.style_strips import styled

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole() -> Tensor:
    return screens(torch.arange(160), torch.arange(120), CPU)


def test_a_part_is_cut_out_of_the_whole(whole: Tensor) -> None:
    part = screens(torch.arange(37, 90), torch.arange(61, 80), CPU)
    assert torch.equal(part, whole[..., 61:80, 37:90])


def test_rows_may_come_in_any_order(whole: Tensor) -> None:
    rows = torch.tensor([3, 2, 1, 0, 1, 2, 119, 118])
    assert torch.equal(screens(torch.arange(160), rows, CPU), whole[..., rows, :])


def test_the_scripted_form_gives_the_same(whole: Tensor) -> None:
    scripted = torch.jit.script(screens)
    assert torch.equal(scripted(torch.arange(160), torch.arange(120), CPU), whole)


def test_bytes_hold_them_exactly(whole: Tensor) -> None:
    assert packed(whole).dtype == torch.int8
    assert torch.equal(unpacked(packed(whole)), whole)


def test_every_screen_fills_its_range_and_no_two_are_alike(whole: Tensor) -> None:
    planes = whole[0].flatten(1)
    assert len(planes) == len(SCREENS) and float(planes.abs().max()) <= 1
    assert float((planes.amax(1) - planes.amin(1)).min()) > 1.2
    apart = torch.corrcoef(planes) - torch.eye(len(planes))
    assert float(apart.abs().max()) < 0.8


def test_a_plate_far_from_the_corner_has_screens_as_sharp() -> None:
    """8K away a line must still be a line: places are not lost to rounding."""
    near, far = (named(64, 64, (x, x)) for x in (0, 8000))
    for name in SCREENS:
        steps = [float((f[name][:, 1:] - f[name][:, :-1]).abs().mean()) for f in (near, far)]
        assert steps[1] == pytest.approx(steps[0], rel=0.45, abs=0.01), name


@pytest.mark.parametrize("name", ["spot_value", "pane_value", "tile_value", "stitch_value"])
def test_random_values_are_one_for_a_cell_and_many_over_the_picture(name: str) -> None:
    value = named(160, 160)[name]
    same = float((value[:, 1:] == value[:, :-1]).float().mean())
    assert same > 0.6 and len(set(value.flatten().tolist())) > 30


def test_halftone_dots_have_one_period_along_their_own_angle() -> None:
    """At 45° and 11 px a dot's neighbours lie 11/√2 px away along both axes."""
    dots = named(220, 220)["dots_c"]
    step = round(11 * 2**0.5 * 5)  # five diagonals of the screen: 77.8 px
    assert float((dots[:, step:] - dots[:, :-step]).abs().mean()) < 0.12


def _net(**changes: object) -> StyleNet:
    torch.manual_seed(3)
    made = StyleNet(
        StyleSettings.model_validate(
            {"styles": ("ink", "oil"), "widths": (8, 12, 16), "blocks": 1, "trunk": 2, **changes}
        )
    )
    made.gamma.data.normal_(1, 0.3)
    made.beta.data.normal_(0, 0.3)
    return made.eval().requires_grad_(False)


def test_a_model_of_before_loads_and_gives_its_pixels() -> None:
    """Settings that know of no screens make the layout that they made, and a network whose styles
    take no screen is that network."""
    old, new = _net(), _net(screens=True)
    assert "screens" not in StyleSettings(styles=("ink",)).model_dump(exclude_defaults=True)
    columns = old.gamma.shape[1]
    for mine, table in ((new.gamma, old.gamma), (new.beta, old.beta)):
        mine[:, :columns], mine[:, columns:] = table, 0
    for name, layer in new.layers.items():
        kernel = old.kernel(old.layers[name])
        new.kernel(layer)[:, : kernel.shape[1]] = kernel
    picture = torch.rand(1, 3, 40, 52) * 0.5
    for row in (old.row({"ink": 1}), old.row({"ink": 1, "oil": 2})):
        assert torch.allclose(new(picture, row), old(picture, row), atol=1e-6)
        assert torch.allclose(styled(new, picture, row), old(picture, row), atol=1e-5)


def test_each_picture_of_a_batch_has_its_own_place() -> None:
    net = _net(screens=True)
    pictures, rows = torch.rand(2, 3, 32, 36) * 0.5, torch.eye(2)
    together = net(pictures, rows, origins=[(5, 7), (900, 40)])
    for k, origin in enumerate([(5, 7), (900, 40)]):
        alone = net(pictures[k : k + 1], rows[k : k + 1], origins=[origin])
        assert torch.allclose(together[k], alone[0], atol=1e-6)
    assert not torch.allclose(together[1:], net(pictures[1:], rows[1:]), atol=1e-2)


def test_the_origin_moves_screens_as_one_moves_a_window(whole: Tensor) -> None:
    moved = screens_of(torch.zeros(1, 3, 20, 30), origins=[(11, 50)])
    assert torch.equal(moved, whole[..., 50:70, 11:41])
