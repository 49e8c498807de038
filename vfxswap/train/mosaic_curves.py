"""The losses of a mosaic training drawn as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vfxswap.errors import JobError
from vfxswap.train.curves import panel


def curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A JPEG with a panel for the code's error, and for the code distance and the critic of every
    theme, over the iterations of a log. Raises JobError for an empty log."""
    if not rows:
        raise JobError("the log of the training is empty")
    names = sorted({name for row in rows for name in row["loss"]})
    panels = [
        panel(rows, [n for n in names if n == "codes"], "Eq. 34, plate patches"),
        panel(rows, [n for n in names if n.endswith(" code")], "Eq. 35, code distance"),
        panel(rows, [n for n in names if n.endswith(" critic")], "Eq. 36, made less real"),
    ]
    sheet = np.concatenate(panels, 0)
    return bytes(cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
