"""The extension in real Blenders, with the real engine and the starter model (-m host).

One process a test, which must end by itself. What only a window shows is not covered here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blender_lab import (
    CLOSE,
    DATA,
    DISPLAY,
    FRAMES,
    Blender,
    Pixels,
    channels,
    command,
    engine,
    errors,
    matte,
    picture,
    pixels,
    shrunk,
    swapped,
    untouched,
)

from vfxswap.effects.describe import description

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]

MATTES = ("swap_matte swap", "swap_matte skin")


# Installing -----------------------------------------------------------------------------------


def test_blenders_own_tool_finds_nothing_wrong(blender: Blender, tmp_path: Path) -> None:
    done = blender.tool("validate", str(blender.archive))
    assert done.returncode == 0, done.stdout
    source = tmp_path / "source"
    shutil.unpack_archive(blender.archive, source)
    built = tmp_path / "built.zip"
    done = blender.tool("build", "--source-dir", str(source), "--output-filepath", str(built))
    assert done.returncode == 0 and built.exists(), done.stdout


def test_every_effect_has_a_node_and_no_engine_is_needed_for_it(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    answer = blender.run("adds_every_node", **{**asked, "engine": "/no/such/engine"})
    known = {effect["name"]: effect for effect in description()["effects"]}
    assert set(answer["nodes"]) == set(known) and "swap" in known
    for name, node in answer["nodes"].items():
        more = [row["role"] for row in known[name]["mattes"]]
        more += [row["setting"] for row in known[name]["pictures"]]
        assert [title.lower() for title in node["inputs"]] == [
            "image",
            *(input_.replace("_", " ") for input_ in more),
        ]
        assert {row["name"] for row in known[name]["settings"]} <= set(node["settings"])
        outputs = dict(node["outputs"])
        assert outputs["Image"] == "RGBA"
        for layer in known[name]["layers"]:
            mine = [kind for socket, kind in outputs.items() if socket.startswith(layer["name"])]
            assert mine, layer["name"]
            if layer["kind"] == "matte":
                assert len(mine) == len(layer["channels"]) and set(mine) == {"VALUE"}
    assert answer["ui"] == ["VFXSWAP_PT_node", "VFXSWAP_MT_add"]
    assert answer["calls"] == 0


def test_the_button_says_what_the_engine_is_or_why_there_is_none(
    blender: Blender, tmp_path: Path
) -> None:
    answer = blender.run("tests_the_engine", out=str(tmp_path))
    assert answer["done"] and engine() in answer["says"] and "swap" in answer["says"]
    answer = blender.run("tests_the_engine", out=str(tmp_path), engine="/no/such/engine")
    assert not answer["done"]
    assert answer["says"] == "the setting names no vfxswap engine: /no/such/engine"


def test_uninstalling_leaves_nothing_behind(
    blender: Blender, asked: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("own")
    own = Blender(blender.version, folder, blender.archive)
    shutil.copytree(blender.resources, own.resources, dirs_exist_ok=True)
    answer = own.run("goes_without_residue", **asked)
    assert answer["done"] == ["FINISHED"]
    assert not answer["engine"], "the engine runs on"
    for what in (
        "handlers", "types", "properties", "operators", "threads", "files", "fetched", "addons",
        "menu",
    ):  # fmt: skip
        assert answer[what] == [], what


def test_the_file_that_blender_shows_is_the_file_that_is_asked_for(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    found = blender.run("resolves_clips", **asked)["found"]
    plates = {frame: picture(shot, "plate", frame) for frame in FRAMES}
    shown = ("plain", "late", "cyclic", "clip", "late clip", "still", "through groups", "muted")
    for name in shown:
        for frame, file in found[name]["files"].items():
            seen = picture(tmp_path, name, int(frame))
            near = {n: float(np.abs(seen - plate).max()) for n, plate in plates.items()}
            assert file == str(shot / f"plate.{min(near, key=lambda n: near[n]):04d}.exr"), name
        assert found[name]["space"] == "Linear Rec.709 (sRGB)"
    assert len(set(found["late"]["files"].values())) == 3, "before the clip Blender shows one more"
    assert "bake it, or tap it" in found["changed"]
    assert "give the image one" in found["no colour"]
    assert found["nothing"] == "nothing is linked to Image"


# Three ways -----------------------------------------------------------------------------------


def test_a_sequence_is_swapped_as_the_command_line_does_it(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    sockets = (*MATTES, "swap_face", "swap_uv", "swap_conf")
    answer = blender.run("renders_from_file", **{**asked, "sockets": sockets})
    assert errors(answer) == []
    for frame in FRAMES:
        comp, plain = picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame)
        outside = untouched(matte(shot, frame), blender)
        assert 0.01 < 1 - outside.mean() < 0.5
        assert np.abs(comp - picture(shot, "out", frame)).max() < CLOSE
        assert np.array_equal(comp[outside], plain[outside])
        assert np.abs(comp - plain)[~outside].max() > 0.05
        assert plain.max() > 10, "highlights far above 1 belong to this plate"
        assert np.array_equal(picture(tmp_path, "again", frame), comp)

    def socket(name: str) -> Pixels:
        return pixels(tmp_path / f"{name}.0002.exr")

    truth = shot / "out.0002.exr"
    assert np.abs(socket("swap_matte_swap")[..., 0] - matte(shot, 2)).max() < CLOSE
    skin = channels(truth, "swap_matte.green")[..., 0]
    assert np.abs(socket("swap_matte_skin")[..., 0] - skin).max() < CLOSE
    face = channels(truth, *(f"swap_face.{c}" for c in ("red", "green", "blue", "alpha")))
    assert np.abs(socket("swap_face") - face).max() < CLOSE
    uv = channels(truth, "swap_uv.red", "swap_uv.green")
    assert np.abs(socket("swap_uv")[..., :2] - uv).max() < CLOSE
    assert np.array_equal(picture(tmp_path, "still", 3), picture(tmp_path, "comp", 3))

    assert answer["first"] >= 1
    assert answer["again"] == answer["sockets"] == answer["first"], "cached frames were rendered"
    assert answer["changed"] > answer["sockets"], "a changed setting was not rendered"
    assert answer["back"] == answer["changed"], "the setting as before is cached"
    half, whole = picture(tmp_path, "half", 2), picture(tmp_path, "whole", 2)
    assert np.array_equal(whole, picture(tmp_path, "comp", 2))
    assert np.abs(half - whole).max() > 0.02

    reopened = {
        "file": str(tmp_path / "scene.blend"), "out": str(tmp_path), "cache": asked["cache"],
        "engine": "/no/such/engine",
    }  # fmt: skip
    answer = blender.run("renders_a_saved_file", **reopened, switched_on=True, name="reopened")
    assert answer["known"] and errors(answer) == []
    changed = blender.run(
        "renders_a_saved_file", **reopened, switched_on=True, name="changed", amount=0.25
    )
    assert [entry["level"] for entry in changed["report"]] == ["WARNING"]
    assert "old or not" in changed["report"][0]["message"]
    bare = blender.run("renders_a_saved_file", **reopened, switched_on=False, name="bare")
    assert not bare["known"]
    for frame in FRAMES:
        for name in ("reopened", "changed", "bare"):
            same = np.array_equal(picture(tmp_path, name, frame), picture(tmp_path, "comp", frame))
            assert same, f"{name} {frame}"


@pytest.mark.parametrize("mode", ["BAKE", "TAP"])
def test_pixels_on_no_disk_are_swapped_as_the_command_line_does_it(
    blender: Blender, asked: dict[str, Any], tmp_path: Path, mode: str
) -> None:
    answer = blender.run("renders_what_is_linked", **{**asked, "mode": mode})
    assert errors(answer) == []
    assert answer["again"] == answer["first"] >= 1
    assert answer["scenes"] == 1, "the copied scene was left behind"
    space = ("--color-space", "Linear Rec.709 (sRGB)")
    if mode == "BAKE":
        truths = swapped(tmp_path, "plain.####.exr", "truth", *space)
    else:
        truths = [
            swapped(tmp_path, "plain.####.exr", f"truth{f}", *space, frames=(f,))[0] for f in FRAMES
        ]
    for frame, truth in zip(FRAMES, truths, strict=True):
        comp, plain = picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame)
        outside = untouched(channels(truth, "swap_matte.red")[..., 0], blender)
        assert 0.01 < 1 - outside.mean() < 0.5
        assert np.abs(comp - channels(truth, "R", "G", "B")).max() < CLOSE
        assert np.array_equal(comp[outside], plain[outside])


@pytest.mark.parametrize("mode", ["BAKE", "TAP"])
def test_a_node_in_nested_groups_sees_its_plate_and_its_holdout(
    blender: Blender, asked: dict[str, Any], tmp_path: Path, mode: str
) -> None:
    answer = blender.run("renders_inside_groups", **{**asked, "mode": mode})
    assert errors(answer) == []
    changed = []
    for frame in FRAMES:
        difference = np.abs(picture(tmp_path, "comp", frame) - picture(tmp_path, "plain", frame))
        columns = np.flatnonzero(difference.max(axis=(0, 2)))
        changed += [columns.min(), columns.max()]
    # The mask holds out the left half; Blender softens its edge by a pixel.
    assert min(changed) >= DATA[0] // 2 - 2
    assert max(changed) > DATA[0] // 2 + 5


# Colour, windows, animation -------------------------------------------------------------------


def test_overscan_lands_in_place_when_the_frame_is_the_display_window(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    answer = blender.run("renders_from_file", **{**asked, "size": DISPLAY})
    assert errors(answer) == []
    border = (DATA[0] - DISPLAY[0]) // 2
    for frame in FRAMES:
        comp, plain = picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame)
        outside = matte(shot, frame)[border:-border, border:-border] == 0
        truth = picture(shot, "out", frame)[border:-border, border:-border]
        # Blender resamples a picture that is larger than the frame, and with it the matte's edge.
        edge = outside & shrunk(outside)
        assert np.array_equal(comp[edge], plain[edge])
        assert np.abs(comp - truth).max() < CLOSE


def test_a_plate_in_another_space_keeps_it_and_its_mattes_stay_data(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    swapped(tmp_path, str(shot / "plate.####.exr"), "truth", "--color-space", "ACEScg")
    answer = blender.run("renders_from_file", **{**asked, "space": "ACEScg", "sockets": MATTES})
    assert errors(answer) == []
    truth = tmp_path / "truth.0002.exr"
    got = pixels(tmp_path / "swap_matte_swap.0002.exr")[..., 0]
    assert np.abs(got - channels(truth, "swap_matte.red")[..., 0]).max() < CLOSE
    # AP1 to Rec.709 primaries, D60 to D65 by Bradford (ACES, TB-2014-004).
    matrix = np.array(
        [
            [1.70505, -0.62179, -0.08326],
            [-0.13026, 1.14080, -0.01055],
            [-0.02400, -0.12897, 1.15297],
        ]
    )
    for frame in FRAMES:
        wanted = picture(tmp_path, "truth", frame) @ matrix.T
        comp = picture(tmp_path, "comp", frame)
        assert np.abs(comp - wanted).max() < 2e-3 * max(1.0, float(np.abs(wanted).max()))
        plain = picture(tmp_path, "plain", frame)
        assert (comp < 0).any() == (plain < 0).any()


def test_animated_settings_are_those_of_their_frame(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    answer = blender.run("animates", **asked)
    assert errors(answer) == []
    assert np.array_equal(picture(tmp_path, "comp", 1), picture(tmp_path, "plain", 1))
    swapped(tmp_path, str(shot / "plate.####.exr"), "half", "--amount", "0.5")
    assert np.abs(picture(tmp_path, "comp", 2) - picture(tmp_path, "half", 2)).max() < CLOSE
    assert np.abs(picture(tmp_path, "comp", 3) - picture(shot, "out", 3)).max() < CLOSE


# Trouble --------------------------------------------------------------------------------------


def test_without_an_engine_the_plate_goes_through_and_it_is_said(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    answer = blender.run("renders_with_trouble", **{**asked, "engine": "/no/such/engine"})
    for frame in FRAMES:
        plain = picture(tmp_path, "plain", frame)
        assert np.array_equal(picture(tmp_path, "comp", frame), plain) and plain.any()
    assert any("/no/such/engine" in entry["message"] for entry in errors(answer))
    assert "VFXSwap: VFXSwap Swap" in answer["said"] and "the plate goes through" in answer["said"]


@pytest.mark.parametrize("when", ["between frames", "at work"])
def test_an_engine_that_is_killed_is_started_anew(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path, when: str
) -> None:
    answer = blender.run("renders_with_trouble", **{**asked, "kill": when})
    assert answer["killed"] == 1 and errors(answer) == []
    for frame in FRAMES:
        comp = picture(tmp_path, "comp", frame)
        assert np.abs(comp - picture(shot, "out", frame)).max() < CLOSE


def test_an_engine_that_dies_at_every_frame_is_given_up(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    dying = tmp_path / "dying"
    dying.write_text(_DYING.format(python=engine().replace("vfxswap", "python")))
    dying.chmod(0o755)
    answer = blender.run("renders_with_trouble", **{**asked, "engine": str(dying)})
    assert answer["calls"] == 2, "asked once, and once more of a new engine"
    assert any("exit code 9" in entry["message"] for entry in errors(answer))
    for frame in FRAMES:
        plain = picture(tmp_path, "plain", frame)
        assert np.array_equal(picture(tmp_path, "comp", frame), plain) and plain.any()


_DYING = """#!{python}
import json, sys
def say(**event): print(json.dumps(event), flush=True)
say(event="hello", protocol=1, version="0", pid=1, device="cpu", effects=[], requests=[])
for line in sys.stdin:
    asked = json.loads(line)
    say(event="accepted", id=asked["id"], request=asked["request"])
    if asked["request"] == "render":
        sys.exit(9)
    say(event="done", id=asked["id"], exit_code=0, report={{"models": [], "broken": []}})
