"""What is measured on faces, against what was drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cartoon import drawn_face
from face_footage import turned

from vfxswap.align.crop import template
from vfxswap.align.head import HeadPose, head_points, head_pose
from vfxswap.color import to_net
from vfxswap.geometry import Array
from vfxswap.image import Pixels
from vfxswap.train.face_set_expression import Expression, expression, frontal
from vfxswap.train.face_set_looks import (
    BLUR_PX,
    LIGHT_PX,
    appearance,
    appearance_values,
    blur_of,
    light_of,
    luma_of,
    packed,
    unpacked,
)


def seen(head: Array, yaw: float, pitch: float = 0.0, roll: float = 0.0) -> tuple[Array, HeadPose]:
    pose = HeadPose(turned(yaw, pitch, roll), 0.7, np.array([140.0, 90.0]))
    points = pose.project(head)
    return points, head_pose(points)


@pytest.mark.parametrize("yaw", [-40, 0, 25, 50])
@pytest.mark.parametrize("pitch", [-20, 0, 15])
def test_expressions_do_not_change_with_the_pose(yaw: float, pitch: float) -> None:
    front = expression(*seen(head_points(), 0))
    posed = expression(*seen(head_points(), yaw, pitch, 8))
    for name in Expression.model_fields:
        assert getattr(posed, name) == pytest.approx(getattr(front, name), abs=0.01)
    points, pose = seen(head_points(), yaw, pitch)
    assert np.allclose(frontal(points, pose), head_points()[:, :2], atol=0.5)


@pytest.mark.parametrize(
    ("name", "points", "by", "wanted"),
    [
        ("mouth_open", (65, 66, 67), (0, 6), 6 / 62.7),
        ("mouth_width", (54,), (6, 0), 6 / 62.7),
        ("corners_up", (48, 54), (0, -4), 4 / 62.7),
        ("jaw", (8,), (0, 5), 5 / 62.7),
        ("lid_right", (40, 41), (0, -3), -3 / 27.5),
        ("lid_left", (46, 47), (0, -3), -3 / 27.5),
        ("gaze_x", (68, 69), (4, 0), 4 / 27.5),
        ("gaze_y", (68, 69), (0, 2), 2 / 27.5),
        ("brows", (*range(17, 27),), (0, -4), 4 / 62.7),
    ],
)
@pytest.mark.parametrize("yaw", [0, 30])
def test_each_coordinate_tells_its_own_movement(
    name: str, points: tuple[int, ...], by: tuple[float, float], wanted: float, yaw: float
) -> None:
    head = head_points()
    before = expression(*seen(head, yaw))
    pose = seen(head, yaw)[1]
    head[list(points), :2] += by
    moved = HeadPose(pose.rotation, pose.scale, pose.origin).project(head)
    after = expression(moved, pose)
    step = getattr(after, name) - getattr(before, name)
    assert step == pytest.approx(wanted, rel=0.12)
    others = [n for n in Expression.model_fields if n != name]
    for other in others:
        # Lids move the eyes' middle, which brows and distances are measured from.
        assert abs(getattr(after, other) - getattr(before, other)) < 0.4 * abs(wanted)


@pytest.mark.parametrize("azimuth", [-60, -20, 0, 35, 60])
@pytest.mark.parametrize("elevation", [0, 30])
def test_light_is_told_from_the_skin(azimuth: float, elevation: float) -> None:
    """On a sphere, which is not the shape that is assumed."""
    size = LIGHT_PX
    y, x = (np.mgrid[0:size, 0:size] + 0.5 - size * 0.5) / (0.42 * size)
    inside = x**2 + y**2 < 0.8
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    a, e = np.radians([azimuth, elevation])
    light = np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)])
    shade = 0.3 + np.maximum(np.stack([x, y, z], -1) @ light, 0)
    rgb = np.repeat(0.2 * shade[..., None], 3, -1).astype(np.float32)
    pose = head_pose(template(size))
    found = light_of(rgb, inside.astype(np.float32), pose)
    assert found is not None
    assert found.azimuth_deg == pytest.approx(azimuth, abs=22)
    assert (found.elevation_deg > 12) == (elevation > 12)
    brighter = light_of(rgb * 8, inside.astype(np.float32), pose)
    assert brighter is not None
    assert brighter.azimuth_deg == pytest.approx(found.azimuth_deg, abs=0.2)
    assert brighter.level == pytest.approx(8 * found.level, rel=1e-3)


def test_without_skin_the_light_is_unknown() -> None:
    rgb = np.full((LIGHT_PX, LIGHT_PX, 3), 0.2, np.float32)
    pose = head_pose(template(LIGHT_PX))
    assert light_of(rgb, np.zeros((LIGHT_PX, LIGHT_PX), np.float32), pose) is None
    assert light_of(rgb * np.nan, np.ones((LIGHT_PX, LIGHT_PX), np.float32), pose) is None


def drawn(sigma: float, *, grain: float = 0.0) -> Pixels:
    """Net-space luma of a drawn face blurred by `sigma` pixels of the crop."""
    fine = np.full((4 * BLUR_PX, 4 * BLUR_PX, 3), 0.1, np.float32)
    drawn_face(template(4 * BLUR_PX), fine, 0.4)
    fine = cv2.GaussianBlur(fine, (0, 0), 4 * np.hypot(sigma, 0.4))
    small = cv2.resize(fine, (BLUR_PX, BLUR_PX), interpolation=cv2.INTER_AREA)
    luma = luma_of(to_net(small))
    noise = np.random.default_rng(1).normal(0, 1, luma.shape)
    return np.asarray(luma + grain * noise, np.float32)


MATTE = np.zeros((BLUR_PX, BLUR_PX), np.float32)
cv2.fillPoly(MATTE, [np.rint(template(BLUR_PX)[[*range(17), 26, 24, 19, 17]]).astype(int)], 1.0)


@pytest.mark.parametrize("grain", [0.0, 0.01])
def test_blur_is_told_in_its_size(grain: float) -> None:
    sizes = (0.5, 1.5, 2.0, 3.0, 4.0)
    found = [blur_of(drawn(sigma, grain=grain), MATTE) for sigma in sizes]
    told = [value for value in found if value is not None]
    assert len(told) == len(sizes)
    assert told == sorted(told)
    assert told[0] < 0.6  # the filter's default
    for sigma, percent in list(zip(sizes, told, strict=True))[2:]:
        assert percent * BLUR_PX / 100 == pytest.approx(sigma, rel=0.45)


def test_motion_in_one_direction_is_blur() -> None:
    sharp = drawn(0.5)
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    moved = cv2.filter2D(sharp, -1, kernel)
    before, after = blur_of(sharp, MATTE), blur_of(moved, MATTE)
    assert before is not None and after is not None
    assert after > 0.6 > before


def test_blur_of_no_face_is_unknown() -> None:
    assert blur_of(drawn(1.0), MATTE * 0) is None


def test_what_is_stored_as_text_comes_back() -> None:
    values = np.random.default_rng(0).normal(0, 1, 96).astype(np.float32).astype(np.float64)
    assert np.array_equal(unpacked(packed(values)), values)
    grey = np.linspace(0.0, 1.2, BLUR_PX**2, dtype=np.float32).reshape(BLUR_PX, BLUR_PX)
    back = appearance_values(appearance(grey)).reshape(12, 12)
    small = cv2.resize(grey, (12, 12), interpolation=cv2.INTER_AREA)
    assert np.abs(back - small).max() < 0.003
