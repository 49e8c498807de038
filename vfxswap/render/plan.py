"""A job opened: frames, views, files, effects with their networks, and consent."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vfxswap import effects as installed
from vfxswap.color import ColorManager, Resolution
from vfxswap.effects.base import Effect
from vfxswap.effects.outputs import MATTES
from vfxswap.errors import JobError, PlateError
from vfxswap.image import Image
from vfxswap.io.exr import read_image
from vfxswap.io.sequence import PlateSequence
from vfxswap.io.tracks import PlateIdentity
from vfxswap.job import FILE_SETTINGS, EffectSpec, Job
from vfxswap.nets.run import Precision
from vfxswap.persona import Persona, is_picture
from vfxswap.render.frame import Spaces, Step
from vfxswap.render.models import Nets, Shelf, consented
from vfxswap.render.references import picture_sha256
from vfxswap.settings import nearest, settings_at_keys
from vfxswap.shot import format_frames


@dataclass(frozen=True)
class Unit:
    """What is rendered at once: one frame of one view, into one file."""

    frame: int
    view: str
    source: Path
    target: Path


def units_of(
    plate: PlateSequence, output: PlateSequence, frames: Sequence[int], views: Sequence[str]
) -> list[Unit]:
    """Frames in the order given, views in order within a frame."""
    return [
        Unit(
            frame,
            view,
            plate.path(frame, view if plate.has_views else None),
            output.path(frame, view if output.has_views else None),
        )
        for frame in frames
        for view in views
    ]


@dataclass(frozen=True)
class Plan:
    """Everything that is the same for all frames of a render."""

    job: Job
    plate: PlateSequence
    output: PlateSequence
    frames: tuple[int, ...]
    """The job's frames, in its order."""
    prepare_frames: tuple[int, ...]
    """Frames with handles, ascending."""
    views: tuple[str, ...]
    identity: PlateIdentity
    color: ColorManager
    steps: tuple[Step, ...]
    personas: dict[str, Persona]
    """By the name that the settings give it; reference pictures by their file."""
    shelf: Shelf
    device: torch.device

    def chosen(self, frames: Sequence[int] | None) -> Sequence[int]:
        """`frames`, or all for None. Raises JobError for frames that are not in the job."""
        return chosen_frames(self.frames, frames)

    def units(self, frames: Sequence[int]) -> list[Unit]:
        """Frames in the order given, views in order within a frame."""
        return units_of(self.plate, self.output, frames, self.views)

    def read(self, unit: Unit) -> Image:
        """The plate's picture of a unit. Raises PlateError."""
        return read_plate(self.job, unit.source, unit.frame, unit.view)

    def check_size(self, image: Image, unit: Unit) -> None:
        """Raises PlateError when a frame's display window differs from the shot's."""
        window = image.part.display_window
        if (window.width, window.height) != (self.identity.width, self.identity.height):
            raise PlateError(
                "frame of another size than the shot",
                got=f"{window.width}x{window.height}",
                wanted=f"{self.identity.width}x{self.identity.height}",
                file=unit.source,
                frame=unit.frame,
            )

    def color_space(self, image: Image, path: Path) -> Resolution:
        """The plate's colour space and who says so. Raises ColorError."""
        return self.color.resolve(image, path, self.job.plate.color_space or None)

    def spaces(self, space: str) -> Spaces:
        """Conversions between a plate's colour space and the working space."""
        return Spaces(
            to_working=lambda rgb: self.color.to_working(rgb, space),
            from_working=lambda rgb: self.color.from_working(rgb, space),
        )


def open_job(
    job: Job,
    *,
    device: torch.device,
    precision: Precision = "half",
    nets: Nets | None = None,
) -> Plan:
    """Checks what the job says against the shelf of effects, models and consent, and loads it;
    `nets` are networks kept from earlier jobs.

    Raises JobError, ModelError, ConsentError, ColorError; PlateError when no frame can be read.
    """
    effects = checked_effects(job)
    personas = checked_consent(job, effects)
    plate, output, frames, views = opened_files(job)
    shot = job.shot(found=frames)
    first, first_path = first_readable(job, plate, shot.frames, views[0])
    manager = color_manager(job)
    manager.resolve(first, first_path, job.plate.color_space or None)
    shelf = Shelf(
        device,
        personas=[name for name in personas if not is_picture(name)],
        precision=precision,
        nets=nets,
        color=manager,
        spaces=picture_spaces(job),
    )
    steps = tuple(
        Step(
            effect.load(settings_at_keys(spec.settings, effect.settings_type), shelf, device), spec
        )
        for effect, spec in effects
    )
    return Plan(
        job=job,
        plate=plate,
        output=output,
        frames=shot.frames,
        prepare_frames=shot.frames_with_handles,
        views=views,
        identity=identity_of(job, first, shot.frames),
        color=manager,
        steps=steps,
        personas=personas,
        shelf=shelf,
        device=device,
    )


