"""Truth for feature transfer: a performer with one feature of another's, and galleries of
performers whose features are known.

A performer's *part* is a soft set of the head's vertices: those that the shape targets of that
part move. "The nose of another" takes its rest shape there, and whatever else is drawn from that
part's parameters (iris, brow hair, lipstick, complexion, hair). Everything else stays the first
performer's, so that the two pictures differ by that feature alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import JobError
from vfxswap.settings import nearest
from vfxswap.synth.camera import Camera
from vfxswap.synth.head import (
    EYE_LEFT,
    EYE_RIGHT,
    HAIR,
    LASHES,
    SKIN,
    TEETH,
    TONGUE,
    Floats,
    head_asset,
)
from vfxswap.synth.identity import Identity
from vfxswap.synth.mesh import pose
from vfxswap.synth.paint import Complexion, paint_skin
from vfxswap.synth.performance import State
from vfxswap.synth.render import Truth

Bools = NDArray[np.bool_]

FEATURES: Final = ("eyes", "brows", "nose", "mouth", "ears", "skin", "hair")

_STEMS: Final = {
    "eyes": ("l-eye-", "r-eye-"),
    "brows": ("eyebrows-",),
    "nose": ("nose-",),
    "mouth": ("mouth-",),
    "ears": ("l-ear-", "r-ear-"),
}
"""Beginnings of the shape targets of a part."""
_WHOLE: Final = {"eyes": (EYE_LEFT, EYE_RIGHT, LASHES), "mouth": (TEETH, TONGUE), "hair": (HAIR,)}
"""Pieces of the mesh that belong to a part as a whole: the eyeballs must stay round."""
_COMPLEXION: Final = {
    "brows": ("brow_thickness_m", "brow_density", "brow_lift_m", "brow_arch"),
    "mouth": ("lipstick",),
    "skin": ("tone", "ruddy"),
    "hair": ("hair", "hairline_m", "hairline_side_m", "scalp"),
}
"""What of the painter's parameters belongs to a part."""
_SHOWN: Final = {
    "eyes": ("eyes",),
    "brows": ("brows",),
    "mouth": ("lips", "mouth"),
    "ears": ("ears",),
    "skin": ("skin", "ears", "body"),
    "hair": ("hair",),
}
"""Mattes of a rendered picture that show a part."""
_FULL_SHARE: Final = 0.35
"""Share of a part's largest move from which a vertex belongs to it in full."""
_GROWN: Final = 0.012
"""Share of the picture's height by which a region reaches beyond its part: antialiasing, and the
shading of skin around it."""


@lru_cache(maxsize=len(FEATURES))
def part_weight(feature: str) -> Floats:
    """[N] in 0…1: how much each vertex of the head belongs to a feature; 0 for skin.

    Raises JobError for an unknown feature.
    """
    _known(feature)
    asset = head_asset()
    weight = np.zeros(len(asset.template), np.float32)
    stems = _STEMS.get(feature, ())
    chosen = [i for i, n in enumerate(asset.local_names) if stems and str(n).startswith(stems)]
    if chosen:
        move = np.linalg.norm(asset.local[chosen], axis=-1).max(0)
        share = np.clip(move / (_FULL_SHARE * move.max()), 0, 1)
        weight = np.asarray(share * share * (3 - 2 * share), np.float32)
    for name, parts in _WHOLE.items():
        corners = asset.triangles[np.isin(asset.part, parts)]
        weight[np.unique(asset.seam_vertex[corners])] = 1.0 if name == feature else 0.0
    return weight


def with_feature(source: Identity, reference: Identity, feature: str) -> Identity:
    """`source` with one feature of `reference`, at the source's texture resolution.

    Raises JobError for an unknown feature.
    """
    _known(feature)
    weight = part_weight(feature)[:, None]
    vertices = source.vertices + weight * (reference.vertices - source.vertices)
    taken = {name: getattr(reference.look, name) for name in _COMPLEXION.get(feature, ())}
    look = replace(source.look, **taken)
    texture = source.texture
    if taken:
        seed = reference.seed if feature == "skin" else source.seed
        texture = paint_skin(np.random.default_rng([10, seed]), look, len(source.texture))
    mixed = replace(
        source, vertices=np.asarray(vertices, np.float32), look=look, texture=texture, cache={}
    )
    if feature == "eyes":
        return replace(
            mixed, iris=reference.iris, pupil_rad=reference.pupil_rad, sclera=reference.sclera
        )
    if feature == "skin":
        return replace(
            mixed, skin=reference.skin, specular=reference.specular, gloss=reference.gloss
        )
    if feature == "hair":
        return replace(mixed, hair=reference.hair)
    return mixed


