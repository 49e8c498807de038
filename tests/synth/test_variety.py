"""Wider performers: other faces whose landmarks follow, and the same each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vfxswap.geometry import BROWS, MOUTH, STABLE
from vfxswap.synth.face_plates import CONDITIONS, face_plate
from vfxswap.synth.head import TEETH, head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import State
from vfxswap.synth.variety import BROW_LIFT_M, GAZE_RAD, glancing, varied

ROWS = 96


@pytest.fixture(scope="module")
def performer() -> Identity:
    return Identity.from_seed(77, texture_rows=ROWS)


def test_a_wider_performer_is_the_same_each_time(performer: Identity) -> None:
    one, two = varied(performer), varied(performer)
    np.testing.assert_array_equal(one.vertices, two.vertices)
    np.testing.assert_array_equal(one.texture, two.texture)
    assert one.look.brow_lift_m == two.look.brow_lift_m


def test_brows_and_their_landmarks_move_together(performer: Identity) -> None:
    wide = varied(performer)
    assert 0 < abs(wide.brows_m) <= BROW_LIFT_M
    assert wide.look.brow_lift_m - performer.look.brow_lift_m == pytest.approx(wide.brows_m)
    as_before = pose(replace(wide, brows_m=0.0), State()).landmarks
    moved = pose(wide, State()).landmarks
    np.testing.assert_allclose((moved - as_before)[BROWS], [[0, 0, wide.brows_m]] * 10, atol=1e-9)
    np.testing.assert_array_equal(np.delete(moved, range(17, 27), 0),
                                  np.delete(as_before, range(17, 27), 0))  # fmt: skip


def test_lips_lids_and_teeth_differ_while_the_head_stays(performer: Identity) -> None:
    asset = head_asset()
    moved = np.linalg.norm(varied(performer).vertices - performer.vertices, axis=1)
    at = asset.landmarks
    assert moved[at[MOUTH]].max() > 5e-4
    assert moved[at[list(STABLE)[:4]]].max() < 1e-6
    teeth = np.unique(asset.seam_vertex[asset.triangles[asset.part == TEETH]])
    assert moved[teeth].max() > 1e-5
    lids = [varied(Identity.from_seed(s, texture_rows=ROWS)).resting.max() for s in range(60, 66)]
    assert np.ptp(lids) > 0.05


def test_gaze_reaches_further_and_stays_where_an_iris_shows() -> None:
    gazes = [glancing(State(), np.random.default_rng(k)) for k in range(200)]
    yaw = np.array([g.gaze_yaw for g in gazes])
    assert (yaw == 0).mean() > 0.5, "most keep their gaze"
    assert 0.6 < np.abs(yaw).max() <= GAZE_RAD[0]


@pytest.mark.parametrize("name", ["24 px", "full frame", "roll 45 degrees"])
def test_a_plate_shows_its_face_at_the_size_and_roll_it_says(name: str) -> None:
    condition = next(c for c in CONDITIONS if c.name == name)
    plate = face_plate(condition, 0)
    low, high = plate.points[:68].min(0), plate.points[:68].max(0)
    assert float((high - low).max()) == pytest.approx(condition.face_px, rel=1e-3)
    eyes = plate.points[45] - plate.points[36]
    roll = abs(np.degrees(np.arctan2(eyes[1], eyes[0])))
    assert roll == pytest.approx(condition.roll_deg, abs=12)
    assert np.isfinite(plate.linear).all() and plate.linear.min() >= 0
