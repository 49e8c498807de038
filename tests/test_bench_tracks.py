"""The measures of `bench faces` on paths whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from vfxswap.bench_tracks import lag_frames


def path(shift: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    t = np.arange(60) - shift
    return np.stack([40 * np.sin(t / 7), 25 * np.cos(t / 5.0) + 0.3 * t], 1)


@pytest.mark.parametrize("late", [-1.5, -0.3, 0.0, 0.2, 1.0])
def test_lag_is_found_between_frames(late: float) -> None:
    assert lag_frames(path(late), path(0.0)) == pytest.approx(late, abs=0.08)
