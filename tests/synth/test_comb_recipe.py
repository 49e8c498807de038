"""Recipes of combs: files, and the whole way from takes to a model that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vfxswap.errors import JobError
from vfxswap.io.weights import load_net, read_card
from vfxswap.synth.comb_recipe import RECIPES, load_recipe, run
from vfxswap.train.evaluate import BASELINES

TINY = """
name = "tiny"
description = "For a test."
[personas]
amber = "one"
basalt = "the other"
[takes]
personas = ["amber", "basalt"]
count = 4
crop_size = 16
guests = 2
[measuring]
seed = 8
frames = 3
expression_frames = 3
shot_frames = 2
[training]
level = 2
width = 0.03
iterations = [2]
final_iterations = 2
batch = 2
paired = true
"""


def test_shipped_recipes_are_valid() -> None:
    names = [f.stem for f in RECIPES.glob("comb-*.toml")]
    assert "comb-starter" in names
    for name in names:
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seed = 8", "seed = 0"), "measured on its training takes"),
        (("width", "witdh"), r"training\.witdh is unknown.*perhaps width"),
        (('basalt = "the other"', ""), "takes are of other personas"),
        (("[takes]", "[takes"), "no valid TOML"),
    ],
)
def test_wrong_recipes_are_refused_in_a_sentence(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY.replace(*change))
    with pytest.raises(JobError, match=message):
        load_recipe(str(file))


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(JobError, match="comb-starter"):
        load_recipe("comb-startr")


def test_a_recipe_ends_in_a_model_that_loads_with_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    stored = run(str(file), out=tmp_path / "tiny", work=tmp_path / "work", processes=0)
    card = read_card(tmp_path / "tiny")
    assert card == stored.card
    assert card.synthetic
    assert card.crop_size == 16
    assert [p.id for p in card.personas] == ["amber", "basalt"]
    assert "paired" in card.training_data
    net = load_net(card, tmp_path / "tiny", device="cpu")
    assert net(torch.rand(1, 3, 16, 16), "basalt").shape == (1, 3, 16, 16)
    whole = json.loads((tmp_path / "work" / "report.json").read_text())
    assert [gate["region"] for gate in whole["expression"]] == ["mouth", "eyes"]
    assert whole["flicker"]["frames"] == 2
    assert set(whole["identity"]) >= {"margin", "nearest"}
    report = whole["swap"]
    assert card.metrics["psnr_swap"].value == pytest.approx(report["psnr"]["swap"])
    assert set(report["psnr"]) == {"swap", *BASELINES}
    assert report["swapped_frames"] == 6
    assert (tmp_path / "work" / "sheet.png").exists()
    assert (tmp_path / "work" / "expressions.png").exists()
