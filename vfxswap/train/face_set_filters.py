"""Which faces stay in a set. Works on what was measured alone: no plate is read."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from vfxswap.geometry import Array
from vfxswap.train.face_set import Reason, SetFace, SetShot
from vfxswap.train.face_set_looks import APPEARANCE_PX, appearance_values, unpacked
from vfxswap.train.face_set_settings import FaceFilters

NEIGHBOURS: Final = 12
"""Frames before and after over which a face's looks are averaged: single ones say little."""

LEAST_FOR_LIKENESS: Final = 5
"""Faces that a persona's own middle is at least taken from."""

UNITS: Final[Mapping[str, float]] = {
    "mouth_open": 0.06,
    "mouth_width": 0.06,
    "corners_up": 0.04,
    "lid_right": 0.06,
    "lid_left": 0.06,
    "gaze_x": 0.06,
    "gaze_y": 0.06,
    "brows": 0.04,
}
"""Slight changes of expression: what counts 1 in a distance."""

POSE_UNIT_DEG: Final = 4.0
APPEARANCE_UNIT: Final = 0.025
"""Net-space difference, RMS over the small picture, that counts 1: less than half a stop."""


def filtered(
    faces: Sequence[SetFace],
    shots: Mapping[str, SetShot],
    filters: FaceFilters,
    *,
    reference: Array | None = None,
) -> list[SetFace]:
    """The faces with likeness, reason and, for duplicates, the sharper face they are like.

    `reference` [L] is a descriptor of the persona; without it the middle of all faces that are
    seen well enough is. Depends on nothing but the faces; their order does not matter.
    """
    ordered = sorted(faces, key=lambda face: face.place)
    reasons = [_by_itself(face, filters) for face in ordered]
    looks = _over_time(ordered, shots)
    clear = [i for i, reason in enumerate(reasons) if not reason]
    if reference is None and len(clear) >= LEAST_FOR_LIKENESS:
        reference = middle(np.stack([looks[i] for i in clear]))
    likeness = [None if reference is None else _cosine(look, reference) for look in looks]
    for i in clear:
        value = likeness[i]
        if value is not None and value < filters.min_likeness:
            reasons[i] = "person"
    like: dict[int, int] = {}
    if filters.duplicate_distance > 0:
        left = [i for i in clear if not reasons[i]]
        like = duplicates([ordered[i] for i in left], filters.duplicate_distance)
        like = {left[i]: left[j] for i, j in like.items()}
    return [
        face.model_copy(
            update={
                "likeness": None if likeness[i] is None else round(float(likeness[i] or 0), 4),
                "reason": "duplicate" if i in like else reasons[i],
                "like": ordered[like[i]].file if i in like else "",
            }
        )
        for i, face in enumerate(ordered)
    ]


def _by_itself(face: SetFace, filters: FaceFilters) -> Reason:
    checks: tuple[tuple[Reason, bool], ...] = (
        ("gone", face.gone),
        ("unsure", face.score < filters.min_score),
        ("broken", face.broken > filters.max_broken),
        ("outside", face.outside > filters.max_outside),
        ("size", face.resolution < filters.min_resolution),
        ("occluded", face.occlusion > filters.max_occlusion),
        ("blurred", face.blur is None or face.blur > filters.max_blur),
    )
    return next((reason for reason, holds in checks if holds), "")


def middle(looks: Array) -> Array:
    """[L] unit vector in the middle of descriptors [N, L], without the half least like it."""
    centre = _unit(looks.mean(0))
    for _ in range(4):
        alike = looks @ centre
        centre = _unit(looks[alike >= np.median(alike)].mean(0))
    return centre


def duplicates(faces: Sequence[SetFace], distance: float) -> dict[int, int]:
    """Which faces are much like a sharper one that stays: index → index of the one that stays.

    Sharpest first, a face stays unless one that stays lies within `distance`; so those that stay
    are apart by more, and every other has a sharper one near it.
    """
    if not faces:
        return {}
    vectors = np.stack([_vector(face) for face in faces]).astype(np.float32)
    order = sorted(range(len(faces)), key=lambda i: (_softness(faces[i]), faces[i].place))
    kept = np.empty_like(vectors)
    places: list[int] = []
    like = {}
    for i in order:
        if places:
            apart = np.square(kept[: len(places)] - vectors[i]).sum(1)
            nearest = int(apart.argmin())
            if apart[nearest] < distance**2:
                like[i] = places[nearest]
                continue
        kept[len(places)] = vectors[i]
        places.append(i)
    return like


def _vector(face: SetFace) -> Array:
    """Pose, expression and appearance, each over what counts 1."""
    pose = np.array([face.yaw_deg, face.pitch_deg]) / POSE_UNIT_DEG
    acting = [getattr(face.expression, name) / unit for name, unit in UNITS.items()]
    picture = appearance_values(face.appearance) / (APPEARANCE_UNIT * APPEARANCE_PX)
    return np.concatenate([pose, acting, picture])


def _softness(face: SetFace) -> tuple[float, float]:
    return (np.inf if face.blur is None else face.blur), -face.resolution


def _over_time(faces: Sequence[SetFace], shots: Mapping[str, SetShot]) -> list[Array]:
    """The look of each face, averaged over its neighbours in the take, as unit vectors."""
    groups: dict[tuple[str, str, int, int], list[int]] = {}
    for i, face in enumerate(faces):
        shot = shots.get(face.shot)
        cuts = sorted(shot.cuts.get(face.view, ())) if shot is not None else []
        take = bisect.bisect_right(cuts, face.frame)
        groups.setdefault((face.shot, face.view, face.face, take), []).append(i)
    looks: dict[int, Array] = {}
    for members in groups.values():
        frames = [faces[i].frame for i in members]
        vectors = np.stack([unpacked(faces[i].descriptor) for i in members])
        for place, i in enumerate(members):
            first = bisect.bisect_left(frames, frames[place] - NEIGHBOURS)
            last = bisect.bisect_right(frames, frames[place] + NEIGHBOURS)
            looks[i] = _unit(vectors[first:last].mean(0))
    return [looks[i] for i in range(len(faces))]


def _cosine(a: Array, b: Array) -> float:
    return float(_unit(a) @ _unit(b))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))
