"""Who is who: descriptors of faces, and tracks that belong to one performer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from vfxswap.align.pose import View, cut_aligned
from vfxswap.geometry import Array, Face

LIKELY: Final = 0.5
MARGIN: Final = 0.3
"""See `reunited`. With two performers on either side of a cut and one picture of each, these join
one of the wrong performers in 2 to 4 of 100 shots where one is another after the cut."""

LEFT_OVER: Final = 0.35
"""See `reunited`. Two performers look more alike than this in 5 to 10 of 100 cases, one performer
in two lights in about 80."""

CLEAREST: Final = 24
"""Faces of a track that its look is taken from: those with the highest scores."""


class Describer(Protocol):
    """A network in eval mode that gives unit vectors [B, L] for aligned crops of `SIZE` pixels in
    net space. Two whose cosine is above `same` are taken for one performer."""

    @property
    def SIZE(self) -> int: ...  # noqa: N802
    @property
    def same(self) -> Tensor: ...
    def __call__(self, crops: Tensor, /) -> Tensor: ...


def described(view: View, faces: Sequence[Face], net: Describer) -> tuple[Face, ...]:
    """The faces of a picture with their descriptors. One face at a time, so that no descriptor
    depends on the other faces."""
    result = []
    with torch.inference_mode():
        for face in faces:
            vector = net(cut_aligned(view, [face], net.SIZE))[0]
            result.append(replace(face, descriptor=vector.to("cpu", torch.float64).numpy()))
    return tuple(result)


@dataclass(eq=False)
class _Performer:
    frames: set[int]
    looks: list[tuple[float, Array]]
    ids: set[int]

    @property
    def look(self) -> Array:
        clearest = sorted(self.looks, key=lambda each: -each[0])[:CLEAREST]
        mean: Array = np.mean([look for _, look in clearest], 0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)


def reunited(frames: Mapping[int, Sequence[Face]], *, same: float) -> dict[int, tuple[Face, ...]]:
    """Tracks of one performer under one id: who left and came back, also over a cut.

    The pair that looks most alike is joined first, while the cosine of their looks is above
    `same`, or, in company, above `LIKELY` and by `MARGIN` above what either has with those it could
    be instead. For two that are seen in the same company and nowhere without it, `LEFT_OVER` will
    do: the others are known already. Two that are on a frame together never are. Ids are given
    anew from 0 up in the order of appearance, from left to right. Faces without descriptors keep
    to themselves.
    """
    performers: list[_Performer] = []
    by_id: dict[int, _Performer] = {}
    for frame in sorted(frames):
        for face in sorted(frames[frame], key=lambda f: tuple(f.points.mean(0))):
            if face.id not in by_id:
                by_id[face.id] = _Performer(set(), [], {face.id})
                performers.append(by_id[face.id])
            by_id[face.id].frames.add(frame)
            if face.descriptor is not None:
                by_id[face.id].looks.append((face.score, face.descriptor))
    while (pair := _most_alike(performers, same)) is not None:
        kept, gone = pair
        kept.frames |= gone.frames
        kept.looks += gone.looks
        kept.ids |= gone.ids
        performers.remove(gone)
    number = {id_: n for n, performer in enumerate(performers) for id_ in performer.ids}
    return {
        frame: tuple(sorted((replace(f, id=number[f.id]) for f in faces), key=lambda face: face.id))
        for frame, faces in frames.items()
    }


def _most_alike(
    performers: Sequence[_Performer], same: float
) -> tuple[_Performer, _Performer] | None:
    known = [p for p in performers if p.looks]
    if len(known) < 2:
        return None
    looks = np.stack([p.look for p in known])
    alike = looks @ looks.T
    together = np.array([[bool(a.frames & b.frames) for b in known] for a in known])
    best, pair = -1.0, None
    for i, a in enumerate(known):
        for j in range(i + 1, len(known)):
            if together[i, j] or alike[i, j] <= best:
                continue
            # Whom either could be instead: those the other, and only the other, is seen with.
            company = together[i] | together[j]
            company[[i, j]] = False
            rivals = [alike[i, r] for r in np.flatnonzero(together[j] & ~together[i]) if r != j]
            rivals += [alike[j, r] for r in np.flatnonzero(together[i] & ~together[j]) if r != i]
            clear = all(alike[i, j] > rival + MARGIN for rival in rivals)
            least = LIKELY if rivals else LEFT_OVER
            likely = company.any() and clear and alike[i, j] > least
            if likely or alike[i, j] > same:
                best, pair = float(alike[i, j]), (a, known[j])
    return pair
