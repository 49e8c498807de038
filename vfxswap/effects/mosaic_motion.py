"""Patches over a shot: what is prepared once, and the patches of any frame from that.

Prepared data are JSON values, in pixels of the whole plate:

- `plate`: width and height of the display window; a frame of another size is a proxy;
- `views`: in their order; the first one's patches are the others', moved by disparity;
- `patches`: the list as an artist may give it back (setting `patches`): `Patch` objects. For
  motion by flow or vectors it holds every patch that ever lives;
- `layouts`: packed sets by key, for adaptive patches: a set each redrawing, else one;
- `paths`: packed sets by frame, for motion by flow or vectors;
- `faces`: landmarks [70, 2] that tracks are compared with, by face id;
- `shifts`: packed disparities by view and frame.

A packed set is base64 of deflated numbers at 1/16 px (see `_packed`): about five bytes a patch
and frame, so a thousand frames of 2,000 patches take some 10 MB; there are never more than
MOST_PATCHES in a frame.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vfxswap import color
from vfxswap.align.crop import outline
from vfxswap.effects.base import Frame, Prepared
from vfxswap.effects.mosaic_flow import Flows, Walk, disparities, drift_field, grey_of
from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.effects.patches import PatchSet, laid_out, listed
from vfxswap.errors import JobError
from vfxswap.geometry import STABLE, Array, Box, Similarity
from vfxswap.image import Pixels

_LUMA = np.array([0.2722287168, 0.6740817658, 0.0536895174], np.float32)
"""Luminance of ACEScg (AP1) primaries."""
_STEP_PX = 1 / 16
_FACE_REACH = 1.25
"""Patches this far out, by the face's outline about its middle, still stick to it."""
_DRIFT_SPEED, _DRIFT_TURN = 21, 22
"""Salts of how a patch's drift differs."""
_PLACED = (
    "layout", "size_min_px", "size_max_px", "aspect_min", "aspect_max", "rotation_deg",
    "coverage", "count", "overlap", "detail", "shape", "motion", "redraw_every", "layout_seed",
    "patches", "stereo",
)  # fmt: skip
"""Settings that decide where patches lie."""
_WALKED = ("flow", "vectors")
"""Motions whose paths are walked from frame to frame."""


def luma_of(frame: Frame) -> Pixels:
    """[H, W]: luminance in net space, holes at 0."""
    net: Pixels = color.to_net(frame.rgb @ _LUMA)
    return np.nan_to_num(net, nan=0.0, posinf=1.5, neginf=0.0)


def prepared_patches(settings: Sequence[MosaicSettings], frames: Iterable[Frame]) -> Prepared:
    """What `patches_at` needs of a shot; frames come in order, views in order within a frame.

    Only as many frames are looked at as the settings need. Raises JobError when settings that
    place patches change over time while patches are followed, and as `laid_out`.
    """
    first = settings[0]
    followed = first.motion in _WALKED or first.layout == "adaptive"
    steered = ("drift_x_px", "drift_y_px") if first.motion == "vectors" else ()
    for name in (*_PLACED, *steered) if followed else ():
        if any(getattr(each, name) != getattr(first, name) for each in settings):
            raise JobError(
                f"{name} changes over time",
                wanted="one value: adaptive patches, and those that follow flow or vectors, are "
                "laid out for the whole shot",
            )
    return _Preparation(first).over(iter(frames))


