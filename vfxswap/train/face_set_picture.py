"""Pictures of a face set's coverage: an example and a count for every bin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.color import ColorManager
from vfxswap.errors import ColorError, PlateError
from vfxswap.image import Pixels
from vfxswap.io.exr import read_image
from vfxswap.ops.sheet import contact_sheet
from vfxswap.render.thumbnails import tone_mapped
from vfxswap.train.crops import MARGIN
from vfxswap.train.face_set import FaceSet, SetFace
from vfxswap.train.face_set_coverage import (
    ACTINGS,
    LIGHTS,
    PITCHES,
    YAWS,
    Coverage,
    Parts,
    pose_words,
)

THUMB_PX: Final = 112
_GAP, _LINE = 4, 20
_LEFT: Final = 118
_GROUND, _CELL, _INK, _DIM = 20, 34, 225, 140
_WARM: Final = (255, 143, 122)
"""Where the other set has something and this one nothing."""
_EVERY: Final = range(len(ACTINGS))
_FULL: Final = np.array([79, 157, 105])

Canvas = NDArray[np.uint8]


class Album:
    """Small display pictures of a set's crops, read when they are asked for."""

    def __init__(self, found: FaceSet, size: int = THUMB_PX) -> None:
        self._found, self._size = found, size
        self._kept: dict[str, Pixels | None] = {}
        self._colors = ColorManager()

    def picture(self, face: SetFace) -> Pixels | None:
        """The aligned crop [size, size, 3] in display values, highlights rolled off; None when
        its file cannot be read."""
        if face.file not in self._kept:
            self._kept[face.file] = self._read(face)
        return self._kept[face.file]

    def _read(self, face: SetFace) -> Pixels | None:
        path = self._found.folder / face.file
        try:
            image = read_image(path)
            space = self._colors.resolve(image, path).space
            rgb = image.rgb()
            edge = round(rgb.shape[0] * (1 - 1 / MARGIN) / 2)
            inner = np.ascontiguousarray(rgb[edge : len(rgb) - edge, edge : len(rgb) - edge])
            small = cv2.resize(inner, (self._size, self._size), interpolation=cv2.INTER_AREA)
            working = self._colors.to_working(np.asarray(small, np.float32), space)
        except (PlateError, ColorError):
            return None
        return self._colors.to_display(np.ascontiguousarray(tone_mapped(working)))


def faces_sheet(
    faces: Sequence[SetFace],
    album: Album,
    *,
    caption: Callable[[SetFace], str],
    columns: int = 10,
) -> Pixels | None:
    """Crops in a grid with captions, display values; None when none can be shown."""
    cells = [(caption(face), album.picture(face)) for face in faces]
    shown = [(text, picture) for text, picture in cells if picture is not None]
    return contact_sheet(shown, columns=min(columns, len(shown))) if shown else None


def coverage_picture(
    found: FaceSet,
    coverage: Coverage,
    album: Album,
    *,
    other: tuple[FaceSet, Coverage, Album] | None = None,
) -> Pixels:
    """Poses with an example and a count each, and expression by light and by pose as tables;
    display values [H, W, 3]. With `other`, that set lies below, and what it has and the first
    lacks is framed."""
    blocks = [_block(found, coverage, album, None if other is None else other[1])]
    if other is not None:
        blocks.append(_block(*other, None))
    height = sum(len(b) for b in blocks) + _GAP * (len(blocks) - 1)
    canvas = np.full((height, blocks[0].shape[1], 3), _GROUND, np.uint8)
    y = 0
    for block in blocks:
        canvas[y : y + len(block)] = block
        y += len(block) + _GAP
    return canvas.astype(np.float32) / np.float32(255)


