import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfxswap.align.crop import (
    EYE_DISTANCE,
    EYE_MIDPOINT,
    apply,
    crop_matrix,
    outline,
    template,
)
from vfxswap.errors import VfxSwapError
from vfxswap.geometry import JAW, LANDMARK_COUNT, MIRROR, Similarity
from vfxswap.ops.warp import inverted

similarities = st.builds(
    Similarity,
    st.floats(0.05, 20.0),
    st.floats(-3.0, 3.0),
    st.floats(-3000.0, 6000.0),
    st.floats(-3000.0, 6000.0),
)


def test_template_has_its_eyes_where_stated() -> None:
    points = template(512)
    right, left = points[[36, 39]].mean(0), points[[42, 45]].mean(0)
    np.testing.assert_allclose((right + left) / 2, 512 * np.array(EYE_MIDPOINT), atol=0.1)
    np.testing.assert_allclose(left - right, [512 * EYE_DISTANCE, 0.0], atol=0.1)


def test_template_is_its_own_mirror_image() -> None:
    points = template(1)
    mirrored = points[list(MIRROR)] * [-1.0, 1.0] + [1.0, 0.0]
    np.testing.assert_allclose(mirrored, points, atol=1e-12)


def test_mirroring_twice_renames_nothing() -> None:
    assert [MIRROR[i] for i in MIRROR] == list(range(LANDMARK_COUNT))


@settings(deadline=None, max_examples=50)
@given(similarities, st.sampled_from([64, 256, 1024]))
def test_crop_matrix_undoes_any_similarity_of_the_template(placed: Similarity, size: int) -> None:
    points = placed.apply(template(100))
    matrix = crop_matrix(points, size=size)
    np.testing.assert_allclose(apply(matrix, points), template(size), atol=1e-6 * size)
    np.testing.assert_allclose(apply(inverted(matrix), template(size)), points, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(similarities, st.sampled_from([0.5, 1.5, 2.0]))
def test_squeezed_face_gives_the_same_crop_as_the_square_one(
    placed: Similarity, pixel_aspect: float
) -> None:
    rng = np.random.default_rng(5)
    points = placed.apply(template(100) + rng.normal(0, 2, (LANDMARK_COUNT, 2)))
    squeezed = points / [pixel_aspect, 1.0]
    square = apply(crop_matrix(points, size=256), points)
    anamorphic = apply(crop_matrix(squeezed, size=256, pixel_aspect=pixel_aspect), squeezed)
    np.testing.assert_allclose(anamorphic, square, atol=1e-5)


def test_expression_does_not_move_the_crop() -> None:
    neutral = template(100)
    speaking = neutral.copy()
    speaking[JAW, 1] += 20.0
    speaking[48:68] += 7.0
    np.testing.assert_array_equal(crop_matrix(neutral, size=256), crop_matrix(speaking, size=256))


@pytest.mark.parametrize("value", [3.0, np.nan, np.inf])
def test_landmarks_without_a_place_are_refused(value: float) -> None:
    with pytest.raises(VfxSwapError, match="cannot align a face"):
        crop_matrix(np.full((LANDMARK_COUNT, 2), value), size=256)


def test_outline_follows_the_jaw_and_raises_the_brows_by_the_stated_share() -> None:
    points = template(1000)
    polygon = outline(points)
    assert polygon.shape == (27, 2)
    np.testing.assert_array_equal(polygon[:17], points[JAW])
    face_height = points[8, 1] - points[17:27, 1].mean()
    np.testing.assert_allclose(points[17:27][::-1, 1] - polygon[17:, 1], 0.15 * face_height)
    assert polygon[17, 0] > polygon[-1, 0], "the brow line closes the jaw line in its own turn"


@settings(deadline=None, max_examples=30)
@given(similarities)
def test_outline_moves_with_the_face(placed: Similarity) -> None:
    np.testing.assert_allclose(
        outline(placed.apply(template(100))), placed.apply(outline(template(100))), atol=1e-6
    )


def test_forehead_edge_does_not_follow_the_jaw() -> None:
    points = template(100)
    opened = points.copy()
    opened[4:13, 1] += 15.0
    np.testing.assert_array_equal(outline(points)[17:], outline(opened)[17:])
