"""Aligned crops on disk and how a training draws them.

A crop folder holds `crops.json` and safetensors shards. Every shard has, for each role (a
persona's id, or `guests` for performers who are no persona), `<role>.pixels` [n, 3, S, S]
float16 in net space, `<role>.polygon` and `<role>.face` [n, 1, S, S] uint8 mattes and
`<role>.points` [n, 70, 2] float32 landmarks in stored pixels. Stored crops are the aligned crop
with a margin around it, at a higher resolution, so that a training may shift and turn them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from vfxswap.align.crop import crop_matrix, template
from vfxswap.errors import JobError
from vfxswap.files import atomic_path, write_atomically
from vfxswap.geometry import LEFT_EYE, MOUTH, RIGHT_EYE, Array
from vfxswap.ops.normalise import normalise
from vfxswap.settings import Settings

GUESTS = "guests"
"""Role of performers who are no persona: they are encoded, never decoded."""
MARGIN = 1.2
"""Side of the stored area, in crop sides."""
DENSITY = 1.25
"""Stored pixels for each pixel of the crop."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Stored crops of one role: pixels [N, 3, S, S] float16 (net space), polygon and face
    [N, 1, S, S] uint8, points [N, 70, 2] float32 in stored pixels."""

    pixels: Tensor
    polygon: Tensor
    face: Tensor
    points: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class CropSet:
    """Crops by role. When `paired`, index i is the same performance in every role."""

    crop_size: int
    paired: bool
    roles: Mapping[str, Crops]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one draw gives at the crop size: pixels [B, 3, S, S] net space, mattes [B, 1, S, S]."""

    pixels: Tensor
    polygon: Tensor
    face: Tensor

    def normalised(self) -> tuple[Tensor, Tensor]:
        """Pixels normalised by the polygon's mean colour, and that mean [B, 3, 1, 1]."""
        return normalise(self.pixels, self.polygon)


class Jitter(Settings):
    """How crops are moved and dressed when they are drawn: standard deviations and shares."""

    shift: float = Field(default=0.015, ge=0, le=0.05, description="Move, of the crop side.")
    turn_rad: float = Field(
        default=0.04, ge=0, le=0.1, description="Turn.", json_schema_extra={"unit": "rad"}
    )
    log_scale: float = Field(default=0.03, ge=0, le=0.05, description="Logarithm of the scale.")
    contrast: float = Field(
        default=0.06,
        ge=0,
        le=0.5,
        description="Logarithm of the contrast, alike on input and target.",
    )
    noise: float = Field(default=0.02, ge=0, le=0.5, description="Grain on normalised inputs.")
    blur_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Share of inputs softened, at most to half the resolution.",
    )


def as_byte(matte: Tensor) -> Tensor:
    """A matte of 0…1 as stored: uint8, 255 is 1."""
    return (matte.clamp(0, 1) * 255).round().to(torch.uint8)


def stored_size(crop_size: int) -> int:
    """Side of stored crops, in pixels."""
    return round(crop_size * MARGIN * DENSITY)


def stored_matrix(points: Array, *, crop_size: int, pixel_aspect: float = 1.0) -> Array:
    """[2, 3] matrix from plate pixels to stored pixels, for landmarks [70, 2] on the plate."""
    matrix = crop_matrix(points, size=crop_size, pixel_aspect=pixel_aspect)
    moved = matrix * DENSITY
    moved[:, 2] += (stored_size(crop_size) - crop_size * DENSITY) / 2
    return moved


def write_description(folder: Path, *, crop_size: int, paired: bool, text: str) -> None:
    """Writes `crops.json`; `text` says what the crops show and where they came from."""
    description = {"version": 1, "crop_size": crop_size, "paired": paired, "description": text}
    write_atomically(folder / "crops.json", json.dumps(description, indent=1).encode())


def write_shard(file: Path, roles: Mapping[str, Crops]) -> None:
    """One shard, whole or not at all."""
    tensors = {}
    for role, crops in roles.items():
        for name in ("pixels", "polygon", "face", "points"):
            tensors[f"{role}.{name}"] = getattr(crops, name).contiguous().clone()
    with atomic_path(file) as temporary:
        save_file(tensors, temporary)


