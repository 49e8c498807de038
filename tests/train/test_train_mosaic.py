from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vfxswap.errors import CancelledError, JobError
from vfxswap.nets.mosaic import MosaicEncoder, MosaicEncoderSettings, MosaicGenerator
from vfxswap.nets.mosaic import MosaicGeneratorSettings as Shape
from vfxswap.settings import validated
from vfxswap.train.mosaic import MosaicTrainer
from vfxswap.train.mosaic_curves import curves
from vfxswap.train.mosaic_degrade import Damage, damaged
from vfxswap.train.mosaic_draw import THEMES, drawn
from vfxswap.train.mosaic_evaluate import frechet
from vfxswap.train.mosaic_loop import train
from vfxswap.train.mosaic_losses import code_distance, sameness
from vfxswap.train.mosaic_pictures import PictureSet, Pool, read_pictures, relit, thumbs
from vfxswap.train.mosaic_recipe import load_recipe, run, theme_of
from vfxswap.train.mosaic_training import MosaicTraining

SHIPPED = ("mosaic-starter", "mosaic-themes", "mosaic-faces", *(f"mosaic-restore-{k}" for k in
           ("color", "denoise", "enlarge", "deblur")))  # fmt: skip


def pictures(level: float, count: int = 8) -> PictureSet:
    rng = np.random.default_rng(int(100 * level))
    made = [
        (level + 0.1 * rng.standard_normal((40, 48, 3))).astype(np.float16) for _ in range(count)
    ]
    return PictureSet(tuple(made), 0.6)


def training(**values: object) -> MosaicTraining:
    small = {
        "code": 16, "code_iterations": 2, "iterations": 3, "large_iterations": 0, "batch": 4,
        "pool": 16, "penalty_every": 2, "half": False, **values,
    }  # fmt: skip
    return validated(MosaicTraining, small)


def trainer(**values: object) -> MosaicTrainer:
    themes = {"dark": pictures(0.2), "light": pictures(0.5)}
    return MosaicTrainer(training(**values), pictures(0.35), themes)


def _reached(t: MosaicTrainer, iteration: int) -> bool:
    return t.iteration == iteration


def state(t: MosaicTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in t.nets.state_dict().items()}


def test_a_resumed_training_equals_an_unbroken_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = trainer(iterations=2, large_iterations=2)
    train(whole, tmp_path / "whole")
    for stop_at in (3, 5):
        folder = tmp_path / str(stop_at)
        broken = trainer(iterations=2, large_iterations=2)
        with pytest.raises(CancelledError):
            train(broken, folder, stop=partial(_reached, broken, stop_at))
        again = trainer(iterations=2, large_iterations=2)
        train(again, folder)
        assert again.iteration == 6
        mine, wanted = state(again), state(whole)
        assert all(torch.equal(mine[name], wanted[name]) for name in wanted)


def test_every_stage_is_gone_through_and_faded_in() -> None:
    t = trainer(large_iterations=4)
    stages = [t.training.stage_at(i) for i in range(t.training.total_iterations)]
    assert [s for s, _ in stages] == ["codes"] * 2 + ["small"] * 3 + ["large"] * 4
    assert [a for s, a in stages if s == "large"] == [0.5, 1.0, 1.0, 1.0]


def test_generators_begin_as_the_decoder() -> None:
    t = trainer()
    for _ in range(2):
        t.step()
    decoder = {k: v.clone() for k, v in t.nets["decoder"].state_dict().items()}
    t._enter("small")
    for theme in t.themes:
        begun = t.generator(theme).state_dict()
        assert all(torch.equal(begun[name], decoder[name]) for name in decoder)


def test_a_frozen_encoder_stays_as_it_is_and_themes_learn() -> None:
    encoder = MosaicEncoder(MosaicEncoderSettings(code=16))
    begin = MosaicGenerator(Shape(code=16))
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    t = MosaicTrainer(
        training(code_iterations=0), pictures(0.35), {"dark": pictures(0.2)},
        encoder=encoder, begin={"dark": begin},
    )  # fmt: skip
    start = t.generator("dark", mean=False).to_rgb.weight.clone()
    for _ in range(2):
        t.step()
    assert all(torch.equal(t.encoder.state_dict()[name], before[name]) for name in before)
    assert not torch.equal(t.generator("dark", mean=False).to_rgb.weight, start)


