"""Tracks a shot: faces found on every frame, followed over time."""

from __future__ import annotations

import threading
from typing import cast

import torch

from vfxswap.align.associate import associate
from vfxswap.align.detect import DetectSettings, detect
from vfxswap.align.pose import LandmarkFinder, View
from vfxswap.color import to_net
from vfxswap.errors import CancelledError, PlateError
from vfxswap.geometry import Face
from vfxswap.image import Image
from vfxswap.io.tracks import TrackerModel, Tracks
from vfxswap.ops.convert import to_tensor
from vfxswap.render.models import Shelf, model_of_stage
from vfxswap.render.plan import Plan, Unit
from vfxswap.render.report import Event, EventKind, Listener

STAGE = "landmarks"


def tracker_model() -> TrackerModel:
    """The landmark weights that are installed. Raises ModelError when there are none."""
    card = model_of_stage(STAGE).card
    return TrackerModel(name=card.name, sha256=card.weights_sha256)


def track(
    plan: Plan,
    *,
    progress: Listener,
    cancel: threading.Event,
    settings: DetectSettings | None = None,
) -> Tracks:
    """Faces of the whole shot, handles included, with ids that follow the performers.

    Frames that cannot be read are reported and stay out of the tracks; absent handles are no
    error. Raises ModelError, CancelledError.
    """
    loaded = Shelf(plan.device, nets=plan.shelf.nets).for_stage(STAGE)
    net = cast(LandmarkFinder, loaded.net)
    units = plan.units(plan.prepare_frames)
    wanted = set(plan.frames)
    found: dict[str, dict[int, tuple[Face, ...]]] = {view: {} for view in plan.views}

    def say(
        kind: EventKind, done: int, unit: Unit | None = None, error: PlateError | None = None
    ) -> None:
        message = "" if error is None else str(error)
        frame, view = (None, "") if unit is None else (unit.frame, unit.view)
        progress(Event("prepare", kind, done, len(units), frame, view, message, error=error))

    say("begin", 0)
    with torch.inference_mode():
        for done, unit in enumerate(units, 1):
            if cancel.is_set():
                raise CancelledError("cancelled while tracking")
            if unit.frame not in wanted and not unit.source.exists():
                say("skipped", done, unit)
                continue
            try:
                image = plan.read(unit)
                space = plan.color_space(image, unit.source).space
                view = _view(image, plan, space)
            except PlateError as error:
                say("failed", done, unit, error)
                continue
            found[unit.view][unit.frame] = detect(view, net, settings)
            say("done", done, unit)
    aspect = plan.identity.pixel_aspect
    joined = {view: associate(faces, pixel_aspect=aspect) for view, faces in found.items()}
    model = TrackerModel(name=loaded.card.name, sha256=loaded.card.weights_sha256)
    return Tracks.of(plan.identity, joined, model=model)


def _view(image: Image, plan: Plan, space: str) -> View:
    """The frame as the detector wants it: net space, on the plan's device."""
    net_space = to_net(plan.color.to_working(image.rgb(), space))
    window = image.part.data_window
    pixels = to_tensor(net_space, device=plan.device)
    return View(pixels, (window.x, window.y), image.part.pixel_aspect)
