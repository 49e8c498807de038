"""Confidence in landmarks is a likelihood: what is measured is what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.landmark import LandmarkNet, LandmarkSettings
from vfxswap.synth import face_tests
from vfxswap.train.landmark_confidence import KNOTS, NEAR, localised, rising


def test_a_rising_line_is_found_again() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(40_000)
    likelihood = 0.2 + 0.75 * confidence**2
    found = rising(confidence, rng.random(40_000) < likelihood)
    np.testing.assert_allclose(found, 0.2 + 0.75 * np.linspace(0, 1, KNOTS) ** 2, atol=0.04)


def test_the_line_never_falls_and_stays_within_0_and_1() -> None:
    rng = np.random.default_rng(1)
    confidence = np.concatenate([rng.random(300), np.full(5, 0.95)])
    near = np.concatenate([rng.random(300) < 0.5, np.zeros(5, bool)])
    found = rising(confidence, near)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0 and found.max() <= 1


def test_fresh_settings_leave_confidence_as_it_is() -> None:
    confidence = np.linspace(0, 1, 37)
    net = LandmarkNet(LandmarkSettings(width=4))
    np.testing.assert_allclose(net.likely(confidence), confidence, atol=1e-12)


@pytest.mark.slow
def test_the_shipped_net_says_how_often_its_landmarks_are_near(tmp_path: Path) -> None:
    def quiet(*_: object) -> None:
        pass

    stored = find_model("landmarks-synthetic")
    net = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(net, LandmarkNet)
    faces = face_tests.varied(tmp_path, shards=1, progress=quiet)
    found = localised(net, faces, np.arange(0, len(faces), 2), seed=3)
    near = found.error < NEAR
    for low in (0.5, 0.7, 0.9):
        inside = (found.confidence >= low) & (found.confidence < low + 0.2)
        if inside.sum() > 300:
            assert abs(found.confidence[inside].mean() - near[inside].mean()) < 0.1, low
    assert near[found.confidence > 0.9].mean() > near[found.confidence < 0.6].mean() + 0.2
