"""Truth for feature transfer: one feature changes, the rest stays."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("warp")

from vfxswap.errors import JobError
from vfxswap.synth.crops import face_camera
from vfxswap.synth.feature_truth import (
    FEATURES,
    known,
    parameters,
    part_weight,
    region,
    with_feature,
)
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import studio_rig
from vfxswap.synth.performance import State
from vfxswap.synth.render import render


@lru_cache(maxsize=3)
def performer(seed: int) -> Identity:
    return Identity.from_seed(9_100_000 + seed, texture_rows=192)


@pytest.mark.parametrize("feature", FEATURES)
def test_only_the_region_of_a_feature_changes(feature: str) -> None:
    source, state = performer(1), State()
    mixed = with_feature(source, performer(2), feature)
    camera = face_camera(source, state, 72, tightness=1.9)
    before, after = (render(p, state, camera, studio_rig()) for p in (source, mixed))
    there = region(feature, source, state, camera, before)
    there |= region(feature, mixed, state, camera, after)
    change = np.abs(after.rgb - before.rgb).mean(-1)
    assert 0.005 < there.mean() < 0.7
    # Beyond it there are shadows alone.
    assert change[there].mean() > 10 * change[~there].mean()


def test_a_feature_taken_from_itself_changes_nothing() -> None:
    source = performer(1)
    for feature in FEATURES:
        same = with_feature(source, source, feature)
        np.testing.assert_allclose(same.vertices, source.vertices, atol=1e-9)
        np.testing.assert_array_equal(same.texture, source.texture)


def test_vertices_outside_a_part_stay_bit_for_bit() -> None:
    source, weight = performer(1), part_weight("nose")
    mixed = with_feature(source, performer(2), "nose")
    np.testing.assert_array_equal(mixed.vertices[weight == 0], source.vertices[weight == 0])
    whole = weight == 1
    np.testing.assert_allclose(mixed.vertices[whole], performer(2).vertices[whole], atol=1e-7)
    assert whole.sum() > 100


@pytest.mark.parametrize("feature", FEATURES)
def test_who_took_a_feature_is_nearest_in_it(feature: str) -> None:
    source, reference = performer(1), performer(2)
    mixed = with_feature(source, reference, feature)
    cast = (source, reference, performer(3), mixed)
    distances = known([parameters(feature, p) for p in cast]).distances()
    np.testing.assert_allclose(distances, distances.T, atol=1e-6)
    assert distances[3, 1] < 0.75 * min(distances[3, 0], distances[3, 2])
    np.testing.assert_allclose(np.diag(distances), 0, atol=0.02)


def test_an_unknown_feature_is_named_with_those_there_are() -> None:
    with pytest.raises(JobError, match=r"no such feature.*beak.*eyes, hair, mouth, nose, skin"):
        with_feature(performer(1), performer(2), "beak")
