"""Combs from footage: consent first, crops where the tracks say, models that load."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from vfxswap.align.crop import apply, template
from vfxswap.color import ColorManager, from_net
from vfxswap.errors import ConsentError, JobError
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image
from vfxswap.io.tracks import PlateIdentity, TrackerModel, Tracks, write_tracks
from vfxswap.io.weights import load_net, read_card
from vfxswap.ops.warp import inverted
from vfxswap.train.crops import stored_matrix, stored_size
from vfxswap.train.footage import crop_of, load_recipe, run

DOCUMENT = "ab" * 32
RECIPE = """
name = "tiny"
licence = "LicenseRef-studio"
training_data = "made up"
training_licence = "made up"
[personas.hero]
description = "made up"
{ground}
[[personas.hero.clips]]
plate = "clip.####.exr"
tracks = "tracks.json"
face = 2
[training]
level = 2
width = 0.02
iterations = [2]
final_iterations = 1
batch = 2
half = false
"""
CONSENT = f"""
[personas.hero.consent]
granted_by = "party-7"
shows = ["demo"]
uses = ["swap", "train"]
expires = 2031-01-01
document_sha256 = "{DOCUMENT}"
"""


def points_at(x: float, y: float, width: float, *, aspect: float = 1.0) -> Array:
    return (template(1) * width + [x, y]) * [1 / aspect, 1.0]


def plate(window: Box, *, aspect: float = 1.0) -> Image:
    """Net space rises by 0.001 a pixel to the right and by 0.002 down, from plate pixel (0, 0)."""
    x = np.arange(window.x, window.right)[None] + 0.5
    y = np.arange(window.y, window.bottom)[:, None] + 0.5
    net = np.repeat((0.2 + 0.001 * x + 0.002 * y)[..., None], 3, -1)
    linear = from_net(net).astype(np.float32)
    part = Part(
        {c: linear[..., i] for i, c in enumerate("RGB")},
        window,
        Box(0, 0, 160, 120),
        pixel_aspect=aspect,
    )
    return Image((part,), ("R", "G", "B"), color_space="ACEScg")


@pytest.mark.parametrize("aspect", [1.0, 2.0])
@pytest.mark.parametrize("window", [Box(0, 0, 160, 120), Box(-12, -9, 190, 140)])
def test_crops_show_what_lies_under_the_landmarks(window: Box, aspect: float) -> None:
    points = points_at(40, 30, 60, aspect=aspect)
    image = plate(window, aspect=aspect)
    face = Face(0, points, np.ones(70), 1.0)
    got = crop_of(image, Path("p.exr"), face, 16, ColorManager())
    side = stored_size(16)
    back = inverted(stored_matrix(points, crop_size=16, pixel_aspect=aspect))
    for x, y in ((3, 4), (12, 20), (side - 4, side - 5)):
        at = apply(back, np.array([x + 0.5, y + 0.5]))
        want = 0.2 + 0.001 * at[0] + 0.002 * at[1]
        assert got.pixels[0, 0, y, x].item() == pytest.approx(want, abs=6e-4)
    inside = got.polygon[0, 0].float() / 255
    assert inside[side // 2, side // 2] == 1
    assert inside[0].max() == 0


def written(folder: Path, ground: str) -> Path:
    box = Box(0, 0, 160, 120)
    faces = {}
    for frame in range(1, 5):
        write_image(folder / f"clip.{frame:04d}.exr", plate(box))
        hero = Face(2, points_at(30 + 4 * frame, 25, 60), np.ones(70), 1.0)
        other = Face(5, points_at(90, 40, 30), np.ones(70), 1.0)
        faces[frame] = [other] if frame == 3 else [hero, other]
    identity = PlateIdentity.of("clip.####.exr", "1-4", size=(160, 120))
    write_tracks(folder / "tracks.json", Tracks.of(identity, {"": faces}, model=TrackerModel()))
    file = folder / "tiny.toml"
    file.write_text(RECIPE.format(ground=ground))
    return file


def test_consent_to_train_is_asked_for_before_any_footage_is_read(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    where = {"out": tmp_path / "out", "work": tmp_path / "work", "today": date(2026, 1, 1)}
    file.write_text(RECIPE.format(ground=""))
    with pytest.raises(ConsentError, match="has no consent"):
        run(file, show="demo", **where)  # type: ignore[arg-type]
    file.write_text(RECIPE.format(ground="") + CONSENT)
    with pytest.raises(ConsentError, match="does not cover this show"):
        run(file, show="other", **where)  # type: ignore[arg-type]
    file.write_text(RECIPE.format(ground="") + CONSENT.replace('"swap", "train"', '"swap"'))
    with pytest.raises(ConsentError, match="does not cover this use"):
        run(file, show="demo", **where)  # type: ignore[arg-type]
    assert not (tmp_path / "work").exists()


def test_footage_becomes_a_model_with_its_consent_and_mean_colour(tmp_path: Path) -> None:
    file = written(tmp_path, "")
    file.write_text(file.read_text() + CONSENT)
    stored = run(file, out=tmp_path / "tiny", work=tmp_path / "work", show="demo",
                 today=date(2026, 1, 1))  # fmt: skip
    card = read_card(tmp_path / "tiny")
    assert card == stored.card
    (persona,) = card.personas
    assert persona.consent is not None
    assert persona.consent.document_sha256 == DOCUMENT
    assert persona.net_mean is not None
    assert persona.net_mean[0] == pytest.approx(0.2 + 0.001 * 72 + 0.002 * 60, abs=0.02)
    assert not card.synthetic
    assert not card.metrics
    net = load_net(card, tmp_path / "tiny", device="cpu")
    assert net(torch.rand(1, 3, 16, 16), "hero").shape == (1, 3, 16, 16)


def test_a_persona_is_added_to_a_stored_comb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(tmp_path, "synthetic = true")
    models = tmp_path / "models"
    run(first, out=models / "tiny", work=tmp_path / "work", show="")
    monkeypatch.setenv("VFXSWAP_MODELS", str(models))
    text = first.read_text().replace("hero", "stunt").replace('"tiny"', '"both"')
    second = tmp_path / "both.toml"
    second.write_text('base = "tiny"\nlike = "hero"\n' + text)
    stored = run(second, out=models / "both", work=tmp_path / "work2", show="")
    assert [p.id for p in stored.card.personas] == ["hero", "stunt"]
    before = load_net(read_card(models / "tiny"), models / "tiny", device="cpu").state_dict()
    after = load_net(stored.card, models / "both", device="cpu").state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name])


def test_wrong_recipes_are_refused_in_a_sentence(tmp_path: Path) -> None:
    file = written(tmp_path, "synthetic = true")
    good = file.read_text()
    for change, message in (
        (("face = 2", "face = 9"), "tracks do not have this face"),
        (("half = false", "paired = true"), "not paired"),
        (("tracks.json", "nothing.json"), r"nothing\.json: cannot read tracks"),
    ):
        file.write_text(good.replace(*change))
        with pytest.raises(JobError, match=message):
            run(file, out=tmp_path / "out", work=tmp_path / "work", show="")
    with pytest.raises(JobError, match="cannot be read"):
        load_recipe(tmp_path / "nowhere.toml")
