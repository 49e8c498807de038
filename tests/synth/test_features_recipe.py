from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vfxswap.errors import JobError
from vfxswap.synth.features_pictures import PARTS, FacePictures, alignment, render_faces
from vfxswap.synth.features_recipe import FeatureRecipe, load_recipe, run
from vfxswap.synth.features_transfers import TRANSFERRED, FaceTransfers, render_transfers
from vfxswap.synth.head import data_folder
from vfxswap.train.features_card import feature_names
from vfxswap.train.features_data import PartCrops
from vfxswap.train.features_edits import EditSet

SMALL = {"crop_size": 16, "width": 4, "widest": 8, "widest_encoder": 8, "code": 8, "clusters": 6}


def recipe_text(object_: str, stages: str) -> str:
    shape = "\n".join(f"{k} = {v}" for k, v in SMALL.items())
    return f'description = "Tiny."\n{object_}\n[network]\n{shape}\n{stages}'


@pytest.fixture(scope="module")
def head() -> None:
    try:
        data_folder()
    except JobError as missing:
        pytest.skip(str(missing))


def test_shipped_recipes_are_whole() -> None:
    faces, bodies = load_recipe("features-synthetic"), load_recipe("features-bodies")
    assert faces.faces is not None and faces.transfers is not None
    assert faces.faces.crop_size == faces.transfers.crop_size == faces.network.crop_size
    assert bodies.bodies is not None and bodies.faces is None
    assert bodies.bodies.crop_size == bodies.network.crop_size
    numbers = set(range(faces.faces.seed, faces.faces.seed + faces.faces.shards))
    others = range(faces.transfers.seed, faces.transfers.seed + faces.transfers.shards)
    assert numbers.isdisjoint(others)


@pytest.mark.parametrize(
    ("object_", "sentence"),
    [
        ("", "wanted faces or bodies"),
        ("[faces]\n[bodies]", "wanted faces or bodies"),
        ("[faces]\nhats = 3", "hats"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(
    tmp_path: Path, object_: str, sentence: str
) -> None:
    file = tmp_path / "r.toml"
    file.write_text(recipe_text(object_, "[[stages]]\niterations = 1"))
    with pytest.raises(JobError, match=sentence):
        load_recipe(str(file))


def test_edits_without_transfers_and_unknown_recipes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(recipe_text("[faces]", "[[stages]]\nedits = 1.0"))
    with pytest.raises(JobError, match="no transfers"):
        load_recipe(str(file))
    with pytest.raises(JobError, match="features-synthetic"):
        load_recipe("features-synthetik")


def test_rendered_faces_are_aligned_and_labelled(tmp_path: Path, head: None) -> None:
    pictures = FacePictures(
        seed=3, shards=1, crops_per_shard=4, crops_each=2, render_px=56, texture_rows=96,
        crop_size=32, landmark_noise=0.0,
    )  # fmt: skip
    render_faces(tmp_path / "a", pictures, processes=1)
    data = PartCrops.open(tmp_path / "a")
    assert data.parts == PARTS and len(data) == 4 and len(set(data.identity)) == 2
    shown = data.centred(np.arange(4))
    skin, nose = PARTS.index("skin"), PARTS.index("nose")
    assert bool((shown.labels == skin).flatten(1).float().mean(1).ge(0.1).all())
    row, column = (shown.labels == nose).nonzero()[:, 1:].float().mean(0).tolist()
    # The aligner puts the nose below the eye line, which is at 0.4, on the middle.
    assert 0.4 < row / 32 < 0.65 and 0.3 < column / 32 < 0.7
    before = {f.name: f.read_bytes() for f in (tmp_path / "a").iterdir()}
    render_faces(tmp_path / "b", pictures, processes=1)
    assert before == {f.name: f.read_bytes() for f in (tmp_path / "b").iterdir()}


def test_alignment_leaves_the_margin_around_the_crop() -> None:
    points = np.random.default_rng(0).uniform(10, 90, (70, 2))
    plain, wide = alignment(points, 32), alignment(points, 32, margin_px=3)
    np.testing.assert_allclose(wide.polygon - plain.polygon, 3)


def test_rendered_transfers_change_their_feature_alone(tmp_path: Path, head: None) -> None:
    transfers = FaceTransfers(
        seed=2, shards=1, pairs_per_shard=1, features_each=len(TRANSFERRED), render_px=56,
        texture_rows=96, crop_size=32,
    )  # fmt: skip
    render_transfers(tmp_path, transfers, processes=1)
    edits = EditSet.open(tmp_path, PARTS)
    assert sorted(PARTS[k] for k in edits.tensors["feature"].tolist()) == sorted(TRANSFERRED)
    t = edits.tensors
    off = (t["truth"].float() - t["source"].float()).abs().mean(1)
    for row, label in enumerate(t["feature"].tolist()):
        if PARTS[label] in ("nose", "mouth", "eyes"):
            inside = t["region"][row] > 0
            assert off[row][inside].mean() > 3 * off[row][~inside].mean(), PARTS[label]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["faces", "bodies"])
def test_a_recipe_makes_a_model_and_runs_no_part_twice(
    tmp_path: Path, head: None, kind: str
) -> None:
    size = "shards = 1\ncrops_per_shard = 26\ncrops_each = 1\ncrop_size = 16"
    object_ = f"[{kind}]\nseed = 5\n{size}"
    if kind == "faces":
        object_ += (
            "\nrender_px = 56\ntexture_rows = 96\n[transfers]\nshards = 1\npairs_per_shard = 13\n"
            "features_each = 2\nrender_px = 56\ntexture_rows = 96\ncrop_size = 16"
        )
    stages = "[[stages]]\niterations = 3\ncrops = 4\n[[stages]]\niterations = 2\ncrops = 4\n"
    stages += "edits = 1.0\nedit_pairs = 2\ncritic = 0.01\n" if kind == "faces" else ""
    file = tmp_path / "tiny.toml"
    file.write_text(recipe_text(object_, stages))
    seen: list[str] = []

    def made(name: str) -> str:
        model = run(
            str(file),
            out=tmp_path / name,
            work=tmp_path / "work",
            command="vfxswap train features tiny.toml",
            processes=1,
            progress=lambda what, done, total: seen.append(what),
        )
        assert feature_names(model.card) and "before_transfers_psnr" in model.card.metrics
        return model.card.weights_sha256

    first = made("features-tiny")
    assert f"render {kind}" in seen and "train stage 2" in seen
    seen.clear()
    assert made("features-again") == first
    assert seen == []


def test_recipe_settings_are_documented() -> None:
    for model in (FeatureRecipe, FacePictures, FaceTransfers):
        assert all(field.description for field in model.model_fields.values())
