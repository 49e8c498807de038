"""Ranking and grouping faces by one feature.

Source: US 2022/0374625 A1 (see the README on patents): a picture as far as one feature goes is
v = q ⊙ σ, with q from that picture alone; pictures are alike in the feature when their v are near,
so that pictures whose q differ are further apart as well. That is `normalised` and `plain`.

`lasting` is this project's addition: σ' of `FeatureNet.lasting`, what lasts of a performer over
light, pose and acting, in the place of σ, and the query's q for both pictures, since q too changes
with the light. The pose does not last: it is compared as `normalised` then.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.effects.feature_edit import named_vectors
from vfxswap.effects.features_settings import POSE
from vfxswap.errors import JobError
from vfxswap.nets.feature_math import layer_normalised, retrieval_vector
from vfxswap.nets.features import FeatureNet
from vfxswap.retrieval.index import Faces
from vfxswap.retrieval.ways import Compare

WHOLE = "whole"
"""Compares all coefficients: the face, the light and the pose at once."""
_ROUNDS, _ATTEMPTS = 60, 4


def check_feature(net: FeatureNet, feature: str) -> None:
    """Raises JobError that lists the names, for a feature that the model does not know."""
    known = (*net.feature_names, POSE)
    if feature not in (*known, WHOLE):
        raise JobError("no such feature", got=feature, wanted=", ".join(known))


def way_of(net: FeatureNet, feature: str, compare: Compare | None = None) -> Compare:
    """The way that was asked for; None is `lasting` where the model knows it and for all but the
    pose, else `normalised`. Raises JobError for `lasting` where it cannot be."""
    fitted = bool(net.settings.lasting)
    if compare is Compare.LASTING and (feature == POSE or not fitted):
        what = "the pose does not last" if fitted else "the model does not know what lasts"
        wanted = f"{Compare.NORMALISED} or {Compare.PLAIN}"
        raise JobError(what, got=compare, wanted=wanted)
    best = Compare.LASTING if fitted and feature != POSE else Compare.NORMALISED
    return compare or best


def vectors(
    net: FeatureNet, faces: Faces, feature: str, *, temperature: float, compare: Compare
) -> Tensor:
    """v [N, C] of faces; for `WHOLE` q is 1 everywhere. `lasting` weighs all of them by their mean
    q. Raises JobError for an unknown feature."""
    values = _values(net, faces, feature, compare)
    if feature == WHOLE:
        return values
    q = _q(net, faces, feature, temperature)
    return retrieval_vector(values, q.mean(0, keepdim=True) if _lasts(feature, compare) else q)


def distances(
    net: FeatureNet,
    queries: Faces,
    faces: Faces,
    feature: str,
    *,
    temperature: float,
    compare: Compare,
) -> Tensor:
    """How unlike each face is to each query in a feature, [queries, faces] float64.

    Raises JobError for an unknown feature.
    """
    if feature == WHOLE or not _lasts(feature, compare):
        mine, theirs = (
            vectors(net, each, feature, temperature=temperature, compare=compare)
            for each in (queries, faces)
        )
        return torch.cdist(mine.double(), theirs.double())
    q = _q(net, queries, feature, temperature).double()
    mine, theirs = (_values(net, f, feature, compare).double() for f in (queries, faces))
    # One by one: expanded squares would not give 0 for a face and itself.
    return torch.stack([((theirs - one) * own).norm(dim=1) for one, own in zip(mine, q)])


def ranked(distances: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of a gallery from the nearest on, and their distances, out of distances [N]."""
    values = distances.double().numpy()
    order = np.argsort(values, kind="stable")
    return order, values[order]


def grouped(values: Tensor, count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """The group of each row of `values` [N, C], by k-means; groups are numbered by size, and
    there are as many as rows where these are fewer. The same for the same seed."""
    points = np.ascontiguousarray(values.float().numpy())
    if len(points) <= count:
        return np.arange(len(points))
    cv2.setRNGSeed(seed)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 1e-4)
    nothing: Any = None
    _, labels, _ = cv2.kmeans(points, count, nothing, criteria, _ATTEMPTS, cv2.KMEANS_PP_CENTERS)
    found = labels[:, 0].astype(np.int64)
    sizes = np.bincount(found, minlength=count)
    rank = np.empty(count, np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    numbered: NDArray[np.int64] = rank[found]
    return numbered


def attributes(
    net: FeatureNet, faces: Faces, feature: str, count: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """Sub-membership groups: k-means of faces over M_k, which channels make the feature of each,
    whatever their values. Raises JobError for the pose and the whole face, which have no M."""
    check_feature(net, feature)
    if feature not in net.feature_names:
        raise JobError("no channels of its own", got=feature, wanted=", ".join(net.feature_names))
    own = faces.channels[:, net.feature_names.index(feature)]
    return grouped(own, count, seed=seed)


def _lasts(feature: str, compare: Compare) -> bool:
    return compare is Compare.LASTING and feature != POSE


def _values(net: FeatureNet, faces: Faces, feature: str, compare: Compare) -> Tensor:
    """What is compared of σ, [N, C]. Raises JobError for an unknown feature."""
    check_feature(net, feature)
    sigma = faces.sigma.float()
    if _lasts(feature, compare):
        return net.lasting(sigma.to(net.lasting_mean.device)).cpu()
    return sigma if compare is Compare.PLAIN else layer_normalised(sigma, net.layers)


def _q(net: FeatureNet, faces: Faces, feature: str, temperature: float) -> Tensor:
    (q,) = named_vectors(net, faces.channels.float(), [feature], temperature=temperature)
    return q
