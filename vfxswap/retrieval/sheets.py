"""Contact sheets of faces: aligned crops with their ranks or groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vfxswap.align.crop import crop_matrix
from vfxswap.color import from_net, to_net
from vfxswap.effects.aligned import to_crop
from vfxswap.errors import JobError
from vfxswap.geometry import Array
from vfxswap.image import Pixels
from vfxswap.io.exr import read_image, write_png
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.sheet import contact_sheet
from vfxswap.render.references import working_frame
from vfxswap.retrieval.reader import Reader

CELL_PX = 160


def check_sheet(file: Path) -> None:
    """Raises JobError for what is no PNG."""
    if file.suffix.lower() != ".png":
        raise JobError("contact sheets are PNG", got=file.name, wanted="sheet.png")


def face_picture(path: Path, points: Array, reader: Reader, *, size: int = CELL_PX) -> Pixels:
    """A face aligned, display-referred [size, size, 3]. Raises PlateError, ColorError."""
    frame = working_frame(read_image(path), path, color=reader.color)
    matrix = crop_matrix(points, size=size, pixel_aspect=frame.pixel_aspect)
    pixels = to_tensor(to_net(np.nan_to_num(frame.rgb)), device=torch.device("cpu"))
    crop = to_crop(pixels, matrix, size, frame.data_window)
    return reader.color.to_display(to_pixels(from_net(crop)))


def write_faces(
    file: Path, cells: Sequence[tuple[str, Path, Array]], reader: Reader, *, columns: int
) -> None:
    """Writes a sheet of (caption, picture, landmarks), row by row; an empty caption and no
    picture's file leaves a cell blank. Raises JobError, PlateError, OutputError."""
    check_sheet(file)
    blank = np.zeros((CELL_PX, CELL_PX, 3), np.float32)
    shown = [
        (caption, face_picture(path, points, reader) if path.name else blank)
        for caption, path, points in cells
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(file, contact_sheet(shown, columns=columns))