def _block(found: FaceSet, coverage: Coverage, album: Album, beside: Coverage | None) -> Canvas:
    step = THUMB_PX + _GAP
    grid_width = _LEFT + len(YAWS) * step
    table_width = _LEFT + len(LIGHTS) * 84
    poses = [(x, y) for y in range(len(PITCHES)) for x in range(len(YAWS))]
    wide = _LEFT + len(poses) * 58
    width = max(grid_width + 3 * _GAP + table_width, wide) + 2 * _GAP
    grid_height = _LINE + len(PITCHES) * (step + _LINE)
    rows = _LINE * 2 + len(ACTINGS) * 26
    canvas = np.full((2 * _LINE + grid_height + rows + 3 * _GAP, width, 3), _GROUND, np.uint8)
    title = f"{found.persona.id}: {len(coverage.faces)} faces kept of {len(found.faces)}"
    _text(canvas, title, 2 * _GAP, 18, scale=0.6)
    top = 2 * _LINE
    for x, name in enumerate(YAWS):
        _text(canvas, f"looks {name}", _LEFT + x * step, top - 6, ink=_DIM)
    for y, name in enumerate(PITCHES):
        _text(canvas, name, 2 * _GAP, top + y * (step + _LINE) + THUMB_PX // 2, ink=_DIM)
    for x, y in poses:
        faces = coverage.of(Parts(pose=(x, y)))
        left, upper = _LEFT + x * step, top + y * (step + _LINE)
        area = canvas[upper : upper + THUMB_PX, left : left + THUMB_PX]
        area[:] = _CELL
        picture = album.picture(faces[0]) if faces else None
        if picture is not None:
            area[:] = np.rint(picture * 255).astype(np.uint8)
        lacks = not faces and beside is not None and bool(beside.of(Parts(pose=(x, y))))
        if lacks:
            _frame(area)
        said = str(len(faces)) if faces else "lacking" if lacks else "none"
        ink = _INK if faces else _DIM
        _text(canvas, said, left, upper + THUMB_PX + 14, ink=ink)
    pair = (coverage, beside)
    by_light = [[Parts(acting=a, light=c) for c in range(len(LIGHTS))] for a in _EVERY]
    _table(canvas, (grid_width + 3 * _GAP, top), "expression by light", LIGHTS, 84,
           by_light, *pair)  # fmt: skip
    pose_names = [pose_words(x, y).replace(" and ", " ") for x, y in poses]
    by_pose = [[Parts(acting=a, pose=pose) for pose in poses] for a in _EVERY]
    _table(canvas, (2 * _GAP, top + grid_height), "expression by pose", pose_names, 58,
           by_pose, *pair)  # fmt: skip
    return canvas


def _table(
    canvas: Canvas,
    at: tuple[int, int],
    title: str,
    columns: Sequence[str],
    width: int,
    cells: Sequence[Sequence[Parts]],
    coverage: Coverage,
    beside: Coverage | None,
) -> None:
    """Counts of `cells`, a row an expression: greener for more, framed where only the other set
    has some."""
    x, y = at
    counts = [[len(coverage.of(parts)) for parts in row] for row in cells]
    most = max(max(row) for row in counts) or 1
    _text(canvas, title, x, y - 6, ink=_DIM)
    for c, name in enumerate(columns):
        _text(canvas, name, x + _LEFT + c * width, y + 12, ink=_DIM, fit=width - 4)
    for r, name in enumerate(ACTINGS):
        upper = y + _LINE + r * 26
        _text(canvas, name, x, upper + 16, ink=_DIM)
        for c, value in enumerate(counts[r]):
            left = x + _LEFT + c * width
            area = canvas[upper : upper + 22, left : left + width - 4]
            share = float(np.sqrt(value / most))
            area[:] = np.rint(_CELL + share * (_FULL - _CELL)).astype(np.uint8)
            if value:
                _text(canvas, str(value), left + 5, upper + 16)
            elif beside is not None and beside.of(cells[r][c]):
                _frame(area)


def _frame(area: Canvas) -> None:
    area[:2] = area[-2:] = _WARM
    area[:, :2] = area[:, -2:] = _WARM


def _text(
    canvas: Canvas,
    text: str,
    x: int,
    y: int,
    *,
    ink: int = _INK,
    scale: float = 0.42,
    fit: int | None = None,
) -> None:
    """Letters with their base at (x, y), smaller where they must `fit`."""
    (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if fit is not None:
        scale *= min(1.0, 0.85 * fit / max(wide, 1))
    ground = np.zeros(canvas.shape[:2], np.uint8)
    cv2.putText(ground, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
    where = ground > 0
    cover = ground[where][:, None].astype(np.float32) / 255
    canvas[where] = np.rint(canvas[where] * (1 - cover) + cover * ink).astype(np.uint8)