def region(feature: str, identity: Identity, state: State, camera: Camera, truth: Truth) -> Bools:
    """[H, W] over the camera's window: where a rendered performer shows a feature.

    The part's vertices seen from the front, joined with its mattes, a little grown.
    Raises JobError for an unknown feature.
    """
    _known(feature)
    shown = _projected(feature, identity, state, camera)
    for name in _SHOWN.get(feature, ()):
        shown |= truth.mattes[name] > 0.1
    reach = max(1, round(_GROWN * camera.window.height))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(shown.astype(np.uint8), disc) > 0)


@dataclass(frozen=True, eq=False)
class Known:
    """Parameters of one feature over a gallery of N performers, by kind: `shape` [N, D] in
    millimetres (its Euclidean distance is the root of the mean squared move of the part's
    vertices), and what is painted, [N, P]."""

    groups: tuple[Floats, ...]

    def distances(self) -> Floats:
        """[N, N] distances: each kind counts by its own mean square over all pairs."""
        total = np.zeros((len(self.groups[0]),) * 2, np.float64)
        for group in self.groups:
            values = group.astype(np.float64)
            square = (values**2).sum(1)
            pairs = np.maximum(square[:, None] + square[None] - 2 * values @ values.T, 0)
            if (mean := pairs.mean()) > 0:
                total += pairs / mean
        return np.asarray(np.sqrt(total), np.float32)


def parameters(feature: str, performer: Identity) -> tuple[Floats, ...]:
    """The parameters of a performer's feature by kind; see `Known`. Raises JobError."""
    _known(feature)
    groups: list[Floats] = []
    weight = part_weight(feature)
    if feature in _STEMS:
        moves = (performer.vertices - head_asset().template)[weight > 0] * 1000
        scale = np.sqrt(weight[weight > 0] / weight.sum())[:, None]
        groups.append(np.asarray(moves * scale, np.float32).reshape(-1))
    look = performer.look
    if feature == "eyes":
        groups.append(np.log(performer.iris + 0.01))
    elif feature == "skin":
        groups.append(np.log(performer.skin + 0.01))
    elif feature == "hair":
        style = performer.hair
        groups += [
            np.log(look.hair + 0.01),
            np.array([style.height_m / 0.01, style.cover], np.float32),
            np.array([style.cut_m / 0.05 if style.name == "long" else 12.0], np.float32),
            _numbers(look, ("hairline_m", "hairline_side_m")),
        ]
    elif feature == "brows":
        groups += [
            _numbers(look, ("brow_thickness_m", "brow_lift_m")) * 1000,
            _numbers(look, ("brow_density", "brow_arch")),
            np.log(look.hair + 0.01),
        ]
    elif feature == "mouth":
        groups.append(_numbers(look, ("lipstick",)))
    return tuple(np.asarray(group, np.float32) for group in groups)


def known(performers: Sequence[tuple[Floats, ...]]) -> Known:
    """A gallery's parameters of one feature, from those of its performers."""
    return Known(tuple(np.stack(group) for group in zip(*performers, strict=True)))


def _numbers(look: Complexion, names: Sequence[str]) -> Floats:
    return np.array([getattr(look, name) for name in names], np.float32)


def _projected(feature: str, identity: Identity, state: State, camera: Camera) -> Bools:
    """Triangles of the skin that belong to a part by half, where they face the camera."""
    asset, window = head_asset(), camera.window
    weight = part_weight(feature)
    canvas = np.zeros((window.height, window.width), np.uint8)
    triangles = asset.seam_vertex[asset.triangles[asset.part == SKIN]]
    chosen = triangles[(weight[triangles] > 0.5).all(1)]
    points = camera.project(pose(identity, state).points[chosen])[..., :2] - [window.x, window.y]
    edge, other = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    # Wound anticlockwise seen from outside; the picture's y points down.
    front = edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0] < 0
    fixed = np.round((points[front] - 0.5) * 16).astype(np.int32)
    for corners in fixed:
        cv2.fillConvexPoly(canvas, corners, 1, shift=4)
    return canvas > 0


def _known(feature: str) -> None:
    if feature not in FEATURES:
        raise JobError("no such feature", got=feature, wanted=nearest(feature, FEATURES))
