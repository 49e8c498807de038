"""Where one take ends and the next begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from torch.nn import functional as F

from vfxswap.align.pose import View
from vfxswap.geometry import Array

THUMBNAIL: Final = (36, 64)
DIFFERENT: Final = 0.45
"""Difference of two thumbnails that may be a cut; unrelated pictures have about 1.1."""

STEP: Final = 2.5
"""A cut differs by so many times what neighbouring frames differ, or it is a fast move."""

NEIGHBOURS: Final = 4
FLASH_FRAMES: Final = 3
"""A picture that is back after fewer frames was lit, or covered, but not cut."""


def thumbnail(view: View) -> Array:
    """[3, 36, 64] of a frame in net space, its mean taken off each channel: there a change of
    exposure is an offset."""
    small = F.adaptive_avg_pool2d(view.halvings[min(2, len(view.halvings) - 1)], THUMBNAIL)
    pixels: Array = small[0].double().cpu().numpy()
    pixels -= pixels.mean((1, 2), keepdims=True)
    return pixels


def find_cuts(thumbnails: Mapping[int, Array]) -> tuple[int, ...]:
    """The frames at which another take begins, of `thumbnail`s by frame number.

    Hard cuts alone: not dissolves, nor cuts between two pictures that look alike in the large.
    """
    frames = sorted(thumbnails)
    steps = np.array(
        [difference(thumbnails[a], thumbnails[b]) for a, b in itertools.pairwise(frames)]
    )
    cuts: list[int] = []
    for i, step in enumerate(steps):
        around = np.concatenate(
            [steps[max(0, i - NEIGHBOURS) : i], steps[i + 1 : i + 1 + NEIGHBOURS]]
        )
        quiet = float(np.median(around)) if len(around) else 0.0
        if step < DIFFERENT or step < STEP * quiet:
            continue
        back = any(
            difference(thumbnails[frames[before]], thumbnails[frames[after]]) < DIFFERENT
            for length in range(1, FLASH_FRAMES)
            for before, after in ((i, i + 1 + length), (i - length, i + 1))
            if before >= 0 and after < len(frames)
        )
        if not back:
            cuts.append(frames[i + 1])
    return tuple(cuts)


def difference(a: Array, b: Array) -> float:
    """How different two thumbnails are: mean difference over mean contrast; 0 for the same."""
    contrast = (float(a.std()) + float(b.std())) / 2
    return float(np.abs(a - b).mean()) / max(contrast, 0.02)


def scenes(frames: Iterable[int], cuts: Iterable[int]) -> list[list[int]]:
    """Frames, ascending, in runs without a cut."""
    begins = sorted(set(cuts))
    runs: list[list[int]] = []
    for frame in sorted(frames):
        # A cut may lie on a frame that is not there.
        if not runs or any(runs[-1][-1] < cut <= frame for cut in begins):
            runs.append([])
        runs[-1].append(frame)
    return runs
