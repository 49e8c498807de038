"""What confidence in a landmark means: measured on rendered faces, and set from that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfxswap.align.localise import localise
from vfxswap.align.pose import View
from vfxswap.geometry import Array, Face
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.ops.convert import to_tensor
from vfxswap.train.landmark_data import FaceSet
from vfxswap.train.photo import photographed

NEAR: Final = 0.1
"""A landmark's confidence is how likely it lies nearer to the truth than this, over the distance
of the outer eye corners."""

KNOTS: Final = 11
_STIFFNESS: Final = 20.0
"""Points that a knot counts as beside its neighbours' straight line: keeps rare ones in bounds."""


class Localised(NamedTuple):
    """`confidence` and `error` (over the outer interocular distance) of landmarks, [N] each."""

    confidence: Array
    error: Array


def localised(
    net: LandmarkNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Localised:
    """All landmarks of faces dressed as in training, as tracking localises them from a place a
    little off."""
    confidence, error = [], []
    for done, index in enumerate(indices.tolist(), 1):
        rng = np.random.default_rng([seed, 8, index])
        truth = faces.points[index].astype(np.float64)
        view = View(to_tensor(photographed(faces.picture(index), rng)))
        face_px = float(np.ptp(truth[:68], axis=0).max())
        start = truth + rng.normal(0, 0.05, 2) * face_px
        found = localise(view, Face(0, start, np.ones(len(truth)), 1.0), net)
        outer = float(np.linalg.norm(truth[36] - truth[45]))
        confidence.append(found.confidence)
        error.append(np.linalg.norm(found.points - truth, axis=1) / outer)
        progress(done, len(indices))
    return Localised(np.concatenate(confidence), np.concatenate(error))


def calibrate_confidence(
    net: LandmarkNet, faces: FaceSet, indices: NDArray[np.int64], *, seed: int
) -> None:
    """Sets the net's `likelihood` from faces that it was not trained on: the rising broken line
    that lies nearest to what was measured."""
    plain = tuple(np.linspace(0, 1, KNOTS).tolist())
    net.settings = net.settings.model_copy(update={"likelihood": plain})
    found = localised(net, faces, indices, seed=seed)
    known = rising(found.confidence, found.error < NEAR)
    net.settings = net.settings.model_copy(
        update={"likelihood": tuple(round(float(v), 4) for v in known)}
    )


def rising(confidence: Array, near: NDArray[np.bool_]) -> Array:
    """[KNOTS] heights of a broken line over 0…1 that never falls, by least squares."""
    place = np.clip(confidence, 0, 1) * (KNOTS - 1)
    left = np.minimum(place.astype(int), KNOTS - 2)
    share = place - left
    design = np.zeros((len(place), KNOTS))
    design[np.arange(len(place)), left] = 1 - share
    design[np.arange(len(place)), left + 1] = share
    bend = np.diff(np.eye(KNOTS), 2, axis=0) * np.sqrt(_STIFFNESS)
    system = np.concatenate([design, bend])
    wanted = np.concatenate([near.astype(float), np.zeros(KNOTS - 2)])
    heights = np.linalg.lstsq(system, wanted, rcond=None)[0]
    rising: Array = np.maximum.accumulate(np.clip(heights, 0, 1))
    return rising
