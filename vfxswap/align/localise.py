"""Landmarks that stand still: the mean of nine localisations around a face.

A small inconsistency of a localisation at network size becomes visible jitter at plate size. So
the face's box (width w) is also moved by beta·w in the eight principal directions, landmarks are
localised again each time, and the nine sets are averaged (US 2020/0372621 A1, para. 52).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch

from vfxswap.align.pose import LandmarkFinder, Pose, View, cut, in_square
from vfxswap.geometry import Array, Face

BETA: Final = 0.05
SHIFTS: Final = tuple((right, down) for down in (-1, 0, 1) for right in (-1, 0, 1))
"""Centre and the eight principal directions."""

AGREEMENT: Final = 0.015
"""Scatter of the nine, in face sizes, at which a point's confidence falls to 1/e. Faces show
about 0.004, other things 0.02 and more."""


class NineShift(NamedTuple):
    """`points` [9, 70, 2] in square pixels of the view, `confidence` [9, 70], `score` [9]."""

    points: Array
    confidence: Array
    score: Array


def nine_shift(view: View, pose: Pose, net: LandmarkFinder, *, beta: float = BETA) -> NineShift:
    """The nine localisations around a pose, in the order of `SHIFTS`, as one batch."""
    poses = [pose.moved(beta * right, beta * down) for right, down in SHIFTS]
    with torch.inference_mode():
        found = net(cut(view, poses, net.SIZE, share=net.SHARE))
    return NineShift(
        in_square(poses, found.points, net.SIZE, share=net.SHARE),
        found.confidence.to("cpu", torch.float64).numpy(),
        found.score.to("cpu", torch.float64).numpy(),
    )


def localise(
    view: View, face: Face, net: LandmarkFinder, *, beta: float = BETA, rounds: int = 2
) -> Face:
    """`face` with its landmarks localised again, in plate pixels; id kept.

    Each round takes its box from the points before, so that the result forgets where the search
    began. A point's confidence is the mean of the nine times their agreement, as `net.likely` reads
    it; the score is the mean of the nine times the mean of these before that. `face.points` need be
    right to within a fifth of the face. A face whose landmarks coincide or are not finite is
    returned with confidence and score 0.
    """
    points = view.to_square(face.points)
    nine = None
    for _ in range(max(1, rounds)):
        pose = _usable(points)
        if pose is None:
            return Face(face.id, face.points, np.zeros(len(points)), 0.0)
        nine = nine_shift(view, pose, net, beta=beta)
        points = nine.points.mean(0)
        scatter = np.sqrt(nine.points.var(0).sum(-1)) / pose.face_px
    assert nine is not None
    confidence = nine.confidence.mean(0) * np.exp(-((scatter / AGREEMENT) ** 2))
    score = float(nine.score.mean() * confidence.mean())
    return Face(face.id, view.to_plate(points), net.likely(confidence), score)


def _usable(points: Array) -> Pose | None:
    if not np.isfinite(points).all():
        return None
    try:
        pose = Pose.of(points)
    except ValueError:
        return None
    return pose if pose.face_px >= 1.0 else None