"""


def test_a_broken_frame_of_the_plate_spoils_no_other(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    for frame in FRAMES:
        shutil.copy(shot / f"plate.{frame:04d}.exr", tmp_path / f"plate.{frame:04d}.exr")
    broken = tmp_path / "plate.0002.exr"
    # Blender 5.0.1 itself crashes on an EXR that is cut off, so this one is none at all.
    broken.write_bytes(b"not a picture")
    request = {**asked, "plate": str(tmp_path / "plate.0001.exr")}
    answer = blender.run("renders_with_trouble", **request)
    assert {entry["frame"] for entry in errors(answer)} == {2}
    assert np.array_equal(picture(tmp_path, "comp", 2), picture(tmp_path, "plain", 2))
    for frame in (1, 3):
        inside = matte(shot, frame) > 0.5
        comp, plain = picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame)
        assert np.abs(comp - plain)[inside].mean() > 0.01


def test_a_bad_setting_is_said_once_and_the_plate_goes_through(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    answer = blender.run("renders_with_trouble", **{**asked, "persona": "nobody"})
    said = errors(answer)
    assert len(said) == 1 and "nobody" in said[0]["message"]
    for frame in FRAMES:
        same = np.array_equal(picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame))
        assert same, frame


def test_a_plate_without_a_face_is_left_alone(
    blender: Blender, asked: dict[str, Any], tmp_path: Path
) -> None:
    from small_shot import write_shot

    write_shot(tmp_path, (1, 2, 3))
    for frame in FRAMES:
        (tmp_path / f"plate.{frame}.exr").rename(tmp_path / f"plate.{frame:04d}.exr")
    request = {**asked, "plate": str(tmp_path / "plate.0001.exr"), "size": (52, 34)}
    answer = blender.run("renders_with_trouble", **request)
    assert errors(answer) == []
    for frame in FRAMES:
        comp, plain = picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame)
        assert np.array_equal(comp, plain)
        assert comp.min() < -0.1 and comp.max() > 500, "values of this plate are kept"


def test_an_effect_that_is_new_to_the_extension_comes_with_the_engine(
    blender: Blender, asked: dict[str, Any], shot: Path, tmp_path: Path
) -> None:
    host = blender.environment()
    assert "VFXSWAP_ENGINE" not in host
    program = tmp_path / "gain_engine"
    here = Path(__file__).parent.parent
    program.write_text(
        f"#!{engine().replace('vfxswap', 'python')}\nimport runpy, sys\n"
        f"sys.path[:0] = {[str(here), str(here / 'nuke'), str(here / 'worker')]!r}\n"
        f"runpy.run_path({str(here / 'nuke' / 'gain_engine.py')!r}, run_name='__main__')\n"
    )
    program.chmod(0o755)
    folder = tmp_path / "blender"
    own = Blender(blender.version, folder, blender.archive)
    shutil.copytree(blender.resources, own.resources, dirs_exist_ok=True)
    answer = own.run("learns_new_effects", **asked, engine=str(program), effect="slow")
    assert "slow" not in answer["before"] and "slow" in answer["after"]
    assert errors(answer) == []
    for frame in FRAMES:
        comp, plain = picture(tmp_path, "comp", frame), picture(tmp_path, "plain", frame)
        height, width = plain.shape[:2]
        middle = (height // 2, width // 2)
        assert np.allclose(comp[middle], 2 * plain[middle], rtol=2e-3)
        assert np.array_equal(comp[:20], plain[:20])


def test_nothing_of_the_host_reaches_the_command_line(archive: Path, tmp_path: Path) -> None:
    assert archive.stat().st_size < 200_000
    command(tmp_path, "install", "blender", "--out", "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == archive.read_bytes()
