"""Tracks are steadied without delay and without flattening what moves."""

from __future__ import annotations

import numpy as np
import pytest

from vfxswap.align.crop import template
from vfxswap.align.smooth import smooth, steady
from vfxswap.geometry import LANDMARK_COUNT, Array, Face, Similarity

LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
BLINK = {20: 0.9, 21: 1.0, 22: 0.6, 19: 0.3, 23: 0.2}


def performance(frames: int, *, moving: bool) -> Array:
    """[T, 70, 2] landmarks of a head of 400 px that blinks every two seconds."""
    shot = []
    for n in range(frames):
        points = template(400).copy()
        closed = BLINK.get(n % 48, 0.0)
        for upper, lower in LIDS:
            middle = (points[upper] + points[lower]) / 2
            points[[upper, lower]] += (middle - points[[upper, lower]]) * closed
        if moving:
            phase = 2 * np.pi * n / 40
            move = Similarity(
                1 + 0.1 * np.sin(0.7 * phase), 0.15 * np.sin(phase), 200 * np.sin(phase) + 3 * n, 0
            )
            points = move.apply(points)
        shot.append(points)
    return np.stack(shot)


def smoothed(points: Array, *, pixel_aspect: float = 1.0, skip: tuple[int, ...] = ()) -> Array:
    ones = np.ones(LANDMARK_COUNT)
    frames = {n: (Face(3, p, ones, 1.0),) for n, p in enumerate(points) if n not in skip}
    result = smooth(frames, pixel_aspect=pixel_aspect)
    assert all(face.id == 3 for faces in result.values() for face in faces)
    return np.stack([result[n][0].points for n in sorted(result)])


def rms(a: Array, b: Array) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))


@pytest.mark.parametrize("noise_px", [0.2, 0.5, 1.0])
def test_a_still_face_shakes_less_than_half(noise_px: float) -> None:
    truth = performance(96, moving=False)
    noisy = truth + np.random.default_rng(1).normal(0, noise_px, truth.shape)
    assert rms(smoothed(noisy), truth) < 0.5 * rms(noisy, truth)


@pytest.mark.parametrize("noise_px", [0.2, 0.5, 1.0])
def test_a_moving_face_is_nearer_the_truth_than_unsmoothed(noise_px: float) -> None:
    truth = performance(96, moving=True)
    noisy = truth + np.random.default_rng(1).normal(0, noise_px, truth.shape)
    assert rms(smoothed(noisy), truth) < 0.8 * rms(noisy, truth)


def test_nothing_lags() -> None:
    truth = performance(120, moving=True)
    noisy = truth + np.random.default_rng(1).normal(0, 0.5, truth.shape)
    path, wanted = smoothed(noisy)[:, 30, 0], truth[:, 30, 0]
    assert abs(lag_frames(path, wanted)) < 0.1
    assert lag_frames(np.roll(wanted, 1), wanted) == pytest.approx(1.0, abs=0.15)


def lag_frames(path: Array, wanted: Array) -> float:
    """Frames by which `path` comes late: peak of the correlation of speeds, between frames."""
    a, b = np.diff(path)[8:-8], np.diff(wanted)
    scores = [
        float(np.corrcoef(a, b[8 + s : len(b) - 8 + s])[0, 1]) for s in (-3, -2, -1, 0, 1, 2, 3)
    ]
    top = int(np.argmax(scores))
    left, middle, right = scores[top - 1 : top + 2]
    return -(top - 3 + 0.5 * (left - right) / (left - 2 * middle + right))


def test_a_blink_keeps_nine_tenths_of_its_depth() -> None:
    truth = performance(96, moving=False)
    noisy = truth + np.random.default_rng(1).normal(0, 0.4, truth.shape)
    opening = smoothed(noisy)
    for upper, lower in LIDS:
        wanted = np.ptp(truth[10:30, lower, 1] - truth[10:30, upper, 1])
        kept = np.ptp(opening[10:30, lower, 1] - opening[10:30, upper, 1])
        assert kept > 0.85 * wanted
    # The mean of the four is less moved by noise.
    assert np.mean([np.ptp(opening[10:30, b, 1] - opening[10:30, a, 1]) for a, b in LIDS]) > (
        0.9 * np.mean([np.ptp(truth[10:30, b, 1] - truth[10:30, a, 1]) for a, b in LIDS])
    )


def test_without_noise_nothing_changes() -> None:
    truth = performance(60, moving=True)
    np.testing.assert_allclose(smoothed(truth), truth, atol=0.35)


def test_time_runs_both_ways_alike() -> None:
    noisy = performance(50, moving=True) + np.random.default_rng(2).normal(0, 0.5, (50, 70, 2))
    np.testing.assert_allclose(smoothed(noisy[::-1].copy())[::-1], smoothed(noisy), atol=1e-6)


def test_a_squeezed_plate_gives_the_same_track() -> None:
    noisy = performance(50, moving=True) + np.random.default_rng(2).normal(0, 0.5, (50, 70, 2))
    squeezed = smoothed(noisy / [2, 1], pixel_aspect=2.0) * [2, 1]
    np.testing.assert_allclose(squeezed, smoothed(noisy), atol=1e-6)


def test_missing_frames_do_not_bend_the_path() -> None:
    truth = performance(60, moving=False)
    noisy = truth + np.random.default_rng(3).normal(0, 0.5, truth.shape)
    skip = (30, 31, 40)
    kept = [n for n in range(60) if n not in skip]
    assert rms(smoothed(noisy, skip=skip), truth[kept]) < 0.55 * rms(noisy, truth)


def test_short_tracks_stay_as_they_are() -> None:
    points = performance(4, moving=True)
    np.testing.assert_array_equal(smoothed(points), points)


def test_a_line_is_kept_exactly() -> None:
    frames = np.arange(30.0)
    line = (3.0 + 0.7 * frames)[:, None, None] * np.ones((1, 2, 2))
    np.testing.assert_allclose(steady(line, frames, np.ones(30)), line, atol=1e-9)