def patches_at(settings: MosaicSettings, prepared: Prepared, frame: Frame) -> PatchSet:
    """The patches of a frame, in its own pixels.

    Without prepared data a frame stands alone: adaptive patches look at it, and what follows
    motion, faces or disparity stays where it was laid out. Raises JobError as `laid_out`.
    """
    scale = _scale(prepared, frame)
    packed = prepared.get("paths", {}).get(str(frame.number))
    if packed is not None:
        patches = _followed(prepared, packed).scaled(scale)
    else:
        patches = _base(settings, prepared, frame, scale)
    if settings.motion == "drift":
        patches = drifted(patches, settings, frame.display_window, frame.number)
    views = prepared.get("views", [])
    further = settings.stereo and len(views) > 1 and frame.view != views[0]
    if settings.motion == "tracks":
        moved = _with_faces(patches, prepared.get("faces", {}), frame, scale)
    else:
        moved = patches
    if not further:
        return moved
    shifts = prepared.get("shifts", {}).get(frame.view, {}).get(str(frame.number))
    return _shifted(moved, patches, settings, frame, shifts, scale)


def drifted(patches: PatchSet, settings: MosaicSettings, window: Box, frame: int) -> PatchSet:
    """Patches moved on since frame 0. What leaves on one side comes in on the other, and while
    it does it is there twice, under one id."""
    r, turn = patches.random(_DRIFT_SPEED), patches.random(_DRIFT_TURN)
    speed = 1 + settings.drift_spread * (2 * r - 1)
    angle = settings.drift_spread * np.pi * (2 * turn - 1)
    c, s = np.cos(angle) * speed, np.sin(angle) * speed
    dx = c * settings.drift_x_px - s * settings.drift_y_px
    dy = s * settings.drift_x_px + c * settings.drift_y_px
    corner = np.array([window.x, window.y], np.float64)
    extent = np.array([window.width, window.height], np.float64)
    if settings.layout == "grid":  # whole columns and rows
        reach = patches.centre + patches.size / 2 - corner
        extent = np.maximum(extent, reach.max(0) - (patches.centre - patches.size / 2).min(0))
    place = (patches.centre - corner + np.stack([dx, dy], 1) * frame) % extent
    half = np.hypot(*patches.size.T)[:, None] / 2
    whole = np.array([window.width, window.height])
    sets = []
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            there = place + extent * (x, y)
            near = ((there > -half) & (there - half < whole)).all(1)
            sets.append(patches.moved(there + corner).chosen(near))
    return _joined(sets)


class _Preparation:
    """One pass over a shot."""

    def __init__(self, settings: MosaicSettings) -> None:
        self._settings = settings
        self._result: dict[str, Any] = {}
        self._hero: Frame | None = None
        self._patches: PatchSet | None = None
        self._walk: Walk | None = None
        self._flows = Flows()
        self._drift: Pixels | None = None

    def over(self, frames: Iterator[Frame]) -> Prepared:
        s = self._settings
        # Adaptive patches that are drawn anew on every frame look at that frame alone.
        whole = s.motion in (*_WALKED, "tracks") or (
            s.layout == "adaptive" and s.motion == "redraw" and s.redraw_every > 1
        )
        views: list[str] = []
        for frame in frames:
            if frame.view not in views:
                views.append(frame.view)
            if not self._result:
                self._begin(frame)
            stereo = s.stereo and len(views) > 1
            if frame.view == views[0]:
                if not whole and not stereo and self._hero is not None:
                    break
                self._first_view(frame)
            elif stereo:
                self._further_view(frame)
        if not self._result:
            return {}
        self._result["views"] = views
        if self._walk is not None:
            self._result["patches"] = self._walk.everyone.rows()
        return self._result

    def _begin(self, frame: Frame) -> None:
        window = frame.display_window
        self._result["plate"] = [window.width, window.height]
        base = _laid_out(self._settings, frame, _key(self._settings, frame.number))
        self._result["patches"] = base.rows()
        if self._settings.motion in _WALKED:
            self._walk = Walk(base, self._settings, window, frame.pixel_aspect)

    def _first_view(self, frame: Frame) -> None:
        s = self._settings
        self._hero = frame
        layouts = self._result.setdefault("layouts", {}) if self._kept_layouts() else {}
        key = str(_key(s, frame.number))
        if self._kept_layouts() and key not in layouts:
            layouts[key] = _packed_layout(_laid_out(s, frame, int(key)))
        now = None
        if self._walk is not None:
            now = self._walk.step(self._flow(frame), frame.data_window)
            paths = self._result.setdefault("paths", {})
            paths[str(frame.number)] = _packed_path(now, self._walk.everyone)
        if s.motion == "tracks":
            faces = self._result.setdefault("faces", {})
            for face in frame.faces:
                faces.setdefault(str(face.id), np.round(face.points, 3).tolist())
        self._patches = now or patches_at(s, self._result, frame)

    def _flow(self, frame: Frame) -> Pixels | None:
        """How the picture before moved on to this frame; vectors are those of the frame that
        patches leave."""
        s = self._settings
        if s.motion == "flow":
            return self._flows.to(grey_of(luma_of(frame)))
        before = self._drift
        x, y = (frame.mattes.get(f"drift_{axis}") for axis in "xy")
        self._drift = drift_field(x, y, (s.drift_x_px, s.drift_y_px))
        return before

    def _kept_layouts(self) -> bool:
        s = self._settings
        own = s.motion == "redraw" and s.redraw_every == 1 and not s.stereo
        return s.layout == "adaptive" and not s.patches and not own

    def _further_view(self, frame: Frame) -> None:
        hero, patches = self._hero, self._patches
        if hero is None or patches is None or hero.number != frame.number:
            return  # the first view could not be read
        found = disparities(
            grey_of(luma_of(hero)), grey_of(luma_of(frame)), patches, hero.data_window
        )
        shifts = self._result.setdefault("shifts", {}).setdefault(frame.view, {})
        shifts[str(frame.number)] = _packed(found[:, None])


