"""Faces that detection lost, or made up, for a few frames."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from vfxswap.align.associate import distance
from vfxswap.geometry import Array, Face

APART: Final = 0.35
"""Nearer than this (see `associate.distance`) two faces of a frame are one."""

FADE: Final = 0.5
"""What confidence and score of a filled face are multiplied by, for each frame to the nearest
one that was seen."""


BLIP_FRAMES: Final = 3
"""A track seen on fewer frames …"""

SURE: Final = 0.6
"""… and nowhere with such a score is a mistake of the detector."""


def without_blips(frames: Mapping[int, Sequence[Face]]) -> dict[int, tuple[Face, ...]]:
    """The faces of a take without those that flash up: half a face in a crossing, say, taken for
    one of another size. Takes shorter than `BLIP_FRAMES` are left as they are."""
    scores: dict[int, list[float]] = {}
    for faces in frames.values():
        for face in faces:
            scores.setdefault(face.id, []).append(face.score)
    short = len(frames) >= BLIP_FRAMES
    blips = {
        id_
        for id_, seen in scores.items()
        if short and len(seen) < BLIP_FRAMES and max(seen) < SURE
    }
    return {n: tuple(f for f in faces if f.id not in blips) for n, faces in frames.items()}


def gaps(
    frames: Mapping[int, Sequence[Face]], *, max_gap_frames: int, pixel_aspect: float = 1.0
) -> dict[int, tuple[Face, ...]]:
    """What is missing between two sightings of a face at most `max_gap_frames` apart, by frame.

    Only frames that are in `frames` are filled, and only where no other face is. Landmarks lie
    on the straight line between the two sightings; confidence and score fade by `FADE` a frame
    from the nearer one.
    """
    seen: dict[int, list[tuple[int, Face]]] = {}
    for frame in sorted(frames):
        for face in frames[frame]:
            seen.setdefault(face.id, []).append((frame, face))
    filled: dict[int, list[Face]] = {}
    present = sorted(frames)
    for track in seen.values():
        for (first, a), (last, b) in itertools.pairwise(track):
            missing = [frame for frame in present if first < frame < last]
            if not missing or last - first - 1 > max_gap_frames:
                continue
            for frame in missing:
                away = min(frame - first, last - frame)
                face = _between(a, b, (frame - first) / (last - first), away)
                if is_apart(face, frames[frame], pixel_aspect=pixel_aspect):
                    filled.setdefault(frame, []).append(face)
    return {frame: tuple(faces) for frame, faces in filled.items()}


def is_apart(face: Face, others: Sequence[Face], *, pixel_aspect: float = 1.0) -> bool:
    """Whether a face is another one than each of `others` on its frame."""
    return all(
        distance(face.points, other.points, pixel_aspect=pixel_aspect) > APART for other in others
    )


def _between(a: Face, b: Face, t: float, away: int) -> Face:
    def mix(x: Array, y: Array) -> Array:
        return x * (1 - t) + y * t

    fade = FADE**away
    confidence = np.minimum(a.confidence, b.confidence) * fade
    return Face(a.id, mix(a.points, b.points), confidence, min(a.score, b.score) * fade)
