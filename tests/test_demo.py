"""The demo on a very small shot, and the parts of its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vfxswap.demo import PERFORMER, SHOT, run
from vfxswap.demo.report import BAR_PX, Stability, contact_sheet, framed, write_report
from vfxswap.geometry import Box
from vfxswap.io.exr import read_image

SMALL = SHOT.model_copy(
    update={"frames": 2, "width": 240, "height": 160, "overscan_px": 8, "motion_samples": 1}
)


def test_the_demo_writes_swaps_sheets_and_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    told: list[str] = []
    result = run(tmp_path, spec=SMALL, progress=lambda what, done, total: told.append(what))
    assert "tracking" in told
    swapped = sorted(result.decibels)
    assert PERFORMER not in swapped and len(swapped) >= 2
    for persona in swapped:
        image = read_image(tmp_path / f"swap_{persona}.1002.exr")
        assert (image.part.data_window.x, image.part.display_window.x) == (-8, 0)
        names = {name for part in image.parts for name in part.channels}
        assert {"swap_face.alpha", "swap_matte.red", "swap_uv.red", "R"} <= names
        assert result.decibels[persona]["comp"] > result.decibels[persona]["plate"]
    page = result.report.read_text(encoding="utf-8")
    assert "http" not in page and "sheet.png" in page and "<svg" in page
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert values["track_error_rms_px"]["1001"] < 6
    assert result.sheet.stat().st_size > 10_000


def test_jitter_leaves_out_a_constant_bias_and_keeps_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bias = np.full((70, 2), 3.0)
    still = [Stability(i, bias) for i in range(20)]
    noisy = [Stability(i, bias + rng.normal(0, 0.5, (70, 2))) for i in range(20)]
    jitter = []
    for series in (still, noisy):
        write_report(tmp_path, {}, {}, series)
        report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        jitter.append(report["track_jitter_rms_px"])
    assert jitter[0] == 0
    assert abs(jitter[1] - 0.5 * np.sqrt(2)) < 0.05


def test_a_contact_sheet_holds_every_tile_at_its_place() -> None:
    red, blue = np.zeros((10, 40, 3), np.float32), np.zeros((10, 40, 3), np.float32)
    red[..., 0], blue[..., 2] = 1, 1
    sheet = contact_sheet([[("a", red), ("b", blue)], [("c", blue), ("d", red)]])
    assert sheet.shape == (2 * (10 + BAR_PX), 80, 3)
    assert np.array_equal(sheet[BAR_PX : BAR_PX + 10, :40], red)
    assert np.array_equal(sheet[-10:, 40:], red)
    assert contact_sheet([[("a", red), ("b", blue)], [("c", blue)]]).shape == sheet.shape
    assert contact_sheet([[("a", red)]], width=20).shape == (5 + BAR_PX, 20, 3)


def test_a_frame_around_a_face_stays_inside_the_picture() -> None:
    points = np.array([[-5.0, 2.0], [30.0, 40.0]])
    rows, columns = framed(points, (50, 60, 3), Box(-10, 0, 0, 0))
    assert (rows.start, rows.stop, columns.start) == (0, 50, 0)
    assert 40 < columns.stop <= 60
