"""Labelled pictures of faces on disk, and the samples that landmark training draws from them.

A data folder holds safetensors shards `pictures-0000.safetensors` …: `pictures` [n, S, S, 3]
float16 scene-linear, `points` [n, 70, 2] float32 in picture pixels (centres at +0.5), `identity`
[n] int64, and for parsing `labels` [n, S, S] uint8 (see `nets.parsing.CLASSES`). Pictures show
the face loosely (about half the side), so that training can shift, turn and scale without leaving
them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vfxswap.align.pose import CROP_SHARE
from vfxswap.color import to_net
from vfxswap.errors import JobError
from vfxswap.files import write_atomically
from vfxswap.geometry import LANDMARK_COUNT, MIRROR
from vfxswap.image import Pixels
from vfxswap.train.photo import Generator, faceless, occluded, photographed

Points = NDArray[np.float32]

MOST_ROLL_RAD = 0.85
"""Rolls up to this are drawn beside those that the pictures have."""

HELD_OUT_EVERY = 12
"""Of the identities, those whose number this divides are never trained on."""


def shard_file(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"pictures-{shard:04d}.safetensors"


def write_shard(
    folder: Path,
    shard: int,
    *,
    pictures: NDArray[np.float16],
    points: NDArray[np.floating],
    identity: NDArray[np.integer],
    labels: NDArray[np.uint8] | None = None,
) -> Path:
    """Writes a shard, whole or not at all: pictures [n, S, S, 3] scene-linear, points
    [n, 70, 2], identity [n] the same number for every picture of one performer, labels
    [n, S, S] the part that each pixel shows."""
    file = shard_file(folder, shard)
    tensors: dict[str, NDArray[Any]] = {
        "pictures": np.ascontiguousarray(pictures, np.float16),
        "points": np.ascontiguousarray(points, np.float32),
        "identity": np.ascontiguousarray(identity, np.int64),
    }
    if labels is not None:
        tensors["labels"] = np.ascontiguousarray(labels, np.uint8)
    write_atomically(file, save(tensors))
    return file


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Shards, mapped not copied; `points` [N, 70, 2] and `identity` [N] lie in memory. `parts`
    are the shards' labels, where they have them."""

    shards: tuple[NDArray[np.float16], ...]
    parts: tuple[NDArray[np.uint8], ...]
    starts: NDArray[np.int64]
    points: Points
    identity: NDArray[np.int64]

    @classmethod
    def open(cls, *folders: Path) -> FaceSet:
        """All shards of the folders, in turn and by name. Raises JobError when a folder has none
        or one is broken."""
        files: list[Path] = []
        for folder in folders:
            there = sorted(folder.glob("pictures-*.safetensors"))
            if not there:
                wanted = "pictures-*.safetensors"
                raise JobError("no pictures to train on", file=folder, wanted=wanted)
            files += there
        shards, parts, points, identity = [], [], [], []
        for file in files:
            try:
                with safe_open(file, framework="numpy") as stored:
                    points.append(stored.get_tensor("points"))
                    identity.append(stored.get_tensor("identity"))
                    if "labels" in stored.keys():  # noqa: SIM118
                        parts.append(stored.get_tensor("labels"))
                shards.append(_mapped(file))
            except (SafetensorError, ValueError, OSError) as error:
                raise JobError(f"not a shard of pictures: {error}", file=file) from error
        starts = np.cumsum([0, *(len(shard) for shard in shards)])
        return cls(
            tuple(shards), tuple(parts), starts, np.concatenate(points), np.concatenate(identity)
        )

    def __len__(self) -> int:
        return len(self.points)

    def picture(self, index: int) -> Pixels:
        """[S, S, 3] float32 scene-linear."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        picture: Pixels = self.shards[shard][index - self.starts[shard]].astype(np.float32)
        return picture

    def labels(self, index: int) -> NDArray[np.uint8]:
        """[S, S] the part that each pixel shows. Raises JobError when the shards have none."""
        if len(self.parts) != len(self.shards):
            raise JobError("pictures without labels", wanted="labels in every shard")
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        labels: NDArray[np.uint8] = self.parts[shard][index - self.starts[shard]]
        return labels

    def split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices to train on and indices held out, with no identity in both."""
        held_out = self.identity % HELD_OUT_EVERY == 0
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _mapped(file: Path) -> NDArray[np.float16]:
    """`pictures` of a shard as a read-only memory map (safetensors itself would copy)."""
    with file.open("rb") as stream:
        header_size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(header_size))
    entry = header["pictures"]
    if entry["dtype"] != "F16" or len(entry["shape"]) != 4:
        raise ValueError(f"pictures are {entry['dtype']} {entry['shape']}")
    start = 8 + header_size + entry["data_offsets"][0]
    return np.memmap(file, np.float16, "r", start, tuple(entry["shape"]))


