"""Patches that walk over a shot, along optical flow or given vectors; disparity between views.

Flow is OpenCV's DIS (Kroeger et al. 2016) on small grey pictures. A patch moves by the median of
the flow over itself, so that a few wrong vectors do not carry it off.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.effects.mosaic_settings import MOST_PATCHES, MosaicSettings
from vfxswap.effects.patches import PatchSet, filled_up
from vfxswap.geometry import Array, Box
from vfxswap.image import Pixels

Grey = NDArray[np.uint8]

_FLOW_PX = 640
"""Width that flow is computed at, at most."""
_PROBES = np.array([(x, y) for y in (-0.35, 0.0, 0.35) for x in (-0.35, 0.0, 0.35)], np.float64)
"""Where flow is read in a patch, by its size about its centre."""
_MOST_EVER = 4 * MOST_PATCHES
"""Patches that may live in a shot: bounds what is prepared."""


def grey_of(luma: Pixels) -> Grey:
    """Net-space luminance [H, W] as bytes, which is what DIS takes, at most `_FLOW_PX` wide."""
    height, width = luma.shape
    scale = min(1.0, _FLOW_PX / width)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    grey: Grey = np.clip(small * 380, 0, 255).astype(np.uint8)
    return grey


def flow_between(first: Grey, second: Grey) -> Pixels:
    """[h, w, 2]: where each pixel of the first picture went, in its pixels."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: Pixels = dis.calc(first, second, None)
    return flow


def moved_by(flow: Pixels, patches: PatchSet, window: Box) -> Array:
    """[N, 2]: how far each patch goes, in plate pixels; `flow` covers `window`."""
    height, width = flow.shape[:2]
    scale = np.array([width / window.width, height / window.height])
    probes = patches.centre[:, None] + _PROBES[None] * patches.size[:, None]
    place = np.floor((probes - [window.x, window.y]) * scale).astype(int)
    column = place[..., 0].clip(0, width - 1)
    row = place[..., 1].clip(0, height - 1)
    step: Array = np.median(flow[row, column].astype(np.float64), axis=1)
    whole: Array = step / scale
    return whole


def disparities(first: Grey, other: Grey, patches: PatchSet, window: Box) -> Array:
    """[N]: how far to the right another view shows what a patch shows in the first one."""
    return moved_by(flow_between(first, other), patches, window)[:, 0]


class Flows:
    """Flow from each picture to the next, over a shot."""

    def __init__(self) -> None:
        self._before: Grey | None = None

    def to(self, grey: Grey) -> Pixels | None:
        """[h, w, 2] from the picture before; None for the first, and after a change of size."""
        before, self._before = self._before, grey
        if before is None or before.shape != grey.shape:
            return None
        return flow_between(before, grey)


def drift_field(x: Pixels | None, y: Pixels | None, most_px: tuple[float, float]) -> Pixels | None:
    """[H, W, 2] plate pixels a frame of two mattes in 0…1, as flow maps store it: 0.5 stays, 1
    goes `most_px` to the right and down, 0 as far back. A matte that is None moves nothing along
    its axis; None without both."""
    given = next((m for m in (x, y) if m is not None), None)
    if given is None:
        return None
    still = np.full_like(given, 0.5)
    planes = [2 * (still if m is None else m) - 1 for m in (x, y)]
    field: Pixels = np.stack(planes, -1) * np.array(most_px, np.float32)
    return field


class Walk:
    """Patches of a shot, frame after frame. Those that leave are gone; where gaps open, new ones
    come in until the coverage is what it was asked to be."""

    def __init__(
        self, patches: PatchSet, settings: MosaicSettings, window: Box, pixel_aspect: float
    ) -> None:
        ids = np.arange(len(patches), dtype=np.int64)
        self._now = PatchSet(ids, patches.centre, patches.size, patches.angle_rad, patches.themes)
        self.everyone = self._now
        """Every patch so far, where it began."""
        self._settings, self._window, self._aspect = settings, window, pixel_aspect
        self._frames = 0

    def step(self, flow: Pixels | None, window: Box) -> PatchSet:
        """The patches of the next frame: moved on by `flow` [h, w, 2], which covers `window` and
        is in its own pixels; where they were without it."""
        if flow is not None:
            now = self._now.moved(self._now.centre + moved_by(flow, self._now, window))
            self._now = self._refilled(now.chosen(self._inside(now)))
        self._frames += 1
        return self._now

    def _inside(self, patches: PatchSet) -> NDArray[np.bool_]:
        corner = np.array([self._window.x, self._window.y])
        place = patches.centre - corner
        half = patches.size / 2
        extent = [self._window.width, self._window.height]
        inside: NDArray[np.bool_] = ((place > -half) & (place < extent + half)).all(1)
        return inside

    def _refilled(self, patches: PatchSet) -> PatchSet:
        room = min(MOST_PATCHES - len(patches), _MOST_EVER - len(self.everyone))
        if room <= 0:
            return patches
        new = filled_up(
            self._settings,
            patches,
            self._window,
            pixel_aspect=self._aspect,
            seed=self._frames,
            first_id=len(self.everyone),
            most=room,
        )
        if len(new):
            self.everyone = self.everyone.with_more(new)
            patches = patches.with_more(new)
        return patches
