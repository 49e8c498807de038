"""Lenses and frames on a head against optics and geometry that one can do by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.align.head import HeadPose, face_points, surface_depth
from vfxswap.align.spectacles import (
    LEFT,
    RIGHT,
    SHAPES,
    VERTEX_MM,
    Lens,
    arm_outline,
    in_lens_plane,
    on_lens_plane,
    rim_outline,
    seen_through,
)
from vfxswap.geometry import Array

FRONT = HeadPose(np.eye(3), 4.0, np.array([500.0, 400.0]))


def turned(yaw_deg: float) -> HeadPose:
    yaw = np.radians(yaw_deg)
    rotation = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    return HeadPose(rotation, 4.0, np.array([500.0, 400.0]))


def moved(at_mm: tuple[float, float], lens: Lens, *, side: int = LEFT) -> Array:
    """Millimetres by which the lens moves what is seen `at_mm` from its centre, from the front."""
    pixel = FRONT.project(in_lens_plane(np.array([[side * lens.pd_mm / 2 + at_mm[0], at_mm[1]]])))
    shift: Array = (seen_through(pixel, lens, side, FRONT) - pixel)[0] / FRONT.scale
    return shift


@pytest.mark.parametrize("sphere", [-8.0, -4.0, -1.0, 2.0, 6.0])
def test_a_lens_moves_by_its_power_and_the_distance_behind_it(sphere: float) -> None:
    lens = Lens(sphere=sphere)
    right, _ = moved((4.0, 0.0), lens)
    centre = lens.pd_mm / 2
    behind = VERTEX_MM - float(surface_depth(np.array([centre + 4.0, 0.0])))
    # Prentice: the ray that leaves 4 mm from the centre turns by F·4 mm, over the way to the face.
    thin = -sphere / 1000 * 4.0 * behind
    assert abs(right - thin) < 0.12 * abs(thin) + 4.0 * lens.shape_factor + 0.02


@given(sphere=st.floats(-8, 6), cylinder=st.floats(-4, 4), side=st.sampled_from([LEFT, RIGHT]))
def test_nothing_moves_at_the_optical_centre(sphere: float, cylinder: float, side: int) -> None:
    lens = Lens(sphere=sphere, cylinder=cylinder, axis_deg=33.0)
    assert np.abs(moved((0.0, 0.0), lens, side=side)).max() < 1e-6


def test_a_cylinder_acts_across_its_axis() -> None:
    for axis, along in ((0.0, 0), (90.0, 1)):
        at = [0.0, 0.0]
        at[along] = 5.0
        weak = moved((at[0], at[1]), Lens(cylinder=-4.0, axis_deg=axis))
        strong = moved((at[1], at[0]), Lens(cylinder=-4.0, axis_deg=axis))
        assert abs(weak[along]) < 0.25 * abs(strong[1 - along])


def test_axes_of_0_and_180_degrees_are_one_and_signs_of_cylinders_transpose() -> None:
    at = (3.0, -4.0)
    np.testing.assert_allclose(
        moved(at, Lens(-2.0, -1.0, 0.0)), moved(at, Lens(-2.0, -1.0, 180.0)), atol=1e-9
    )
    np.testing.assert_allclose(
        moved(at, Lens(-2.0, -1.0, 30.0)), moved(at, Lens(-3.0, 1.0, 120.0)), atol=1e-9
    )


def test_the_picture_moves_away_from_the_base_of_a_prism() -> None:
    # What is shown lies towards the base, so the picture goes to the apex.
    right, down = moved((0.0, 0.0), Lens(prism=5.0, prism_base_deg=0.0))
    assert right > 0.4 and abs(down) < 0.1
    right, down = moved((0.0, 0.0), Lens(prism=5.0, prism_base_deg=90.0))
    assert down < -0.4 and abs(right) < 0.1


@given(sphere=st.floats(-8, 6), yaw=st.floats(-30, 30), x=st.floats(-12, 12), y=st.floats(-9, 9))
def test_taken_off_and_put_on_again_a_lens_changes_nothing(
    sphere: float, yaw: float, x: float, y: float
) -> None:
    pose, lens = turned(yaw), Lens(sphere=sphere, cylinder=-0.75, axis_deg=70.0)
    pixels = pose.project(in_lens_plane(np.array([[lens.pd_mm / 2 + x, y]])))
    back = seen_through(pixels, lens, LEFT, pose, removed=True)
    again = seen_through(back, lens, LEFT, pose)
    np.testing.assert_allclose(again, pixels, atol=0.3)


def test_without_power_pixels_are_given_back_as_they_are() -> None:
    pixels = np.random.default_rng(0).random((5, 4, 2)) * 900
    assert seen_through(pixels, Lens(pd_mm=70.0), LEFT, turned(20)) is pixels


@given(yaw=st.floats(-40, 40), x=st.floats(-60, 60), y=st.floats(-30, 30))
def test_points_of_the_lens_plane_come_back_from_the_plate(yaw: float, x: float, y: float) -> None:
    pose = turned(yaw)
    points = in_lens_plane(np.array([[x, y]]))
    np.testing.assert_allclose(on_lens_plane(pose, pose.project(points)), points, atol=1e-9)


@given(yaw=st.floats(-30, 30), x=st.floats(-25, 25), y=st.floats(-25, 25))
def test_a_ray_meets_the_face_where_it_is_seen(yaw: float, x: float, y: float) -> None:
    pose = turned(yaw)
    pixel = pose.project(np.array([[x, y, 0.0]]))
    met = face_points(pose, pixel)
    np.testing.assert_allclose(pose.project(met), pixel, atol=1e-6)
    assert abs(met[0, 2] - surface_depth(met)[0]) < 1.5


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_are_symmetric_and_leave_the_nose_and_the_pupils_free(shape: str) -> None:
    left, right = (rim_outline(shape, side) for side in (LEFT, RIGHT))
    np.testing.assert_allclose(left * [-1, 1], right)
    assert left[:, 0].min() > 6.0  # millimetres beside the middle of the nose
    low, high = left.min(0), left.max(0)
    assert low[0] < 28 and high[0] > 34 and low[1] < -8 and high[1] > 8
    grown = rim_outline(shape, LEFT, grown_mm=3.0)
    assert grown[:, 0].max() > high[0] + 2.5 and grown[:, 1].min() < low[1] - 2.5


def test_of_a_turned_head_the_near_arm_alone_is_in_sight() -> None:
    near, far = (arm_outline("trapeze", side, turned(30)) for side in (RIGHT, LEFT))
    assert far is None and near is not None
    assert np.ptp(near[:, 0]) > 20 * FRONT.scale
    assert arm_outline("trapeze", LEFT, turned(-30)) is not None