def hashes_of_files(plan: Plan, settings: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that settings name, by setting: what a result depends on, wherever
    a machine keeps them."""
    named = {name: str(settings.get(name) or "") for name in FILE_SETTINGS}
    known = plan.shelf.pictures
    return {n: known.get(path) or picture_sha256(path) for n, path in named.items() if path}


def picture_spaces(job: Job) -> dict[str, str]:
    """Colour spaces that the job states, by the path of the picture. Raises JobError for a picture
    in two spaces."""
    found: dict[str, str] = {}
    for spec in job.effects:
        for name, space in spec.spaces.items():
            path = str(spec.settings.get(name) or "")
            if path and found.setdefault(path, space) != space:
                raise JobError(
                    "picture in two colour spaces", got=f"{found[path]} and {space}", file=path
                )
    return found


def chosen_frames(known: Sequence[int], wanted: Sequence[int] | None) -> Sequence[int]:
    """The `wanted` of the `known` frames, or all for None. Raises JobError for unknown ones."""
    if wanted is None:
        return known
    outside = sorted(set(wanted) - set(known))
    if outside:
        raise JobError(
            "frames are not in the job",
            got=format_frames(outside),
            wanted=f"frames of {format_frames(known)}",
        )
    return wanted


def checked_effects(job: Job) -> list[tuple[type[Effect], EffectSpec]]:
    """The job's effects; their settings hold at every key. Raises JobError."""
    found = []
    for spec in job.effects:
        if spec.effect not in installed.EFFECTS:
            raise JobError(
                "no such effect", got=spec.effect, wanted=nearest(spec.effect, installed.EFFECTS)
            )
        effect = installed.EFFECTS[spec.effect]
        roles = [matte.role for matte in MATTES.get(spec.effect, ())]
        for role in spec.mattes if roles else ():
            if role not in roles:
                raise JobError(
                    f"{spec.effect} knows no such matte", got=role, wanted=nearest(role, roles)
                )
        settings_at_keys(spec.settings, effect.settings_type)
        found.append((effect, spec))
    return found


def checked_consent(
    job: Job, effects: Iterable[tuple[type[Effect], EffectSpec]]
) -> dict[str, Persona]:
    """Every persona whose likeness the job writes. Raises ModelError, ConsentError."""
    personas = {}
    for effect, spec in effects:
        for settings in settings_at_keys(spec.settings, effect.settings_type):
            for name in effect.likenesses(settings):
                personas[name] = consented(
                    name,
                    show=job.show,
                    revocation_list=job.revocations,
                    use=installed.PICTURE_USES.get(effect.name, "feature_reference"),
                )
    return personas


def opened_files(
    job: Job,
) -> tuple[PlateSequence, PlateSequence, tuple[int, ...], tuple[str, ...]]:
    """Plate and output as sequences, the frames that are rendered, and the views.

    Raises JobError for patterns that cannot work, PlateError when no frame is found.
    """
    plate, output = PlateSequence(job.plate.pattern), PlateSequence(job.output.pattern)
    views = job.views or (_views_on_disk(plate) if plate.has_views else ())
    if plate.has_views and not views:
        raise PlateError("no view of the plate is found", file=plate.pattern)
    found = plate.frames_on_disk(views[0] if plate.has_views else None)
    if plate.still and not job.frames:
        found = (1,)
    frames = job.shot(found=found).frames
    if not frames:
        raise PlateError("no frame of the plate is found", file=plate.pattern)
    if not job.views and not plate.has_views:
        views = _views_in_file(job, plate, frames)
    views = views or ("",)
    _check_output(plate, output, frames, views)
    return plate, output, frames, views


def identity_of(job: Job, image: Image, frames: Sequence[int]) -> PlateIdentity:
    """What tells this plate from another, by one of its frames."""
    window = image.part.display_window
    return PlateIdentity.of(
        job.plate.pattern,
        format_frames(sorted(frames)),
        size=(window.width, window.height),
        origin=(window.x, window.y),
        pixel_aspect=image.part.pixel_aspect,
    )


def first_readable(
    job: Job, plate: PlateSequence, frames: Sequence[int], view: str
) -> tuple[Image, Path]:
    """The first frame that can be read, and its file. Raises the first PlateError if none can."""
    first_error: PlateError | None = None
    for frame in sorted(frames):
        path = plate.path(frame, view if plate.has_views else None)
        try:
            return read_plate(job, path, frame, view), path
        except PlateError as error:
            first_error = first_error or error
    raise first_error or PlateError("no frame of the plate is found", file=plate.pattern)


def read_plate(job: Job, path: Path, frame: int, view: str) -> Image:
    """A frame with the job's part, layer and view chosen. Raises PlateError."""
    in_file = view if "%V" not in job.plate.pattern and "%v" not in job.plate.pattern else ""
    image = read_image(path, frame=frame, part=job.plate.part or None, view=in_file or None)
    return _with_layer(image, job.plate.layer, path, frame) if job.plate.layer else image


def color_manager(job: Job) -> ColorManager:
    """The job's colour config and working space. Raises ColorError."""
    manager = ColorManager(job.color.config or None)
    if job.color.working:
        manager.working = manager.canonical(job.color.working)
    return manager


def _with_layer(image: Image, layer: str, path: Path, frame: int) -> Image:
    names = image.part.channels
    for letters in (("R", "G", "B"), ("red", "green", "blue"), ("r", "g", "b")):
        rgb = tuple(f"{layer}.{letter}" for letter in letters)
        if all(name in names for name in rgb):
            alphas = [f"{layer}.{a}" for a in ("A", "alpha", "a") if f"{layer}.{a}" in names]
            alpha = alphas[0] if alphas else None
            return replace(image, rgb_names=(rgb[0], rgb[1], rgb[2]), alpha_name=alpha)
    raise PlateError(
        "no such layer with red, green and blue",
        got=", ".join(sorted({n.rpartition(".")[0] or n for n in names})),
        wanted=layer,
        file=path,
        frame=frame,
    )


def _views_on_disk(plate: PlateSequence) -> tuple[str, ...]:
    """Names that stand for %V in files or folders that exist, sorted."""
    if "%v" in plate.pattern:
        raise JobError("views must be named for a pattern with %v", file=plate.pattern)
    token = re.compile(r"%0?\d*d|\$F\d*|[#@]+")
    loose = token.sub("*", glob.escape(plate.pattern).replace("%V", "*"))
    exact = token.sub(r"-?\\d+", re.escape(plate.pattern).replace(r"\#", "#").replace(r"\$", "$"))
    exact = exact.replace("%V", "(?P<view>[^/]+)", 1).replace("%V", "(?P=view)")
    matches = (re.fullmatch(exact, path) for path in glob.iglob(loose))  # noqa: PTH207
    return tuple(sorted({match["view"] for match in matches if match}))


def _views_in_file(job: Job, plate: PlateSequence, frames: Sequence[int]) -> tuple[str, ...]:
    image, _ = first_readable(job, plate, frames, "")
    by_part = tuple(dict.fromkeys(part.view for part in image.parts if part.view))
    stated = image.parts[0].metadata.get("multiView", ())
    return by_part or tuple(str(view) for view in stated)


def _place(file: Path) -> Path:
    """Where a file lies or would lie, whichever links lead there."""
    return file.parent.resolve() / file.name


def _check_output(
    plate: PlateSequence, output: PlateSequence, frames: Sequence[int], views: Sequence[str]
) -> None:
    if Path(output.pattern).suffix.lower() != ".exr":
        raise JobError("results are EXR", got=output.pattern, wanted="out.####.exr")
    if output.still and len(frames) > 1:
        raise JobError(
            f"output names one file for {len(frames)} frames",
            got=output.pattern,
            wanted="a frame number in it, as in out.####.exr",
        )
    if len(views) > 1 and not output.has_views:
        raise JobError(
            f"output names one file for views {', '.join(views)}",
            got=output.pattern,
            wanted="%V in it, as in out.%V.####.exr",
        )
    if output.has_views and views == ("",):
        raise JobError("output asks for views", got="a plate without views", file=output.pattern)
    view = views[0]
    first = frames[0]
    source = plate.path(first, view if plate.has_views else None)
    target = output.path(first, view if output.has_views else None)
    same_name = _place(source) == _place(target)
    if same_name or (target.exists() and source.exists() and target.samefile(source)):
        raise JobError("output would overwrite the plate", file=output.pattern)
