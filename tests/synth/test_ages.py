"""One performer at two ages: nothing but the age differs."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from vfxswap.errors import JobError
from vfxswap.geometry import STABLE
from vfxswap.persona import Persona
from vfxswap.synth.comb_recipe import load_recipe
from vfxswap.synth.crops import face_camera
from vfxswap.synth.head import head_asset
from vfxswap.synth.identity import aged, known, persona
from vfxswap.synth.light import studio_rig
from vfxswap.synth.performance import State, actions
from vfxswap.synth.render import render
from vfxswap.synth.takes import Takes, take

YOUNG, OLD = "amber-age0", "amber-age90"
ROWS = 96


def test_names_say_performer_and_age() -> None:
    assert aged("amber-age5") == ("amber", 0.05)
    assert aged("amber") == ("amber", None)
    assert known(OLD) == known("amber") == 49
    assert known("17-age100") == 17
    assert Persona(id=YOUNG, synthetic=True).id == YOUNG
    for wrong in ("amber-age101", "amber-age", "amber-age-5", "amber-age05", "nobody-age5"):
        with pytest.raises(JobError, match="unknown performer"):
            known(wrong)


def test_two_ages_of_a_performer_differ_in_age_alone() -> None:
    young, old = (persona(name, texture_rows=ROWS) for name in (YOUNG, OLD))
    assert (young.age, old.age) == (0.0, 0.9)
    for same in ("seed", "iris", "cloth", "hair", "resting", "pupil_rad", "sclera", "specular",
                 "gloss"):  # fmt: skip
        assert np.array_equal(getattr(young, same), getattr(old, same)), same
    ageing = {"age", "hair", "hairline_m"}
    for field in fields(young.look):
        if field.name not in ageing:
            assert getattr(young.look, field.name) == getattr(old.look, field.name), field.name
    assert not np.array_equal(young.texture, old.texture)


def test_the_shape_only_moves_from_young_to_old() -> None:
    """Vertices are linear in age, along what the phenotype says; no other trait is drawn anew."""
    young, old = (persona(name, texture_rows=ROWS).vertices for name in (YOUNG, OLD))
    between = persona("amber-age45", texture_rows=ROWS).vertices
    assert np.allclose(between, (young + old) / 2, atol=2e-6)
    faces = head_asset().landmarks
    moved = np.linalg.norm(old[faces] - young[faces], axis=-1)
    other = persona("basalt", age=0.0, texture_rows=ROWS).vertices
    strange = np.linalg.norm(other[faces] - young[faces], axis=-1)
    assert 0.0005 < moved.mean() < 0.6 * strange.mean()
    assert (
        np.abs(old[faces][list(STABLE)].mean(0) - young[faces][list(STABLE)].mean(0)).max() < 1e-5
    )


def test_both_ages_play_the_same_performance() -> None:
    takes = Takes(personas=(YOUNG, OLD), count=1, crop_size=64, guests=0, seed=3)
    played = take(takes, 0)
    young, old = played[YOUNG], played[OLD]
    apart = (young.points - old.points).norm(dim=-1)
    assert 0.1 < float(apart.mean()) < 4.0  # of 96 pixels: one pose, one expression
    skin = (young.face > 128) & (old.face > 128)
    assert skin.float().mean() > 0.2
    assert float((young.pixels - old.pixels).abs().mean()) > 0.003


def test_the_lining_of_an_old_mouth_stays_behind_the_lips() -> None:
    """Old faces are thin there: the lining, which shows its back, would come through the skin."""
    state = State(actions(jawOpen=0.5, mouthSmile=0.6))
    old = persona(OLD, texture_rows=ROWS)
    camera = face_camera(old, state, 192, tightness=1.2)
    truth = render(old, state, camera, studio_rig())
    rows = np.arange(192)[:, None] + 0.5
    above = rows < truth.landmarks[48:55, 1].min() - camera.window.y - 1
    assert truth.mattes["mouth"].sum() > 50
    assert (truth.mattes["mouth"] * above).sum() == 0


def test_the_recipe_of_the_two_ages_is_whole() -> None:
    recipe = load_recipe("comb-ages")
    assert tuple(recipe.takes.personas) == tuple(recipe.personas) == (YOUNG, OLD)
    assert recipe.training.paired
