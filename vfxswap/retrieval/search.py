"""Ranking and grouping faces by one feature.

Source: US 2022/0374625 A1 (see the README on patents): a picture as far as one feature goes is
v = q ⊙ σ, with q from that picture alone; pictures are alike in the feature when their v are near,
so that pictures whose q differ are further apart as well.
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

WHOLE = "whole"
"""Compares all coefficients: the face, the light and the pose at once."""
_ROUNDS, _ATTEMPTS = 60, 4


def check_feature(net: FeatureNet, feature: str) -> None:
    """Raises JobError that lists the names, for a feature that the model does not know."""
    known = (*net.feature_names, POSE)
    if feature not in (*known, WHOLE):
        raise JobError("no such feature", got=feature, wanted=", ".join(known))


def vectors(
    net: FeatureNet, faces: Faces, feature: str, *, temperature: float, normalised: bool
) -> Tensor:
    """v [N, C] of faces; for `WHOLE` q is 1 everywhere. Raises JobError for an unknown feature."""
    check_feature(net, feature)
    sigma = faces.sigma.float()
    if feature == WHOLE:
        return layer_normalised(sigma, net.layers) if normalised else sigma
    channels = faces.channels.float()
    (q,) = named_vectors(net, channels, [feature], temperature=temperature)
    return retrieval_vector(sigma, q, normalised_layers=net.layers if normalised else None)


def ranked(query: Tensor, gallery: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of `gallery` [N, C] from the nearest to `query` [1, C], and their distances."""
    distances = torch.cdist(query.double(), gallery.double())[0].numpy()
    order = np.argsort(distances, kind="stable")
    return order, distances[order]


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
