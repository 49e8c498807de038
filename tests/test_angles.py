"""Angles of a performer by angle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vfxswap.align.crop import template
from vfxswap.angles import Angle, angles_sheet, nearest_angles
from vfxswap.color import ColorManager
from vfxswap.geometry import Box, Face
from vfxswap.image import Image, Part
from vfxswap.io.exr import write_image


def angle(yaw_deg: float, plate: str = "a.exr") -> Angle:
    points = template(48) + 8
    return Angle(Path(plate), Face(0, points, np.ones(70), 1.0), yaw_deg, 0.0, 0.0)


def test_each_angle_gets_the_nearest_view_that_is_left_from_left_to_right() -> None:
    angles = [angle(yaw) for yaw in (-32, -3, 2, 28)]
    chosen = nearest_angles(angles, [30, 0, -1])
    assert [each.yaw_deg for each in chosen] == [-3, 2, 28]
    assert [each.yaw_deg for each in nearest_angles(angles[:1], [0, 10])] == [-32]
    assert nearest_angles([], [0]) == []


def test_a_sheet_shows_the_faces_of_results_of_any_size(tmp_path: Path) -> None:
    made = []
    for k, size in enumerate((64, 80)):
        pixels = np.full((size, size), 0.2 + 0.3 * k, np.float16)
        window = Box(0, 0, size, size)
        channels = dict.fromkeys("RGB", pixels)
        part = Part(channels=channels, data_window=window, display_window=window)
        file = tmp_path / f"{k}.exr"
        space = "Linear Rec.709 (sRGB)"
        write_image(file, Image(parts=(part,), rgb_names=("R", "G", "B"), color_space=space))
        made.append((angle(-10.0 + 20 * k), file))
    sheet = angles_sheet(made, color=ColorManager(), cell_px=40)
    assert sheet.shape[1] > 80 and sheet.shape[2] == 3
    left, right = (sheet[20, x].mean() for x in (20, sheet.shape[1] - 20))
    assert left == pytest.approx(0.484, abs=0.01) and right == pytest.approx(0.735, abs=0.01)
