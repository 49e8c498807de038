"""What surfaces count as in the truth that Cycles renders: the mattes, the face region, depth."""

from __future__ import annotations

import numpy as np

from vfxswap.synth.head import Floats
from vfxswap.synth.paint import maps_of, smoothstep
from vfxswap.synth.render import MATTES

PARTS = tuple(name for name in MATTES if name not in ("skin", "glasses"))
"""Mattes that are rendered, followed by the face region and depth; skin is what is left of alpha,
and glasses are not worn here."""
FACE, DEPTH = len(PARTS), len(PARTS) + 1


def matte(*names: str, face: float) -> list[float]:
    """One row of the truth: what a surface counts as."""
    row = [float(name in names) for name in PARTS]
    return [*row, face]


def skin_mattes(texture: Floats) -> Floats:
    """[H, W, 9] what every texel of the skin counts as: `PARTS`, then what is not hair, and the
    inside of the mouth, which make the face region."""
    m = maps_of(texture.shape[0])
    x, y, z = np.abs(m.position[..., 0]), m.position[..., 1], m.position[..., 2]
    cave, lips, brow, scalp = (texture[..., k] for k in (5, 9, 10, 11))
    ear = smoothstep(x, 0.0685, 0.072) * smoothstep(y, -0.062, -0.05)
    ear = ear * smoothstep(z, 0.665, 0.68) * (1 - smoothstep(z, 0.76, 0.775))
    neck = 1 - smoothstep(z, 0.59, 0.605)
    neck = np.maximum(neck, smoothstep(y, -0.055, -0.045) * (1 - smoothstep(z, 0.65, 0.67)))
    out = np.zeros((*texture.shape[:2], DEPTH + 1), np.float32)
    left = np.ones(texture.shape[:2], np.float32)
    for name, share in (("mouth", cave), ("body", neck), ("hair", scalp), ("ears", ear)):
        out[..., PARTS.index(name)] = share * left
        left = left - share * left
    for name, share in (("lips", lips), ("brows", brow)):
        out[..., PARTS.index(name)] = np.minimum(share, left)
        left = left - np.minimum(share, left)
    out[..., FACE] = 1 - out[..., PARTS.index("hair")]
    out[..., DEPTH] = cave
    return out