def _base(settings: MosaicSettings, prepared: Prepared, frame: Frame, scale: float) -> PatchSet:
    """The layout that holds on a frame, before anything moves."""
    if settings.patches:
        return listed(settings.patches, scale=scale)
    key = _key(settings, frame.number)
    kept = prepared.get("layouts", {}).get(str(key))
    if kept is not None:
        return _unpacked_layout(kept).scaled(scale)
    return _laid_out(settings, frame, key)


def _laid_out(settings: MosaicSettings, frame: Frame, key: int) -> PatchSet:
    if settings.patches:
        return listed(settings.patches)
    adaptive = settings.layout == "adaptive"
    window = frame.data_window if adaptive else frame.display_window
    luma = luma_of(frame) if adaptive else None
    return laid_out(settings, window, seed=key, pixel_aspect=frame.pixel_aspect, luma=luma)


def _key(settings: MosaicSettings, frame: int) -> int:
    """Which drawing of the patches holds on a frame, 0 or more."""
    return (frame // settings.redraw_every) % 2**31 if settings.motion == "redraw" else 0


def _scale(prepared: Prepared, frame: Frame) -> float:
    plate = prepared.get("plate")
    return 1.0 if plate is None else frame.display_window.width / float(plate[0])


def _with_faces(
    patches: PatchSet, faces: Mapping[str, Any], frame: Frame, scale: float
) -> PatchSet:
    """Patches on a face move, turn and grow with it; others, and those of a face that is not
    seen, stay."""
    centre, size = patches.centre.copy(), patches.size.copy()
    angle = patches.angle_rad.copy()
    aspect = np.array([frame.pixel_aspect, 1.0])
    for face in frame.faces:
        if str(face.id) not in faces:
            continue
        reference = np.array(faces[str(face.id)], np.float64) * scale
        stable = list(STABLE)
        moved = Similarity.fit(reference[stable] * aspect, face.points[stable] * aspect)
        polygon = outline(reference)
        middle = polygon.mean(0)
        hull = cv2.convexHull(((polygon - middle) * _FACE_REACH + middle).astype(np.float32))
        on = np.array(
            [cv2.pointPolygonTest(hull, (float(x), float(y)), False) >= 0 for x, y in centre]
        )
        centre[on] = moved.apply(patches.centre[on] * aspect) / aspect
        size[on] *= moved.scale
        angle[on] += moved.angle_rad
    return PatchSet(patches.ids, centre, size, angle, patches.themes)


def _shifted(
    moved: PatchSet,
    hero: PatchSet,
    settings: MosaicSettings,
    frame: Frame,
    shifts: str | None,
    scale: float,
) -> PatchSet:
    """The first view's patches where this view shows the same."""
    matte = frame.mattes.get("disparity")
    if matte is not None:
        corner = [frame.data_window.x, frame.data_window.y]
        place = np.floor(hero.centre - corner).astype(int)
        column = place[:, 0].clip(0, matte.shape[1] - 1)
        row = place[:, 1].clip(0, matte.shape[0] - 1)
        shift = matte[row, column].astype(np.float64) * settings.disparity_px
    elif shifts is not None and settings.motion != "tracks":
        shift = _unpacked(shifts, 1)[:, 0] * scale
    else:
        return moved
    return moved.moved(moved.centre + np.stack([shift, np.zeros(len(shift))], 1))


def _packed(values: Array) -> str:
    """[N, K] numbers at 1/16 px as text."""
    whole = np.rint(values / _STEP_PX).clip(-(2**31), 2**31 - 1).astype("<i4")
    # By column and byte: the upper bytes are alike.
    planes = whole.T.copy().view(np.uint8).reshape(whole.shape[1], -1, 4)
    packed = zlib.compress(planes.transpose(0, 2, 1).tobytes(), 9)
    return base64.b64encode(packed).decode()


def _unpacked(text: str, columns: int) -> Array:
    """[N, columns]: undoes `_packed`."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    whole = planes.reshape(columns, 4, -1).transpose(0, 2, 1).copy().view("<i4")[:, :, 0]
    return whole.T * _STEP_PX


def _packed_layout(patches: PatchSet) -> str:
    columns = [patches.centre, patches.size, 64 * np.degrees(patches.angle_rad)[:, None]]
    return _packed(np.concatenate(columns, 1))


def _unpacked_layout(text: str) -> PatchSet:
    values = _unpacked(text, 5)
    ids = np.arange(len(values), dtype=np.int64)
    return PatchSet(ids, values[:, :2], values[:, 2:4], np.radians(values[:, 4] / 64))


def _packed_path(now: PatchSet, everyone: PatchSet) -> str:
    """Who is there (row in the list) and how far from where they began."""
    begun = everyone.centre[now.ids]
    rows = now.ids[:, None] * _STEP_PX
    return _packed(np.concatenate([rows, now.centre - begun], 1))


def _followed(prepared: Prepared, packed: str) -> PatchSet:
    values = _unpacked(packed, 3)
    everyone = _unlisted(prepared["patches"])
    now = everyone.chosen(np.rint(values[:, 0] / _STEP_PX).astype(np.int64))
    return now.moved(now.centre + values[:, 1:])


def _unlisted(rows: Sequence[Mapping[str, Any]]) -> PatchSet:
    """`PatchSet.rows` as a set."""

    def column(name: str, otherwise: float = 0.0) -> Array:
        return np.array([row.get(name, otherwise) for row in rows], np.float64)

    return PatchSet(
        column("id").astype(np.int64),
        np.stack([column("x"), column("y")], 1),
        np.stack([column("width"), column("height")], 1),
        np.radians(column("angle_deg")),
        tuple(str(row.get("theme", "")) for row in rows),
    )


def _joined(sets: Sequence[PatchSet]) -> PatchSet:
    themes = tuple(name for each in sets for name in each.themes)
    return PatchSet(
        np.concatenate([each.ids for each in sets]),
        np.concatenate([each.centre for each in sets]),
        np.concatenate([each.size for each in sets]),
        np.concatenate([each.angle_rad for each in sets]),
        themes,
    )
