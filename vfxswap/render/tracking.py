"""Tracks a shot: faces found on every frame, followed over time, steadied."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch

from vfxswap.align.associate import associate
from vfxswap.align.cuts import find_cuts, scenes, thumbnail
from vfxswap.align.detect import detect
from vfxswap.align.gaps import gaps, is_apart, without_blips
from vfxswap.align.identify import Describer, described, reunited
from vfxswap.align.localise import localise
from vfxswap.align.pose import LandmarkFinder, View
from vfxswap.align.smooth import smooth
from vfxswap.color import to_net
from vfxswap.errors import CancelledError, PlateError
from vfxswap.geometry import Array, Face
from vfxswap.image import Image
from vfxswap.io.tracks import TrackerModel, Tracks
from vfxswap.job import Tracking
from vfxswap.ops.convert import to_tensor
from vfxswap.render.models import Shelf, model_of_stage
from vfxswap.render.plan import Plan, Unit
from vfxswap.render.report import Event, EventKind, Listener

STAGE = "landmarks"
IDENTITY = "identity"
SECOND_LOOK = 0.5
"""Share of the wanted score at which a face is believed where its track expects it."""

Found = dict[int, tuple[Face, ...]]


@dataclass(frozen=True, eq=False)
class Sighting:
    """What one frame shows by itself: its faces, not yet followed, with their descriptors, and its
    `align.cuts.thumbnail`."""

    faces: tuple[Face, ...]
    thumbnail: Array


class Memory(Protocol):
    """Sightings that outlive a run, so that frames that are as they were need no second look."""

    def recall(self, unit: Unit) -> Sighting | None:
        """What this frame showed, if its file is still the same."""
        ...

    def remember(self, unit: Unit, seen: Sighting) -> Sighting:
        """Keeps it; returns it as `recall` will, so that no result depends on what was kept."""
        ...


def tracker_model(tracking: Tracking) -> TrackerModel:
    """The weights that would track a shot. Raises ModelError when there are none."""
    card = model_of_stage(STAGE, tracking.landmarks).card
    who = model_of_stage(IDENTITY).card.weights_sha256 if tracking.identify else ""
    return TrackerModel(name=card.name, sha256=card.weights_sha256, identity=who)


def track(
    plan: Plan, *, progress: Listener, cancel: threading.Event, memory: Memory | None = None
) -> Tracks:
    """Faces of the whole shot, handles included, with ids that follow the performers.

    Frames are looked at one by one; then faces are followed from cut to cut, looked for again
    where their track expects them, filled in where they stay lost for a few frames, and steadied;
    at last tracks that show one performer get one id.
    Frames that cannot be read are reported and stay out of the tracks; absent handles are no
    error. `memory` spares frames that it knows. Raises ModelError, CancelledError.
    """
    tracking = plan.job.tracking
    shelf = Shelf(plan.device, nets=plan.shelf.nets)
    finder = cast(LandmarkFinder, shelf.for_stage(STAGE, tracking.landmarks).net)
    describer = cast(Describer, shelf.for_stage(IDENTITY).net) if tracking.identify else None
    look = _Look(plan, finder, describer, progress, cancel, memory)
    with torch.inference_mode():
        look.at_every_frame()
        cuts = {view: look.cuts(view) for view in plan.views}
        joined = {view: look.followed(view, cuts[view]) for view in plan.views}
    return Tracks.of(plan.identity, joined, model=tracker_model(tracking), cuts=cuts)


@dataclass(eq=False)
class _Look:
    """What was seen, by view and frame."""

    plan: Plan
    net: LandmarkFinder
    describer: Describer | None
    progress: Listener
    cancel: threading.Event
    memory: Memory | None = None
    found: dict[str, Found] = field(default_factory=dict)
    units: dict[tuple[str, int], Unit] = field(default_factory=dict)
    thumbnails: dict[str, dict[int, Array]] = field(default_factory=dict)

    def at_every_frame(self) -> None:
        units = self.plan.units(self.plan.prepare_frames)
        wanted = set(self.plan.frames)
        self._say("begin", 0, len(units))
        for done, unit in enumerate(units, 1):
            self._stop_if_asked()
            if unit.frame not in wanted and not unit.source.exists():
                self._say("skipped", done, len(units), unit)
                continue
            try:
                seen = self._seen(unit)
            except PlateError as error:
                self._say("failed", done, len(units), unit, error)
                continue
            self.units[unit.view, unit.frame] = unit
            self.found.setdefault(unit.view, {})[unit.frame] = seen.faces
            self.thumbnails.setdefault(unit.view, {})[unit.frame] = seen.thumbnail
            self._say("done", done, len(units), unit)

    def _seen(self, unit: Unit) -> Sighting:
        known = self.memory.recall(unit) if self.memory is not None else None
        if known is not None:
            return known
        view = self._read(unit)
        faces = detect(view, self.net, self.plan.job.tracking)
        if self.describer is not None:
            faces = described(view, faces, self.describer)
        seen = Sighting(faces, thumbnail(view))
        return seen if self.memory is None else self.memory.remember(unit, seen)

    def cuts(self, view: str) -> tuple[int, ...]:
        """Frames at which another take begins."""
        tracking = self.plan.job.tracking
        found = find_cuts(self.thumbnails.get(view, {})) if tracking.find_cuts else ()
        return tuple(sorted({*found, *tracking.cuts}))

    def followed(self, view: str, cuts: Iterable[int]) -> Found:
        """The faces of a view with ids, take by take."""
        tracking, aspect = self.plan.job.tracking, self.plan.identity.pixel_aspect
        seen = self.found.get(view, {})
        result: Found = {}
        first_id = 0
        for take in scenes(seen, cuts):
            faces = associate({n: seen[n] for n in take}, pixel_aspect=aspect, first_id=first_id)
            first_id = max([first_id, *(f.id + 1 for each in faces.values() for f in each)])
            faces = without_blips(faces)
            faces = _with(faces, self._found_again(view, faces))
            faces = _with(faces, self._gaps(faces))
            result |= smooth(faces, pixel_aspect=aspect) if tracking.smooth else faces
        if self.describer is not None:
            result = reunited(result, same=float(self.describer.same))
        return result

    def _found_again(self, view: str, faces: Found) -> Found:
        """Faces that a closer look finds where their tracks lead, and that are no other's."""
        aspect = self.plan.identity.pixel_aspect
        least = SECOND_LOOK * self.plan.job.tracking.min_score
        again: Found = {}
        for frame, expected in self._gaps(faces).items():
            self._stop_if_asked()
            picture = self._read(self.units[view, frame])
            looked = [localise(picture, face, self.net) for face in expected]
            again[frame] = tuple(
                face
                for face in looked
                if face.score >= least and is_apart(face, faces[frame], pixel_aspect=aspect)
            )
        return again

    def _gaps(self, faces: Found) -> Found:
        return gaps(
            faces,
            max_gap_frames=self.plan.job.tracking.max_gap_frames,
            pixel_aspect=self.plan.identity.pixel_aspect,
        )

    def _read(self, unit: Unit) -> View:
        image = self.plan.read(unit)
        return _view(image, self.plan, self.plan.color_space(image, unit.source).space)

    def _stop_if_asked(self) -> None:
        if self.cancel.is_set():
            raise CancelledError("cancelled while tracking")

    def _say(
        self,
        kind: EventKind,
        done: int,
        total: int,
        unit: Unit | None = None,
        error: PlateError | None = None,
    ) -> None:
        message = "" if error is None else str(error)
        frame, view = (None, "") if unit is None else (unit.frame, unit.view)
        self.progress(Event("prepare", kind, done, total, frame, view, message, error=error))


def _with(faces: Found, more: Found) -> Found:
    return {
        frame: tuple(sorted((*seen, *more.get(frame, ())), key=lambda face: face.id))
        for frame, seen in faces.items()
    }


def _view(image: Image, plan: Plan, space: str) -> View:
    """The frame as the detector wants it: net space, on the plan's device."""
    net_space = to_net(plan.color.to_working(image.rgb(), space))
    window = image.part.data_window
    pixels = to_tensor(net_space, device=plan.device)
    return View(pixels, (window.x, window.y), image.part.pixel_aspect)
