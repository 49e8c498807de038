"""Every effect in real Blenders: its node as an artist meets it, and its pixels (-m host)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from blender_lab import (
    CLOSE,
    DATA,
    FRAMES,
    Blender,
    Pixels,
    channels,
    command,
    errors,
    picture,
    pixels,
    untouched,
)
from vfxswap_blender.description import Effect, parse
from vfxswap_blender.mapping import layer_sockets

from vfxswap.effects import SETTINGS
from vfxswap.effects.describe import description

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]

KNOWN = {effect.name: effect for effect in parse(description()).effects}
CARD = 'id = "ref-1"\nsynthetic = true\n'
COMMON = ("tracks", "show", "seed", "mode")
"""What the panel of every node shows beside the effect's settings."""


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still of another synthetic performer, with its card."""
    folder = tmp_path_factory.mktemp("reference")
    command(
        folder, "synth", "-o", "face.####.exr", "--frames", "1", "--first-frame", "1",
        "--width", "192", "--height", "144", "--no-truth", "--texture-rows", "192", "--personas",
        "cedar", "--samples", "1",
    )  # fmt: skip
    (folder / "ref.card.toml").write_text(CARD)
    return (folder / "face.0001.exr").rename(folder / "ref.exr")


# As an artist meets it ------------------------------------------------------------------------


def test_settings_are_what_the_engine_says_of_them_and_all_are_drawn(
    blender: Blender, asked: dict[str, Any]
) -> None:
    answer = blender.run("shows_settings", **{**asked, "engine": "/no/such/engine"})
    assert set(answer["effects"]) == set(KNOWN) == set(SETTINGS)
    for name, shown in answer["effects"].items():
        rows = {row["name"]: row for row in _rows(name)}
        for setting, row in rows.items():
            seen = shown["properties"][setting]
            assert seen["tip"].startswith(row["help"].rstrip(".")), setting
            if row["keyframes"]:
                assert seen["animatable"], setting
            if seen["range"] is not None:
                for end, low in (("minimum", 0), ("maximum", 1)):
                    if row.get(end) is not None:
                        assert seen["range"][low] == pytest.approx(row[end]), setting
        drawn = [item for item in shown["drawn"] if item in rows and item not in COMMON]
        rows_drawn = [n for n in rows if f"# {_title(n)}" in shown["drawn"] and n not in drawn]
        assert sorted(drawn + rows_drawn) == sorted(rows), name
        assert {"vfxswap.bake", "vfxswap.clear", *COMMON} <= set(shown["drawn"])
        for matte in KNOWN[name].mattes:
            assert shown["inputs"][_title(matte.role)] == matte.help
        for picture_ in KNOWN[name].pictures:
            assert shown["inputs"][_title(picture_.setting)].startswith(picture_.help)
        for layer in KNOWN[name].layers:
            for socket, _ in layer_sockets(layer):
                assert shown["outputs"][socket] == layer.help
    assert answer["add"] == ["VFXSWAP_MT_add"]
    assert answer["menu"] == ["vfxswap.add_node"] * len(KNOWN)
    buttons = {"vfxswap.test_engine", "vfxswap.update_nodes", "vfxswap.remove_unused"}
    assert {"engine", "device", "cache", "limit_gb", *buttons} == set(answer["preferences"])


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _rows(effect: str) -> list[dict[str, Any]]:
    found = next(row for row in description()["effects"] if row["name"] == effect)
    settings: list[dict[str, Any]] = found["settings"]
    return settings


def test_a_node_of_an_earlier_extension_gains_what_it_lacks(
    blender: Blender, asked: dict[str, Any]
) -> None:
    found = blender.run("completes_old_nodes", **asked)["found"]
    assert set(found) == set(KNOWN)
    for name, each in found.items():
        for side in (0, 1):
            assert sorted(each["now"][side]) == sorted(each["whole"][side]), name


def test_effects_that_were_fetched_give_way_to_a_newer_extension(
    blender: Blender, asked: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = Blender(blender.version, tmp_path_factory.mktemp("own"), blender.archive)
    shutil.copytree(blender.resources, own.resources, dirs_exist_ok=True)
    answer = own.run("outlives_an_update", **asked)
    assert answer["names"] == list(KNOWN)
    assert answer["after"] == ["swap_two", *list(KNOWN)[1:]]


def test_a_pair_that_is_removed_takes_its_animation_along_and_no_other(
    blender: Blender, asked: dict[str, Any]
) -> None:
    answer = blender.run("edits_rows", **asked, effect="features", setting="feature")
    amounts = [{"a": 0.0, "b": 1.0, "c": 2.0}, {"a": 0.5, "b": 1.5, "c": 2.5}]
    assert answer["before"][:2] == amounts
    assert answer["after"] == [{k: v for k, v in at.items() if k != "b"} for at in answer["before"]]
    assert answer["driven"] == "amount has a driver, which is not followed: bake it to keyframes"


# Pixels ---------------------------------------------------------------------------------------


def test_styles_by_matte_are_those_of_the_engine(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    half = np.zeros((DATA[1], DATA[0]), np.float32)
    half[:, : DATA[0] // 2] = 1
    write_matte(tmp_path / "left.exr", half, Path(asked["plate"]))
    settings = {"style": {"hatching": 0.6, "neon": 0.4}, "style_a": "ink_wash", "strength": 0.7}
    seen = Seen(blender, asked, "style", settings, mattes={"style_a": str(tmp_path / "left.exr")})
    seen.check()
    share = seen.socket("style_matte green")
    assert share[:, : DATA[0] // 2 - 2].min() > 0.99 and share[:, DATA[0] // 2 + 2 :].max() < 0.01


def test_a_mosaic_that_drifts_is_that_of_the_engine(
    blender: Blender, asked: dict[str, Any]
) -> None:
    settings = {"themes": "gems", "motion": "drift", "size_min_px": 24.0, "layout_seed": 7}
    Seen(blender, asked, "mosaic", settings).check()


def test_glasses_and_light_are_those_of_the_engine(blender: Blender, asked: dict[str, Any]) -> None:
    settings = {"frames": 1.0, "sphere": -6.0, "light1_intensity": 1.5, "light1_x": 1.5}
    Seen(blender, asked, "guided", settings).check()


def test_a_feature_comes_from_the_picture_that_is_linked_and_is_keyed(
    blender: Blender, asked: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    shutil.copytree(reference.parent, tmp_path / "ref")
    linked = tmp_path / "ref" / reference.name
    seen = Seen(
        blender, asked, "features", {"feature": {"hair": 0.0}, "reference": str(linked)},
        keys={"feature": {"hair": {"1": 0.0, "3": 1.0}}},
        linked=("reference",), touch=linked.with_suffix(".card.toml"),
    )  # fmt: skip
    seen.check(frames=(2, 3))
    plain, first = picture(tmp_path, "plain", 1), picture(tmp_path, "comp", 1)
    assert np.array_equal(first, plain), "an amount of 0 leaves the plate alone"
    answer = seen.answer
    assert answer["sockets"] == answer["first"], "cached frames were rendered"
    assert answer["touched"] > answer["sockets"], "another card is looked at again"


def test_a_reference_without_a_card_is_refused_and_the_plate_goes_through(
    blender: Blender, asked: dict[str, Any], reference: Path, tmp_path: Path
) -> None:
    shutil.copy(reference, tmp_path / "nobody.exr")
    settings = {"feature": [["hair", 1.0]], "reference": str(tmp_path / "nobody.exr")}
    answer = blender.run("renders_an_effect", **asked, effect="features", settings=settings)
    assert any("needs a card beside it" in entry["message"] for entry in errors(answer))
    for frame in FRAMES:
        same = np.array_equal(picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame))
        assert same, frame


class Seen:
    """A node of an effect rendered by Blender, beside the engine's own frames of the same job."""

    def __init__(
        self,
        blender: Blender,
        asked: dict[str, Any],
        effect: str,
        settings: dict[str, Any],
        *,
        mattes: dict[str, str] | None = None,
        keys: dict[str, dict[str, dict[str, float]]] | None = None,
        linked: tuple[str, ...] = (),
        touch: Path | None = None,
    ) -> None:
        self.blender, self.effect = blender, KNOWN[effect]
        self.out = Path(asked["out"])
        self._job(asked, settings, mattes or {}, keys or {})
        given = {
            name: [list(pair) for pair in value.items()] if isinstance(value, dict) else value
            for name, value in settings.items()
            if name not in linked
        }
        keyed = {name: next(iter(entries.values())) for name, entries in (keys or {}).items()}
        self.answer = blender.run(
            "renders_an_effect", **asked, effect=effect, settings=given, keys=keyed,
            pictures={_title(name): settings[name] for name in linked},
            mattes={_title(role): path for role, path in (mattes or {}).items()},
            then_touch=[str(touch)] if touch else [],
        )  # fmt: skip

    def _job(
        self,
        asked: dict[str, Any],
        settings: dict[str, Any],
        mattes: dict[str, str],
        keys: dict[str, dict[str, dict[str, float]]],
    ) -> None:
        keyed = {
            name: {entry: {"keys": frames} for entry, frames in entries.items()}
            for name, entries in keys.items()
        }
        spec = {
            "effect": self.effect.name,
            "settings": {**settings, **keyed},
            "mattes": {role: {"pattern": path} for role, path in mattes.items()},
        }
        job = {
            "version": 1,
            "plate": {"pattern": asked["plate"].replace("0001", "####")},
            "frames": "1-3",
            "effects": [spec],
            "output": {"pattern": str(self.out / "truth.####.exr"), "single_part": True},
        }
        (self.out / "job.json").write_text(json.dumps(job))
        command(self.out, "render", "job.json", "--device", "cpu")

    def socket(self, name: str) -> Pixels:
        """[H, W] of a single channel that a socket gave on frame 2."""
        return pixels(self.out / f"{name.replace(' ', '_')}.0002.exr")[..., 0]

    def check(self, frames: tuple[int, ...] = FRAMES) -> None:
        """Comp and every layer are the engine's."""
        assert errors(self.answer) == []
        for frame in frames:
            truth = self.out / f"truth.{frame:04d}.exr"
            comp, plain = (picture(self.out, name, frame) for name in ("comp", "plain"))
            wanted = channels(truth, "R", "G", "B")
            assert np.abs(comp - wanted).max() < CLOSE * max(1.0, float(np.abs(wanted).max()))
            changed = channels(truth, f"{_matte_layer(self.effect)}.red")[..., 0]
            outside = untouched(changed, self.blender)
            assert np.array_equal(comp[outside], plain[outside])
            assert np.abs(comp - plain)[~outside].max() > 0.02, f"{frame} shows no effect"
        self._check_layers(self.out / "truth.0002.exr")

    def _check_layers(self, truth: Path) -> None:
        checked = []
        for layer in self.effect.layers:
            wanted = channels(truth, *(f"{layer.name}.{c}" for c in layer.channels))
            for index, (socket, kind) in enumerate(layer_sockets(layer)):
                got = pixels(self.out / f"{socket.replace(' ', '_')}.0002.exr")
                single = kind == "float"
                want = wanted[..., index : index + 1] if single else wanted
                got = got[..., : want.shape[-1]]
                scale = max(1.0, float(np.abs(want).max()))
                assert np.abs(got - want).max() < CLOSE * scale, socket
                checked.append(socket)
        assert checked == self.answer["outputs"]


def _matte_layer(effect: Effect) -> str:
    return next(layer.name for layer in effect.layers if layer.kind == "matte")


def write_matte(path: Path, values: Pixels, like: Path) -> None:
    """A matte [H, W] as an EXR of one channel, with the windows of a plate."""
    spec = oiio.ImageBuf(str(like)).spec().copy()
    spec.nchannels, spec.channelnames = 1, ("A",)
    buffer = oiio.ImageBuf(spec)
    assert buffer.set_pixels(oiio.ROI(), values[..., None])
    assert buffer.write(str(path)), buffer.geterror()
