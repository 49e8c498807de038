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
    `same`; two that are on a frame together never are. Ids are given anew from 0 up in the order
    of appearance, from left to right. Faces without descriptors keep to themselves.
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
    best, pair = same, None
    looks = [p.look if p.looks else None for p in performers]
    for i, (a, look_a) in enumerate(zip(performers, looks, strict=True)):
        for b, look_b in zip(performers[i + 1 :], looks[i + 1 :], strict=True):
            if look_a is None or look_b is None or a.frames & b.frames:
                continue
            alike = float(look_a @ look_b)
            if alike > best:
                best, pair = alike, (a, b)
    return pair
