"""How faces move over a shot, and how steadily: measured on its tracks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from pydantic import Field

from vfxswap.geometry import Array
from vfxswap.io.tracks import Tracks
from vfxswap.settings import Settings


class FaceTrack(Settings):
    """One face over the frames on which it is tracked; the lists run along `frames`."""

    view: str = Field(description='View, "" for a plate of one view.')
    face: int = Field(description="Id in the tracks.")
    frames: tuple[int, ...] = Field(description="Frames with this face, ascending.")
    x: tuple[float, ...] = Field(description="Centre of the landmarks, plate pixels.")
    y: tuple[float, ...] = Field(description="Centre of the landmarks, plate pixels.")
    confidence: tuple[float, ...] = Field(description="Mean over the landmarks, 0…1.")
    jitter_px: tuple[float | None, ...] = Field(
        description="RMS over the landmarks of what differs from the mean of the frames before and "
        "after, scaled so that white noise counts with its own size; null beside gaps."
    )
    jitter_rms_px: float | None = Field(description="RMS of jitter_px over the shot.")


def face_tracks(tracks: Tracks, frames: Iterable[int], views: Iterable[str]) -> Iterator[FaceTrack]:
    """Every face of the tracks, edits applied, by view and id."""
    numbers = sorted(frames)
    for view in views:
        points: dict[int, dict[int, Array]] = {}
        sure: dict[int, dict[int, float]] = {}
        for number in numbers:
            for face in tracks.faces(number, view):
                points.setdefault(face.id, {})[number] = face.points
                sure.setdefault(face.id, {})[number] = float(face.confidence.mean())
        for face_id, path in sorted(points.items()):
            yield _track(view, face_id, path, sure[face_id])


def jitter(path: dict[int, Array]) -> list[float | None]:
    """By frame of `path` (frame → points [N, 2]), ascending; None without both neighbours, which in
    a shot of every other frame are two frames off.

    Steady motion does not count: p(t) - (p(t-1) + p(t+1)) / 2, which has 3/2 of the variance of
    white noise in p.
    """
    frames = sorted(path)
    step = min((b - a for a, b in itertools.pairwise(frames)), default=1)
    values: list[float | None] = []
    for frame in frames:
        before, after = path.get(frame - step), path.get(frame + step)
        if before is None or after is None:
            values.append(None)
            continue
        rest = path[frame] - (before + after) / 2
        values.append(float(np.sqrt(np.mean(np.sum(rest**2, -1)) / 1.5)))
    return values


def _track(view: str, face: int, path: dict[int, Array], sure: dict[int, float]) -> FaceTrack:
    frames = tuple(sorted(path))
    centres = [path[frame].mean(0) for frame in frames]
    shaking = jitter(path)
    known = [value for value in shaking if value is not None]
    return FaceTrack(
        view=view,
        face=face,
        frames=frames,
        x=tuple(round(float(c[0]), 2) for c in centres),
        y=tuple(round(float(c[1]), 2) for c in centres),
        confidence=tuple(round(sure[frame], 4) for frame in frames),
        jitter_px=tuple(None if v is None else round(v, 4) for v in shaking),
        jitter_rms_px=round(float(np.sqrt(np.mean(np.square(known)))), 4) if known else None,
    )
