"""Combs from footage: tracked clips of consenting performers, crops, training, model.

A recipe (TOML) names for every persona its consent and its face sets (`vfxswap faces`), or clips,
each a plate with its tracks.
`base` adds the personas to a trained comb instead. The published, unpaired training is the
default. Nothing is read before consent to train is checked for the show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator

from vfxswap.align.crop import apply, outline
from vfxswap.color import ColorManager, to_net
from vfxswap.errors import CancelledError, JobError
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Image
from vfxswap.io.exr import read_image
from vfxswap.io.sequence import PlateSequence
from vfxswap.io.tracks import read_tracks
from vfxswap.io.weights import StoredModel, find_model, load_net, save_model
from vfxswap.nets.comb import Comb, crop_px
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.matte import polygon_matte
from vfxswap.ops.warp import inverted, warp_affine
from vfxswap.persona import Consent, Id, ModelCard, Persona, check_consent, revocations
from vfxswap.settings import Settings
from vfxswap.shot import parse_frames
from vfxswap.train.comb import CombTrainer
from vfxswap.train.comb_loop import train
from vfxswap.train.comb_start import comb_to_start
from vfxswap.train.crops import (
    Crops,
    CropSet,
    as_byte,
    joined,
    net_mean,
    read_crops,
    stored_matrix,
    stored_size,
    write_description,
    write_shard,
)
from vfxswap.train.extend import PersonaTrainer
from vfxswap.train.face_set import FaceSet, read_face_set
from vfxswap.train.face_set_crops import check_apart, shard_set
from vfxswap.train.parallel import ALONE, Ranks
from vfxswap.train.recipe import read_recipe
from vfxswap.train.schedule import CombTraining

SHARD = 100
"""Frames in a shard."""
Progress = Callable[[str, int, int], None]


class Clip(Settings):
    """One performer on one tracked plate."""

    plate: str = Field(description="File pattern, relative to the recipe: clip.####.exr")
    tracks: str = Field(description="Tracks file of that plate, relative to the recipe.")
    frames: str = Field(default="", description="Frame range; all on disk if empty.")
    face: int = Field(default=0, ge=0, description="Id of the performer's face in the tracks.")
    view: str = Field(default="", description="View, for stereo plates.")
    color_space: str = Field(default="", description="The plate's, where the file does not say.")


class PersonaFootage(Settings):
    """A persona to be: who allowed it, and where it is seen."""

    description: str = Field(default="", description="What it looks like; no names of persons.")
    synthetic: bool = Field(default=False, description="No real person's likeness.")
    consent: Consent | None = Field(
        default=None, description="Required unless synthetic; else the first face set's."
    )
    sets: tuple[str, ...] = Field(
        default=(), description="Face sets of this performer: folders, relative to the recipe."
    )
    clips: tuple[Clip, ...] = Field(
        default=(), description="Footage of this performer alone, where no set was made of it."
    )

    @model_validator(mode="after")
    def _shown(self) -> Self:
        if not self.sets and not self.clips:
            raise ValueError("neither face sets nor clips are named")
        return self


class FootageRecipe(Settings):
    """All that makes a comb of footage."""

    name: Id = Field(description="Name of the model.")
    description: str = Field(default="", description="What the model is, in a sentence.")
    licence: str = Field(description="SPDX identifier of the weights' licence.")
    training_data: str = Field(description="What the footage is and where it came from.")
    training_licence: str = Field(description="Under which terms the footage may be used.")
    start: str = Field(
        default="", description="Comb from whose weights a new one starts (the base encoder)."
    )
    base: str = Field(default="", description="Comb to which the persona is added, by name.")
    like: str = Field(default="", description="Its persona that a new one starts from.")
    personas: dict[Id, PersonaFootage] = Field(min_length=1, description="By id.")
    training: CombTraining = Field(description="How it is trained.")


def load_recipe(file: Path) -> FootageRecipe:
    """A recipe for footage. Raises JobError."""
    recipe = read_recipe(file, FootageRecipe)
    if recipe.training.paired:
        raise JobError("footage of different performers is not paired", file=file)
    if recipe.base and len(recipe.personas) != 1:
        raise JobError("personas are added to a comb one at a time",
                       got=", ".join(recipe.personas), file=file)  # fmt: skip
    seen: dict[tuple[str, int, str], str] = {}
    for name, footage in recipe.personas.items():
        for clip in footage.clips:
            if (other := seen.setdefault((clip.plate, clip.face, clip.view), name)) != name:
                raise JobError(
                    "two personas are made of the same face",
                    got=f"{other} and {name}: face {clip.face} of {clip.plate}",
                    file=file,
                )
    return recipe


def run(
    file: Path,
    *,
    out: Path,
    work: Path,
    show: str,
    device: str = "cpu",
    ranks: Ranks = ALONE,
    today: date | None = None,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> StoredModel:
    """Checks consent, cuts crops, trains and writes the model into `out`.

    `work` keeps shards, checkpoints, log: a second run goes on there. Raises ConsentError before
    any footage is read, JobError for the recipe, PlateError for a frame, CancelledError.
    """
    recipe = load_recipe(file)
    sets = {
        name: [read_face_set(file.parent / folder) for folder in footage.sets]
        for name, footage in recipe.personas.items()
    }
    check_apart(sets)
    people = {name: _person(name, footage, sets[name]) for name, footage in recipe.personas.items()}
    asked = [*people.values(), *(each.persona for found in sets.values() for each in found)]
    for person in asked:
        check_consent(person, show=show, use="train", today=today, revoked=revocations())
    size = crop_px(recipe.training.level)
    manager = ColorManager()
    if ranks.first:
        for name, footage in recipe.personas.items():
            folder = work / "crops" / name
            write_description(folder, crop_size=size, paired=False, text=recipe.training_data)
            for number, found in enumerate(sets[name]):
                label = f"read {name}, set {number + 1} of {len(sets[name])}"
                shard_set(folder, number, found, name, size, manager,
                          progress=partial(progress, label), stop=stop)  # fmt: skip
            for number, clip in enumerate(footage.clips):
                label = f"cut {name}, clip {number + 1} of {len(footage.clips)}"
                cut_clip(folder, number, clip, file.parent, name, size, manager,
                         progress=partial(progress, label), stop=stop)  # fmt: skip
    ranks.wait()
    roles = {name: read_crops(work / "crops" / name, roles=[name]).roles[name] for name in people}
    crops = CropSet(size, False, roles)
    base = find_model(recipe.base) if recipe.base else None
    comb = train(
        _trainer(recipe, crops, base, device, ranks),
        work / "training",
        stop=stop,
        progress=lambda done, total, _: progress("train", done, total),
    ).cpu()
    if not ranks.first:
        ranks.wait()
        return find_model(out)
    trained = tuple(
        person.model_copy(update={"net_mean": net_mean(crops, name)})
        for name, person in people.items()
    )
    personas = (*(base.card.personas if base else ()), *trained)
    card = ModelCard(
        name=recipe.name,
        effect="swap",
        description=recipe.description,
        network="comb",
        network_settings=comb.settings.model_dump(mode="json", exclude_none=True),
        crop_size=size,
        licence=recipe.licence,
        synthetic=all(p.synthetic for p in personas),
        training_data=recipe.training_data,
        training_licence=recipe.training_licence,
        recipe=f"vfxswap train comb {file.name}",
        negative_results=("no truth exists for footage: nothing was measured",),
        personas=personas,
    )
    stored = save_model(out, card, comb.state_dict())
    ranks.wait()
    return stored


def _person(name: str, footage: PersonaFootage, sets: Sequence[FaceSet]) -> Persona:
    """The persona as the recipe says, else as its first set does. Raises JobError for sets of
    another persona."""
    for found in sets:
        if found.persona.id != name:
            raise JobError("the face set is of another persona", got=found.persona.id, wanted=name,
                           file=found.folder)  # fmt: skip
    if sets and not footage.synthetic and footage.consent is None:
        said = footage.description or sets[0].persona.description
        return sets[0].persona.model_copy(update={"description": said})
    return Persona(
        id=name,
        synthetic=footage.synthetic,
        consent=footage.consent,
        description=footage.description,
    )


def cut_clip(
    folder: Path,
    number: int,
    clip: Clip,
    root: Path,
    role: str,
    crop_size: int,
    manager: ColorManager,
    *,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Cuts a clip's crops into shards, keeping whole ones that are there.

    Frames on which the tracks have no such face are passed over. Raises JobError when none has
    it, PlateError for a frame that cannot be read, CancelledError after the shard in hand.
    """
    plate = PlateSequence(str(root / clip.plate))
    view = clip.view if plate.has_views else None
    tracks = read_tracks(root / clip.tracks)
    frames = parse_frames(clip.frames) if clip.frames else plate.frames_on_disk(view)
    seen: list[tuple[int, Face]] = []
    for frame in sorted(frames):
        faces = [f for f in tracks.faces(frame, clip.view) if f.id == clip.face]
        seen += [(frame, face) for face in faces]
    if not seen:
        raise JobError("the tracks do not have this face on any frame", got=f"face {clip.face}",
                       file=root / clip.tracks)  # fmt: skip
    for start in range(0, len(seen), SHARD):
        part = seen[start : start + SHARD]
        file = folder / f"clip-{number:03d}-{part[0][0]:08d}.safetensors"
        if not file.exists():
            cuts = []
            for frame, face in part:
                path = plate.path(frame, view)
                image = read_image(path, frame=frame, view=clip.view or None)
                cuts.append(crop_of(image, path, face, crop_size, manager, clip.color_space))
            write_shard(file, {role: joined(cuts)})
        progress(min(start + SHARD, len(seen)), len(seen))
        if stop():
            raise CancelledError("cutting of crops was stopped; it resumes shard by shard")


