"""Whether a comb carries acting: expression alone, gaze and blinks apart from the mouth, calm over
time, and whose face it is. Measured on the aligned crop against rendered truth, as `evaluate`.

Pictures of mixed poses and lights flatter: most of what changes there is neither eye nor mouth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vfxswap.nets.comb import Comb
from vfxswap.nets.identity import IdentityNet
from vfxswap.persona import Persona
from vfxswap.train.crops import Batch, CropSet, centred
from vfxswap.train.evaluate import color_ratio, display, swapped
from vfxswap.train.expression import window

REGIONS = {"mouth": ("mouth",), "eyes": ("right eye", "left eye")}
_LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Gate:
    """Frames of one pose and light that differ in expression alone; means over ordered pairs.

    Compared is a region's displayed luminance with its mean and contrast removed. `top1`: how
    often the truth nearest to the swap is its own. `closer`: how often the swap is nearer to its
    truth than the persona's mean face of these very frames. `worst_pair` has the lowest `top1`
    and `closer` of a pair. `own_top1`, `own_closer`: the personas reconstructing themselves.
    """

    region: str
    frames: int
    top1: float
    chance: float
    closer: float
    worst_pair: tuple[float, float]
    own_top1: float
    own_closer: float


@torch.no_grad()
def expression_gate(comb: Comb, personas: Sequence[Persona], crops: CropSet) -> tuple[Gate, ...]:
    """The gate by mouth and by eyes. The set must hold one pose and light."""
    views = {p.id: centred(crops, p.id) for p in personas}
    shown = {name: display(view.pixels) for name, view in views.items()}
    found: dict[str, dict[bool, list[tuple[float, float]]]] = {
        region: {True: [], False: []} for region in REGIONS
    }
    for a in personas:
        for b in personas:
            got = display(swapped(comb, b.id, views[a.id], color_ratio(a, b)))
            for region, parts in REGIONS.items():
                values = _retrieved(got, shown[b.id], parts)
                found[region][a == b].append(values)
    count = len(next(iter(shown.values())))
    gates = []
    for region, by_kind in found.items():
        pairs = np.array(by_kind[False] or by_kind[True])
        own = np.array(by_kind[True])
        top1, closer = pairs.mean(0)
        worst = pairs.min(0)
        gates.append(
            Gate(
                region=region,
                frames=count,
                top1=round(float(top1), 4),
                chance=round(1 / count, 5),
                closer=round(float(closer), 4),
                worst_pair=(round(float(worst[0]), 4), round(float(worst[1]), 4)),
                own_top1=round(float(own[:, 0].mean()), 4),
                own_closer=round(float(own[:, 1].mean()), 4),
            )
        )
    return tuple(gates)


def _retrieved(
    got: NDArray[np.float32], truth: NDArray[np.float32], parts: Sequence[str]
) -> tuple[float, float]:
    """Top-1 and the share nearer to the truth than the mean face, both [N, S, S, 3]."""
    one, other = signature(got, parts), signature(truth, parts)
    (mean_face,) = signature(truth.mean(0, keepdims=True), parts)
    alike = one @ other.T  # Of unit vectors: the nearest has the largest product.
    own = np.diag(alike)
    top1 = (alike.argmax(1) == np.arange(len(one))).mean()
    return float(top1), float((own > other @ mean_face).mean())


def signature(images: NDArray[np.float32], parts: Sequence[str]) -> NDArray[np.float64]:
    """[N, K] unit vectors of the parts' luminance, their mean removed; images [N, S, S, 3]."""
    size = images.shape[1]
    patches = []
    for part in parts:
        rows, columns = window(part, size)
        patches.append((images[:, rows, columns] @ _LUMA).reshape(len(images), -1))
    flat = np.concatenate(patches, 1)
    flat = flat - flat.mean(1, keepdims=True)
    unit: NDArray[np.float64] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return unit


