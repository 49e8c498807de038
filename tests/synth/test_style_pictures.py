"""Drawn media and training pictures: made again bit for bit; what is held out is not learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.synth import style_pictures as pictures
from vfxswap.synth.style_drawings import counterparts, drawn_pictures
from vfxswap.synth.style_recipe import RECIPES, load_recipe
from vfxswap.train.classifier import unpacked
from vfxswap.train.style import contents_of
from vfxswap.train.style_media import MEDIA, PALETTES, drawn


@pytest.fixture(scope="module")
def cup() -> Pixels:
    return np.ascontiguousarray(pictures.photograph("coffee.png", 112)[:, 30:142])


@pytest.mark.parametrize("style", sorted(MEDIA))
def test_a_style_is_drawn_again_bit_for_bit_and_is_no_copy(style: str, cup: Pixels) -> None:
    made, again = (drawn(style, cup, origin=(30, 5)) for _ in range(2))
    assert made.shape == cup.shape and made.dtype == np.float32
    assert made.min() >= 0 and made.max() <= 1
    assert np.array_equal(made, again)
    assert np.abs(made - cup).mean() > 0.05


def test_no_two_styles_look_alike(cup: Pixels) -> None:
    made = {style: drawn(style, cup, origin=(30, 5)) for style in MEDIA}
    names = sorted(made)
    apart = [np.abs(made[a] - made[b]).mean() for i, a in enumerate(names) for b in names[:i]]
    assert min(apart) > 0.04


def test_the_shipped_recipe_has_sixteen_styles_at_least_and_a_medium_for_each() -> None:
    recipe, folder = load_recipe("style-starter")
    assert folder == RECIPES and len(recipe.styles) >= 16
    assert set(recipe.styles) <= set(MEDIA) and set(PALETTES) <= set(MEDIA)


def test_held_out_photographs_are_never_trained_on() -> None:
    assert not set(pictures.HELD_OUT) & {*pictures.PHOTOGRAPHS, *pictures.SURFACES}


def test_photographs_without_a_stated_licence_are_never_trained_on() -> None:
    unstated = {"motorcycle_left.png", "motorcycle_right.png", "moon.png", "page.png"}
    assert not unstated & {*pictures.PHOTOGRAPHS, *pictures.SURFACES}


def test_counterparts_are_the_contents_drawn_and_are_kept(tmp_path: Path) -> None:
    made = contents_of([pictures.as_net(p) for p in pictures.contents(2, 48, seed=3)])
    said: list[str] = []
    found = counterparts(("linocut",), made, tmp_path, lambda what, *_: said.append(what))
    assert said == ["draw"] and found["linocut"].shape == (2, 48, 48, 3)
    light = [unpacked(found["linocut"])[1].mean(0).flatten(), made[1].mean(0).flatten()]
    assert float(torch.corrcoef(torch.stack(light))[0, 1]) > 0.5
    (file,) = (tmp_path / "drawn").glob("linocut-*.safetensors")
    before = file.stat().st_mtime_ns
    again = counterparts(("linocut",), made, tmp_path, lambda *_: None)
    assert np.array_equal(again["linocut"], found["linocut"])
    assert file.stat().st_mtime_ns == before
    counterparts(("linocut",), made * 0.9, tmp_path, lambda *_: None)
    assert len(list((tmp_path / "drawn").iterdir())) == 2


@pytest.mark.parametrize("style", ["halftone", "pointillism", "stained_glass", "hatching"])
def test_marks_lie_where_the_screens_say(style: str) -> None:
    """On a plain picture a drawing of another place shows another part of the same pattern."""
    grey = np.full((96, 96, 3), 0.4, np.float32)
    grey[:4] = 1.0  # tones are stretched between the picture's own
    here, there = drawn(style, grey), drawn(style, grey, origin=(17, 0))
    assert np.abs(here[24:72, 41:79] - there[24:72, 24:62]).mean() < 0.02
    assert np.abs(here[24:72, 24:62] - there[24:72, 24:62]).mean() > 0.05


def test_contents_depend_on_their_seed_and_number_alone() -> None:
    first, more = pictures.contents(4, 40, seed=3), pictures.contents(6, 40, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(first, more))
    assert not np.array_equal(first[0], pictures.contents(1, 40, seed=4)[0])
    assert all(p.shape == (40, 40, 3) and p.min() >= 0 and p.max() <= 1 for p in more)


def test_materials_fill_their_range() -> None:
    for name in pictures.MATERIALS:
        made = pictures.material(name, 48, np.random.default_rng(1))
        assert made.shape == (48, 48, 3) and made.std() > 0.005, name


def test_a_recipe_says_which_style_has_no_pictures(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "m"\ndescription = "d"\n[styles]\nwodcut = []\n[training]\n')
    with pytest.raises(JobError, match=r"wodcut has no pictures.*perhaps woodcut"):
        load_recipe(str(file))
    with pytest.raises(JobError, match=r"no such recipe.*style-starter"):
        load_recipe("style-startre")


@pytest.mark.slow
def test_style_pictures_are_512_px(tmp_path: Path) -> None:
    for picture in drawn_pictures("woodcut", tmp_path):
        assert picture.shape == (512, 512, 3)
    assert len(list(tmp_path.glob("woodcut_*.png"))) == 3
