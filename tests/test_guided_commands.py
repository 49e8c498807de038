"""`vfxswap guided` as an artist runs it: settings by name, estimates with consent, folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Done, Shot, one_sentence

from vfxswap.io.exr import read_image
from vfxswap.io.weights import save_model
from vfxswap.nets.guided_estimator import GuidedEstimator, GuidedEstimatorSettings
from vfxswap.persona import ModelCard

MODELS = Path(__file__).parents[1] / "models"
FINDS = {"VFXSWAP_MODELS": str(MODELS)}
"""The landmarks that ship: small shots come with tracks."""
SYNTHETIC_CARD = 'id = "alder"\nsynthetic = true\n'
REAL_CARD = """id = "rowan"
[consent]
granted_by = "party-7"
shows = ["kestrel"]
uses = ["prescription"]
expires = 2999-01-01
document_sha256 = "{}"
""".format("ab" * 32)


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    found = Shot(tmp_path_factory.mktemp("guided"))
    net = GuidedEstimator(GuidedEstimatorSettings(width=4))
    card = ModelCard(
        name="tiny-estimator", effect="guided_estimator", network="guided_estimator",
        network_settings=net.settings.model_dump(), licence="Apache-2.0", synthetic=True,
        training_data="none", training_licence="CC0-1.0", recipe="none: random weights",
    )  # fmt: skip
    save_model(found.models / "tiny-estimator", card, net.state_dict())
    (found.folder / "a.card.toml").write_text(SYNTHETIC_CARD)
    (found.folder / "r.card.toml").write_text(REAL_CARD)
    return found


def guided(shot: Shot, *more: str, out: str = "out/g.#.exr") -> Done:
    base = ("guided", shot.plate, "--tracks", str(shot.tracks), "-o", out)
    return shot.run(*base, *more)


def test_settings_by_name_change_the_shot_and_give_its_layers(shot: Shot) -> None:
    done = guided(
        shot, "--set", "sphere=-6", "--set", "frames=1", "--set", "tint.color=1,0.8,0.6",
        "--frames-shape", "round",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = read_image(shot.folder / "out/g.1002.exr")
    channels = {name: pixels for part in result.parts for name, pixels in part.channels.items()}
    moved = channels["guided_displacement.red"]
    assert moved.dtype == np.float32 and np.abs(moved).max() > 0
    assert channels["guided_matte.red"].any() and channels["guided_gain.blue"].min() < 1
    plate = read_image(shot.folder / "plates/plate.1002.exr")
    outside = channels["guided_matte.red"] == 0
    for name in "RGB":
        np.testing.assert_array_equal(
            result.part.channels[name][outside], plate.part.channels[name][outside]
        )


def test_a_frame_alone_is_the_frame_of_the_sequence(shot: Shot) -> None:
    wish = ("--set", "sphere=-4", "--set", "frames=1", "--no-sidecar")
    assert guided(shot, *wish, out="whole/g.#.exr").returncode == 0
    assert guided(shot, *wish, "--frames", "1003", out="alone/g.#.exr").returncode == 0
    whole, alone = (read_image(shot.folder / f"{x}/g.1003.exr") for x in ("whole", "alone"))
    for a, b in zip(whole.parts, alone.parts, strict=True):
        for name in a.channels:
            np.testing.assert_array_equal(a.channels[name], b.channels[name])


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (("--set", "sphere=-12"), "sphere is wrong (got -12.0; wanted -8 to 6 dpt)"),
        (("--set", "spere=1"), "spere is unknown (wanted perhaps sphere)"),
        (("--set", "light1.position=1"), "light1.position has three parts"),
        (("--only-glasses",), "an estimate asks for the consent of who is on the plate"),
        (("--only-glasses", "--consent-card", "none.card.toml"), "the card is not there"),
    ],
)
def test_bad_input_ends_with_2_and_one_sentence(
    shot: Shot, wish: tuple[str, ...], said: str
) -> None:
    one_sentence(guided(shot, *wish), 2, said)


def test_an_area_and_its_matte_are_refused_together(shot: Shot) -> None:
    matte = f"area={shot.plate}:A"
    done = guided(shot, "--set", "sphere=-6", "--area", "left", "--matte", matte)
    assert done.returncode == 2 and "area is left, and there is a matte area" in done.stderr


def test_an_estimate_is_a_line_and_json(shot: Shot) -> None:
    card = str(shot.folder / "a.card.toml")
    done = guided(shot, "--estimate", "--consent-card", card, out="e.json")
    assert done.returncode == 0, done.stderr
    assert "face 0: " in done.stdout and "head " in done.stdout
    (row,) = json.loads((shot.folder / "e.json").read_text())
    assert row["face"] == 0 and row["frames"] == 3 and 0 <= row["worn"] <= 1
    assert {"sphere", "cylinder", "axis_deg", "area", "yaw_deg", "sphere_confidence"} <= row.keys()


def test_a_real_person_is_estimated_for_the_shows_of_the_consent_alone(shot: Shot) -> None:
    card = str(shot.folder / "r.card.toml")
    refused = guided(shot, "--estimate", "--consent-card", card, out="x.json")
    assert refused.returncode == 2 and "consent does not cover this show" in refused.stderr
    assert not (shot.folder / "x.json").exists()
    done = guided(shot, "--estimate", "--consent-card", card, "--show", "kestrel", out="k.json")
    assert done.returncode == 0, done.stderr


def test_a_folder_is_corrected_picture_by_picture_and_says_what_it_touched(shot: Shot) -> None:
    album = shot.folder / "album"
    album.mkdir()
    for name in ("one", "two"):
        shutil.copy(shot.folder / "plates/plate.1001.exr", album / f"{name}.exr")
    (album / "broken.exr").write_bytes(b"no picture")
    done = shot.run(
        "guided", str(album), "-o", "fixed", "--remove-refraction", "--only-glasses",
        "--prescription", "estimated", "--consent-card", str(shot.folder / "a.card.toml"),
    )  # fmt: skip
    assert done.returncode == 1  # the broken one
    assert "0 of 3 pictures touched" in done.stdout
    rows = json.loads((shot.folder / "fixed/touched.json").read_text())
    assert [row["plate"] for row in rows] == ["broken.exr", "one.exr", "two.exr"]
    assert "error" in rows[0] and not rows[1]["touched"]
    assert Path(shot.folder / "fixed/one.exr").is_file()


@pytest.mark.slow
def test_angles_get_the_same_glasses_from_left_to_right_with_a_sheet_and_a_report(
    shot: Shot,
) -> None:
    wish = ("--set", "frames=1", "--set", "sphere=-5", "--threads", "1")
    done = shot.run("guided", "synth:amber", "--angles=25,-25", "-o", "angles", *wish, **FINDS)
    assert done.returncode == 0, done.stderr
    rows = json.loads((shot.folder / "angles/angles.json").read_text())
    assert [row["plate"] for row in rows] == ["amber_yaw-25.exr", "amber_yaw+25.exr"]
    for row, yaw in zip(rows, (-25, 25), strict=True):
        assert row["touched"] and row["yaw_deg"] == pytest.approx(yaw, abs=8)
        channels = {
            name: pixels
            for part in read_image(shot.folder / "views" / row["result"]).parts
            for name, pixels in part.channels.items()
        }
        assert channels["guided_frames.alpha"].max() > 0.99
    sheet = read_image(shot.folder / "angles/angles.png").rgb()
    assert sheet.shape[1] > 640 and sheet.std() > 0.05
    # The same pictures again as an album, of which the one nearest to an angle is taken.
    album = shot.folder / "angles/plates"
    (album / "empty.png").write_bytes((shot.folder / "angles/angles.png").read_bytes()[:10])
    done = shot.run("guided", str(album), "--angles=20", "-o", "right", *wish, **FINDS)
    assert done.returncode == 1  # the broken one
    rows = json.loads((shot.folder / "right/angles.json").read_text())
    assert [row["plate"] for row in rows] == ["amber_yaw+25.exr", "empty.png"]
    assert rows[0]["result"] == "01_amber_yaw+25.exr" and "error" in rows[1]


@pytest.mark.parametrize(
    ("plate", "wish", "said"),
    [
        ("synth:amber", ("--angles=all",), "a synthetic performer is rendered at given angles"),
        ("synth:amber", ("--angles=-75",), "a yaw is out of range (got -75; wanted -60 to 60 deg"),
        ("synth:nobody", ("--angles=0",), "unknown performer (got nobody"),
        ("plates", ("--angles=left",), "angles are no numbers (got left; wanted all, or -30,0,30"),
        ("p.exr", ("--angles=0",), "angles are a folder of pictures or a synthetic performer"),
    ],
)
def test_angles_that_cannot_be_are_refused(
    shot: Shot, plate: str, wish: tuple[str, ...], said: str
) -> None:
    one_sentence(shot.run("guided", plate, *wish, "-o", "refused"), 2, said)
    one_sentence(shot.run("guided", plate, *wish, "-o", "refused.exr"), 2, "go into a folder")
