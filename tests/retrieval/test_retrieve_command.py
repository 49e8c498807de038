"""`vfxswap retrieve` and `vfxswap features` over real files, as the command line runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from feature_world import MODEL, write_model

pytest.importorskip("anny")
pytest.importorskip("warp")

from vfxswap.cli import main
from vfxswap.geometry import Box
from vfxswap.image import Image, Part
from vfxswap.io.exr import read_image, write_image, write_png
from vfxswap.synth.crops import face_camera
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import studio_rig
from vfxswap.synth.performance import State
from vfxswap.synth.render import render

SIDE = 128


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    """Scene-linear pictures of two performers."""
    made = {}
    for name, seed in (("one", 9_100_001), ("two", 9_100_003)):
        performer, state = Identity.from_seed(seed, texture_rows=192), State()
        camera = face_camera(performer, state, SIDE, tightness=1.9)
        grey = np.full((SIDE, SIDE, 3), 0.15, np.float32)
        made[name] = render(performer, state, camera, studio_rig(), background=grey).rgb
    return made


def write_exr(path: Path, rgb: np.ndarray) -> None:
    channels = {c: rgb[..., i].astype(np.float16) for i, c in enumerate("RGB")}
    window = Box(0, 0, rgb.shape[1], rgb.shape[0])
    metadata = {"colorInteropID": "lin_rec709_scene"}
    write_image(path, Image((Part(channels, window, window, metadata=metadata),), ("R", "G", "B")))


@pytest.fixture
def world(tmp_path: Path, rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stills, a plate and a reference with its card, and the tiny model beside the shipped ones."""
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_model(tmp_path / "models")))
    monkeypatch.chdir(tmp_path)
    stills = tmp_path / "stills"
    stills.mkdir()
    for name, rgb in rendered.items():
        write_png(stills / f"{name}.png", np.clip(rgb, 0, 1) ** (1 / 2.2))
        write_exr(tmp_path / f"{name}.exr", rgb)
    wall = np.full((SIDE, SIDE, 3), 0.3, np.float32)
    write_png(stills / "wall.png", wall)
    write_exr(tmp_path / "wall.exr", wall)
    (stills / "torn.png").write_bytes(b"\x89PNG and no more")
    for name in ("two", "wall"):
        (tmp_path / f"{name}.card.toml").write_text('id = "two"\nsynthetic = true\n')
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_retrieve_ranks_reports_and_draws(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = ("retrieve", "two.exr", "stills", "--feature", "nose", "--model", MODEL)
    assert run(*search, "--json", "--sheet", "sheet.png", "--device", "cpu") == 0
    told = capsys.readouterr()
    content = json.loads(told.out)
    ranking = [Path(row["picture"]).name for row in content["results"]]
    assert ranking == ["two.png", "one.png"]
    assert {Path(s["picture"]).name for s in content["skipped"]} == {"wall.png", "torn.png"}
    assert "wall.png: no face found, skipped" in told.err
    assert f"model {MODEL} knows nothing of what lasts: normalised" in told.err
    assert content["looked_at"] == 4
    assert (content["feature"], content["compare"]) == ("nose", "normalised")
    sheet = cv2.imread("sheet.png")
    assert sheet is not None and sheet.shape[1] > 3 * 160 and sheet.std() > 20

    assert run(*search, "--top", "1", "--device", "cpu") == 0
    told = capsys.readouterr()
    assert "two.png" in told.out and "one.png" not in told.out
    assert "0 looked at" in told.err


def test_cluster_groups_by_feature_and_attribute(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ("retrieve", "stills", "--cluster", "--feature", "hair", "--model", MODEL)
    assert run(*search, "--groups", "2", "--json", "--sheet", "groups.png") == 0
    content = json.loads(capsys.readouterr().out)
    for kind in ("groups", "attributes"):
        assert sorted(len(group) for group in content[kind]) == [1, 1]
    assert Path("groups.png").is_file() and Path("groups.attributes.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("two.exr", "stills", "--feature", "beak"), "no such feature"),
        (("wall.exr", "stills", "--feature", "nose"), "the query shows no face"),
        (("gone.exr", "stills", "--feature", "nose"), "no such file"),
        (("two.exr", "empty", "--feature", "nose"), "no pictures in the folder"),
        (("two.exr", "--feature", "nose"), "pictures to search"),
        (
            ("two.exr", "stills", "--feature", "nose", "--compare", "lasting"),
            "the model does not know what lasts",
        ),
        (("two.exr", "stills", "--feature", "nose", "--sheet", "a.tif"), "contact sheets are PNG"),
    ],
)
def test_what_cannot_be_searched_is_told_in_a_sentence(
    world: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (world / "empty").mkdir()
    assert run("retrieve", *arguments, "--model", MODEL) in (1, 2)
    err = capsys.readouterr().err.strip()
    assert message in err and "Traceback" not in err and len(err.splitlines()) == 1


FEATURES = ("features", "one.exr", "-o", "out/one.exr", "--model", MODEL, "--device", "cpu")


def test_features_renders_with_layers_and_says_by_whose_consent(world: Path) -> None:
    moved = ("--reference", "two.exr", "--feature", "nose=0.8", "--feature", "pose=1.2")
    assert run(*FEATURES, *moved, "--temperature", "1") == 0
    image, plate = read_image(world / "out" / "one.exr"), read_image(world / "one.exr")
    names = {name.rpartition(".")[0] for part in image.parts for name in part.channels}
    parts = {part.name for part in image.parts} | names
    assert {"feature_face", "feature_matte", "feature_uv"} <= parts
    assert not np.array_equal(image.rgb(), plate.rgb())
    record = json.loads((world / "out" / "one.vfxswap.json").read_text())
    effect = record["effects"][0]
    assert effect["personas"] == ["two"] and effect["consents"] == ["synthetic"]
    assert len(effect["settings"]["reference"]) == 64


def test_a_frame_of_another_reference_is_told(
    world: Path, rendered: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    again = ("--reference", "two.exr", "--feature", "pose", "--skip-existing")

    def told() -> str:
        assert run(*FEATURES, *again, "--temperature", "1") == 0
        return capsys.readouterr().err

    assert "1 written" in told()
    assert "another effect or setting" not in told()
    write_exr(world / "two.exr", rendered["two"] * [1.0, 0.5, 0.3])
    assert "made with another effect or setting" in told()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "one.exr", "--feature", "nose"), "a reference needs a card beside it"),
        (("--reference", "wall.exr", "--feature", "nose"), "the reference shows no face"),
        (("--reference", "gone.exr", "--feature", "nose"), "the reference is not there"),
        (("--reference", "two.exr", "--feature", "beak=1"), "has no such feature"),
        (("--reference", "two.exr"), "no feature is named"),
        (("--feature", "nose"), "no reference is named"),
        (("--reference", "two.exr", "--feature", "nose", "--model", "none"), "none"),
    ],
)
def test_what_cannot_be_transferred_is_told_in_a_sentence(
    world: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*FEATURES, *arguments) == 2
    err = capsys.readouterr().err.strip()
    assert message in err and "Traceback" not in err and len(err.splitlines()) == 1
    assert not (world / "out").exists()


def test_a_real_persons_picture_needs_consent_for_the_show(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = """
        id = "two"
        [consent]
        granted_by = "party-7"
        shows = ["kestrel"]
        uses = ["{use}"]
        expires = 2999-01-01
        document_sha256 = "{hash}"
    """
    moved = ("--reference", "two.exr", "--feature", "nose", "--temperature", "1")

    def wrote(use: str, show: str) -> int:
        (world / "two.card.toml").write_text(card.format(use=use, hash="ab" * 32))
        return run(*FEATURES, *moved, "--show", show)

    assert wrote("swap", "kestrel") == 2
    assert "does not cover this use" in capsys.readouterr().err
    assert wrote("feature_reference", "osprey") == 2
    assert "does not cover this show" in capsys.readouterr().err
    assert wrote("feature_reference", "kestrel") == 0
    record = json.loads((world / "out" / "one.vfxswap.json").read_text())
    assert record["effects"][0]["consents"][0].startswith("consent-")