def crop_of(
    image: Image,
    path: Path,
    face: Face,
    crop_size: int,
    manager: ColorManager,
    color_space: str = "",
) -> Crops:
    """One stored crop of a plate; its face matte is the outline's polygon, for want of truth."""
    side = stored_size(crop_size)
    aspect = image.part.pixel_aspect
    matrix = stored_matrix(face.points, crop_size=crop_size, pixel_aspect=aspect)
    back = inverted(matrix)
    box = _around(back, side).intersection(image.part.data_window)
    if box.empty:
        raise JobError("the face lies outside the picture", got=f"face {face.id}", file=path)
    space = manager.resolve(image, path, color_space or None).space
    rgb = image.rgb()[box.slices_in(image.part.data_window)]
    back[:, 2] -= (box.x, box.y)
    net = to_tensor(to_net(manager.to_working(np.ascontiguousarray(rgb), space)))
    pixels = warp_affine(net, back, (side, side), border="clamp")
    points = apply(matrix, face.points)
    polygon = as_byte(polygon_matte(outline(points), (side, side)))
    return Crops(pixels.half(), polygon, polygon.clone(), torch.from_numpy(points).float()[None])


def _around(back: Array, side: int) -> Box:
    """Plate pixels that the stored square and the filter around it may touch."""
    corners = apply(back, np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64))
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    reach = 4 + int(4 * max(1.0, np.sqrt(abs(np.linalg.det(back[:, :2])))))
    return Box(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])).grown(reach)


def _trainer(
    recipe: FootageRecipe, crops: CropSet, base: StoredModel | None, device: str, ranks: Ranks
) -> CombTrainer:
    if base is None:
        start = comb_to_start(recipe.start)
        names = tuple(recipe.personas)
        return CombTrainer(recipe.training, crops, names, device, start=start, ranks=ranks)
    comb = load_net(base.card, base.folder, device="cpu")
    if not isinstance(comb, Comb):
        raise JobError("the base is no comb", got=base.card.network)
    (persona,) = recipe.personas
    return PersonaTrainer(
        recipe.training,
        crops,
        comb,
        persona,
        like=recipe.like or None,
        device=device,
        ranks=ranks,
    )
