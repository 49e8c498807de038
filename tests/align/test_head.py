"""The head's pose against heads that are turned on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.align.head import HeadPose, head_points, head_pose, surface_depth
from vfxswap.errors import VfxSwapError
from vfxswap.geometry import Array


def turned(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """[3, 3]: yaw to the picture's right, then pitch down, then roll clockwise."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    )
    about_z = np.array(
        [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    )
    rotation: Array = about_z @ about_x @ about_y
    return rotation


@given(
    yaw=st.floats(-60, 60), pitch=st.floats(-40, 40), roll=st.floats(-80, 80),
    scale=st.floats(0.2, 20), aspect=st.sampled_from([1.0, 2.0]),
)  # fmt: skip
def test_the_pose_of_a_turned_head_is_found(
    yaw: float, pitch: float, roll: float, scale: float, aspect: float
) -> None:
    true = HeadPose(turned(yaw, pitch, roll), scale, np.array([900.0, -40.0]), aspect)
    found = head_pose(true.project(head_points()), pixel_aspect=aspect)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-9)
    np.testing.assert_allclose(found.scale, scale)
    np.testing.assert_allclose(found.origin, true.origin, atol=1e-6)


@pytest.mark.parametrize(
    ("angles", "shown"),
    [((30, 0, 0), (30, 0, 0)), ((0, 20, 0), (0, 20, 0)), ((0, 0, 15), (0, 0, 15))],
)
def test_angles_are_named_by_what_one_sees(
    angles: tuple[float, float, float], shown: tuple[float, float, float]
) -> None:
    pose = HeadPose(turned(*angles), 1.0, np.zeros(2))
    np.testing.assert_allclose(pose.angles_deg, shown, atol=1e-9)
    nose = pose.project(np.array([0.0, 0.0, 20.0]))
    assert nose[0] >= 0 and nose[1] >= 0  # right of and below the eyes, or neither


@given(yaw=st.floats(-50, 50), depth=st.floats(-20, 30))
def test_points_of_a_plane_come_back_from_the_plate(yaw: float, depth: float) -> None:
    pose = HeadPose(turned(yaw, 10, 5), 3.0, np.array([50.0, 60.0]), 2.0)
    points = np.array([[10.0, -5.0, depth], [-31.0, 0.0, depth]])
    np.testing.assert_allclose(pose.onto_plane(pose.project(points), depth), points, atol=1e-9)


def test_the_surface_passes_near_the_landmarks_that_lie_on_it() -> None:
    points = head_points()
    rows = [*range(17, 36), *range(36, 48), 68, 69]
    off = surface_depth(points[rows]) - points[rows, 2]
    assert np.abs(off).mean() < 2 and np.abs(off).max() < 6


def test_landmarks_that_tell_no_pose_are_refused() -> None:
    with pytest.raises(VfxSwapError, match="finite"):
        head_pose(np.full((70, 2), np.nan))
    with pytest.raises(VfxSwapError, match="line"):
        head_pose(np.repeat(np.arange(70.0)[:, None], 2, 1))
