"""Faces of a frame: a coarse scan over scales, then the landmark network on what it proposes."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vfxswap.align.localise import localise
from vfxswap.align.pose import LandmarkFinder, Pose, View, cut, in_square
from vfxswap.geometry import Array, Face
from vfxswap.job import Tracking

SCANNED_FACE_PX: Final = 16
SCAN_STRIDE: Final = 4
_MARGIN: Final = 8
_LEVELS_PER_OCTAVE: Final = 2
_BATCH: Final = 8
_PROPOSAL_SCORE: Final = 0.1
"""Low, since a second look tells: on small grey photographs of faces the scanner is this sure of
98 in 100, and surer than 0.3 of 72."""
_FIRST_LOOK_SCORE: Final = 0.05
_LEAST_SHARE: Final = 0.8
"""Of the smallest size asked for: faces about as large as that do not come and go."""


class Proposal(NamedTuple):
    """A place where the scanner sees a face, and how sure it is (0…1)."""

    pose: Pose
    score: float


def detect(view: View, net: LandmarkFinder, settings: Tracking | None = None) -> tuple[Face, ...]:
    """The faces of a picture in plate pixels, best first; `id` is the rank.

    Landmarks are those of `localise`. Deterministic: a face's numbers do not depend on the other
    faces. Rolls up to 45° and yaws up to about 60° are found.
    """
    settings = settings or Tracking()
    proposals = propose(view, net, settings)
    refined = _refined(view, [p.pose for p in proposals], net)
    kept: list[tuple[float, Array]] = []
    for score, points in sorted(refined, key=lambda r: -r[0]):
        # Agreement of the nine can only lower it.
        wanted = score >= settings.min_score and _is_large(points, settings)
        if wanted and not _overlaps(points, [k[1] for k in kept]):
            kept.append((score, points))
    blank = np.zeros(kept[0][1].shape[0]) if kept else np.zeros(0)
    faces = [
        localise(view, Face(0, view.to_plate(points), blank, score), net)
        for score, points in kept[: settings.max_faces]
    ]
    found: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        square = view.to_square(face.points)
        others = [view.to_square(f.points) for f in found]
        if face.score >= settings.min_score and not _overlaps(square, others):
            found.append(Face(len(found), face.points, face.confidence, face.score))
    return tuple(found)


def propose(view: View, net: LandmarkFinder, settings: Tracking) -> list[Proposal]:
    """Places worth a closer look, best first, at most two for each face wanted."""
    proposals: list[Proposal] = []
    for picture, scale in _pyramid(view, settings.min_face_px):
        with torch.inference_mode():
            scanned = net.scan(picture)
        proposals += _peaks(scanned.logit[0], scanned.box[0], scale)
    proposals.sort(key=lambda p: -p.score)
    kept: list[Proposal] = []
    for proposal in proposals:
        if all(not _same(proposal.pose, other.pose) for other in kept):
            kept.append(proposal)
        if len(kept) == 2 * settings.max_faces:
            break
    return kept


def _pyramid(view: View, min_face_px: int) -> list[tuple[Tensor, tuple[float, float]]]:
    """Pictures in which faces of growing size measure SCANNED_FACE_PX, each with its scale
    (x, y) from square pixels. All but the first are made from the first."""
    width, height = view.size
    levels: list[tuple[Tensor, tuple[float, float]]] = []
    base: Tensor | None = None
    octaves = np.log2(max(width, height) / min_face_px)
    for level in range(max(1, int(np.ceil(octaves * _LEVELS_PER_OCTAVE)) + 1)):
        scale = SCANNED_FACE_PX / (min_face_px * 2 ** (level / _LEVELS_PER_OCTAVE))
        columns, rows = (max(8, round(side * scale / 4) * 4) for side in (width, height))
        source = _source(view, scale) if base is None else base
        picture = F.interpolate(
            source, size=(rows, columns), mode="bilinear", antialias=True, align_corners=False
        )
        base = picture if base is None else base
        padded = F.pad(picture, [_MARGIN] * 4, mode="replicate")
        levels.append((padded, (columns / width, rows / height)))
    return levels


def _source(view: View, scale: float) -> Tensor:
    """The smallest of the view's halvings that is not below `scale` in either direction."""
    finest = scale * min(1.0, view.pixel_aspect)
    level = int(np.clip(np.floor(-np.log2(finest)), 0, len(view.halvings) - 1))
    return view.halvings[level]