def test_a_frozen_encoder_with_code_iterations_is_refused() -> None:
    encoder, begin = MosaicEncoder(MosaicEncoderSettings(code=16)), MosaicGenerator(Shape(code=16))
    with pytest.raises(JobError, match="a frozen encoder is not trained"):
        MosaicTrainer(training(), pictures(0.3), {"a": pictures(0.2)}, encoder=encoder,
                      begin={"a": begin})  # fmt: skip


def test_two_patches_of_a_code_are_asked_to_differ_half_as_much_as_real_ones() -> None:
    real = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    alike = real[:4].repeat(2, 1, 1, 1)
    apart = (real[:4] - real[4:]).abs().mean()
    assert float(sameness(alike, real)) == pytest.approx(0.5 * float(apart), rel=0.02)
    assert float(sameness(real, real)) == 0


@torch.no_grad()
def test_codes_are_compared_from_afar_and_without_mean_colour() -> None:
    encoder = MosaicEncoder(MosaicEncoderSettings(code=16))
    x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    checks = torch.tensor([1.0, -1.0]).repeat(16).expand(32, 32)
    detailed = x + 3 * checks + 0.7
    assert float(code_distance(encoder, detailed, x, afar_px=4)) < 1e-2
    assert float(code_distance(encoder, detailed, x, afar_px=1)) > 0.1
    assert float(code_distance(encoder, x.flip(3), x, afar_px=4)) > 0.1


def test_a_relit_patch_keeps_its_mean_and_detail_and_takes_the_light() -> None:
    generator = torch.Generator().manual_seed(2)
    patch = torch.randn(2, 3, 32, 32, generator=generator)
    light = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32) + 5
    lit = relit(patch, light, torch.ones(2, 1, 1, 1))
    assert torch.allclose(lit.mean((2, 3)), patch.mean((2, 3)), atol=0.02)
    added = (lit - patch)[0, 0]
    assert float(added[:, -8:].mean() - added[:, :8].mean()) == pytest.approx(1.5, abs=0.15)
    assert torch.equal(relit(patch, light, torch.zeros(2, 1, 1, 1)), patch)


def test_learning_rates_fall_over_the_second_half_of_every_stage() -> None:
    t = training(code_iterations=10, iterations=20, large_iterations=10)
    rates = [t.rate_at(i) for i in range(t.total_iterations)]
    assert [rates[i] for i in (0, 5, 10, 20, 30, 35)] == [1.0] * 6
    assert rates[9] < 0.3 and rates[29] < 0.2 and rates[39] < 0.3


def test_the_nearest_patch_is_the_patch_itself() -> None:
    pool = Pool(pictures(0.4), 20, rng=np.random.default_rng(1))
    assert torch.equal(pool.nearest(pool.whole[[3, 7]]), pool.whole[[3, 7]])
    brighter = pool.whole[[3]] + 0.1
    assert torch.equal(pool.nearest(brighter), pool.whole[[3]])
    assert thumbs(pool.whole).shape[0] == 20


