"""Contact sheets: pictures in a grid with their names."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vfxswap.image import Pixels

_BAR, _GAP = 22, 4
_GROUND, _INK = 0.10, 0.85


def contact_sheet(pictures: Sequence[tuple[str, Pixels]], *, columns: int) -> Pixels:
    """Display-referred pictures [h, w, 3] of one size, each above its name, as one picture.

    Names longer than a picture is wide are written smaller. Raises ValueError without pictures.
    """
    if not pictures:
        raise ValueError("a contact sheet needs a picture")
    height, width = pictures[0][1].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full(
        (rows * (height + _BAR + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3),
        _GROUND,
        np.float32,
    )
    for index, (name, picture) in enumerate(pictures):
        y = _GAP + index // columns * (height + _BAR + _GAP)
        x = _GAP + index % columns * (width + _GAP)
        sheet[y : y + height, x : x + width] = picture
        scale = 0.45
        (wide, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        scale *= min(1.0, (width - 4) / max(wide, 1))
        # OpenCV 5 writes letters on bytes alone.
        ink = np.zeros((_BAR, width), np.uint8)
        cv2.putText(ink, name, (2, 16), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
        cover = ink[..., None].astype(np.float32) / np.float32(255)
        bar = sheet[y + height : y + height + _BAR, x : x + width]
        bar += cover * (np.float32(_INK) - bar)
    return sheet