def _peaks(logit: Tensor, box: Tensor, scale: tuple[float, float]) -> list[Proposal]:
    score = torch.sigmoid(logit)
    highest = F.max_pool2d(score[None], 3, 1, 1)[0]
    rows, columns = torch.nonzero((score == highest) & (score > _PROPOSAL_SCORE), as_tuple=True)
    proposals = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        right, down, octave = box[:, row, column].tolist()
        x = (column + 0.5) * SCAN_STRIDE - _MARGIN + right * SCANNED_FACE_PX
        y = (row + 0.5) * SCAN_STRIDE - _MARGIN + down * SCANNED_FACE_PX
        size = SCANNED_FACE_PX * 2.0 ** float(np.clip(octave, -1, 1)) / np.sqrt(scale[0] * scale[1])
        pose = Pose(x / scale[0], y / scale[1], float(size))
        proposals.append(Proposal(pose, float(score[row, column])))
    return proposals


def _same(a: Pose, b: Pose) -> bool:
    size = max(a.face_px, b.face_px)
    near = np.hypot(a.x - b.x, a.y - b.y) < 0.35 * size
    return bool(near and max(a.face_px, b.face_px) < 1.5 * min(a.face_px, b.face_px))


def _refined(
    view: View, poses: list[Pose], net: LandmarkFinder, *, rounds: int = 3
) -> list[tuple[float, Array]]:
    """Score and landmarks [70, 2] (square pixels) of the poses that hold a face, after each box
    has followed the landmarks found in it. What a first look takes for no face is dropped."""
    refined: list[tuple[float, Array]] = []
    for round_ in range(rounds):
        refined = _looked_at(view, poses, net)
        if round_ == 0:
            kept = [i for i, (score, _) in enumerate(refined) if score >= _FIRST_LOOK_SCORE]
            refined, poses = [refined[i] for i in kept], [poses[i] for i in kept]
        poses = [_followed(pose, points) for pose, (_, points) in zip(poses, refined, strict=True)]
    return refined


def _looked_at(view: View, poses: list[Pose], net: LandmarkFinder) -> list[tuple[float, Array]]:
    """Score and landmarks in each pose. Batches have one size, so that no result depends on its
    neighbours."""
    looked: list[tuple[float, Array]] = []
    for start in range(0, len(poses), _BATCH):
        batch = poses[start : start + _BATCH]
        filled_up = batch + [batch[0]] * (_BATCH - len(batch))
        with torch.inference_mode():
            found = net(cut(view, filled_up, net.SIZE, share=net.SHARE))
        points = in_square(filled_up, found.points, net.SIZE, share=net.SHARE)
        scores = (found.score * found.confidence.mean(1)).tolist()
        looked += [(float(s), p) for s, p in zip(scores, points, strict=True)][: len(batch)]
    return looked


def _followed(pose: Pose, points: Array) -> Pose:
    """The pose of the landmarks, kept from running away where there is no face."""
    new = Pose.of(points)
    size = float(np.clip(new.face_px, pose.face_px / 1.5, pose.face_px * 1.5))
    return Pose(new.x, new.y, size, float(np.clip(new.roll_rad, -1.0, 1.0)))


def _is_large(points: Array, settings: Tracking) -> bool:
    return Pose.of(points).face_px >= _LEAST_SHARE * settings.min_face_px


def _overlaps(points: Array, others: list[Array]) -> bool:
    pose = Pose.of(points)
    for other in others:
        there = Pose.of(other)
        if np.hypot(pose.x - there.x, pose.y - there.y) < 0.5 * max(pose.face_px, there.face_px):
            return True
    return False
