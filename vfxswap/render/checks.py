"""Everything that can be known to be wrong before time is burnt."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import torch

from vfxswap.effects.base import Effect
from vfxswap.errors import (
    EXIT_DONE,
    CancelledError,
    JobError,
    OutputError,
    PlateError,
    VfxSwapError,
)
from vfxswap.image import Image
from vfxswap.io.exr import find_anomalies
from vfxswap.io.tracks import read_tracks
from vfxswap.io.weights import StoredModel, find_persona, load_tensors
from vfxswap.job import EffectSpec, Job
from vfxswap.persona import Persona, is_picture
from vfxswap.render.mattes import read_matte
from vfxswap.render.models import Shelf, model_of_stage
from vfxswap.render.plan import (
    checked_consent,
    checked_effects,
    color_manager,
    identity_of,
    opened_files,
    picture_spaces,
    read_plate,
)
from vfxswap.render.tracking import IDENTITY, STAGE
from vfxswap.settings import keyed_frames, settings_at_keys
from vfxswap.shot import format_frames

Level = Literal["error", "warning"]
T = TypeVar("T")
P = ParamSpec("P")

LAYER_BYTES = 40
"""Generous bytes a pixel for an effect's layers: two of four halves, one half, three floats."""


@dataclass(frozen=True)
class Finding:
    """Something to know before rendering, in one sentence. `exit_code` is what it leads to."""

    level: Level
    message: str
    exit_code: int = EXIT_DONE


def check(job: Job, *, cancel: threading.Event | None = None) -> list[Finding]:
    """What is wrong with a job: errors stop it or some of its frames, warnings do not.

    Looks at every frame of plate and mattes, colour spaces, effects and their settings at every
    key, models by their hashes, consent, tracks, output and disk space. Writes nothing that
    stays. Raises CancelledError once `cancel` is set.
    """
    return _Checker(job, cancel or threading.Event()).run()


def exit_code(findings: Iterable[Finding]) -> int:
    """2 when the job is bad, 1 when frames or the output are, 0 else."""
    return max((f.exit_code for f in findings if f.level == "error"), default=EXIT_DONE)


