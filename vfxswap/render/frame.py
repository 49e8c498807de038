"""One frame: effects stacked on the working pixels, and the comp by selection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vfxswap.effects.base import Effect, EffectResult, Frame, Prepared, select
from vfxswap.geometry import Box, Face
from vfxswap.image import Image, Layer, Pixels, matched_type
from vfxswap.job import EffectSpec
from vfxswap.settings import Settings, settings_at

Convert = Callable[[Pixels], Pixels]
"""[H, W, 3] float32 from one colour space to another, pixel by pixel."""

_LUMA = np.array([0.2722287168, 0.6740817658, 0.0536895174], np.float32)
"""Luminance of ACEScg (AP1) primaries; for a plate of one channel, whose picture is grey."""


@dataclass(frozen=True)
class Step:
    """An effect of the job with its settings over time and what it prepared for the shot."""

    effect: Effect
    spec: EffectSpec
    prepared: Prepared = field(default_factory=dict)

    def settings(self, frame: int, *, proxy: int = 1) -> Settings:
        """This frame's settings; at a proxy, lengths in pixels shrink with the picture."""
        settings = settings_at(self.spec.settings, self.effect.settings_type, frame)
        return settings if proxy == 1 else _at_proxy(settings, proxy)


@dataclass(frozen=True)
class Spaces:
    """Plate's colour space to working space and back."""

    to_working: Convert
    from_working: Convert


@dataclass(frozen=True, eq=False)
class Composed:
    """A finished frame of one view: the plate with the changed channels, and all layers.

    Colour layers are in the plate's own colour space, as the comp is.
    """

    image: Image
    layers: tuple[Layer, ...]
    matte: Pixels
    notes: tuple[str, ...]


def frame_seed(job_seed: int, frame: int, view: str = "") -> int:
    """63 random bits that depend on the job's seed, the frame and the view alone."""
    digest = hashlib.sha256(f"{job_seed}/{frame}/{view}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def compose(
    image: Image,
    steps: Sequence[Step],
    spaces: Spaces,
    *,
    frame: int,
    view: str = "",
    seed: int,
    faces: tuple[Face, ...] = (),
    mattes: Sequence[Mapping[str, Pixels]] = (),
    proxy: int = 1,
) -> Composed:
    """Runs the effects in order, each on the result of the one before, and comps.

    `mattes` are by step; faces and mattes are in the pixels of `image`. Where every effect's
    matte is 0 the comp holds the plate's own bits.
    """
    part = image.part
    plate = spaces.to_working(image.rgb())
    rgb, matte = plate, np.zeros(plate.shape[:2], np.float32)
    layers: list[Layer] = []
    notes: list[str] = []
    for index, step in enumerate(steps):
        result = step.effect(
            Frame(
                number=frame,
                rgb=rgb,
                data_window=part.data_window,
                display_window=part.display_window,
                seed=seed,
                pixel_aspect=part.pixel_aspect,
                view=view,
                faces=faces,
                mattes=mattes[index] if mattes else {},
            ),
            step.settings(frame, proxy=proxy),
            step.prepared,
        )
        _check(step.effect.name, result, plate)
        # As written: a matte that halves round to 0 must not change the plate.
        written = result.matte.astype(np.float16).astype(np.float32)
        rgb = select(written, result.rgb, rgb)
        matte = np.maximum(matte, written)
        layers += result.layers
        notes += result.notes
    layers = [_in_plate_space(layer, spaces.from_working) for layer in _unique(layers)]
    return Composed(_comp(image, rgb, matte, spaces), tuple(layers), matte, tuple(notes))


def crop(pixels: Any, box: Box, window: Box) -> Any:
    """The part of an array over `window` that lies in `box`."""
    return np.ascontiguousarray(pixels[box.slices_in(window)])


def cropped(composed: Composed, region: Box) -> Composed:
    """Only the pixels of a region: the data windows shrink to it.

    Parts that do not reach into the region keep one pixel, since a file cannot be empty.
    """
    parts = []
    for part in composed.image.parts:
        box = part.data_window.intersection(region)
        if box.empty:
            box = Box(part.data_window.x, part.data_window.y, 1, 1)
        channels = {n: crop(c, box, part.data_window) for n, c in part.channels.items()}
        parts.append(replace(part, channels=channels, data_window=box))
    window = composed.image.part.data_window
    box = parts[composed.image.main].data_window
    layers = tuple(replace(la, pixels=crop(la.pixels, box, window)) for la in composed.layers)
    image = replace(composed.image, parts=tuple(parts))
    return Composed(image, layers, crop(composed.matte, box, window), composed.notes)


def _comp(image: Image, rgb: Pixels, matte: Pixels, spaces: Spaces) -> Image:
    """The plate with `rgb` (working space) where the matte is above 0, in the plate's types."""
    area = _covered(matte)
    if area is None:
        return image
    inside = np.ascontiguousarray(rgb[area])
    grey = len(set(image.rgb_names)) == 1
    if grey:
        inside = np.repeat((inside @ _LUMA)[..., None], 3, axis=-1)
    inside = spaces.from_working(inside)
    changed = {}
    for index, name in enumerate(image.rgb_names):
        channel = image.part.channels[name]
        plane = matched_type(inside[..., index], channel)
        new = channel.copy()
        new[area] = select(matte[area], plane, channel[area])
        changed[name] = new
    return image.with_channels(changed)


def _in_plate_space(layer: Layer, from_working: Convert) -> Layer:
    """A colour layer in the plate's colour space, premultiplied as before."""
    if layer.kind != "color" or len(layer.channels) < 3:
        return layer
    pixels = layer.pixels
    if not layer.premultiplied:
        rgb = from_working(np.ascontiguousarray(pixels[..., :3]))
        return replace(layer, pixels=np.concatenate([rgb, pixels[..., 3:]], -1))
    area = _covered(pixels[..., 3])
    if area is None:
        return layer
    alpha = pixels[area][..., 3:4]
    covered = alpha > 0
    safe = np.where(covered, alpha, np.float32(1))
    rgb = from_working((pixels[area][..., :3] / safe).astype(np.float32))
    placed = np.zeros_like(pixels)
    placed[area] = np.concatenate([np.where(covered, rgb * alpha, np.float32(0)), alpha], -1)
    return replace(layer, pixels=placed)


def _covered(matte: Pixels) -> tuple[slice, slice] | None:
    """Rows and columns of the box around all that is above 0; None when nothing is."""
    inside = matte > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _unique(layers: Sequence[Layer]) -> list[Layer]:
    """Names of a second swap are numbered: swap_face, swap2_face."""
    seen: dict[str, int] = {}
    unique = []
    for layer in layers:
        count = seen[layer.name] = seen.get(layer.name, 0) + 1
        if count > 1:
            head, underscore, tail = layer.name.partition("_")
            layer = replace(layer, name=f"{head}{count}{underscore}{tail}")
        unique.append(layer)
    return unique


def _check(effect: str, result: EffectResult, plate: Pixels) -> None:
    if result.rgb.shape != plate.shape or result.matte.shape != plate.shape[:2]:
        raise ValueError(
            f"effect {effect} returned {result.rgb.shape} and {result.matte.shape} "
            f"for a plate of {plate.shape}"
        )


def _at_proxy(settings: Settings, proxy: int) -> Settings:
    scaled = {}
    for name, info in type(settings).model_fields.items():
        extra = info.json_schema_extra
        value = getattr(settings, name)
        if isinstance(extra, dict) and extra.get("unit") == "px" and value:
            scaled[name] = value / proxy if isinstance(value, float) else round(value / proxy)
    return settings.model_copy(update=scaled)
