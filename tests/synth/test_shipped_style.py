"""The style model that ships: small, distinct, blendable, and what its card says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from vfxswap.effects.style import every_style
from vfxswap.image import Pixels
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.screens import named
from vfxswap.nets.style import StyleNet
from vfxswap.synth.style_drawings import DRAWN_PX, place
from vfxswap.synth.style_pictures import as_net, photograph
from vfxswap.synth.style_recipe import read_picture
from vfxswap.train.style_losses import StyleTarget, content_loss
from vfxswap.train.style_measure import blend_losses
from vfxswap.train.style_media import drawn
from vfxswap.train.style_preview import displayed

LAYERS = ("pixels", "relu1_2", "relu2_2", "relu3_2", "relu4_2")


@pytest.fixture(scope="module")
def net() -> StyleNet:
    stored = find_model("style-starter")
    found = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(found, StyleNet)
    return found


@pytest.fixture(scope="module")
def judge() -> Perceptual:
    stored = find_model("style-classifier")
    found = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(found, Perceptual)
    return found


@pytest.fixture(scope="module")
def cat() -> Tensor:
    picture = as_net(np.ascontiguousarray(photograph("chelsea.png", 160)[:160, 40:200]))
    return _planar(picture)[None].contiguous()


def test_style_models_take_no_more_than_4_mb() -> None:
    folders = [find_model(name).folder for name in ("style-starter", "style-classifier")]
    assert sum(f.stat().st_size for d in folders for f in d.rglob("*") if f.is_file()) < 4 << 20


def test_every_style_has_a_thumbnail(net: StyleNet) -> None:
    row = find_model("style-starter").row()
    assert row["styles"] == list(net.styles) and len(net.styles) >= 16
    assert set(row["thumbs"]) == set(net.styles)
    for style in net.styles:
        file = find_model("style-starter").folder / "thumbs" / f"{style}.jpg"
        assert file.stat().st_size <= 10 * 1024
        assert read_picture(file).shape[2] == 128


def test_styles_are_far_apart_on_a_photograph(net: StyleNet, cat: Tensor) -> None:
    with torch.inference_mode():
        made = net(cat, torch.eye(len(net.styles)))
    apart = [float((a - b).abs().mean()) for a, b in itertools.combinations(made, 2)]
    assert min(apart) > 0.01


def test_every_style_is_nearest_to_the_picture_drawn_in_it(
    net: StyleNet, judge: Perceptual, cat: Tensor
) -> None:
    """A photograph that was never trained on, drawn by each medium with the screens of its place:
    by the classifier's features, of all these drawings a style's own is the nearest."""
    display, layers = displayed(cat), ("relu1_2", "relu2_2", "relu3_2")
    with torch.inference_mode():
        wanted = {
            name: judge(_planar(as_net(drawn(name, display)))[None].contiguous(), layers)
            for name in net.styles
        }
        for name, picture in zip(net.styles, net(cat, torch.eye(len(net.styles)))):
            found = judge(picture[None], layers)
            off = {other: float(content_loss(found, drawing)) for other, drawing in wanted.items()}
            assert min(off, key=lambda other: off[other]) == name, off


@pytest.mark.parametrize(
    ("style", "screen"),
    [("hatching", "line_a"), ("engraving", "line_c"), ("stipple", "spot"), ("blueprint", "grid"),
     ("halftone", "dots_b"), ("pointillism", "spot"), ("stained_glass", "pane"),
     ("mosaic_tiles", "tile"), ("embroidery", "stitch")],
)  # fmt: skip
def test_a_style_has_its_own_marks_where_the_screens_say(
    net: StyleNet, cat: Tensor, style: str, screen: str
) -> None:
    with torch.inference_mode():
        made = net(cat, net.row({style: 1}))[0].mean(0)
    detail = made - torch.nn.functional.avg_pool2d(made[None], 15, 1, 7, count_include_pad=False)[0]
    fields = named(*made.shape)
    match = {name: abs(_together(detail.flatten(), f.flatten())) for name, f in fields.items()}
    assert max(match, key=lambda name: match[name]) == screen, match


def test_content_stays_readable(net: StyleNet, cat: Tensor) -> None:
    """A channel of the result follows the light of the photograph, or its reverse (neon), by cells
    of about a pane's size."""
    with torch.inference_mode():
        made = net(cat, torch.eye(len(net.styles)))
    for name, picture in zip(net.styles, made):
        follows = [abs(_together(_light(cat), _light(plane[None, None]))) for plane in picture]
        assert max(follows) > 0.5, name


def _planar(picture: Pixels) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)


def _light(picture: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(picture.mean(1, keepdim=True), 16).flatten()


def _together(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def test_style_loss_falls_in_eleven_blends_from_one_style_to_the_other(
    net: StyleNet, judge: Perceptual, cat: Tensor
) -> None:
    cup = np.ascontiguousarray(photograph("coffee.png", DRAWN_PX)[:, 120 : 120 + DRAWN_PX])
    picture = _planar(as_net(drawn("impasto", cup, origin=place(-1))))
    target = StyleTarget.of([picture], judge, LAYERS)
    losses = blend_losses(net, judge, cat, first="ink_wash", second="impasto", target=target)
    assert len(losses) == 11
    assert all(a > b for a, b in itertools.pairwise(losses)), losses


def test_every_style_of_a_small_plate_comes_in_one_pass(net: StyleNet) -> None:
    plate = np.random.default_rng(0).random((32, 48, 3)).astype(np.float32)
    made = every_style(net, plate)
    assert [name for name, _ in made] == list(net.styles)