class _Checker:
    def __init__(self, job: Job, cancel: threading.Event) -> None:
        self._job = job
        self._cancel = cancel
        self._findings: list[Finding] = []
        self._first: Image | None = None
        self._not_finite: dict[tuple[str, str], list[int]] = {}

    def run(self) -> list[Finding]:
        job = self._job
        effects = self._try(checked_effects, job)
        if effects == []:
            self._warn("the job has no effects: frames are copied")
        if effects is not None:
            personas = self._try(checked_consent, job, effects)
            self._models(personas or {})
            if personas is not None:
                self._networks(effects)
            if any(effect.needs_faces for effect, _ in effects):
                self._tracker()
        files = self._try(opened_files, job)
        if files is not None:
            plate, output, frames, views = files
            for view in views:
                paths = {f: plate.path(f, view if plate.has_views else None) for f in frames}
                self._plate(paths, view)
                self._mattes(paths, view)
            for (part, channel), where in self._not_finite.items():
                of = f" of part {part}" if part else ""
                self._warn(f"channel {channel}{of} holds inf or nan on {format_frames(where)}")
            self._tracks(frames)
            self._keys(effects or [], frames)
            folders = {
                output.path(f, v if output.has_views else None).parent
                for f in frames
                for v in views
            }
            self._output(folders, len(frames) * len(views))
        else:
            self._try(color_manager, job)
        return self._findings

    def _try(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of a step; its error becomes a finding and the result None."""
        if self._cancel.is_set():
            raise CancelledError("cancelled while checking")
        try:
            return step(*args, **kwargs)
        except VfxSwapError as error:
            self._findings.append(Finding("error", str(error), error.exit_code))
            return None

    def _warn(self, message: str) -> None:
        self._findings.append(Finding("warning", message))

    def _models(self, personas: dict[str, Persona]) -> None:
        models: dict[str, StoredModel] = {}
        for name in (name for name in personas if not is_picture(name)):
            stored = self._try(find_persona, name)
            if stored is not None:
                models[stored.card.name] = stored
        for stored in models.values():
            self._try(load_tensors, stored.folder, stored.card)

    def _networks(self, effects: Iterable[tuple[type[Effect], EffectSpec]]) -> None:
        """Loads what writes no persona; the models of personas are checked by themselves."""
        cpu = torch.device("cpu")
        for effect, spec in effects:
            settings = settings_at_keys(spec.settings, effect.settings_type)
            named = [name for each in settings for name in effect.likenesses(each)]
            if all(is_picture(name) for name in named):
                wanted = named or spec.spaces
                color = self._try(color_manager, self._job) if wanted else None
                spaces = self._try(picture_spaces, self._job)
                self._try(effect.load, settings, Shelf(cpu, color=color, spaces=spaces), cpu)

    def _keys(
        self, effects: Iterable[tuple[type[Effect], EffectSpec]], frames: tuple[int, ...]
    ) -> None:
        for effect, spec in effects:
            for name, keys in keyed_frames(spec.settings, effect.settings_type).items():
                if not any(min(frames) <= key <= max(frames) for key in keys):
                    self._warn(
                        f"{effect.name}.{name} is keyed on {format_frames(keys)} alone, outside "
                        f"frames {format_frames(frames)}: it is constant"
                    )

    def _tracker(self) -> None:
        if self._job.tracks and Path(self._job.tracks).is_file():
            return
        tracking = self._job.tracking
        for stage, name in ((STAGE, tracking.landmarks), (IDENTITY, "")):
            if stage == IDENTITY and not tracking.identify:
                continue
            stored = self._try(model_of_stage, stage, name)
            if stored is not None:
                self._try(load_tensors, stored.folder, stored.card)

    def _plate(self, paths: dict[int, Path], view: str) -> None:
        missing = [frame for frame, path in paths.items() if not path.exists()]
        if missing:
            error = PlateError(
                f"{len(missing)} of {len(paths)} frames are missing",
                got=f"no {format_frames(sorted(missing))}",
                file=self._job.plate.pattern,
            )
            self._findings.append(Finding("error", str(error), error.exit_code))
        manager = self._try(color_manager, self._job)
        spaces: dict[str, int] = {}
        for frame, path in sorted(paths.items()):
            if frame in missing:
                continue
            image = self._try(read_plate, self._job, path, frame, view)
            if image is None:
                continue
            self._compare(image, path, frame)
            if manager is not None:
                override = self._job.plate.color_space or None
                found = self._try(manager.resolve, image, path, override)
                if found is None:
                    manager = None
                elif found.space not in spaces:
                    spaces[found.space] = frame
                    if found.assumed:
                        self._warn(f"{path}: colour space {found.space} is {found.reason}")
        if len(spaces) > 1:
            said = ", ".join(f"{space} from frame {frame}" for space, frame in spaces.items())
            self._warn(f"the colour space changes within the plate: {said}")

    def _compare(self, image: Image, path: Path, frame: int) -> None:
        """A frame against the first: size, aspect, channels; and against finite numbers."""
        for anomaly in find_anomalies(image):
            self._not_finite.setdefault((anomaly.part, anomaly.channel), []).append(frame)
        first = self._first = self._first or image
        a, b = first.part, image.part
        if (a.display_window.width, a.display_window.height) != (
            b.display_window.width,
            b.display_window.height,
        ):
            error = PlateError(
                "frame of another size than the shot",
                got=f"{b.display_window.width}x{b.display_window.height}",
                wanted=f"{a.display_window.width}x{a.display_window.height}",
                file=path,
                frame=frame,
            )
            self._findings.append(Finding("error", str(error), error.exit_code))
        elif a.pixel_aspect != b.pixel_aspect:
            self._warn(f"{path}, frame {frame}: pixel aspect changes to {b.pixel_aspect:g}")
        kinds = {n: c.dtype for n, c in a.channels.items()}
        if kinds != {n: c.dtype for n, c in b.channels.items()}:
            self._warn(f"{path}, frame {frame}: channels or their types differ from the first's")

    def _mattes(self, paths: dict[int, Path], view: str) -> None:
        if self._first is None:
            return
        plate = self._first
        for spec in self._job.effects:
            for source in spec.mattes.values():
                for frame, path in sorted(paths.items()):
                    if path.exists():
                        self._try(read_matte, source, frame, view, plate=plate)

    def _tracks(self, frames: tuple[int, ...]) -> None:
        if not self._job.tracks or self._first is None or not Path(self._job.tracks).is_file():
            return
        identity = identity_of(self._job, self._first, frames)
        tracks = self._try(read_tracks, Path(self._job.tracks), plate=identity)
        views = self._job.views or ("",)
        if tracks is None:
            return
        absent = [f for f in frames if not any(tracks.covers(f, v) for v in views)]
        if absent:
            error = JobError(
                "tracks do not cover the job",
                got=f"nothing for {format_frames(absent)}",
                file=self._job.tracks,
            )
            self._findings.append(Finding("error", str(error), error.exit_code))

    def _output(self, folders: Iterable[Path], files: int) -> None:
        folders = sorted(folders)
        for folder in folders:
            there = next(p for p in (folder, *folder.parents) if p.exists())
            if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
                error = OutputError("output folder cannot be written", file=folder)
                self._findings.append(Finding("error", str(error), error.exit_code))
                return
        if self._first is None:
            return
        there = next(p for p in (folders[0], *folders[0].parents) if p.exists())
        free = shutil.disk_usage(there).free
        needed = files * _bytes_a_file(self._first, len(self._job.effects))
        if free < needed:
            self._warn(
                f"{there}: {_gigabytes(free)} free, up to {_gigabytes(needed)} needed for "
                f"{files} files"
            )


def _bytes_a_file(image: Image, effects: int) -> int:
    """Upper bound of a result, uncompressed."""
    plate = sum(c.nbytes for part in image.parts for c in part.channels.values())
    window = image.part.data_window
    return plate + effects * LAYER_BYTES * window.width * window.height


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
