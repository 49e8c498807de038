from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vfxswap.geometry import Array
from vfxswap.ops.matte import (
    feather_inwards,
    grow,
    levels,
    polygon_matte,
    smoothed,
)


def circle(x: float, y: float, radius: float, count: int = 200) -> Array:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)


def disc(radius: float = 20.0, size: int = 64) -> Tensor:
    return polygon_matte(circle(size / 2, size / 2, radius), (size, size))


def area(points: Array) -> float:
    x, y = points.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def test_a_box_covers_pixels_by_their_share() -> None:
    box = np.array([[1.25, 1.0], [4.5, 1.0], [4.5, 3.5], [1.25, 3.5]])
    row = [0.0, 0.75, 1.0, 1.0, 0.5, 0.0]
    expected = torch.tensor([row, row, row, row]) * torch.tensor([0.0, 1.0, 1.0, 0.5])[:, None]
    assert torch.equal(polygon_matte(box, (4, 6))[0, 0], expected)


@given(st.lists(st.tuples(st.floats(2, 38), st.floats(2, 38)), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_triangle_keeps_its_area_and_direction_does_not_matter(
    corners: list[tuple[float, float]],
) -> None:
    points = np.array(corners)
    matte = polygon_matte(points, (40, 40))
    assert math.isclose(float(matte.sum()), area(points), abs_tol=36 / 16)
    assert torch.equal(matte, polygon_matte(points[::-1].copy(), (40, 40)))
    assert float(matte.min()) >= 0 and float(matte.max()) <= 1


def test_a_polygon_is_exactly_zero_outside_and_one_inside() -> None:
    matte = disc()
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    distance = torch.hypot(x - 32, y - 32)
    assert bool((matte[0, 0][distance > 21] == 0).all())
    assert bool((matte[0, 0][distance < 19] == 1).all())


def test_points_off_the_picture_are_cut() -> None:
    box = np.array([[-9.0, -9.0], [3.0, -9.0], [3.0, 99.0], [-9.0, 99.0]])
    matte = polygon_matte(box, (4, 6))[0, 0]
    assert torch.equal(matte, torch.tensor([1.0, 1, 1, 0, 0, 0]).expand(4, 6))
    assert not polygon_matte(box + 500.0, (4, 6)).any()
    assert not polygon_matte(box - 500.0, (4, 6)).any()


def test_bad_polygons_are_refused() -> None:
    with pytest.raises(ValueError, match="polygon"):
        polygon_matte(np.zeros((2, 2)), (4, 4))
    with pytest.raises(ValueError, match="finite"):
        polygon_matte(np.full((3, 2), np.nan), (4, 4))


@pytest.mark.parametrize("by_px", [3.0, 6.5, -4.0, -7.5])
def test_growing_a_disc_changes_its_radius(by_px: float) -> None:
    have, want = grow(disc(), by_px), disc(20.0 + by_px)
    assert (have.sum() / want.sum()).item() == pytest.approx(1.0, abs=0.03)
    assert (have - want).abs().max() < 0.95
    far = grow(disc(20.0 + by_px), 2.0)
    assert not have[far == 0].any()


def test_growing_keeps_soft_values_and_zero_changes_nothing() -> None:
    soft = disc() * 0.5
    assert float(grow(soft, 3.0).max()) == 0.5
    assert torch.equal(grow(soft, 0.0), soft)
    assert bool((grow(soft, 2.5) >= soft).all()) and bool((grow(soft, -2.5) <= soft).all())


def test_the_picture_edge_does_not_eat_a_matte() -> None:
    assert bool((grow(torch.ones(1, 1, 9, 9), -3.0) == 1).all())


@pytest.mark.parametrize("width_px", [1.0, 4.0, 10.0])
def test_feather_spreads_inwards_only(width_px: float) -> None:
    matte = disc()
    soft = feather_inwards(matte, width_px)
    assert bool((soft <= matte).all())
    inner = grow(matte, -width_px - 2)
    assert bool((soft[inner == 1] > 0.999).all())
    row = soft[0, 0, 32, :33]
    assert bool((row.diff() >= -1e-6).all())
    assert float(row.diff().max()) < max(1.0, 2.2 / width_px) + 1e-6


def test_no_feather_is_the_matte_itself() -> None:
    assert torch.equal(feather_inwards(disc(), 0.0), disc())


def test_smoothing_keeps_the_mean_and_ends_at_its_radius() -> None:
    point = torch.zeros(1, 1, 31, 31)
    point[..., 15, 15] = 1.0
    smooth = smoothed(point, 6.0)
    assert float(smooth.sum()) == pytest.approx(1.0, abs=1e-5)
    reached = torch.nonzero(smooth[0, 0])
    assert int(reached.min()) == 10 and int(reached.max()) == 20


def test_levels_stretch_and_clip() -> None:
    matte = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0])
    assert torch.allclose(levels(matte, black=0.2, white=0.8), torch.tensor([0, 0, 0.5, 1, 1]))
    assert torch.equal(levels(matte), matte)
    with pytest.raises(ValueError, match="black"):
        levels(matte, black=0.5, white=0.5)
