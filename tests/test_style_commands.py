"""The style pass from the command line: real EXR files, contact sheet, trainings, bench."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import FRAMES, Shot, one_sentence
from pydantic import JsonValue

from vfxswap.bench_style import PlainNet, style_rows
from vfxswap.errors import JobError
from vfxswap.io.exr import read_image, write_png
from vfxswap.io.weights import find_model, load_net, save_model
from vfxswap.nets.perceptual import Perceptual, PerceptualSettings, balanced
from vfxswap.nets.style import StyleNet, StyleSettings
from vfxswap.persona import ModelCard

STYLES = ("chalk", "ink", "neon")


def _card(name: str, effect: str, network: str, settings: dict[str, JsonValue]) -> ModelCard:
    return ModelCard(
        name=name, effect=effect, network=network, network_settings=settings,
        licence="Apache-2.0", synthetic=True, training_data="none", training_licence="none",
        recipe="none",
    )  # fmt: skip


def write_style_models(folder: Path) -> None:
    """A small style network and a small classifier."""
    torch.manual_seed(4)
    net = StyleNet(StyleSettings(styles=STYLES, widths=(8, 8, 8), blocks=1))
    net.gamma.data.normal_(1, 0.4)
    net.beta.data.normal_(0, 0.4)
    said = net.settings.model_dump(mode="json")
    save_model(folder / "styles", _card("styles", "style", "style", said), net.state_dict())
    judge = balanced(
        Perceptual(PerceptualSettings(widths=(6, 8), convs=(2, 2))), torch.rand(2, 3, 32, 32)
    )
    said = judge.settings.model_dump(mode="json")
    card = _card("judge", "classifier", "perceptual", said)
    save_model(folder / "judge", card, judge.state_dict())


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    shot = Shot(tmp_path_factory.mktemp("style"))
    write_style_models(shot.models)
    return shot


def test_a_shot_is_styled_in_a_blend(shot: Shot) -> None:
    done = shot.run(
        "style", shot.plate, "--model", "styles", "--style", "ink=0.7", "--style", "neon=0.3",
        "-o", "out/blend.#.exr",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for frame in FRAMES:
        image = read_image(shot.folder / f"out/blend.{frame}.exr")
        names = {n for part in image.parts for n in part.channels}
        assert {"style_image.alpha", "style_matte.red"} <= names
        assert "ink" in str(image.parts[0].metadata.get("vfxswap/settings", "ink"))


def test_weights_move_with_the_frames_of_a_job(shot: Shot) -> None:
    keys = {"ink": {"keys": {"1001": 1, "1003": 0}}, "neon": {"keys": {"1001": 0, "1003": 1}}}
    job = {
        "version": 1,
        "plate": {"pattern": shot.plate},
        "effects": [{"effect": "style", "settings": {"model": "styles", "style": keys}}],
        "output": {"pattern": "out/keys.#.exr"},
    }
    (shot.folder / "keys.json").write_text(json.dumps(job))
    assert shot.run("render", "keys.json").returncode == 0
    for name, frame in (("ink", 1001), ("neon", 1003)):
        plain = shot.run(
            "style", shot.plate, "--frames", str(frame), "--model", "styles", "--style", name,
            "-o", f"out/{name}.#.exr",
        )  # fmt: skip
        assert plain.returncode == 0
        keyed, alone = (
            read_image(shot.folder / f"out/{stem}.{frame}.exr").rgb() for stem in ("keys", name)
        )
        assert np.array_equal(keyed, alone)


def test_bad_styles_get_one_sentence(shot: Shot) -> None:
    base = ("style", shot.plate, "--model", "styles", "-o", "out/bad.#.exr")
    one_sentence(shot.run(*base, "--style", "neno"), 2, "no such style", "perhaps neon")
    one_sentence(shot.run(*base, "--style", "ink=0"), 2, "weights of all styles are 0")
    one_sentence(shot.run(*base, "--style", "ink=much"), 2, "no number", "much")
    one_sentence(shot.run(*base), 2, "no style is named")


def test_a_check_finds_unknown_styles_and_keys_that_never_come(shot: Shot) -> None:
    base = ("style", shot.plate, "--model", "styles", "-o", "out/c.#.exr", "--dry-run")
    found = shot.run(*base, "--style", "neno")
    assert found.returncode == 2 and "no such style" in found.stderr
    job = {
        "version": 1,
        "plate": {"pattern": shot.plate},
        "effects": [{"effect": "style", "settings": {
            "model": "styles", "style": {"ink": {"keys": {"1190": 1, "1200": 0.5}}}}}],
        "output": {"pattern": "out/late.#.exr"},
    }  # fmt: skip
    (shot.folder / "late.json").write_text(json.dumps(job))
    late = shot.run("check", "late.json")
    assert late.returncode == 0
    assert "style.style.ink is keyed on 1190,1200 alone" in late.stderr, late.stderr


def test_a_contact_sheet_shows_the_plate_and_all_styles(shot: Shot) -> None:
    base = ("style", shot.plate, "--model", "styles")
    done = shot.run(*base, "--styles", "all", "-o", "out/sheet.png")
    assert done.returncode == 0 and "3 styles" in done.stdout, done.stderr
    sheet = read_image(shot.folder / "out/sheet.png").rgb()
    two = shot.run(*base, "--styles", "ink,neon", "-o", "out/two.png")
    assert "2 styles" in two.stdout
    assert read_image(shot.folder / "out/two.png").rgb().shape[1] < sheet.shape[1]
    one_sentence(shot.run(*base, "--styles", "all", "-o", "out/s.exr"), 2, "PNG")
    one_sentence(shot.run(*base, "--styles", "inc", "-o", "out/s.png"), 2, "perhaps ink")


def test_models_tell_their_styles(shot: Shot) -> None:
    rows = {r["name"]: r for r in json.loads(shot.run("models", "list", "--json").stdout)}
    assert rows["styles"]["styles"] == list(STYLES)
    assert rows["judge"]["styles"] == []


def test_a_style_is_added_from_pictures(shot: Shot) -> None:
    rng = np.random.default_rng(0)
    (shot.folder / "contents").mkdir(exist_ok=True)
    for k in range(3):
        write_png(shot.folder / f"p{k}.png", rng.random((48, 56, 3)).astype(np.float32))
    done = shot.run(
        "train", "style", "--add", "p0.png", "p1.png", "--name", "sand", "--model", "styles",
        "--classifier", "judge", "--out", str(shot.models / "more"), "--work", "work",
        "--iterations", "2", "--batch", "1", "--crop-px", "32", "--content-layers", "relu2_2",
        "--style-layers", "pixels,relu1_2", "--contents", "3", "--contents-px", "48",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VFXSWAP_MODELS", str(shot.models))
        nets = [
            load_net(m.card, m.folder, device="cpu") for m in map(find_model, ("styles", "more"))
        ]
    old, new = (net.state_dict() for net in nets)
    assert isinstance(nets[1], StyleNet) and nets[1].styles == (*STYLES, "sand")
    for name, value in old.items():
        assert torch.equal(value, new[name] if name.startswith("convs") else new[name][:3])
    assert (shot.folder / "work/training-sand/preview.png").is_file()
    again = ("train", "style", "--add", "p0.png", "--name", "ink", "--model", "styles")
    one_sentence(shot.run(*again), 2, "--name and --out")


def test_strips_are_timed_beside_a_plain_network_of_equal_pixels(shot: Shot) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VFXSWAP_MODELS", str(shot.models))
        rows = {r["name"]: r["value"] for r in style_rows("styles", sizes="96x64", runs=1)}
        with pytest.raises(JobError, match="not a size"):
            style_rows("styles", sizes="96", runs=1)
        stored = find_model("styles")
        net = load_net(stored.card, stored.folder, device="cpu")
    assert rows["largest difference 96x64"] < 1e-4
    assert rows["style 96x64"] > 0 < rows["plain network 96x64"]
    assert isinstance(net, StyleNet)
    picture = torch.rand(1, 3, 40, 44) * 0.5
    wanted = net(picture, net.row({"ink": 1}))
    assert torch.allclose(PlainNet(net, "ink")(picture), wanted, atol=1e-5)
