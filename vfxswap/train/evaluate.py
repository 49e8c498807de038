"""How well a comb swaps, against truth: held-out synthetic performances, rendered as every persona.

Measured on the aligned crop before blending, inside the true face matte of the truth (the rest of
every candidate is the truth itself, so that no window of SSIM sees a background), after one
display transform: working space to sRGB-encoded Rec.709, clipped to 0…1, peak 1. PSNR and SSIM
are means over frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.color import DEFAULT_CONFIG, ColorManager, from_net
from vfxswap.errors import JobError
from vfxswap.io.compare import flip
from vfxswap.io.exr import write_png
from vfxswap.nets.comb import Comb
from vfxswap.ops.normalise import denormalise
from vfxswap.persona import Persona
from vfxswap.train.crops import GUESTS, Batch, CropSet, centred
from vfxswap.train.losses import ssim_maps

BASELINES = ("unswapped", "mean_face", "mean_face_matched", "mean_face_true_mean")
"""What a swap has to beat: the plate itself; the persona's mean face over these frames; that mean
face with the colour that the swap is given; and with the truth's own mean colour."""


FLIPPED = ("swap", "unswapped", "mean_face_matched")
"""Whose FLIP is taken; it is slower than the other two."""


@dataclass(frozen=True)
class PairScore:
    """One performer as one persona: PSNR (dB), SSIM and FLIP of the swap and of baselines (FLIP
    of the plate itself and of the colour-matched mean face alone)."""

    performer: str
    persona: str
    frames: int
    psnr: Mapping[str, float]
    ssim: Mapping[str, float]
    flip: Mapping[str, float]


