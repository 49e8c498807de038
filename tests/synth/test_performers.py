"""Facts about synthetic performers: the head, identities and acting."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("anny")
pytest.importorskip("warp")

from vfxswap.errors import JobError
from vfxswap.geometry import MIRROR
from vfxswap.synth.head import FACIAL_ACTIONS, cache_file, data_folder, head_asset
from vfxswap.synth.identity import STARTERS, Identity, persona
from vfxswap.synth.mesh import pose, topology
from vfxswap.synth.paint import cloud, skin_color
from vfxswap.synth.performance import (
    INDEX,
    Performance,
    State,
    actions,
    random_expression,
    rotation,
)

ROWS = 192
"""Rows of skin textures here: enough for facts about shape."""


def test_the_head_is_mirror_symmetric_in_its_landmarks() -> None:
    asset = head_asset()
    points = asset.template[asset.landmarks]
    mirrored = points[list(MIRROR)[:68]] * [-1, 1, 1]
    assert np.abs(points - mirrored).max() < 1e-4


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JobError, match=r"pip install 'vfxswap\[synth\]'"):
        data_folder()


def test_importing_synth_modules_loads_neither_warp_nor_anny() -> None:
    code = "import sys, vfxswap.synth.command, vfxswap.synth.crops; " + (
        "sys.exit(bool({'warp', 'anny'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_cached_head_equals_the_built_one() -> None:
    first = head_asset()
    assert cache_file().exists()
    head_asset.cache_clear()
    second = head_asset()
    assert np.array_equal(first.template, second.template)
    assert np.array_equal(first.actions, second.actions)


def test_there_are_52_facial_actions_and_each_moves_the_face() -> None:
    asset = head_asset()
    assert len(FACIAL_ACTIONS) == len(asset.actions) == 52
    reach = np.linalg.norm(asset.actions, axis=-1).max(1)
    assert (reach > 1e-3).all()


def test_a_seed_gives_the_same_performer_twice_and_another_seed_another() -> None:
    first, again, other = (Identity.from_seed(s, texture_rows=ROWS) for s in (5, 5, 6))
    assert np.array_equal(first.vertices, again.vertices)
    assert np.array_equal(first.texture, again.texture)
    assert np.abs(first.vertices - other.vertices).max() > 2e-3


def test_age_changes_a_performer_but_keeps_them_more_alike_than_strangers() -> None:
    young, old = (Identity.from_seed(9, age=a, texture_rows=ROWS) for a in (0.0, 1.0))
    stranger = Identity.from_seed(10, age=0.0, texture_rows=ROWS)
    marks = head_asset().landmarks
    aged = np.linalg.norm((young.vertices - old.vertices)[marks], axis=1).mean()
    unlike = np.linalg.norm((young.vertices - stranger.vertices)[marks], axis=1).mean()
    assert 2e-4 < aged < unlike
    assert young.hair.name == old.hair.name
    assert young.look.tone == old.look.tone


def test_starters_differ_clearly_in_shape_and_skin() -> None:
    cast = [persona(name, texture_rows=ROWS) for name in STARTERS]
    marks = head_asset().landmarks
    for a, b in ((0, 1), (0, 2), (1, 2)):
        apart = np.linalg.norm((cast[a].vertices - cast[b].vertices)[marks], axis=1).mean()
        assert apart > 2.5e-3
        assert abs(cast[a].look.tone - cast[b].look.tone) > 1.0


def test_an_unknown_performer_is_named_in_the_error() -> None:
    with pytest.raises(JobError, match=r"unknown performer.*nobody"):
        persona("nobody")


def test_the_painted_pattern_does_not_depend_on_resolution() -> None:
    coarse = cloud(np.random.default_rng(3), (128, 64), 0.2, 2)
    fine = cloud(np.random.default_rng(3), (256, 128), 0.2, 2)
    reduced = fine.reshape(128, 2, 64, 2).mean((1, 3))
    assert np.corrcoef(coarse.ravel(), reduced.ravel())[0, 1] > 0.99


@given(st.floats(0, 6))
def test_skin_is_redder_than_green_and_greener_than_blue_at_every_tone(tone: float) -> None:
    red, green, blue = skin_color(tone)
    assert 1.0 > red > green > blue > 0.0


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_head_rotation_is_a_rotation(yaw: float, pitch: float, roll: float) -> None:
    matrix = rotation(yaw, pitch, roll)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_positive_yaw_turns_the_nose_to_image_right_and_positive_pitch_down() -> None:
    amber = persona("amber", texture_rows=ROWS)
    straight = pose(amber, State()).landmarks[30]
    assert pose(amber, State(yaw=0.5)).landmarks[30][0] > straight[0] + 0.02
    assert pose(amber, State(pitch=0.4)).landmarks[30][2] < straight[2] - 0.02


def test_gaze_moves_the_pupils_and_not_the_nose() -> None:
    amber = persona("amber", texture_rows=ROWS)
    straight, aside = pose(amber, State()), pose(amber, State(gaze_yaw=0.4))
    assert (aside.landmarks[68:, 0] - straight.landmarks[68:, 0] > 0.004).all()
    assert np.linalg.norm(aside.landmarks[30] - straight.landmarks[30]) < 5e-4


@pytest.mark.parametrize(
    ("acting", "measured", "grows"),
    [
        ({"jawOpen": 1.0}, lambda p: p[62, 2] - p[66, 2], True),
        ({"eyeBlink": 1.0}, lambda p: p[37, 2] - p[41, 2], False),
        ({"mouthPucker": 1.0}, lambda p: p[54, 0] - p[48, 0], False),
        ({"mouthSmile": 1.0}, lambda p: p[54, 2] - p[57, 2], True),
        ({"browInnerUp": 1.0}, lambda p: p[21, 2] - p[39, 2], True),
    ],
)
def test_facial_actions_do_what_they_are_called(acting, measured, grows) -> None:  # type: ignore[no-untyped-def]
    amber = persona("amber", texture_rows=ROWS)
    still = measured(pose(amber, State()).landmarks)
    acted = measured(pose(amber, State(actions(**acting))).landmarks)
    assert (acted - still > 2e-3) if grows else (still - acted > 2e-3)


def test_shoulders_stay_when_the_head_turns() -> None:
    amber = persona("amber", texture_rows=ROWS)
    low = topology().head_weight == 0.0
    straight, turned = pose(amber, State()).points, pose(amber, State(yaw=0.8)).points
    assert low.any()
    assert np.array_equal(straight[low], turned[low])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_random_expressions_stay_in_range(seed: int) -> None:
    state = random_expression(np.random.default_rng(seed))
    assert ((state.actions >= 0) & (state.actions <= 1)).all()
    assert abs(state.gaze_yaw) <= 0.6
    assert abs(state.gaze_pitch) <= 0.35


def test_a_performance_repeats_by_seed_and_moves_smoothly() -> None:
    first, again = Performance(4, 72), Performance(4, 72)
    frames = np.arange(0, 72, 0.25)
    states = [first.at(f) for f in frames]
    assert all(np.array_equal(s.actions, again.at(f).actions) for s, f in zip(states, frames))
    yaw = np.array([s.yaw for s in states])
    acting = np.array([s.actions for s in states])
    assert np.abs(np.diff(yaw)).max() < 0.03
    assert np.abs(np.diff(acting, axis=0)).max() < 0.5
    assert ((acting >= 0) & (acting <= 1)).all()


def test_a_performance_blinks_speaks_and_looks_around() -> None:
    states = [Performance(2, 240).at(f) for f in range(240)]
    blink = np.array([s.actions[INDEX["eyeBlinkLeft"]] for s in states])
    jaw = np.array([s.actions[INDEX["jawOpen"]] for s in states])
    assert blink.max() == pytest.approx(1.0, abs=0.05)
    assert np.median(blink) < 0.05
    assert jaw.max() > 0.3
    assert np.ptp([s.gaze_yaw for s in states]) > 0.3
    assert np.ptp([s.yaw for s in states]) > 0.3