class Sample(NamedTuple):
    """`crop` [S, S, 3] net space with `points` [70, 2] in crop widths; `scan` [T, T, 3] the same
    kind of face at another size and place with `centre` [2] in its pixels and `face_px` its size
    there. `is_face` False: neither shows one, and the numbers mean nothing."""

    is_face: bool
    crop: Pixels
    points: Points
    scan: Pixels
    centre: Points
    face_px: float


def draw(faces: FaceSet, index: int, rng: Generator, *, size: int, scan_size: int) -> Sample:
    """A training sample: the face `index`, moved, dressed and photographed at random."""
    linear, points = faces.picture(index), faces.points[index]
    if rng.random() < 0.3:
        linear, _ = occluded(linear, points, rng)
    if rng.random() < 0.5:
        side = linear.shape[1]
        linear = np.ascontiguousarray(linear[:, ::-1])
        points = (points * [-1, 1] + [side, 0])[list(MIRROR)].astype(np.float32)
    centre, face = _box(points)
    share = CROP_SHARE * float(np.exp(rng.normal(0.0, 0.09)))
    matrix = placing(
        centre + rng.normal(0.0, 0.055, 2) * face,
        face * share / size,
        _turn(rng, 0.16, 0.2),
        (size / 2, size / 2),
    )
    crop = cut_picture(linear, matrix, size)
    if rng.random() < 0.12:
        _smear_side(crop, rng)
    moved = _apply(inverse(matrix), points)

    face_px = 16.0 * float(np.exp2(rng.uniform(-1.2, 1.2)))
    at = rng.uniform(0.15, 0.85, 2) * scan_size
    scan_matrix = placing(centre, face / face_px, _turn(rng, 0.3, 0.35), tuple(at))
    scan = cut_picture(linear, scan_matrix, scan_size, surround=rng)
    return Sample(
        True,
        photographed(crop, rng),
        (moved / size).astype(np.float32),
        photographed(scan, rng),
        at.astype(np.float32),
        face_px,
    )


def draw_faceless(
    faces: FaceSet, index: int, rng: Generator, *, size: int, scan_size: int
) -> Sample:
    """A sample without a face: textures and shapes, or pieces of a face at the wrong place."""
    if rng.random() < 0.5:
        crop, scan = faceless(size, rng), faceless(scan_size, rng)
    else:
        linear, points = faces.picture(index), faces.points[index]
        crop = _not_a_face(linear, points, size, rng)
        scan = _shuffled(cut_picture(linear, _whole(linear, scan_size), scan_size), rng)
    return Sample(
        False,
        photographed(crop, rng),
        np.zeros((LANDMARK_COUNT, 2), np.float32),
        photographed(scan, rng),
        np.zeros(2, np.float32),
        1.0,
    )


def plain(
    faces: FaceSet, index: int, rng: Generator, *, size: int, share: float = CROP_SHARE
) -> tuple[Pixels, Points]:
    """The face `index` as a detector would hand it over: slight shift, turn and scale, no other
    change. Crop [size, size, 3] in net space and points [70, 2] in crop pixels."""
    linear, points = faces.picture(index), faces.points[index]
    centre, face = _box(points)
    matrix = placing(
        centre + rng.normal(0.0, 0.03, 2) * face,
        face * share * float(np.exp(rng.normal(0.0, 0.05))) / size,
        float(rng.normal(0.0, 0.08)),
        (size / 2, size / 2),
    )
    crop = to_net(cut_picture(linear, matrix, size))
    return crop, _apply(inverse(matrix), points).astype(np.float32)


def _turn(rng: Generator, usual_rad: float, far: float) -> float:
    """A roll about as a detector leaves it, or, at the chance `far`, as it finds heads: a first
    look at a face takes it for upright."""
    if rng.random() < far:
        return float(rng.uniform(-MOST_ROLL_RAD, MOST_ROLL_RAD))
    return float(rng.normal(0.0, usual_rad))


