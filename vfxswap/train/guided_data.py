"""Rendered pairs for guided training on disk: performers without and with glasses, and what each
light adds, with exact fields; and, in folders of their own, strips of eyes for the lens reader.

A data folder holds safetensors shards `guided-0000.safetensors` … of aligned crops of side S. For
each of n samples: `plain`, `worn` [n, S, S, 3] float16 scene-linear; `light` [n, L, S, S, 3] what
a white light that brings as much as there is adds; `frames` [n, S, S, 4] premultiplied; `shade`
[n, S, S] what is left of light in the frames' shade; `lenses`, `face` [n, S, S] uint8, 255 is 1;
`field` [n, K, S, S, 2] float16 crop pixels and `known` [n, K, S, S] for K prescriptions, the first
is worn; `glasses` [n, K, V] and `lights` [n, L, 3] the characteristics (of lights their place in
heads); `angles` [n, 3] yaw, pitch, roll in radians; `identity` [n]; `shape` [n] the number of the
frames' shape, -1 for rimless ones.

Strips [h, w] of eyes (`nets.guided_lenses.STRIP`) hold `plain`, `worn`, `frames`, `shade`,
`lenses`, `glasses` [n, V], `angles`, `identity` and `shape` alike, `known` [n, h, w], `field`
[n, 4, h, w, 2] of the lenses `synth.lens_pictures.BASIS`, and `sky` [n, 3], what lenses mirror.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vfxswap.errors import JobError
from vfxswap.files import write_atomically

HELD_OUT_EVERY = 8
"""Of the performers, those whose number this divides are never trained on."""

_SMALL = {"glasses", "lights", "sky", "angles", "identity", "shape"}


def shard_file(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"guided-{shard:04d}.safetensors"


def write_shard(folder: Path, shard: int, tensors: Mapping[str, NDArray[Any]]) -> Path:
    """Writes a shard, whole or not at all."""
    file = shard_file(folder, shard)
    data = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    write_atomically(file, save(data))
    return file


@dataclass(frozen=True, eq=False)
class GuidedSet:
    """Shards, mapped not copied; `values` (what is small) lie in memory."""

    files: tuple[Path, ...]
    starts: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]
    mapped: tuple[Mapping[str, NDArray[Any]], ...]

    @classmethod
    def open(cls, folder: Path) -> GuidedSet:
        """All shards of a folder. Raises JobError when there is none or one is broken."""
        files = tuple(sorted(folder.glob("guided-*.safetensors")))
        if not files:
            raise JobError("no pictures to train on", file=folder, wanted="guided-*.safetensors")
        values: dict[str, list[NDArray[Any]]] = {name: [] for name in _SMALL}
        mapped: list[Mapping[str, NDArray[Any]]] = []
        for file in files:
            try:
                with safe_open(file, framework="numpy") as stored:
                    for name in _SMALL.intersection(stored.keys()):
                        values[name].append(stored.get_tensor(name))
                mapped.append(_mapped(file))
            except (SafetensorError, ValueError, OSError) as error:
                raise JobError(f"not a shard of guided pictures: {error}", file=file) from error
        starts = np.cumsum([0, *(len(part) for part in values["identity"])])
        joined = {name: np.concatenate(v) for name, v in values.items() if v}
        return cls(files, starts, joined, tuple(mapped))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, name: str, index: int) -> NDArray[Any]:
        """One sample's picture or field, as it is stored."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        found: NDArray[Any] = self.mapped[shard][name][index - int(self.starts[shard])]
        return found

    def split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices to train on and indices held out, with no performer in both. Raises JobError when
        either would be empty."""
        held_out = self.values["identity"] % HELD_OUT_EVERY == 0
        if held_out.all() or not held_out.any():
            raise JobError("too few performers to hold some out", got=len(self))
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


_TYPES = {"F16": np.float16, "U8": np.uint8}


def _mapped(file: Path) -> dict[str, NDArray[Any]]:
    """Pictures and fields of a shard as read-only memory maps (safetensors itself would copy)."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    return {
        name: np.memmap(
            file, _TYPES[entry["dtype"]], "r", 8 + size + entry["data_offsets"][0],
            tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] in _TYPES
    }  # fmt: skip