def read_crops(folder: Path, *, roles: Iterable[str] | None = None) -> CropSet:
    """All shards of a folder, in the order of their names; all of its roles unless named.

    Raises JobError when there is none, a role is missing or a shard cannot be read.
    """
    try:
        description = json.loads((folder / "crops.json").read_text())
        crop_size, paired = int(description["crop_size"]), bool(description["paired"])
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"crops cannot be read: {error}", file=folder / "crops.json") from error
    parts: dict[str, list[Crops]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            tensors = load_file(file)
        except (OSError, SafetensorError) as error:
            raise JobError(f"shard cannot be read: {error}", file=file) from error
        for role in roles or sorted({key.rsplit(".", 1)[0] for key in tensors}):
            if f"{role}.pixels" not in tensors:
                raise JobError("shard lacks a role", wanted=role, file=file)
            names = ("pixels", "polygon", "face", "points")
            parts.setdefault(role, []).append(Crops(*(tensors[f"{role}.{n}"] for n in names)))
    if not parts:
        raise JobError("no shards of crops", file=folder)
    return CropSet(crop_size, paired, {role: joined(crops) for role, crops in parts.items()})


def joined(parts: list[Crops]) -> Crops:
    """One set of crops out of several, in order."""
    names = ("pixels", "polygon", "face", "points")
    return Crops(*(torch.cat([getattr(p, name) for p in parts]) for name in names))


def seeded(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone: what a draw gives needs no history, so a
    resumed training draws what an unbroken one would."""
    seed = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(seed[0]) << 32 | int(seed[1]))


def placements(count: int, jitter: Jitter | None, generator: torch.Generator) -> Tensor:
    """[count, 2, 3] maps from the crop to the stored area, both spanning −1…1; None centres."""
    drawn = torch.randn(count, 4, generator=generator)
    if jitter is None:
        drawn = torch.zeros(count, 4)
    else:
        limits = torch.tensor([jitter.turn_rad, jitter.log_scale, jitter.shift, jitter.shift])
        drawn = drawn.clamp(-2.5, 2.5) * limits
    scale = drawn[:, 1].exp() / MARGIN
    cos, sin = drawn[:, 0].cos() * scale, drawn[:, 0].sin() * scale
    x, y = 2 * drawn[:, 2] / MARGIN, 2 * drawn[:, 3] / MARGIN
    return torch.stack((cos, -sin, x, sin, cos, y), 1).view(count, 2, 3)


def cut(crops: Crops, index: Tensor, placement: Tensor, *, size: int) -> Batch:
    """Crops of `size` at the given placements [B, 2, 3]: bicubic pixels, bilinear mattes."""
    return _sampled(
        crops.pixels[index], crops.polygon[index], crops.face[index], placement, size=size
    )


def cut_mixed(
    crops: Sequence[Crops], which: Tensor, index: Tensor, placement: Tensor, *, size: int
) -> Batch:
    """As `cut`, crop `index[i]` out of `crops[which[i]]`."""
    chosen = list(zip(which.tolist(), index.tolist(), strict=True))
    return _sampled(
        torch.stack([crops[w].pixels[i] for w, i in chosen]),
        torch.stack([crops[w].polygon[i] for w, i in chosen]),
        torch.stack([crops[w].face[i] for w, i in chosen]),
        placement,
        size=size,
    )


def centred(crops: CropSet, role: str) -> Batch:
    """All crops of a role as the aligner cuts them, without jitter."""
    count = len(crops.roles[role])
    placement = placements(count, None, seeded(0))
    return cut(crops.roles[role], torch.arange(count), placement, size=crops.crop_size)


def net_mean(crops: CropSet, role: str) -> tuple[float, float, float]:
    """Mean over a role's crops of the mean colour inside the polygon, in net space."""
    means = centred(crops, role).normalised()[1].mean(0).flatten().tolist()
    return (round(means[0], 6), round(means[1], 6), round(means[2], 6))


def _sampled(
    pixels: Tensor, polygon: Tensor, face: Tensor, placement: Tensor, *, size: int
) -> Batch:
    grid = F.affine_grid(placement, [len(pixels), 1, size, size], align_corners=False)
    sampled = F.grid_sample(
        pixels.float(), grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    mattes = torch.cat((polygon, face), 1).float() / 255
    mattes = F.grid_sample(mattes, grid, align_corners=False)
    return Batch(sampled, mattes[:, :1], mattes[:, 1:])


def dressed(normal: Tensor, jitter: Jitter, generator: torch.Generator) -> Tensor:
    """Normalised input crops [B, 3, S, S] with grain and softness as plates have them."""
    count, _, size, _ = normal.shape
    soft = torch.rand(count, generator=generator) < jitter.blur_share
    if bool(soft.any()):
        small = int(size * (0.5 + 0.5 * torch.rand(1, generator=generator).item()))
        blurred = F.interpolate(normal[soft], (small, small), mode="area")
        normal = normal.clone()
        normal[soft] = F.interpolate(blurred, (size, size), mode="bilinear", align_corners=False)
    share = torch.rand(count, 1, 1, 1, generator=generator) * 2 * jitter.noise
    return normal + share * torch.randn(normal.shape, generator=generator)


def contrasts(count: int, jitter: Jitter, generator: torch.Generator) -> Tensor:
    """[count, 1, 1, 1] factors for the contrast of normalised crops."""
    drawn = torch.randn(count, 1, 1, 1, generator=generator) * jitter.contrast
    return drawn.exp()


def edge_extended(image: Tensor, matte: Tensor) -> Tensor:
    """[B, 3, S, S] with everything outside `matte` [B, 1, S, S] filled from its edge outwards.

    Coarser and coarser means of what is inside (pull-push; S a power of two), so a swap onto a
    broader face meets skin, not the background of the training footage.
    """
    sums, weights = [image * matte], [matte]
    while sums[-1].shape[-1] > 1:
        sums.append(F.avg_pool2d(sums[-1], 2))
        weights.append(F.avg_pool2d(weights[-1], 2))
    filled = sums[-1] / weights[-1].clamp(min=1e-6)
    for total, weight in zip(sums[-2::-1], weights[-2::-1], strict=True):
        coarse = F.interpolate(filled, total.shape[-2:], mode="bilinear", align_corners=False)
        filled = total + (1 - weight) * coarse
    return filled


def feature_weight(size: int, *, gain: float) -> Tensor:
    """[1, 1, size, size]: 1, rising to 1 + gain over both eyes and the mouth of an aligned crop."""
    points = template(size)
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    total = torch.zeros(size, size)
    for part, sx, sy in ((RIGHT_EYE, 0.11, 0.075), (LEFT_EYE, 0.11, 0.075), (MOUTH, 0.17, 0.12)):
        cx, cy = points[part].mean(0)
        total += torch.exp(-(((x - cx) / (sx * size)) ** 2) - ((y - cy) / (sy * size)) ** 2)
    return 1 + gain * total.clamp(max=1)[None, None]
