"""Which of a shot's performers a persona is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch

from vfxswap.align.detect import detect
from vfxswap.align.identify import Describer, described
from vfxswap.align.pose import LandmarkFinder, View
from vfxswap.color import ColorManager, to_net
from vfxswap.errors import JobError, PlateError
from vfxswap.geometry import Array, Face
from vfxswap.io.exr import read_image
from vfxswap.io.tracks import Tracks
from vfxswap.ops.convert import to_tensor
from vfxswap.persona import Persona
from vfxswap.render.device import pick_device
from vfxswap.render.models import Shelf
from vfxswap.render.plan import Plan, Unit
from vfxswap.render.tracking import IDENTITY, STAGE
from vfxswap.shot import format_frames
from vfxswap.train.face_set import SetFace, is_face_set, read_face_set
from vfxswap.train.face_set_filters import LEAST_FOR_LIKENESS, middle
from vfxswap.train.face_set_looks import unpacked

_LOOKED_AT: Final = 9
"""Frames of a performer that are looked at to tell who it is."""


def choose_faces(
    plan: Plan,
    tracks: Tracks,
    ids: Sequence[int],
    describer: Describer,
    *,
    look: Array | None,
    least: float,
    where: Path,
    note: Callable[[str], None],
) -> tuple[int, ...]:
    """The persona's ids in a shot's tracks: `ids` where stated; the only performer; else those
    whose cosine with `look` is at least `least`; `note` is told of the others.

    Raises JobError when a stated id is not there, nobody is, or nothing tells who it is.
    """
    seen: dict[int, list[tuple[Unit, Face]]] = {}
    for unit in plan.units(plan.prepare_frames):
        for face in tracks.faces(unit.frame, unit.view):
            seen.setdefault(face.id, []).append((unit, face))
    if not seen:
        raise JobError("no face is found in the shot", file=where)
    listed = "; ".join(
        f"{id_} on {format_frames(unit.frame for unit, _ in found)}"
        for id_, found in sorted(seen.items())
    )
    if absent := sorted(set(ids) - set(seen)):
        raise JobError("the tracks do not have this face", got=f"face {absent[0]}",
                       wanted=f"one of faces {listed}", file=where)  # fmt: skip
    if ids:
        return tuple(ids)
    if len(seen) == 1:
        return tuple(seen)
    if look is None:
        raise JobError(
            "the shot shows several performers and nothing tells which is the persona",
            got=f"faces {listed}", wanted="--face, or --reference", file=where,
        )  # fmt: skip
    alike = {id_: _alike(plan, found, describer, look) for id_, found in seen.items()}
    chosen = tuple(sorted(id_ for id_, cosine in alike.items() if cosine >= least))
    if not chosen:
        said = ", ".join(f"{cosine:.2f} for face {id_}" for id_, cosine in sorted(alike.items()))
        raise JobError("no performer of the shot looks like the persona", got=f"cosine {said}",
                       wanted=f"{least} or more, or --face", file=where)  # fmt: skip
    for id_ in sorted(set(alike) - set(chosen)):
        note(f"face {id_} is taken for another performer (cosine {alike[id_]:.2f})")
    return chosen


def look_of(faces: Sequence[SetFace]) -> Array | None:
    """The persona's look [L] in the middle of a set's faces; None for too few."""
    if len(faces) < LEAST_FOR_LIKENESS:
        return None
    return middle(np.stack([unpacked(face.descriptor) for face in faces]))


def reference_look(path: Path, persona: Persona) -> Array:
    """The look [L] that a reference shows: another face set of the persona, or a picture with one
    face. Consent is the caller's to check first.

    Raises JobError for a set of another persona or with too few faces, and for a picture without
    one face; PlateError for one that cannot be read.
    """
    if path.is_dir() or is_face_set(path):
        known = read_face_set(path)
        if known.persona.id != persona.id:
            raise JobError("the reference is of another persona", got=known.persona.id,
                           wanted=persona.id, file=path)  # fmt: skip
        look = look_of(known.kept)
        if look is None:
            raise JobError("too few faces for a reference", got=len(known.kept),
                           wanted=f"{LEAST_FOR_LIKENESS} or more", file=path)  # fmt: skip
        return look
    shelf = Shelf(pick_device("cpu"))
    image, manager = read_image(path), ColorManager()
    working = manager.to_working(image.rgb(), manager.resolve(image, path).space)
    window = image.part.data_window
    view = View(to_tensor(to_net(working)), (window.x, window.y), image.part.pixel_aspect)
    with torch.inference_mode():
        found = detect(view, cast(LandmarkFinder, shelf.for_stage(STAGE).net))
        if len(found) != 1:
            raise JobError("the reference does not show one face", got=f"{len(found)} faces",
                           file=path)  # fmt: skip
        faces = described(view, found, cast(Describer, shelf.for_stage(IDENTITY).net))
    assert faces[0].descriptor is not None
    return faces[0].descriptor


def _alike(
    plan: Plan, found: Sequence[tuple[Unit, Face]], describer: Describer, look: Array
) -> float:
    """Cosine between `look` and the mean look of a performer on its clearest frames."""
    clearest = sorted(found, key=lambda each: (-each[1].score, each[0].frame))[:_LOOKED_AT]
    looks = []
    for unit, face in clearest:
        try:
            image = plan.read(unit)
        except PlateError:
            continue
        space = plan.color_space(image, unit.source).space
        window = image.part.data_window
        pixels = to_tensor(to_net(plan.color.to_working(image.rgb(), space)), device=plan.device)
        view = View(pixels, (window.x, window.y), image.part.pixel_aspect)
        looks += [f.descriptor for f in described(view, [face], describer)]
    vectors = [look for look in looks if look is not None]
    if not vectors:
        return -1.0
    mean = np.mean(vectors, 0)
    return float(mean @ look) / max(float(np.linalg.norm(mean)), 1e-9)
