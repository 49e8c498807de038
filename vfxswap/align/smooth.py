"""Steady tracks without lag: local polynomials whose window fits the motion.

Every value becomes that of a quadratic fitted to the frames around it, before and after alike, so
that nothing is delayed. How many is decided for every value of its own: the widest
window whose confidence interval still meets those of all narrower ones (intersection of
confidence intervals: Goldenshluger & Nemirovski 1997; Katkovnik 1999). A still face is averaged
over many frames, a blink over none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from vfxswap.align.crop import template
from vfxswap.geometry import STABLE, Array, Face, Similarity

HALF_WIDTHS: Final = (2, 3, 4, 6, 8, 11)
"""Frames before and after that a window may hold."""

INTERVAL: Final = 1.5
"""Half-width of a confidence interval in standard deviations."""

_LEAST_WEIGHT: Final = 0.05
_THIRD_DIFFERENCE: Final = np.sqrt(20.0)
"""Third differences of white noise have this many times its standard deviation."""


def smooth(
    frames: Mapping[int, Sequence[Face]], *, pixel_aspect: float = 1.0
) -> dict[int, tuple[Face, ...]]:
    """The faces of one scene (no cut in it) with their landmarks steadied, each id on its own.

    Place, size and roll are steadied first, then the shape within them: what shakes as a whole is
    told from what moves in the face. Frames count by the mean confidence of their landmarks.
    Confidence, score and ids stay.
    """
    tracks: dict[int, dict[int, Face]] = {}
    for frame in sorted(frames):
        for face in frames[frame]:
            tracks.setdefault(face.id, {})[frame] = face
    steadied = {id_: _steadied(track, pixel_aspect) for id_, track in tracks.items()}
    return {
        frame: tuple(steadied[face.id][frame] for face in faces) for frame, faces in frames.items()
    }


def steady(values: Array, frames: Array, weights: Array) -> Array:
    """Values [T, N, D] on rising `frames` [T], with weights [T] above 0, steadied: each of the N
    has one window a frame, that all its D components agree on. Noise is told by the values
    themselves, so that [T, N, D] with T < 5 comes back as it is."""
    noise = _noise(values, frames)
    if noise is None:
        return values
    best = values.copy()
    low, high = values - INTERVAL * noise, values + INTERVAL * noise
    open_ = np.ones(values.shape[:2], bool)
    for half_width in HALF_WIDTHS:
        fitted, gain = _fitted(values, frames, weights, half_width)
        reach = INTERVAL * noise * gain[:, None, None]
        low, high = np.maximum(low, fitted - reach), np.minimum(high, fitted + reach)
        open_ &= (low <= high).all(-1) & (gain < 1.0)[:, None]
        best[open_] = fitted[open_]
    return best


class _Upright(NamedTuple):
    """Landmarks taken apart: `centre` [T, 2] of the stable points in square pixels, `size_roll`
    [T, 2] (log of the size, roll in radians), `shape` [T, 70, 2] in template units."""

    centre: Array
    size_roll: Array
    shape: Array


def _steadied(track: Mapping[int, Face], pixel_aspect: float) -> dict[int, Face]:
    squeeze = np.array([pixel_aspect, 1.0])
    points = np.stack([face.points for face in track.values()]) * squeeze
    if not np.isfinite(points).all() or len(track) < 5:
        return dict(track)
    frames = np.array(list(track), float)
    weights = np.array([max(_LEAST_WEIGHT, float(f.confidence.mean())) for f in track.values()])
    upright = _apart(points)
    centre = steady(upright.centre[:, None], frames, weights)[:, 0]
    size_roll = steady(upright.size_roll[:, :, None], frames, weights)[:, :, 0]
    shape = steady(upright.shape, frames, weights)
    together = _together(_Upright(centre, size_roll, shape)) / squeeze
    return {
        frame: replace(face, points=moved)
        for (frame, face), moved in zip(track.items(), together, strict=True)
    }


def _apart(points: Array) -> _Upright:
    model = template(1)
    middle = model[list(STABLE)].mean(0)
    fits = [Similarity.fit(model[list(STABLE)], each[list(STABLE)]) for each in points]
    size_roll = np.array([[np.log(fit.scale), fit.angle_rad] for fit in fits])
    size_roll[:, 1] = np.unwrap(size_roll[:, 1])
    shape = np.stack([f.inverse().apply(each) for f, each in zip(fits, points, strict=True)])
    return _Upright(np.stack([fit.apply(middle) for fit in fits]), size_roll, shape)


def _together(upright: _Upright) -> Array:
    middle = template(1)[list(STABLE)].mean(0)
    points = []
    for centre, (log_size, roll), shape in zip(*upright, strict=True):
        turn = Similarity(float(np.exp(log_size)), float(roll), 0.0, 0.0)
        points.append(turn.apply(shape - middle) + centre)
    return np.stack(points)


def _noise(values: Array, frames: Array) -> Array | None:
    """Standard deviation [N, D] of what changes from frame to frame at random; None where there
    are too few neighbouring frames to tell."""
    third = np.diff(values, 3, axis=0)
    whole = np.diff(frames, 3) == 0
    even = whole & (frames[3:] - frames[:-3] == 3)
    if even.sum() < 2:
        return None
    noise: Array = np.median(np.abs(third[even]), axis=0) / (0.6745 * _THIRD_DIFFERENCE)
    return noise


def _fitted(values: Array, frames: Array, weights: Array, half_width: int) -> tuple[Array, Array]:
    """Values [T, N, D] of quadratics fitted within `half_width` frames, and how many times their
    noise is that of one value [T]; 1 where there are no more than three frames to fit."""
    fitted, gain = values.copy(), np.ones(len(frames))
    for i, frame in enumerate(frames):
        first, last = np.searchsorted(frames, [frame - half_width, frame + half_width + 1])
        if last - first < 4:
            continue
        at = (frames[first:last] - frame) / half_width
        design = np.stack([np.ones_like(at), at, at**2], 1)
        weighted = design * weights[first:last, None]
        taps = np.linalg.solve(weighted.T @ design, weighted.T)[0]
        fitted[i] = np.tensordot(taps, values[first:last], 1)
        gain[i] = np.sqrt((taps**2).sum())
    return fitted, gain
