"""Where the patches of a mosaic lie: sets of turned rectangles, laid out over a window.

Pure geometry in plate pixels (x right, y down, centres at +0.5). What is random depends on the
seed that is given alone. Source: US 2019/0171908 A1, paragraphs 147, 159 and 160.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.effects.mosaic_settings import MOST_PATCHES, MosaicSettings, Patch
from vfxswap.errors import JobError
from vfxswap.geometry import Array, Box
from vfxswap.image import Pixels

Whole = NDArray[np.int64]
_CELLS = 4
"""Cells of the coverage map along the side of the smallest patch."""


@dataclass(frozen=True, eq=False)
class PatchSet:
    """N patches: `ids` [N], `centre` [N, 2] (x, y), `size` [N, 2] (width, height; plate pixels,
    before turning), `angle_rad` [N], and `themes`, by name where the patch was given one."""

    ids: Whole
    centre: Array
    size: Array
    angle_rad: Array
    themes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, which: NDArray[np.bool_] | Whole) -> PatchSet:
        """Some of the patches, in their order."""
        index = np.arange(len(self))[which]
        themes = tuple(self.themes[i] for i in index) if self.themes else ()
        return PatchSet(
            self.ids[index], self.centre[index], self.size[index], self.angle_rad[index], themes
        )

    def moved(self, centre: Array) -> PatchSet:
        """The same patches elsewhere."""
        return replace(self, centre=centre)

    def scaled(self, factor: float) -> PatchSet:
        """In pixels of another size."""
        return replace(self, centre=self.centre * factor, size=self.size * factor)

    def with_more(self, other: PatchSet) -> PatchSet:
        """Both sets, this one first."""
        mine, theirs = (p.themes or ("",) * len(p) for p in (self, other))
        return PatchSet(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.centre, other.centre]),
            np.concatenate([self.size, other.size]),
            np.concatenate([self.angle_rad, other.angle_rad]),
            mine + theirs if any(mine) or any(theirs) else (),
        )

    def random(self, salt: int) -> Array:
        """[N] in 0…1: stays with a patch's id, whatever else is in the set."""
        return unit_hash(self.ids, salt)

    def matrices(self, pixel_aspect: float) -> Array:
        """[N, 2, 3]: the unit square (u right, v down) to plate pixels. Patches are turned as
        the plate is seen, in square pixels."""
        c, s = np.cos(self.angle_rad), np.sin(self.angle_rad)
        width, height = self.size[:, 0] * pixel_aspect, self.size[:, 1]
        rows = np.empty((len(self), 2, 3))
        rows[:, 0, 0], rows[:, 0, 1] = c * width / pixel_aspect, -s * height / pixel_aspect
        rows[:, 1, 0], rows[:, 1, 1] = s * width, c * height
        rows[:, :, 2] = self.centre - rows[:, :, :2].sum(2) / 2
        return rows

    def boxes(self, pixel_aspect: float) -> Array:
        """[N, 4]: left, top, right, bottom of each turned patch."""
        reach = np.abs(self.matrices(pixel_aspect)[:, :, :2]).sum(2) / 2
        return np.concatenate([self.centre - reach, self.centre + reach], 1)

    def rows(self) -> list[dict[str, object]]:
        """As a list for JSON: `Patch` objects, to a thousandth of a pixel."""
        themes = self.themes or ("",) * len(self)
        return [
            Patch(
                id=int(self.ids[i]),
                x=round(float(self.centre[i, 0]), 3),
                y=round(float(self.centre[i, 1]), 3),
                width=round(float(self.size[i, 0]), 3),
                height=round(float(self.size[i, 1]), 3),
                angle_deg=round(math.degrees(self.angle_rad[i]), 4),
                theme=themes[i],
            ).model_dump(exclude_defaults=True)
            for i in range(len(self))
        ]