@dataclass(frozen=True)
class SwapReport:
    """Means over the pairs of different personas, and the pairs. Self-reconstruction stands apart,
    and so do unseen performers where the set has them (each given the truth's mean colour)."""

    frames: int
    swapped_frames: int
    psnr: Mapping[str, float]
    ssim: Mapping[str, float]
    flip: Mapping[str, float]
    margin_db: float
    """PSNR of the swap over the best baseline's."""
    pairs: tuple[PairScore, ...]
    own: tuple[PairScore, ...]
    unseen: tuple[PairScore, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@torch.no_grad()
def evaluate(comb: Comb, personas: Sequence[Persona], crops: CropSet) -> SwapReport:
    """Scores all ordered pairs on a paired set. Raises JobError when the set is not paired, has
    another crop size than the comb or lacks a persona."""
    if not crops.paired or crops.crop_size != comb.settings.crop_px:
        got = f"{'paired' if crops.paired else 'unpaired'} crops of {crops.crop_size} px"
        raise JobError(
            "these crops cannot be compared", got=got, wanted=f"paired, {comb.settings.crop_px} px"
        )
    missing = [p.id for p in personas if p.id not in crops.roles]
    if missing:
        raise JobError("the crops lack a persona", wanted=", ".join(missing))
    views = {role: centred(crops, role) for role in crops.roles}
    pairs = [
        _score(comb, a.id, b, views, color_ratio(a, b))
        for a in personas
        for b in personas
        if a != b
    ]
    own = [_score(comb, p.id, p, views, color_ratio(p, p)) for p in personas]
    unseen = [_score(comb, GUESTS, p, views, None) for p in personas] if GUESTS in views else []
    pairs = pairs or own  # A comb of one persona swaps nobody.
    psnr, ssim = _means([p.psnr for p in pairs]), _means([p.ssim for p in pairs])
    frames = pairs[0].frames
    return SwapReport(
        frames=frames,
        swapped_frames=frames * len(pairs),
        psnr=psnr,
        ssim=ssim,
        flip=_means([p.flip for p in pairs]),
        margin_db=round(psnr["swap"] - max(psnr[b] for b in BASELINES), 4),
        pairs=tuple(pairs),
        own=tuple(own),
        unseen=tuple(unseen),
    )


@torch.no_grad()
def swapped(comb: Comb, persona: str, target: Batch, ratio: Tensor) -> Tensor:
    """The swap [N, 3, S, S] in net space, as the effect does it: normalise, encode, decode, give
    the target's mean colour back, moved by `ratio` [N or 1, 3, 1, 1]."""
    normal, mean = target.normalised()
    decoded = torch.cat([comb(part, persona) for part in torch.split(normal, 32)])
    return denormalise(decoded, mean + ratio)


def display(net: Tensor) -> NDArray[np.float32]:
    """[N, 3, H, W] net space to [N, H, W, 3] display values 0…1."""
    linear = from_net(net).permute(0, 2, 3, 1).contiguous().numpy()
    count, height, width, _ = linear.shape
    return _colors().to_display(linear.reshape(count * height, width, 3)).reshape(linear.shape)


@lru_cache(maxsize=1)
def _colors() -> ColorManager:
    # Numbers must not depend on the machine's $OCIO.
    return ColorManager(DEFAULT_CONFIG)


def color_ratio(performer: Persona, persona: Persona) -> Tensor:
    """[1, 3, 1, 1] what a persona's mean colour adds to a performer's, in net space. Raises
    JobError where a mean is not known."""
    if performer.net_mean is None or persona.net_mean is None:
        raise JobError("a persona has no mean colour", got=f"{performer.id}, {persona.id}")
    step = np.subtract(persona.net_mean, performer.net_mean)
    return torch.tensor(step, dtype=torch.float32).view(1, 3, 1, 1)


def _score(
    comb: Comb, performer: str, persona: Persona, views: Mapping[str, Batch], ratio: Tensor | None
) -> PairScore:
    """`ratio` None: the performer's skin is not known; both colours are then taken as known."""
    target, truth = views[performer], views[persona.id]
    truth_normal, truth_mean = truth.normalised()
    mean_normal = truth_normal.mean(0, keepdim=True).expand_as(truth_normal)
    _, target_mean = target.normalised()
    ratio = truth_mean - target_mean if ratio is None else ratio
    goal = display(truth.pixels)
    mean_face = np.broadcast_to(goal.mean(0, keepdims=True), goal.shape)
    candidates = {
        "swap": display(swapped(comb, persona.id, target, ratio)),
        "unswapped": display(target.pixels),
        "mean_face": np.ascontiguousarray(mean_face),
        "mean_face_matched": display(denormalise(mean_normal, target_mean + ratio)),
        "mean_face_true_mean": display(denormalise(mean_normal, truth_mean)),
    }
    matte = truth.face > 0.5
    scores = {name: masked_scores(c, goal, matte) for name, c in candidates.items()}
    return PairScore(
        performer=performer,
        persona=persona.id,
        frames=len(goal),
        psnr={name: round(float(np.mean(s[0])), 3) for name, s in scores.items()},
        ssim={name: round(float(np.mean(s[1])), 4) for name, s in scores.items()},
        flip={name: flip_error(candidates[name], goal, matte) for name in FLIPPED},
    )


def flip_error(got: NDArray[np.float32], truth: NDArray[np.float32], matte: Tensor) -> float:
    """Mean FLIP over frames inside the matte [N, 1, H, W] bool of display values [N, H, W, 3]; the
    truth itself stands outside. Frames with an empty matte do not count."""
    errors = []
    for image, goal, place in zip(got, truth, matte[:, 0].numpy(), strict=True):
        if place.any():
            shown = np.where(place[..., None], image, goal)
            errors.append(float(flip(_light(goal), _light(shown))[place].mean()))
    return round(float(np.mean(errors)), 4)


def _light(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of sRGB values (IEC 61966-2-1)."""
    low, high = encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, low, high).astype(np.float32)


def masked_scores(
    got: NDArray[np.float32], truth: NDArray[np.float32], matte: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PSNR (dB) and SSIM of each frame [N], inside the matte [N, 1, H, W] bool; the images
    [N, H, W, 3] are display values. Frames with an empty matte do not count."""
    inside = matte.flatten(1).any(1)
    goal = torch.from_numpy(truth).permute(0, 3, 1, 2)[inside].double()
    weight = matte[inside].double()
    image = torch.from_numpy(got).permute(0, 3, 1, 2)[inside].double()
    image = torch.where(matte[inside], image, goal)
    area = weight.sum((1, 2, 3))
    error = ((image - goal) ** 2 * weight).sum((1, 2, 3)) / (3 * area)
    luminance, contrast = ssim_maps(image, goal)
    similarity = (luminance * contrast * weight).sum((1, 2, 3)) / (3 * area)
    psnr = -10 * torch.log10(error.clamp(min=1e-10))
    return psnr.numpy(), similarity.numpy()


@torch.no_grad()
def write_sheet(
    file: Path, comb: Comb, personas: Sequence[Persona], crops: CropSet, *, columns: int = 12
) -> None:
    """PNG: for every pair three rows (target, swap, truth), `columns` performances, 2x enlarged."""
    views = {p.id: centred(crops, p.id) for p in personas}
    count = len(next(iter(views.values())).pixels)
    chosen = np.linspace(0, count - 1, min(columns, count)).round().astype(int)
    blocks = []
    for a in personas:
        for b in personas:
            if a == b:
                continue
            target = views[a.id]
            some = Batch(target.pixels[chosen], target.polygon[chosen], target.face[chosen])
            rows = (
                some.pixels,
                swapped(comb, b.id, some, color_ratio(a, b)),
                views[b.id].pixels[chosen],
            )
            block = np.concatenate([np.concatenate(list(display(row)), 1) for row in rows])
            blocks.append(np.pad(block, ((0, 6), (0, 0), (0, 0))))
    sheet = np.kron(np.concatenate(blocks), np.ones((2, 2, 1), np.float32))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(file, sheet)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
