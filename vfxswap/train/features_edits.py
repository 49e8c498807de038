"""Transfers with truth: a source, a reference, and the source with one of the reference's features.

A data folder holds `edits-0000.safetensors` …: `source`, `truth`, `reference` [n, 3, S, S] float16
in net space, `matte`, `reference_matte` [n, S, S] uint8 (255 is 1) that colours are normalised
under, `labels`, `truth_labels` and `reference_labels` [n, S, S] uint8, `feature` [n] the label
whose part was replaced, `region` [n, S, S] uint8 (0 or 1) where either picture shows that part,
and `identity` [n] of the source. The truth is aligned and normalised as its source is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from vfxswap.errors import JobError
from vfxswap.ops.normalise import GAIN, normalise
from vfxswap.train.features_data import BACKGROUND, HELD_OUT_EVERY

NAMES = (
    "source", "truth", "reference", "matte", "reference_matte", "labels", "truth_labels",
    "reference_labels", "feature", "region", "identity",
)  # fmt: skip


def shard_file(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"edits-{shard:04d}.safetensors"


class Edits(NamedTuple):
    """A batch: crops [B, 3, S, S] normalised, `source`, `reference` and `changed` (the source with
    the feature) as the encoder sees them, `target`, `reference_target` and `truth` the same three
    before the neutral background; `change` is truth less target in the region. `memberships`
    [3B, K, S, S] of sources, references, then truths; `feature` [B] the row of K, `region`
    [B, 1, S, S] 1 where it shows."""

    source: Tensor
    reference: Tensor
    changed: Tensor
    target: Tensor
    reference_target: Tensor
    truth: Tensor
    change: Tensor
    memberships: Tensor
    feature: Tensor
    region: Tensor


@dataclass(frozen=True, eq=False)
class EditSet:
    """All transfers of a folder, in memory; `parts` names K."""

    parts: tuple[str, ...]
    tensors: dict[str, Tensor]

    @classmethod
    def open(cls, folder: Path, parts: tuple[str, ...]) -> EditSet:
        """Every shard by name. Raises JobError when there is none or one is broken."""
        files = sorted(folder.glob("edits-*.safetensors"))
        if not files:
            raise JobError("no transfers to train on", file=folder, wanted="edits-*.safetensors")
        shards = []
        for file in files:
            try:
                shard = load_file(file)
                shards.append({name: shard[name] for name in NAMES})
            except (SafetensorError, KeyError, OSError) as error:
                raise JobError(f"not a shard of transfers: {error}", file=file) from None
        return cls(parts, {name: torch.cat([s[name] for s in shards]) for name in NAMES})

    def __len__(self) -> int:
        return len(self.tensors["feature"])

    def split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices to train on and indices held out, with no source identity in both."""
        held_out = self.tensors["identity"].numpy() % HELD_OUT_EVERY == 0
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def drawn(self, rng: np.random.Generator, count: int, *, mirror: bool) -> Edits:
        """A random batch of those to train on; with `mirror` half of them, reference and truth
        too, are mirrored."""
        batch = self.batch(rng.choice(self.split()[0], count))
        flips = torch.from_numpy(rng.random(count) < 0.5)
        return mirrored(batch, flips) if mirror else batch

    def batch(self, indices: NDArray[np.int64], device: torch.device | str = "cpu") -> Edits:
        """These transfers."""
        at = torch.from_numpy(indices)
        t = {name: tensor[at] for name, tensor in self.tensors.items()}
        source, mean = normalise(t["source"].float(), t["matte"][:, None].float() / 255)
        changed = 0.5 + GAIN * (t["truth"].float() - mean)
        matte = t["reference_matte"][:, None].float() / 255
        reference = normalise(t["reference"].float(), matte)[0]
        target = torch.where((t["labels"] == BACKGROUND)[:, None], 0.5, source)
        guide = torch.where((t["reference_labels"] == BACKGROUND)[:, None], 0.5, reference)
        truth = torch.where((t["truth_labels"] == BACKGROUND)[:, None], 0.5, changed)
        labels = torch.cat([t[f"{of}labels"] for of in ("", "reference_", "truth_")]).long()
        memberships = F.one_hot(labels, len(self.parts)).movedim(-1, 1).float()
        region = t["region"][:, None].float()
        change = (truth - target) * region
        found = Edits(
            source,
            reference,
            changed,
            target,
            guide,
            truth,
            change,
            memberships,
            t["feature"].long(),
            region,
        )
        return Edits(*(each.to(device) for each in found))


def mirrored(batch: Edits, flips: Tensor) -> Edits:
    """The batch with its transfers where `flips` [B] is true mirrored, all of their pictures."""

    def turned(picture: Tensor) -> Tensor:
        where = flips.repeat(len(picture) // len(flips)).to(picture.device)
        return torch.where(where[:, None, None, None], picture.flip(-1), picture)

    pictures = {name: turned(value) for name, value in batch._asdict().items() if value.ndim == 4}
    return batch._replace(**pictures)
