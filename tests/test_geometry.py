"""Boxes, similarities, faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.geometry import LANDMARK_COUNT, STABLE, Box, Face, Similarity

COORDINATE = st.integers(-50, 50)
BOXES = st.builds(Box, COORDINATE, COORDINATE, st.integers(0, 40), st.integers(0, 40))
SIMILARITIES = st.builds(
    Similarity,
    st.floats(0.05, 20),
    st.floats(-3.1, 3.1),
    st.floats(-5000, 5000),
    st.floats(-5000, 5000),
)


def pixels_of(box: Box) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box.x, box.right) for y in range(box.y, box.bottom)}


def some_points(seed: int, count: int = 11) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).uniform(-2000, 4000, (count, 2))


@given(BOXES, BOXES)
def test_an_intersection_holds_the_common_pixels(one: Box, other: Box) -> None:
    assert pixels_of(one.intersection(other)) == pixels_of(one) & pixels_of(other)


@given(BOXES, BOXES)
def test_a_union_is_the_smallest_box_around_both(one: Box, other: Box) -> None:
    union = one.union(other)
    for box in (one, other):
        assert box.intersection(union) == box
    assert (union.x, union.y) == (min(one.x, other.x), min(one.y, other.y))
    assert union.right == max(one.right, other.right)
    assert union.bottom == max(one.bottom, other.bottom)


@given(BOXES, st.integers(0, 30))
def test_growing_is_undone_by_shrinking(box: Box, by: int) -> None:
    grown = box.grown(by)
    assert (grown.width, grown.height) == (box.width + 2 * by, box.height + 2 * by)
    assert grown.grown(-by) == box
    assert box.grown(-50).empty


@given(BOXES, BOXES)
def test_slices_pick_a_boxs_pixels_from_an_array_of_another(inner: Box, outer: Box) -> None:
    inner = inner.intersection(outer)
    if inner.empty:
        return
    ys, xs = np.mgrid[outer.y : outer.bottom, outer.x : outer.right]
    rows, columns = inner.slices_in(outer)
    picked = set(zip(xs[rows, columns].ravel().tolist(), ys[rows, columns].ravel().tolist()))
    assert picked == pixels_of(inner)


@given(SIMILARITIES, st.integers(0, 99))
def test_a_similarity_keeps_angles_and_scales_lengths(similarity: Similarity, seed: int) -> None:
    a, b, c = some_points(seed, 3)
    p, q, r = similarity.apply(np.stack([a, b, c]))
    assert np.linalg.norm(q - p) == pytest.approx(similarity.scale * np.linalg.norm(b - a))
    area = np.linalg.det([b - a, c - a])
    moved = np.linalg.det([q - p, r - p])
    assert moved == pytest.approx(similarity.scale**2 * area, rel=1e-6, abs=1e-3), "a flip"


@given(SIMILARITIES, st.integers(0, 99))
def test_the_inverse_undoes_a_similarity(similarity: Similarity, seed: int) -> None:
    points = some_points(seed)
    back = similarity.inverse().apply(similarity.apply(points))
    np.testing.assert_allclose(back, points, atol=1e-6)


@given(SIMILARITIES, st.integers(0, 99))
def test_the_fit_finds_the_similarity_that_moved_the_points(
    similarity: Similarity, seed: int
) -> None:
    points = some_points(seed)
    found = Similarity.fit(points, similarity.apply(points))
    np.testing.assert_allclose(found.matrix, similarity.matrix, rtol=1e-7, atol=1e-5)


@given(SIMILARITIES, st.integers(0, 99))
def test_no_near_similarity_fits_noisy_points_better(similarity: Similarity, seed: int) -> None:
    rng, points = np.random.default_rng(seed), some_points(seed)
    target = similarity.apply(points) + rng.normal(0, 20, points.shape)
    best = Similarity.fit(points, target)

    def error(tried: Similarity) -> float:
        return float(((tried.apply(points) - target) ** 2).sum())

    for scale, angle, x, y in rng.normal(0, 1, (20, 4)):
        other = Similarity(
            best.scale * (1 + 1e-3 * scale),
            best.angle_rad + 1e-3 * angle,
            best.shift_x + x,
            best.shift_y + y,
        )
        assert error(other) >= error(best) * (1 - 1e-9)


def test_angles_turn_x_towards_y() -> None:
    quarter = Similarity(2.0, np.pi / 2, 10.0, 0.0)
    moved = quarter.apply(np.array([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(moved, [[10, 2], [8, 0]], atol=1e-12)
    np.testing.assert_allclose(quarter.matrix @ (1.0, 0.0, 1.0), [10, 2])


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.zeros((1, 2)), np.zeros((4, 3))])
def test_points_that_fix_no_similarity_raise(
    points: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    with pytest.raises(ValueError, match="point"):
        Similarity.fit(points, points)


def test_a_face_has_all_its_landmarks() -> None:
    points, confidence = np.zeros((LANDMARK_COUNT, 2)), np.ones(LANDMARK_COUNT)
    assert Face(0, points, confidence, 1.0).points.shape == (70, 2)
    assert max(STABLE) < LANDMARK_COUNT
    for broken in (points[:68], points[:, :1]):
        with pytest.raises(ValueError, match="landmarks"):
            Face(0, broken, confidence, 1.0)
