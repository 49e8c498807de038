"""Face sets as crops that a comb trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from vfxswap.align.crop import outline
from vfxswap.color import ColorManager, to_net
from vfxswap.errors import CancelledError, JobError
from vfxswap.io.exr import read_image
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.matte import polygon_matte
from vfxswap.ops.warp import warp_affine
from vfxswap.train.crops import Crops, as_byte, joined, stored_size, write_shard
from vfxswap.train.face_set import FaceSet, SetFace
from vfxswap.train.face_set_cut import MATTE

SHARD: Final = 100
"""Faces in a shard."""

LEAST_FACES: Final = 2
"""Nothing can be learnt of a persona from fewer."""

_SAME_FACE: Final = 0.25
"""Two faces on one frame that are nearer than this, of their size, are one."""


def shard_set(
    folder: Path,
    number: int,
    found: FaceSet,
    role: str,
    crop_size: int,
    manager: ColorManager,
    *,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Writes a set's faces as shards of crops into `folder`, keeping whole ones of these very
    faces and removing others of this set's `number`.

    Raises JobError for a set that is finer asked for than it is, or has too few faces; PlateError
    for a crop that cannot be read, CancelledError after the shard in hand.
    """
    kept, own = found.kept, found.header.settings.crop_size
    if len(kept) < LEAST_FACES:
        raise JobError("too few faces to train on", got=f"a face set of {len(kept)}",
                       wanted=f"{LEAST_FACES} or more, better hundreds",
                       file=found.folder)  # fmt: skip
    if crop_size > own:
        raise JobError("the face set is coarser than the training", got=f"crops of {own} px",
                       wanted=f"{crop_size} px: build it with --crop-size",
                       file=found.folder)  # fmt: skip
    parts = [kept[start : start + SHARD] for start in range(0, len(kept), SHARD)]
    names = [f"set-{number:03d}-{i:05d}-{_mark(part)}" for i, part in enumerate(parts)]
    files = [folder / f"{name}.safetensors" for name in names]
    for old in set(folder.glob(f"set-{number:03d}-*.safetensors")) - set(files):
        old.unlink()
    done = 0
    for part, file in zip(parts, files, strict=True):
        if not file.exists():
            cuts = [face_crops(found, face, crop_size, manager) for face in part]
            write_shard(file, {role: joined(cuts)})
        done += len(part)
        progress(done, len(kept))
        if stop():
            raise CancelledError("reading of a face set was stopped; it resumes shard by shard")


def face_crops(found: FaceSet, face: SetFace, crop_size: int, manager: ColorManager) -> Crops:
    """One face as a stored crop of `crop_size`, at most the set's. The face matte is what is seen
    of it. Raises PlateError, ColorError."""
    path = found.folder / face.file
    image = read_image(path, frame=face.frame)
    space = manager.resolve(image, path, found.header.working_space).space
    net = to_net(manager.to_working(image.rgb(), space))
    channels = image.part.channels
    visible, front = (channels[f"{MATTE}.{name}"].astype(np.float32) for name in ("red", "blue"))
    planes = np.concatenate([net, (visible * (1 - front))[..., None]], -1)
    side, whole = stored_size(crop_size), planes.shape[0]
    step = whole / side
    matrix = np.array([[step, 0.0, 0.0], [0.0, step, 0.0]])
    small = warp_affine(to_tensor(planes), matrix, (side, side), border="clamp")
    points = face.landmarks() / step
    return Crops(
        pixels=small[:, :3].half(),
        polygon=as_byte(polygon_matte(outline(points), (side, side))),
        face=as_byte(small[:, 3:]),
        points=torch.from_numpy(points).float()[None],
    )


def check_apart(sets: Mapping[str, Sequence[FaceSet]]) -> None:
    """Returns when no two personas are made of one folder or of the same faces of a frame.

    Raises JobError: what a persona learnt would be the other's face.
    """
    folders: dict[Path, str] = {}
    seen: dict[str, list[tuple[str, SetFace]]] = {}
    for persona, found in sets.items():
        for each in found:
            place = each.folder.resolve()
            if folders.setdefault(place, persona) != persona:
                raise JobError("two personas come from one folder",
                               got=f"{folders[place]} and {persona}", file=each.folder)  # fmt: skip
            for face in each.kept:
                for other, there in seen.get(face.plate_sha256, ()):
                    if other != persona and _is_same(face, there):
                        raise JobError("two personas are made of the same face",
                                       got=f"{other} and {persona}", file=face.plate,
                                       frame=face.frame)  # fmt: skip
                seen.setdefault(face.plate_sha256, []).append((persona, face))


def _is_same(a: SetFace, b: SetFace) -> bool:
    apart = np.array(a.points).mean(0) - np.array(b.points).mean(0)
    return a.view == b.view and float(np.hypot(*apart)) < _SAME_FACE * max(a.face_px, b.face_px)


def _mark(faces: Sequence[SetFace]) -> str:
    said = "\n".join(f"{face.file} {face.key}" for face in faces)
    return hashlib.sha256(said.encode()).hexdigest()[:12]
