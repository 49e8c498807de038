"""Combs from face sets: crops at the training's size, consent, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from face_footage import CONSENT, HERO, face_at, moving, write_face_models, write_footage

from vfxswap.color import ColorManager, to_net
from vfxswap.errors import ConsentError, JobError
from vfxswap.job import Job, Output, Plate
from vfxswap.persona import Persona
from vfxswap.train.crops import read_crops, stored_size
from vfxswap.train.face_set import read_face_set
from vfxswap.train.face_set_build import ShotOrder, build_face_set
from vfxswap.train.face_set_crops import face_crops
from vfxswap.train.footage import run

RECIPE = """
name = "tiny"
licence = "LicenseRef-studio"
training_data = "made up"
training_licence = "made up"
{personas}
[training]
level = 2
width = 0.02
iterations = [1]
final_iterations = 1
batch = 2
half = false
"""
STATED = {"crop_size": 64, "min_likeness": -1.0, "max_blur": 100.0, "duplicate_distance": 0.0}


@pytest.fixture(autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = write_face_models(tmp_path_factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("VFXSWAP"):
                patch.delenv(name)
        patch.setenv("VFXSWAP_MODELS", str(folder))
        yield


def built(folder: Path, persona: Persona, clip: tuple[str, Path], *faces: int) -> None:
    pattern, tracks = clip
    job = Job(
        plate=Plate(pattern=pattern),
        tracks=str(tracks),
        output=Output(pattern=str(folder / "unused.####.exr")),
    )
    build_face_set(folder, persona, [ShotOrder(job, faces)], STATED, show="kestrel",
                   device="cpu", threads=1)  # fmt: skip


def recipe(folder: Path, **sets: str) -> Path:
    said = "".join(f'[personas.{name}]\nsets = ["{path}"]\n' for name, path in sets.items())
    file = folder / "tiny.toml"
    file.write_text(RECIPE.format(personas=said))
    return file


def train(file: Path, show: str = "kestrel") -> Path:
    run(file, out=file.parent / "tiny", work=file.parent / "work", show=show,
        today=date(2026, 1, 1))  # fmt: skip
    return file.parent / "work" / "crops"


def test_a_comb_trains_on_face_sets_with_the_consent_that_they_hold(tmp_path: Path) -> None:
    may_train = CONSENT.model_copy(update={"uses": ("face_set", "train")})
    built(tmp_path / "hero", HERO, write_footage(tmp_path / "a", moving()))
    rowan = Persona(id="rowan", consent=may_train)
    other = {f: [face_at(100, 70, yaw_deg=3 * f)] for f in (1, 2, 3)}
    built(tmp_path / "rowan", rowan, write_footage(tmp_path / "b", other))
    file = recipe(tmp_path, hero="hero", rowan="rowan")
    with pytest.raises(ConsentError, match="does not cover this show"):
        train(file, show="other")
    assert not (tmp_path / "work").exists()
    crops = train(file)
    assert len(read_crops(crops / "hero").roles["hero"]) == 5
    shards = {p.name: p.stat().st_mtime_ns for p in crops.rglob("*.safetensors")}

    card = (tmp_path / "tiny" / "card.toml").read_text()
    assert "party-7" in card and 'id = "hero"' in card
    # The set grows: its shard is made anew, the other's stays.
    built(tmp_path / "hero", HERO, write_footage(tmp_path / "c", {1: [face_at(80, 60)]}))
    (tmp_path / "work" / "training").rename(tmp_path / "old")
    train(file)
    after = {p.name: p.stat().st_mtime_ns for p in crops.rglob("*.safetensors")}
    assert len(read_crops(crops / "hero").roles["hero"]) == 6
    assert len(set(shards.items()) & set(after.items())) == 1


def test_crops_of_a_set_are_those_of_the_plate_at_the_training_size(tmp_path: Path) -> None:
    built(tmp_path / "hero", HERO, write_footage(tmp_path / "a", moving()))
    found = read_face_set(tmp_path / "hero")
    crops = face_crops(found, found.faces[2], 32, ColorManager())
    side = stored_size(32)
    assert tuple(crops.pixels.shape) == (1, 3, side, side)
    assert crops.pixels.dtype.itemsize == 2
    nose = crops.points[0, 30].round().int().tolist()
    assert int(crops.polygon[0, 0, nose[1], nose[0]]) == 255
    assert int(crops.face[0, 0, nose[1], nose[0]]) >= 250  # skin everywhere, nothing before it
    assert int(crops.polygon[0, 0, 0, 0]) == 0
    ground = float(crops.pixels[0, 0, 2, 2])
    assert to_net(np.array([0.2]))[0] < ground < to_net(np.array([0.4]))[0]


def test_sets_that_nothing_can_be_learnt_from_are_refused_in_a_sentence(tmp_path: Path) -> None:
    one = write_footage(tmp_path / "one", {1: [face_at(90, 60)]})
    built(tmp_path / "single", HERO, one)
    with pytest.raises(JobError, match=r"single: too few faces.*a face set of 1; wanted 2 or more"):
        train(recipe(tmp_path, hero="single"))
    clip = write_footage(tmp_path / "a", moving())
    built(tmp_path / "hero", HERO, clip)
    with pytest.raises(JobError, match=r"another persona .got hero; wanted ash"):
        train(recipe(tmp_path, ash="hero"))
    file = recipe(tmp_path, hero="hero")
    file.write_text(file.read_text().replace("level = 2", "level = 5"))
    with pytest.raises(JobError, match=r"coarser than the training .got crops of 64 px"):
        train(file)
    with pytest.raises(JobError, match="no face set lies here"):
        train(recipe(tmp_path, hero="nowhere"))
    file = recipe(tmp_path, hero="hero")
    file.write_text(file.read_text().replace('sets = ["hero"]', 'description = "nothing"'))
    with pytest.raises(JobError, match="neither face sets nor clips"):
        train(file)


def test_two_personas_are_never_made_of_one_face(tmp_path: Path) -> None:
    two = {f: [face_at(60, 60, px_a_mm=0.35), face_at(140, 60, px_a_mm=0.35)] for f in (1, 2)}
    clip = write_footage(tmp_path / "a", two)
    ash = Persona(id="ash", synthetic=True)
    built(tmp_path / "hero", HERO, clip, 0)
    built(tmp_path / "same", ash, clip, 0)
    built(tmp_path / "ash", ash, clip, 1)
    with pytest.raises(JobError, match=r"frame 1: two personas are made of the same face"):
        train(recipe(tmp_path, hero="hero", ash="same"))
    train(recipe(tmp_path, hero="hero", ash="ash"))  # two performers of one shot
    (tmp_path / "link").symlink_to(tmp_path / "hero")
    with pytest.raises(JobError, match=r"two personas come from one folder .got hero and ash"):
        train(recipe(tmp_path, hero="hero", ash="link"))
    clips = "".join(
        f"[personas.{name}]\nsynthetic = true\n[[personas.{name}.clips]]\n"
        'plate = "a.#.exr"\ntracks = "t.json"\n'
        for name in ("hero", "ash")
    )
    file = tmp_path / "clips.toml"
    file.write_text(RECIPE.format(personas=clips))
    with pytest.raises(JobError, match=r"two personas are made of the same face .got hero and ash"):
        train(file)
