"""Aligned crops with the truth of their parts: what feature networks of any object learn from.

A data folder holds `features.json` (crop size, margin, names of the parts) and safetensors shards
`crops-0000.safetensors` …: `pixels` [n, 3, T, T] float16 in net space, `labels` [n, T, T] uint8,
the part that each pixel shows, `matte` [n, T, T] uint8 (255 is 1), under which the colour is
normalised, and `identity` [n] int64. T is the crop size and a margin on each side, so that
training can move crops by whole pixels without resampling them again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.ops.normalise import normalise

HELD_OUT_EVERY = 12
"""Of the identities, those whose number this divides are never trained on."""
DESCRIPTION_FILE = "features.json"
BACKGROUND = 0
"""The label of what is no part of the object; every data set's first part."""


def shard_file(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"crops-{shard:04d}.safetensors"


def write_description(
    folder: Path, *, crop_size: int, margin_px: int, parts: tuple[str, ...], text: str
) -> None:
    """Writes `features.json`; `parts` are names by label, the background first; `text` says what
    the crops show and where they came from."""
    content = {
        "version": 1,
        "crop_size": crop_size,
        "margin_px": margin_px,
        "parts": list(parts),
        "description": text,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / DESCRIPTION_FILE, json.dumps(content, indent=1).encode())


def write_shard(
    file: Path,
    *,
    pixels: NDArray[Any],
    labels: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    identity: NDArray[np.int64],
) -> None:
    """Writes a shard, whole or not at all; shapes as in the module's head."""
    tensors: dict[str, NDArray[Any]] = {
        "pixels": np.ascontiguousarray(pixels, np.float16),
        "labels": np.ascontiguousarray(labels),
        "matte": np.ascontiguousarray(matte),
        "identity": np.ascontiguousarray(identity),
    }
    write_atomically(file, save(tensors))


class Draw(NamedTuple):
    """Crops [B, 3, S, S] normalised (0.5 is the object's mean), their parts [B, S, S] int64 and
    the matte [B, 1, S, S] 0…1 of the object."""

    crops: Tensor
    labels: Tensor
    matte: Tensor


@dataclass(frozen=True, eq=False)
class PartCrops:
    """All crops of a folder, in memory."""

    crop_size: int
    margin_px: int
    parts: tuple[str, ...]
    description: str
    pixels: Tensor
    labels: Tensor
    matte: Tensor
    identity: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> PartCrops:
        """Every shard by name. Raises JobError when there is none or one is broken."""
        try:
            content = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            shape = int(content["crop_size"]), int(content["margin_px"])
            parts, text = tuple(map(str, content["parts"])), str(content["description"])
        except (OSError, ValueError, KeyError) as error:
            raise JobError(
                f"crops cannot be read: {error}", file=folder / DESCRIPTION_FILE
            ) from None
        files = sorted(folder.glob("crops-*.safetensors"))
        if not files:
            raise JobError("no crops to train on", file=folder, wanted="crops-*.safetensors")
        shards = []
        for file in files:
            try:
                shard = load_file(file)
                shards.append([shard[n] for n in ("pixels", "labels", "matte", "identity")])
            except (SafetensorError, KeyError, OSError) as error:
                raise JobError(f"not a shard of crops: {error}", file=file) from None
        pixels, labels, matte, identity = (np.concatenate(each) for each in zip(*shards))
        if pixels.shape[-1] != shape[0] + 2 * shape[1]:
            wanted = shape[0] + 2 * shape[1]
            raise JobError("crops of another size", got=pixels.shape[-1], wanted=wanted)
        return cls(
            *shape,
            parts,
            text,
            torch.from_numpy(pixels),
            torch.from_numpy(labels),
            torch.from_numpy(matte),
            identity,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices to train on and indices held out, with no identity in both."""
        held_out = self.identity % HELD_OUT_EVERY == 0
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def centred(self, indices: NDArray[np.int64]) -> Draw:
        """These crops as the aligner cuts them."""
        return self._cut(indices, np.zeros((len(indices), 2), np.int64), None)

    def moved(
        self, indices: NDArray[np.int64], rng: np.random.Generator, *, reach_px: int, mirror: bool
    ) -> Draw:
        """These crops, moved by up to `reach_px` whole pixels and, half of the time, mirrored."""
        reach = min(reach_px, self.margin_px)
        steps = rng.integers(-reach, reach + 1, (len(indices), 2))
        flips = rng.random(len(indices)) < 0.5 if mirror else None
        return self._cut(indices, steps, flips)

    def _cut(
        self,
        indices: NDArray[np.int64],
        steps: NDArray[np.int64],
        flips: NDArray[np.bool_] | None,
    ) -> Draw:
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for k, (index, (y, x)) in enumerate(zip(indices.tolist(), steps.tolist())):
            rows = slice(self.margin_px + y, self.margin_px + y + self.crop_size)
            columns = slice(self.margin_px + x, self.margin_px + x + self.crop_size)
            flipped = flips is not None and bool(flips[k])
            planes = (self.pixels[index], self.labels[index], self.matte[index])
            cut = [p[..., rows, columns] for p in planes]
            one, two, three = (c.flip(-1) if flipped else c for c in cut)
            found.append((one, two, three))
        pixels, labels, matte = (torch.stack(each) for each in zip(*found))
        weight = matte[:, None].float() / 255
        return Draw(normalise(pixels.float(), weight)[0], labels.long(), weight)