def unit_hash(ids: Whole, salt: int) -> Array:
    """[N] in 0…1 by splitmix64 (Steele et al. 2014) of each id and a salt: the same everywhere."""
    with np.errstate(over="ignore"):
        z = ids.astype(np.uint64) + np.uint64(salt + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


def listed(patches: Sequence[Patch], *, scale: float = 1.0) -> PatchSet:
    """A list as a set; `scale` turns its pixels into those of a proxy."""
    whole = PatchSet(
        np.array([p.id for p in patches], np.int64),
        np.array([[p.x, p.y] for p in patches], np.float64).reshape(-1, 2),
        np.array([[p.width, p.height] for p in patches], np.float64).reshape(-1, 2),
        np.radians([p.angle_deg for p in patches]),
        tuple(p.theme for p in patches),
    )
    return whole.scaled(scale)


def laid_out(
    settings: MosaicSettings,
    window: Box,
    *,
    seed: int,
    pixel_aspect: float = 1.0,
    luma: Pixels | None = None,
) -> PatchSet:
    """The patches of a layout over `window`.

    `luma` [H, W] over the window, in net space, is what adaptive patches look at. Raises JobError
    when the patches are larger than the window, or more than MOST_PATCHES.
    """
    least = min(window.width * pixel_aspect, window.height)
    if settings.size_max_px > least:
        raise JobError(
            "patches are larger than the plate",
            got=f"size_max_px {settings.size_max_px:g}",
            wanted=f"at most {least:g}",
        )
    rng = np.random.default_rng([settings.layout_seed, seed])
    if settings.layout == "random":
        return _random(settings, window, rng, pixel_aspect)
    if settings.layout == "adaptive":
        assert luma is not None, "adaptive patches look at the plate"
        return _adaptive(settings, window, rng, pixel_aspect, luma)
    if settings.layout == "overlapping":
        return _overlapping(settings, window, rng, pixel_aspect)
    return _grid(settings, window, pixel_aspect)


def covered(patches: PatchSet, window: Box, *, pixel_aspect: float, cell_px: float) -> float:
    """Share of cells of a window whose centre lies in a patch (as a rectangle)."""
    cover = _Cover(window, cell_px, "rectangle", pixel_aspect, edge_px=0)
    for matrix, box in zip(patches.matrices(pixel_aspect), patches.boxes(pixel_aspect)):
        cover.add(matrix, box)
    return cover.share


def _drawn(
    settings: MosaicSettings, centre: Array, rng: np.random.Generator, pixel_aspect: float
) -> PatchSet:
    """Patches of random size, aspect and rotation about given centres."""
    count = len(centre)
    side = rng.uniform(settings.size_min_px, settings.size_max_px, count)
    return _turned(settings, centre, side, rng, pixel_aspect)


def _turned(
    settings: MosaicSettings,
    centre: Array,
    side: Array,
    rng: np.random.Generator,
    pixel_aspect: float,
) -> PatchSet:
    count = len(centre)
    spread = rng.uniform(np.log(settings.aspect_min), np.log(settings.aspect_max), count)
    root = np.exp(spread / 2)  # the area stays that of the square
    size = np.stack([side * root / pixel_aspect, side / root], 1)
    turn = np.radians(settings.rotation_deg)
    angle = rng.uniform(-turn, turn, count)
    return PatchSet(np.arange(count, dtype=np.int64), centre, size, angle)


def filled_up(
    settings: MosaicSettings,
    patches: PatchSet,
    window: Box,
    *,
    pixel_aspect: float,
    seed: int,
    first_id: int,
    most: int,
) -> PatchSet:
    """New random patches, numbered from `first_id`, in the gaps that some patches leave, so that
    the coverage is reached again; at most so many."""
    rng = np.random.default_rng([settings.layout_seed, seed, 1])
    cover = _Cover.of(settings, window, pixel_aspect)
    for matrix, box in zip(patches.matrices(pixel_aspect), patches.boxes(pixel_aspect)):
        cover.add(matrix, box)
    new = _in_gaps(settings, cover, rng, pixel_aspect, count=0, most=most)
    return replace(new, ids=np.arange(first_id, first_id + len(new), dtype=np.int64))


def _random(
    settings: MosaicSettings, window: Box, rng: np.random.Generator, pixel_aspect: float
) -> PatchSet:
    """Patches in gaps until enough is covered; more of them anywhere when a count asks for it."""
    cover = _Cover.of(settings, window, pixel_aspect)
    most = settings.count or MOST_PATCHES
    kept = _in_gaps(settings, cover, rng, pixel_aspect, count=settings.count, most=most)
    if not settings.count and cover.share < settings.coverage and len(kept) == most:
        raise JobError(
            "too many patches are needed to cover the plate",
            got=f"sizes from {settings.size_min_px:g} to {settings.size_max_px:g} px",
            wanted=f"at most {MOST_PATCHES} patches",
        )
    if (missing := settings.count - len(kept)) > 0:
        corner = np.array([window.x, window.y], np.float64)
        extent = np.array([window.width, window.height], np.float64)
        anywhere = corner + rng.uniform(0, 1, (missing, 2)) * extent
        kept = kept.with_more(_drawn(settings, anywhere, rng, pixel_aspect))
    return _numbered(kept)


def _in_gaps(
    settings: MosaicSettings,
    cover: _Cover,
    rng: np.random.Generator,
    pixel_aspect: float,
    *,
    count: int,
    most: int,
) -> PatchSet:
    """Patches on cells that nothing covers yet, in random order, until the coverage is reached,
    or `count` of them where that is not 0."""
    cells = rng.permutation(cover.cells)
    cells = cells[~cover.held(cells)]
    loose = rng.uniform(-0.5, 0.5, (len(cells), 2)) * cover.step
    maybe = _drawn(settings, cover.centres(cells) + loose, rng, pixel_aspect)
    matrices, boxes = maybe.matrices(pixel_aspect), maybe.boxes(pixel_aspect)
    kept: list[int] = []
    for index, cell in enumerate(cells):
        if len(kept) == most or (not count and cover.share >= settings.coverage):
            break
        if not cover.held(cell):
            cover.add(matrices[index], boxes[index])
            kept.append(index)
    return maybe.chosen(np.array(kept, np.int64))


def _numbered(patches: PatchSet) -> PatchSet:
    return replace(patches, ids=np.arange(len(patches), dtype=np.int64))


def _grid(settings: MosaicSettings, window: Box, pixel_aspect: float) -> PatchSet:
    """Rows and columns side by side, a honeycomb for hexagons; the last ones reach beyond."""
    root = math.sqrt(settings.aspect_min)
    width, height = settings.size_max_px * root / pixel_aspect, settings.size_max_px / root
    honey = settings.shape == "hexagon"
    step = 0.75 * height if honey else height
    columns = math.ceil(window.width / width) + honey
    rows = math.ceil((window.height + (0.25 * height if honey else 0)) / step)
    _checked(columns * rows)
    y, x = (a.reshape(-1) for a in np.mgrid[0:rows, 0:columns].astype(np.float64))
    shift = np.where(y % 2 == 1, -0.5, 0.0) if honey else 0.0
    # Centred, so that what reaches beyond is the same on both sides.
    left = (window.width - (columns - 0.5 * honey) * width) / 2
    top = (window.height - (height + (rows - 1) * step)) / 2
    centre_x = window.x + left + (x + 0.5 + shift) * width + (0.25 * width if honey else 0)
    centre = np.stack([centre_x, window.y + top + height / 2 + y * step], 1)
    count = len(centre)
    size = np.tile([width, height], (count, 1))
    return PatchSet(np.arange(count, dtype=np.int64), centre, size, np.zeros(count))


def _overlapping(
    settings: MosaicSettings, window: Box, rng: np.random.Generator, pixel_aspect: float
) -> PatchSet:
    """A loose grid of patches that lie over their neighbours."""
    step = settings.size_min_px * (1 - settings.overlap)
    columns = math.ceil(window.width * pixel_aspect / step)
    rows = math.ceil(window.height / step)
    _checked(columns * rows)
    y, x = (a.reshape(-1) + 0.5 for a in np.mgrid[0:rows, 0:columns].astype(np.float64))
    loose = rng.uniform(-0.25, 0.25, (len(x), 2)) * settings.overlap
    centre = np.stack([(x + loose[:, 0]) / columns, (y + loose[:, 1]) / rows], 1)
    centre = centre * [window.width, window.height] + [window.x, window.y]
    return _drawn(settings, centre, rng, pixel_aspect)


def _adaptive(
    settings: MosaicSettings,
    window: Box,
    rng: np.random.Generator,
    pixel_aspect: float,
    luma: Pixels,
) -> PatchSet:
    """Squares of the largest size, split in four while they hold detail and are not too small.

    Detail is the standard deviation within a square, in net space (one stop is 0.057).
    """
    big = settings.size_max_px
    columns = math.ceil(window.width * pixel_aspect / big)
    rows = math.ceil(window.height / big)
    y, x = (a.reshape(-1) for a in np.mgrid[0:rows, 0:columns].astype(np.float64))
    square = np.array([window.width / columns, window.height / rows])
    corner = np.stack([x, y], 1) * square
    total, squares = cv2.integral2(np.nan_to_num(luma).astype(np.float64))
    limit = 0.004 + 0.12 * (1 - settings.detail) ** 2
    done: list[Array] = []
    while len(corner):
        split = _spread(total, squares, corner, square) > limit
        if square[1] / 2 < settings.size_min_px:
            split[:] = False
        ready = corner[~split]
        done.append(np.concatenate([ready, np.tile(square, (len(ready), 1))], 1))
        square = square / 2
        quarters = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * square
        corner = (corner[split][:, None] + quarters).reshape(-1, 2)
        _checked(sum(map(len, done)) + len(corner))
    placed = np.concatenate(done)
    centre = placed[:, :2] + placed[:, 2:] / 2 + [window.x, window.y]
    # Squares meet exactly; turned or rounded ones would leave gaps.
    side = placed[:, 3] * (1 + 0.5 * settings.overlap)
    return _turned(settings, centre, side, rng, pixel_aspect)


def _spread(total: Array, squares: Array, corner: Array, square: Array) -> Array:
    """Standard deviation inside squares at `corner` [N, 2], from integral images."""
    height, width = total.shape[0] - 1, total.shape[1] - 1
    left, top = np.floor(corner).astype(int).T.clip(0)
    right = np.minimum(np.ceil(corner[:, 0] + square[0]).astype(int), width)
    bottom = np.minimum(np.ceil(corner[:, 1] + square[1]).astype(int), height)
    left, top = np.minimum(left, right - 1), np.minimum(top, bottom - 1)

    def inside(table: Array) -> Array:
        whole = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        mean: Array = whole / ((right - left) * (bottom - top))
        return mean

    spread: Array = np.sqrt(np.maximum(inside(squares) - inside(total) ** 2, 0))
    return spread


def _checked(count: int) -> None:
    if count > MOST_PATCHES:
        raise JobError("too many patches", got=count, wanted=f"at most {MOST_PATCHES}")


class _Cover:
    """Which cells of a window lie in a patch of some shape."""

    def __init__(
        self, window: Box, cell_px: float, shape: str, pixel_aspect: float, *, edge_px: float
    ) -> None:
        self._window, self._shape = window, shape
        self._edge_px = edge_px if edge_px > 1 and shape != "soft" else 0.0
        self._columns = max(1, round(window.width * pixel_aspect / cell_px))
        self._rows = max(1, round(window.height / cell_px))
        self.step = np.array([window.width / self._columns, window.height / self._rows])
        """Plate pixels of a cell, [2]."""
        self._map = np.zeros((self._rows, self._columns), bool)
        self._count = 0

    @classmethod
    def of(cls, settings: MosaicSettings, window: Box, pixel_aspect: float) -> _Cover:
        cell_px = max(2.0, settings.size_min_px / _CELLS)
        return cls(window, cell_px, settings.shape, pixel_aspect, edge_px=settings.edge_px)

    @property
    def cells(self) -> int:
        return self._map.size

    @property
    def share(self) -> float:
        return self._count / self._map.size

    def centres(self, cells: Whole) -> Array:
        """[N, 2] plate pixels."""
        place = np.stack([cells % self._columns, cells // self._columns], 1) + 0.5
        corner: Array = place * self.step + [self._window.x, self._window.y]
        return corner

    def held(self, cells: Whole) -> NDArray[np.bool_]:
        """Whether cells, by number, lie in a patch."""
        held: NDArray[np.bool_] = self._map.reshape(-1)[cells]
        return held

    def add(self, matrix: Array, box: Array) -> None:
        """Marks the cells whose centres lie in a patch, up to where its edge is half faded."""
        corner = np.array([self._window.x, self._window.y])
        low = np.floor((box[:2] - corner) / self.step).astype(int).clip(0)
        high = np.ceil((box[2:] - corner) / self.step).astype(int)
        part = self._map[low[1] : max(0, high[1]), low[0] : max(0, high[0])]
        if not part.size:
            return
        x = (np.arange(low[0], low[0] + part.shape[1]) + 0.5) * self.step[0] + corner[0]
        y = (np.arange(low[1], low[1] + part.shape[0]) + 0.5) * self.step[1] + corner[1]
        (a, b, c), (d, e, f) = matrix
        scale = 2 / (a * e - b * d)
        dx, dy = (x - c)[None], (y - f)[:, None]
        u, v = scale * (e * dx - b * dy) - 1, scale * (a * dy - d * dx) - 1
        width, height = np.hypot(a, d), np.hypot(b, e)
        faded = [1 / max(1 - self._edge_px / span, 0.1) for span in (width, height)]
        inside = _inside(u * faded[0], v * faded[1], self._shape)
        self._count += int(np.count_nonzero(inside & ~part))
        part |= inside


def _inside(u: Array, v: Array, shape: str) -> NDArray[np.bool_]:
    """Whether points (-1…1) lie in a shape; a picture is taken for an ellipse."""
    if shape == "rectangle":
        return (np.abs(u) <= 1) & (np.abs(v) <= 1)
    if shape == "hexagon":
        return (np.abs(u) <= 1) & (np.abs(v) <= 1 - np.abs(u) / 2)
    reach = 0.5 if shape == "soft" else 1.0  # a soft patch covers half where it is half seen
    inside: NDArray[np.bool_] = u**2 + v**2 <= reach
    return inside