def _not_a_face(linear: Pixels, points: Points, size: int, rng: Generator) -> Pixels:
    centre, face = _box(points)
    kind = rng.random()
    if kind < 0.35:
        whole = placing(centre, face * CROP_SHARE / size, 0.0, (size / 2, size / 2))
        return _shuffled(cut_picture(linear, whole, size), rng)
    if kind < 0.5:
        upside_down = placing(centre, face * CROP_SHARE / size, np.pi, (size / 2, size / 2))
        return cut_picture(linear, upside_down, size)
    angle = rng.uniform(0, 2 * np.pi)
    if kind < 0.75:
        away = np.array([np.cos(angle), np.sin(angle)]) * face * rng.uniform(0.55, 1.0)
        side = face * rng.uniform(0.7, 1.6)
    else:
        away = np.array([np.cos(angle), np.sin(angle)]) * face * rng.uniform(0.0, 0.4)
        side = face * rng.uniform(0.2, 0.5)
    return cut_picture(linear, placing(centre + away, side / size, 0.0, (size / 2, size / 2)), size)


def _shuffled(picture: Pixels, rng: Generator) -> Pixels:
    """Blocks of the picture in another order: the parts of a face without its layout."""
    blocks = int(rng.integers(2, 5))
    edge = picture.shape[0] // blocks
    out = picture.copy()
    order = rng.permutation(blocks * blocks)
    if blocks == 2:
        order = np.roll(np.arange(4), 1 + int(rng.integers(0, 3)))
    for to, source in enumerate(order.tolist()):
        (a, b), (c, d) = divmod(to, blocks), divmod(source, blocks)
        block = picture[c * edge : (c + 1) * edge, d * edge : (d + 1) * edge]
        out[a * edge : (a + 1) * edge, b * edge : (b + 1) * edge] = block
    return out


def _smear_side(picture: Pixels, rng: Generator) -> None:
    """What a crop shows beyond the plate's edge: the last pixels repeated."""
    view = picture if rng.random() < 0.5 else picture.transpose(1, 0, 2)
    at = int(rng.uniform(0.0, 0.3) * view.shape[1])
    if rng.random() < 0.5:
        view[:, :at] = view[:, at : at + 1]
    else:
        view[:, view.shape[1] - at :] = view[:, view.shape[1] - at - 1, None]


def _box(points: Points) -> tuple[NDArray[np.float64], float]:
    """Centre [2] and larger side of the box of the 68 landmarks."""
    low, high = points[:68].min(0).astype(float), points[:68].max(0).astype(float)
    return (low + high) / 2, float((high - low).max())


def placing(
    centre: NDArray[np.float64], step: float, angle_rad: float, at: tuple[float, ...]
) -> NDArray[np.float64]:
    """[2, 3] from output to picture pixels: `at` shows `centre`, one output pixel is `step`."""
    a, b = step * np.cos(angle_rad), step * np.sin(angle_rad)
    linear = np.array([[a, -b], [b, a]])
    return np.concatenate([linear, (centre - linear @ np.array(at))[:, None]], 1)


def _whole(picture: Pixels, size: int) -> NDArray[np.float64]:
    side = picture.shape[0]
    return placing(np.array([side / 2, side / 2]), side / size, 0.0, (size / 2, size / 2))


def _apply(matrix: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -(linear @ matrix[:, 2:])], 1)


def cut_picture(
    picture: Pixels, matrix: NDArray[np.float64], size: int, *, surround: Generator | None = None
) -> Pixels:
    """[size, size, 3] by bilinear sampling of the picture, halved first where it shrinks.

    Beyond the picture its edge is repeated, or with `surround` mostly another picture shown.
    """
    step = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    matrix = matrix.copy()
    while step >= 1.6:
        height, width = picture.shape[:2]
        picture = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        matrix, step = matrix / 2, step / 2
    # OpenCV counts pixel centres from 0.
    matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if surround is None or surround.random() < 0.3:
        border, out = cv2.BORDER_REPLICATE, None
    else:
        border, out = cv2.BORDER_TRANSPARENT, faceless(size, surround)
    cut: Pixels = cv2.warpAffine(picture, matrix, (size, size), out, flags, border)
    return cut