@dataclass(frozen=True)
class Flicker:
    """A continuous shot: what changes from frame to frame that does not in the truth, as mean
    absolute display difference inside the face; of swaps, of the same personas reconstructing
    themselves, and the first over the second."""

    frames: int
    swap: float
    own: float
    ratio: float


@torch.no_grad()
def flicker(comb: Comb, personas: Sequence[Persona], shot: CropSet) -> Flicker:
    """Means over ordered pairs of a shot whose crops follow each other in time."""
    views = {p.id: centred(shot, p.id) for p in personas}
    sums: dict[bool, list[float]] = {True: [], False: []}
    for a in personas:
        for b in personas:
            got = display(swapped(comb, b.id, views[a.id], color_ratio(a, b)))
            truth = display(views[b.id].pixels)
            face = views[b.id].face[:, 0].numpy()[..., None] > 0.5
            both = face[1:] & face[:-1]
            error = np.abs(np.diff(got - truth, axis=0)) * both
            sums[a == b].append(float(error.sum() / (3 * both.sum())))
    own = float(np.mean(sums[True]))
    swap = float(np.mean(sums[False])) if sums[False] else own
    return Flicker(len(next(iter(views.values())).pixels), round(swap, 6), round(own, 6),
                   round(swap / max(own, 1e-9), 4))  # fmt: skip


@dataclass(frozen=True)
class IdentityMargin:
    """Cosines of swapped crops (the swap in the face, the plate around it) to the mean descriptor
    of the persona and of the performer, and how often the persona is the nearest of all."""

    frames: int
    to_persona: float
    to_performer: float
    margin: float
    nearest: float


@torch.no_grad()
def identity_margin(
    comb: Comb, personas: Sequence[Persona], crops: CropSet, net: IdentityNet
) -> IdentityMargin | None:
    """Means over ordered pairs of different personas; None for a comb of one."""
    if len(personas) < 2:
        return None
    views = {p.id: centred(crops, p.id) for p in personas}
    known = torch.stack([F.normalize(_described(net, views[p.id].pixels).mean(0), dim=0)
                         for p in personas])  # fmt: skip
    rows = []
    for i, a in enumerate(personas):
        for j, b in enumerate(personas):
            if i == j:
                continue
            target, face = views[a.id], views[b.id].face
            swap = swapped(comb, b.id, target, color_ratio(a, b))
            cosine = _described(net, torch.lerp(target.pixels, swap, face)) @ known.T
            nearest = (cosine.argmax(1) == j).float().mean()
            rows.append([float(cosine[:, j].mean()), float(cosine[:, i].mean()), float(nearest)])
    persona, performer, nearest_share = np.mean(rows, axis=0).tolist()
    return IdentityMargin(
        frames=len(rows) * len(next(iter(views.values())).pixels),
        to_persona=round(persona, 4),
        to_performer=round(performer, 4),
        margin=round(persona - performer, 4),
        nearest=round(nearest_share, 4),
    )


def _described(net: IdentityNet, crops: Tensor) -> Tensor:
    size = net.SIZE
    small = F.interpolate(crops, (size, size), mode="area") if crops.shape[-1] > size else crops
    if small.shape[-1] < size:
        small = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    return torch.cat([net(part) for part in torch.split(small, 64)])


def acting_rows(
    comb: Comb, personas: Sequence[Persona], crops: CropSet
) -> list[tuple[str, Mapping[str, NDArray[np.float32]]]]:
    """For every pair its name and pictures [N, S, S, 3] by row: performance, swap, truth."""
    views: dict[str, Batch] = {p.id: centred(crops, p.id) for p in personas}
    rows: list[tuple[str, Mapping[str, NDArray[np.float32]]]] = []
    for a in personas:
        for b in personas:
            if a == b:
                continue
            with torch.no_grad():
                swap = display(swapped(comb, b.id, views[a.id], color_ratio(a, b)))
            pictures = {
                "performance": display(views[a.id].pixels),
                "swap": swap,
                "truth": display(views[b.id].pixels),
            }
            rows.append((f"{a.id} as {b.id}", pictures))
    return rows
