"""How different two pictures look, by OpenImageIO."""

from __future__ import annotations

import numpy as np
import OpenImageIO as oiio  # noqa: N813
from numpy.typing import NDArray

from vfxswap.errors import VfxSwapError

PIXELS_A_DEGREE = 67.02
"""FLIP's customary viewing: 0.7 m from a screen of 3840 pixels on 0.7 m."""


def flip(reference: NDArray[np.float32], test: NDArray[np.float32]) -> NDArray[np.float32]:
    """FLIP's map [H, W] in 0…1 of how a test differs from a reference when they alternate.

    Both [H, W, 3], linear Rec.709 light in 0…1 (what a display shows, decoded). Andersson et al.
    2020, "FLIP: A Difference Evaluator for Alternating Images", the form for displayed (low
    dynamic range) pictures, one picture pixel a screen pixel. Raises VfxSwapError where
    OpenImageIO does not have it (before 3.2) or fails.
    """
    measure = getattr(oiio.ImageBufAlgo, "FLIP_diff", None)
    if measure is None:
        raise VfxSwapError("this OpenImageIO has no FLIP", got=oiio.VERSION_STRING, wanted="3.2")
    buffers = [oiio.ImageBuf(np.ascontiguousarray(x, np.float32)) for x in (reference, test)]
    result = measure(*buffers, hdr=0, ppd=PIXELS_A_DEGREE, nthreads=1)
    if result.has_error:
        raise VfxSwapError(f"FLIP failed: {result.geterror()}")
    pixels: NDArray[np.float32] = result.get_pixels(oiio.FLOAT)[..., 0]
    return pixels
