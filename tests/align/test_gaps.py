"""Short gaps in tracks are filled, and say so by their confidence."""

from __future__ import annotations

import numpy as np
import pytest

from vfxswap.align.crop import template
from vfxswap.align.gaps import gaps, without_blips
from vfxswap.geometry import LANDMARK_COUNT, Face


def face(id_: int, x: float, confidence: float = 0.8) -> Face:
    return Face(id_, template(100) + np.array([x, 0.0]), np.full(LANDMARK_COUNT, confidence), 0.9)


def test_a_gap_is_filled_on_the_line_with_fading_confidence() -> None:
    filled = gaps({1: [face(0, 0)], 2: [], 3: [], 4: [face(0, 30)]}, max_gap_frames=2)
    assert sorted(filled) == [2, 3]
    np.testing.assert_allclose(filled[2][0].points, template(100) + np.array([10, 0]))
    assert filled[2][0].confidence[0] == pytest.approx(0.4)
    assert filled[2][0].score == pytest.approx(0.45)
    assert filled[2][0].id == 0


def test_longer_gaps_stay_open() -> None:
    frames = {1: [face(0, 0)], 2: [], 3: [], 4: [face(0, 30)]}
    assert gaps(frames, max_gap_frames=1) == {}
    assert gaps({1: [face(0, 0)], 900: [face(0, 30)]}, max_gap_frames=5) == {}


def test_frames_that_were_not_tracked_are_not_made_up() -> None:
    filled = gaps({1: [face(0, 0)], 3: [], 4: [face(0, 30)]}, max_gap_frames=4)
    assert sorted(filled) == [3]


def test_nothing_is_filled_over_another_face() -> None:
    frames = {1: [face(0, 0)], 2: [face(1, 12)], 3: [face(0, 20)]}
    assert gaps(frames, max_gap_frames=4) == {}


def test_what_flashes_up_unsurely_is_no_face() -> None:
    def scored(id_: int, score: float) -> Face:
        return Face(id_, template(100), np.ones(LANDMARK_COUNT), score)

    frames = {n: [scored(0, 0.4)] for n in range(6)}
    frames[2] = [scored(0, 0.4), scored(1, 0.35)]
    frames[4] = [scored(0, 0.4), scored(2, 0.9)]
    kept = without_blips(frames)
    assert [[f.id for f in kept[n]] for n in range(6)] == [[0], [0], [0], [0], [0, 2], [0]]
    assert len(without_blips({1: [scored(0, 0.35)]})[1]) == 1
