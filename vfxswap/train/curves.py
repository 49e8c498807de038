"""Losses of a training drawn as pictures, by OpenCV alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PANEL_PX = (900, 260)
_MARGIN = 42
_COLORS = (
    (60, 60, 200),
    (60, 140, 40),
    (200, 100, 40),
    (160, 60, 160),
    (40, 140, 190),
    (90, 90, 90),
)


def panel(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    title: str,
    *,
    marks: Sequence[tuple[int, str]] = (),
) -> NDArray[np.uint8]:
    """[260, 900, 3] BGR: what the rows' `loss` has by these names over their `iteration`.

    `marks` are iterations with a word each (a level that begins), drawn as upright lines.
    """
    width, height = PANEL_PX
    drawn = np.full((height, width, 3), 255, np.uint8)
    values = [row["loss"][n] for row in rows for n in names if n in row["loss"]]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + 1
    last = max(row["iteration"] for row in rows)
    font = cv2.FONT_HERSHEY_SIMPLEX

    def across(iteration: float) -> float:
        return float(_MARGIN + iteration / max(1, last) * (width - 8 - _MARGIN))

    cv2.putText(drawn, title, (_MARGIN, 16), font, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for level in (low, (low + high) / 2, high):
        y = round(height - 20 - (level - low) / (high - low) * (height - 50))
        cv2.line(drawn, (_MARGIN, y), (width - 8, y), (225, 225, 225), 1)
        cv2.putText(drawn, f"{level:.2g}", (2, y + 4), font, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    for iteration, word in marks:
        x = round(across(iteration))
        cv2.line(drawn, (x, 30), (x, height - 20), (200, 200, 200), 1)
        cv2.putText(drawn, word, (x + 2, 30), font, 0.32, (120, 120, 120), 1, cv2.LINE_AA)
    cv2.putText(drawn, str(last), (width - 48, height - 5), font, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    for number, name in enumerate(names):
        tint = _COLORS[number % len(_COLORS)]
        points = [
            (
                across(row["iteration"]),
                height - 20 - (row["loss"][name] - low) / (high - low) * (height - 50),
            )
            for row in rows
            if name in row["loss"]
        ]
        if points:
            line = np.round(np.array(points)).astype(np.int32)
            cv2.polylines(drawn, [line], False, tint, 1, cv2.LINE_AA)
        label = name.partition(" ")[0]
        cv2.putText(drawn, label, (200 + 110 * number, 16), font, 0.4, tint, 1, cv2.LINE_AA)
    return drawn


def curves_png(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG with all losses of a log's rows, levels marked; b"" for an empty log."""
    rows = [row for row in rows if row.get("loss")]
    if not rows:
        return b""
    names = sorted({name for row in rows for name in row["loss"]})
    marks: list[tuple[int, str]] = []
    level = None
    for row in rows:
        if row.get("level") is not None and row["level"] != level:
            level = row["level"]
            marks.append((row["iteration"], f"level {level}"))
    panels = [
        panel(rows, names[start : start + 6], "loss", marks=marks)
        for start in range(0, len(names), 6)
    ]
    return bytes(cv2.imencode(".png", np.concatenate(panels, 0))[1].tobytes())
