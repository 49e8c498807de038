"""The losses of a mosaic training drawn as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vfxswap.errors import JobError

_SIZE = (900, 260)
_MARGIN = 42
_COLORS = (
    (60, 60, 200),
    (60, 140, 40),
    (200, 100, 40),
    (160, 60, 160),
    (40, 140, 190),
    (90, 90, 90),
)


def curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A JPEG with a panel for the code's error, and for the code distance and the critic of every
    theme, over the iterations of a log. Raises JobError for an empty log."""
    if not rows:
        raise JobError("the log of the training is empty")
    names = sorted({name for row in rows for name in row["loss"]})
    panels = [
        _panel(rows, [n for n in names if n == "codes"], "Eq. 34, plate patches"),
        _panel(rows, [n for n in names if n.endswith(" code")], "Eq. 35, code distance"),
        _panel(rows, [n for n in names if n.endswith(" critic")], "Eq. 36, made less real"),
    ]
    sheet = np.concatenate(panels, 0)
    return bytes(cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())


def _panel(rows: Sequence[Mapping[str, Any]], names: Sequence[str], title: str) -> np.ndarray:
    width, height = _SIZE
    panel = np.full((height, width, 3), 255, np.uint8)
    values = [row["loss"][n] for row in rows for n in names if n in row["loss"]]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + 1
    last = max(row["iteration"] for row in rows)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(panel, title, (_MARGIN, 16), font, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for level in (low, (low + high) / 2, high):
        y = round(height - 20 - (level - low) / (high - low) * (height - 50))
        cv2.line(panel, (_MARGIN, y), (width - 8, y), (225, 225, 225), 1)
        cv2.putText(panel, f"{level:.2g}", (2, y + 4), font, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(panel, str(last), (width - 48, height - 5), font, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    for number, name in enumerate(names):
        tint = _COLORS[number % len(_COLORS)]
        points = [
            (
                _MARGIN + row["iteration"] / last * (width - 8 - _MARGIN),
                height - 20 - (row["loss"][name] - low) / (high - low) * (height - 50),
            )
            for row in rows
            if name in row["loss"]
        ]
        line = np.round(np.array(points)).astype(np.int32)
        cv2.polylines(panel, [line], False, tint, 1, cv2.LINE_AA)
        label = name.partition(" ")[0]
        cv2.putText(panel, label, (200 + 110 * number, 16), font, 0.4, tint, 1, cv2.LINE_AA)
    return panel