def test_damage_is_what_it_says() -> None:
    rng = np.random.default_rng(0)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert damaged(x, Damage(), rng) is x
    grey = damaged(x, Damage(grey=True), rng)
    assert torch.equal(grey[:, 0], grey[:, 2])
    for damage in (Damage(blur_px=1.5), Damage(reduce=2)):
        worse = damaged(x, damage, rng)
        assert worse.shape == x.shape
        assert worse.var() < 0.6 * x.var()
    noisy = damaged(x, Damage(noise=0.5), rng)
    assert float((noisy - x).std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_drawn_pictures_differ_and_come_again(theme: str) -> None:
    two = drawn(theme, 2, size=48, seed=5)
    assert np.array_equal(two, drawn(theme, 2, size=48, seed=5))
    assert np.abs(two[0].astype(int) - two[1]).mean() > 5
    assert not np.array_equal(two, drawn(theme, 2, size=48, seed=6))
    assert two.std() > 10


def test_an_unknown_theme_to_draw_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(JobError, match="got flower; wanted perhaps flowers"):
        drawn("flower", 1, size=16, seed=0)


def test_a_theme_of_too_few_pictures_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((40, 40, 3), 90, np.uint8))
    recipe = load_recipe("mosaic-starter").model_copy(update={"themes": {"mine": ("*.png",)}})
    with pytest.raises(JobError, match=r"too few pictures of theme mine \(got 3; wanted at least"):
        theme_of(recipe, "mine", tmp_path)


def test_a_pattern_without_pictures_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no picture is found"):
        read_pictures(["none/*.png"], smallest=1, least=1, what="x", drawn_count=1, seed=0,
                      folder=tmp_path)  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_good(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.held_out
    assert recipe.training.damage.any == name.startswith("mosaic-restore")


def test_an_unknown_recipe_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(JobError, match="perhaps mosaic-starter"):
        load_recipe("mosaic-startr")


def test_frechet_distance_is_that_of_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 5, generator=generator)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + 2) == pytest.approx(20, rel=1e-3)
    assert frechet(a, 3 * a) == pytest.approx(5 * 4, rel=0.1)


def test_curves_are_drawn_from_a_log() -> None:
    rows = [{"iteration": i, "loss": {"codes": 1 / i, "a critic": -i, "a code": 0.5}}
            for i in (1, 2, 3)]  # fmt: skip
    picture = cv2.imdecode(np.frombuffer(curves(rows), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (780, 900, 3)
    assert picture.min() < 200
    with pytest.raises(JobError, match="log of the training is empty"):
        curves([])


RECIPE = """
name = "tiny"
licence = "Apache-2.0"
training_data = "drawn"
training_licence = "none"
{more}
domain = ["drawn:gems"]
domain_drawn = 2
drawn = 8
held_out = ["drawn:flowers"]
[themes]
{theme} = ["drawn:numbers"]
[training]
code = 16
code_iterations = {codes}
iterations = 2
batch = 4
pool = 16
seed = 1
"""


def test_a_recipe_gives_an_encoder_and_themes_and_later_ones_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfxswap.train.mosaic_evaluate._JUDGE_STEPS", 2)
    monkeypatch.setattr("vfxswap.train.mosaic_evaluate._SAMPLES", 70)
    first, later = tmp_path / "first.toml", tmp_path / "later.toml"
    first.write_text(RECIPE.format(more="", theme="numbers", codes=2))
    frozen = 'encoder = "tiny-encoder"\nbegin = "tiny-numbers"'
    later.write_text(RECIPE.format(more=frozen, theme="more", codes=0))
    models = tmp_path / "models"
    made = run(first, out=models, work=tmp_path / "w1", command="vfxswap train mosaic first.toml")
    assert [m.card.name for m in made] == ["tiny-encoder", "tiny-numbers"]
    monkeypatch.setenv("VFXSWAP_MODELS", str(models))
    added = run(later, out=models, work=tmp_path / "w2", command="vfxswap train mosaic later.toml")
    assert [m.card.name for m in added] == ["tiny-more"]
    for model, theme in ((made[1], "numbers"), (added[0], "more")):
        settings = model.card.network_settings
        assert settings["encoder_sha256"] == made[0].card.weights_sha256
        assert {"structure_ssim", "structure_ssim_nearest", "theme_distance"} <= set(
            model.card.metrics
        )
        thumb = model.folder / "thumbs" / f"{theme}.jpg"
        assert thumb.stat().st_size <= 10_000
        picture = cv2.imread(str(thumb))
        assert picture is not None
        assert picture.shape == (128, 128, 3)
    rows = (tmp_path / "w1" / "log.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["iteration"] == 4
