"""Which face is whose: ids that keep to one performer through a shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from vfxswap.geometry import STABLE, Array, Face

GATE: Final = 0.7
"""Two faces on neighbouring frames are one when they differ by less than this; see `distance`."""

UNLIKE: Final = 0.8
"""What looking unlike counts beside lying apart; see `associate`."""

MEMORY: Final = 0.9
"""Share of what a track looked like that stays when its face is seen once more."""

PATIENCE_FRAMES: Final = 24
"""A face that was not seen for longer comes back as another one."""


@dataclass(frozen=True, eq=False)
class _Seen:
    id: int
    frame: int
    points: Array
    velocity: Array
    descriptor: Array | None


def distance(a: Array, b: Array, *, pixel_aspect: float = 1.0) -> float:
    """How far apart two faces' landmarks [70, 2] are: the distance of their stable points' means
    over the larger face's size, plus the difference of sizes in octaves."""
    squeeze = np.array([pixel_aspect, 1.0])
    stable_a, stable_b = a[list(STABLE)] * squeeze, b[list(STABLE)] * squeeze
    size_a, size_b = (_size(points * squeeze) for points in (a, b))
    apart = float(np.linalg.norm(stable_a.mean(0) - stable_b.mean(0)))
    return apart / max(size_a, size_b) + abs(float(np.log2(size_a / size_b)))


def associate(
    frames: Mapping[int, Sequence[Face]],
    *,
    pixel_aspect: float = 1.0,
    gate: float = GATE,
    patience_frames: int = PATIENCE_FRAMES,
    first_id: int = 0,
) -> dict[int, tuple[Face, ...]]:
    """The faces of a shot with ids renewed, frame by frame in order; faces ordered by id.

    Faces are joined to those seen before, where these would be now at the speed they had,
    nearest pairs first; where faces have descriptors, looking unlike what was seen so far counts
    `UNLIKE` times one less the cosine. `gate` (see `distance`) widens by half for every frame a
    face was missing, up to twice. New ids are given from `first_id` up, from left to right. The
    result depends on nothing but the faces: their order within a frame does not matter.
    """
    seen: list[_Seen] = []
    result: dict[int, tuple[Face, ...]] = {}
    next_id = first_id
    for frame in sorted(frames):
        faces = sorted(frames[frame], key=lambda f: tuple(f.points.mean(0)))
        seen = [s for s in seen if frame - s.frame <= patience_frames]
        pairs = []
        for i, face in enumerate(faces):
            for j, before in enumerate(seen):
                ahead = min(frame - before.frame, 3)
                cost = distance(
                    face.points, before.points + before.velocity * ahead, pixel_aspect=pixel_aspect
                )
                if cost <= gate * min(2.0, 1 + 0.5 * (frame - before.frame - 1)):
                    cost += UNLIKE * _unlike(face.descriptor, before.descriptor)
                    pairs.append((cost, before.id, i, j))
        joined: dict[int, _Seen] = {}
        for _, _, i, j in sorted(pairs):
            if i not in joined and seen[j] not in joined.values():
                joined[i] = seen[j]
        named = []
        for i, face in enumerate(faces):
            known = joined.get(i)
            id_ = next_id if known is None else known.id
            next_id += known is None
            named.append(replace(face, id=id_))
            velocity = np.zeros(2)
            if known is not None:
                velocity = (face.points - known.points).mean(0) / (frame - known.frame)
            seen = [s for s in seen if s.id != id_]
            look = _remembered(None if known is None else known.descriptor, face.descriptor)
            seen.append(_Seen(id_, frame, face.points, velocity, look))
        result[frame] = tuple(sorted(named, key=lambda f: f.id))
    return result


def _unlike(a: Array | None, b: Array | None) -> float:
    return 0.0 if a is None or b is None else 1 - float(a @ b) / float(np.linalg.norm(b))


def _remembered(before: Array | None, now: Array | None) -> Array | None:
    if before is None or now is None:
        return now if before is None else before
    return MEMORY * before + (1 - MEMORY) * now


def _size(points: Array) -> float:
    return max(float(np.ptp(points[:68], axis=0).max()), 1e-6)
