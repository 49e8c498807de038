"""What a search knows of pictures, kept in a file that grows: safetensors with a JSON list.

Tensors: `sigma` [N, C] float32, `channels` [N, K, C] float16 and `points` [N, 70, 2] float64, one
row a face. The metadata's `index` is JSON: the model, and for each picture its path (relative to
the index's folder where it lies below it), size, time and SHA-256, and the rows of its faces, or
why it has none. Nothing is unpickled. The file can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vfxswap.effects.aligned import Alignment
from vfxswap.effects.feature_edit import seen
from vfxswap.errors import CancelledError, JobError, VfxSwapError
from vfxswap.files import write_atomically
from vfxswap.geometry import Array, Face
from vfxswap.io.exr import read_image
from vfxswap.nets.features import FeatureNet
from vfxswap.render.references import faces_of_still, working_frame
from vfxswap.retrieval.places import Place
from vfxswap.retrieval.reader import Reader
from vfxswap.settings import Settings, validated

SAVED_EVERY = 40
"""Pictures after which an index that grows is written, so that a stopped run loses little."""


class Row(Settings):
    """A picture in the list."""

    path: str = Field(description="File, relative to the index's folder where it lies below it.")
    size: int = Field(ge=0, description="Bytes.")
    time_us: int = Field(description="Modification time, microseconds.")
    sha256: str = Field(description="Of the file; empty where it could not be read.")
    first: int = Field(default=0, ge=0, description="First row of its faces.")
    faces: int = Field(default=0, ge=0, description="Number of its faces.")
    trouble: str = Field(default="", description="Why it has none, in a sentence.")


class _Content(Settings):
    """The whole list."""

    format: str = Field(default="vfxswap-feature-index", description="What this is.")
    version: int = Field(default=1, description="Version of this form.")
    key: str = Field(description="Hash of the weights and the colour that rows depend on.")
    pictures: tuple[Row, ...] = Field(default=(), description="What was looked at.")


@dataclass(frozen=True, eq=False)
class Faces:
    """Faces with what is known of them, [N, …] each; see the module."""

    sigma: torch.Tensor
    channels: torch.Tensor
    points: Array

    def __len__(self) -> int:
        return len(self.sigma)

    def chosen(self, rows: Sequence[int]) -> Faces:
        """These rows, in this order."""
        at = torch.tensor(list(rows), dtype=torch.long)
        return Faces(self.sigma[at], self.channels[at], self.points[list(rows)])


@dataclass(frozen=True, eq=False)
class Found:
    """The faces of the pictures that were asked for; `pictures` and `numbers` say for each the
    place in `places` and which face of it. `troubles` holds (file, why) of those without one."""

    places: tuple[Place, ...]
    faces: Faces
    pictures: tuple[int, ...]
    numbers: tuple[int, ...]
    troubles: tuple[tuple[Path, str], ...]
    looked_at: int
    """Pictures that had to be looked at; the others were known."""


@dataclass(eq=False)
class Index:
    """An index in memory. `update` looks at pictures that are new or changed."""

    file: Path
    key: str
    rows: dict[str, Row] = field(default_factory=dict)
    faces: dict[str, Faces] = field(default_factory=dict)

    @classmethod
    def open(cls, file: Path, *, key: str) -> Index:
        """The index in a file; an empty one where there is none, it is damaged, or its rows were
        made by other weights. Raises JobError for a file that is something else."""
        if file.suffix.lower() != ".safetensors":
            raise JobError("an index is a safetensors file", got=file.name, wanted=".safetensors")
        try:
            with safe_open(file, framework="pt", device="cpu") as stored:
                text = (stored.metadata() or {}).get("index", "")
                content = validated(_Content, json.loads(text))
                sigma, channels, points = (
                    stored.get_tensor(name) for name in ("sigma", "channels", "points")
                )
        except (OSError, SafetensorError, ValueError, JobError):
            return cls(file, key)
        index = cls(file, key)
        if content.key != key:
            return index
        whole = Faces(sigma, channels, points.numpy())
        for row in content.pictures:
            if row.first + row.faces <= len(whole):
                index.rows[row.path] = row
                index.faces[row.path] = whole.chosen(range(row.first, row.first + row.faces))
        return index

    def update(
        self,
        places: Sequence[Place],
        reader: Reader,
        *,
        progress: Callable[[str, int, int], None] = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Found:
        """What these pictures show. Files as they were, by size and time or else by their hash,
        are not looked at again; those that are gone leave the index. The file is written when
        anything changed. Raises CancelledError (what was seen is kept), OutputError."""
        looked = 0
        changed = self._forget_missing()
        for done, place in enumerate(places, 1):
            if stop():
                self.write()
                raise CancelledError("cancelled while looking at pictures")
            name = self._name(place.path)
            size, time_us = _stat(place.path)
            known = self.rows.get(name)
            if known is None or (known.size, known.time_us) != (size, time_us):
                sha256 = _sha256(place.path)
                same = known is not None and sha256 != "" and known.sha256 == sha256
                if known is not None and same:
                    self.rows[name] = known.model_copy(update={"size": size, "time_us": time_us})
                else:
                    self._look(name, place, reader, size, time_us, sha256)
                    looked += 1
                changed = True
                if looked and looked % SAVED_EVERY == 0:
                    self.write()
            progress("pictures", done, len(places))
        if changed:
            self.write()
        return self._found(places, looked)

    def write(self) -> None:
        """Writes the file, whole or not at all. Raises OutputError."""
        first, rows, parts = 0, [], []
        for name in sorted(self.rows):
            faces = self.faces[name]
            rows.append(self.rows[name].model_copy(update={"first": first, "faces": len(faces)}))
            parts.append(faces)
            first += len(faces)
        whole = _joined([part for part in parts if len(part)])
        content = _Content(key=self.key, pictures=tuple(rows))
        tensors = {
            "sigma": whole.sigma.contiguous(),
            "channels": whole.channels.contiguous(),
            "points": torch.from_numpy(np.ascontiguousarray(whole.points)),
        }
        text = json.dumps(content.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        write_atomically(self.file, save(tensors, metadata={"index": text}))

    def _look(
        self, name: str, place: Place, reader: Reader, size: int, time_us: int, sha256: str
    ) -> None:
        row = Row(path=name, size=size, time_us=time_us, sha256=sha256)
        try:
            faces = looked_at(place, reader)
        except VfxSwapError as error:
            faces = EMPTY
            row = row.model_copy(update={"trouble": _sentence(error)})
        if not len(faces) and not row.trouble:
            row = row.model_copy(update={"trouble": "no face found"})
        self.rows[name], self.faces[name] = row, faces

    def _forget_missing(self) -> bool:
        gone = [name for name in self.rows if not (self.file.parent / name).is_file()]
        for name in gone:
            del self.rows[name], self.faces[name]
        return bool(gone)

    def _found(self, places: Sequence[Place], looked: int) -> Found:
        parts: list[Faces] = []
        pictures: list[int] = []
        numbers: list[int] = []
        troubles: list[tuple[Path, str]] = []
        for at, place in enumerate(places):
            name = self._name(place.path)
            faces, row = self.faces[name], self.rows[name]
            if row.trouble:
                troubles.append((place.path, row.trouble))
            parts.append(faces)
            pictures += [at] * len(faces)
            numbers += range(len(faces))
        whole = _joined([part for part in parts if len(part)])
        return Found(tuple(places), whole, tuple(pictures), tuple(numbers), tuple(troubles), looked)

    def _name(self, path: Path) -> str:
        absolute, folder = path.resolve(), self.file.parent.resolve()
        below = absolute.is_relative_to(folder)
        return absolute.relative_to(folder).as_posix() if below else str(absolute)


EMPTY = Faces(torch.zeros(0, 0), torch.zeros(0, 0, 0, dtype=torch.float16), np.zeros((0, 70, 2)))


@torch.inference_mode()
def looked_at(place: Place, reader: Reader) -> Faces:
    """All faces of a picture, largest first. Raises PlateError, ColorError."""
    image = read_image(place.path)
    frame = working_frame(image, place.path, color=reader.color)
    faces = faces_of_still(frame, finder=reader.finder, device=reader.device)
    found = []
    for face in faces:
        crop = Alignment.of(face, frame.rgb, frame, size=reader.net.size, device=reader.device)
        if crop is not None:
            found.append(described(reader.net, crop, face))
    return _joined(found)


def described(net: FeatureNet, crop: Alignment, face: Face) -> Faces:
    """One face's row, out of its aligned crop at the network's size."""
    about = seen(net, net.encode(crop.seen(net.size)[0]))
    return Faces(about.sigma.cpu(), about.channels.cpu().half(), face.points[None])


def _sentence(error: VfxSwapError) -> str:
    """What is wrong, without the file, which a list names already."""
    return str(VfxSwapError(error.what, got=error.got, wanted=error.wanted))


def _joined(parts: Sequence[Faces]) -> Faces:
    if not parts:
        return EMPTY
    return Faces(
        torch.cat([part.sigma for part in parts]),
        torch.cat([part.channels for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    # Microseconds: file servers and systems keep unlike fractions below them.
    return stat.st_size, stat.st_mtime_ns // 1000


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
