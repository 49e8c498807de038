"""Cuts are found; pans, flashes and exposure changes are none."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vfxswap.align.cuts import find_cuts, scenes, thumbnail
from vfxswap.align.pose import View
from vfxswap.geometry import Array


def picture(seed: int) -> Array:
    """[240, 960, 3] of soft shapes, in net space."""
    noise = np.random.default_rng(seed).random((12, 48, 3))
    soft: Array = np.clip(cv2.resize(noise, (960, 240), interpolation=cv2.INTER_CUBIC), 0, 1)
    return soft * 0.6


def view(pixels: Array) -> View:
    return View(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float())


def window(scene: Array, left: float, *, grain: int = 0) -> Array:
    cut: Array = scene[:, round(left) : round(left) + 426]
    return cut + np.random.default_rng(grain).normal(0, 0.02, cut.shape)


def cuts(frames: list[Array]) -> tuple[int, ...]:
    return find_cuts({1001 + n: thumbnail(view(frame)) for n, frame in enumerate(frames)})


def test_a_cut_is_found_at_the_first_frame_of_the_new_take() -> None:
    a = [window(picture(1), 2 * n, grain=n) for n in range(10)]
    b = [window(picture(2), 3 * n, grain=n) for n in range(8)]
    c = [window(picture(3), 0, grain=n) for n in range(6)]
    assert cuts(a + b + c) == (1011, 1019)


def test_a_fast_pan_is_no_cut() -> None:
    assert cuts([window(picture(4), 26 * n) for n in range(20)]) == ()


def test_a_flash_is_no_cut() -> None:
    frames = [window(picture(5), 2 * n) for n in range(12)]
    frames[6] = 0.9 - 0.1 * frames[6]
    assert cuts(frames) == ()


def test_a_change_of_exposure_is_no_cut() -> None:
    # Two stops are one offset in a logarithm.
    frames = [window(picture(6), n) + (0.12 if n >= 5 else 0.0) for n in range(10)]
    assert cuts(frames) == ()


def test_black_frames_and_single_frames_have_no_cuts() -> None:
    black = np.zeros((64, 96, 3))
    assert cuts([black] * 5) == ()
    assert cuts([black]) == ()
    assert find_cuts({}) == ()


def test_not_a_number_does_not_hide_a_cut() -> None:
    frames = [window(picture(1), n) for n in range(6)] + [window(picture(2), n) for n in range(6)]
    frames[6][10:20, 10:20] = np.nan
    assert cuts(frames) == (1007,)


def test_scenes_part_at_cuts_also_where_their_frame_is_missing() -> None:
    assert scenes([1, 2, 3, 5, 6, 9], [3, 4, 20]) == [[1, 2], [3], [5, 6, 9]]
    assert scenes([], [3]) == []
