"""Light rigs: a key and a fill from a direction each, and a 9-term ambient environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LightRig:
    """Scene-linear Rec.709 light. Directions [3] point from the face to the light.

    `ambient` [9, 3] are coefficients on 1, x, y, z, xy, yz, 3z²-1, xz, x²-y² of the normal
    (Ramamoorthi and Hanrahan 2001, up to constants). `softness_m` widens the key's shadow edge;
    `glint` scales mirror-like highlights on wet parts, which reach far beyond 1.
    """

    key_direction: Array
    key_color: Array
    fill_direction: Array
    fill_color: Array
    ambient: Array
    softness_m: float = 0.002
    glint: float = 1.0

    def scaled(self, factor: float) -> LightRig:
        """All light times `factor`."""
        return LightRig(
            self.key_direction,
            self.key_color * factor,
            self.fill_direction,
            self.fill_color * factor,
            self.ambient * factor,
            self.softness_m,
            self.glint,
        )


def direction(azimuth_rad: float, elevation_rad: float) -> Array:
    """Unit vector; azimuth 0 is in front of the face, positive to the subject's left."""
    return np.array(
        [
            np.sin(azimuth_rad) * np.cos(elevation_rad),
            -np.cos(azimuth_rad) * np.cos(elevation_rad),
            np.sin(elevation_rad),
        ]
    )


def studio_rig() -> LightRig:
    """A calm three-quarter key with a weak fill: for contact sheets."""
    ambient = np.zeros((9, 3))
    ambient[0] = (0.34, 0.36, 0.4)
    ambient[3] = ambient[0] * 0.3
    return LightRig(
        direction(0.65, 0.5),
        np.array([1.5, 1.42, 1.3]),
        direction(-1.0, 0.1),
        np.array([0.3, 0.34, 0.4]),
        ambient,
    )


def random_rig(rng: np.random.Generator, *, mild: bool = False) -> LightRig:
    """A random rig. `mild` keeps the key in front and the ambient strong (for combs)."""

    def warm() -> Array:
        return 1 + rng.uniform([-0.1, -0.05, -0.3], [0.35, 0.05, 0.15])

    spread = 0.9 if mild else 1.4
    key = direction(rng.uniform(-spread, spread), rng.uniform(-0.15, 1.0))
    key_color = rng.uniform(0.5, 2.2) * warm()
    fill = direction(rng.uniform(-3, 3), rng.uniform(-0.3, 0.8))
    fill_color = rng.uniform(0, 0.9) * warm() * float(rng.random() < 0.8)
    ambient = np.zeros((9, 3))
    level = rng.uniform(0.3, 0.8) if mild else rng.uniform(0.12, 0.8)
    ambient[0] = level * warm()
    ambient[1] = ambient[0] * rng.uniform(-0.4, 0.4)
    ambient[2] = ambient[0] * rng.uniform(-0.4, 0.2)
    ambient[3] = ambient[0] * rng.uniform(-0.1, 0.6)
    ambient[4:] = rng.normal(0, 0.05, (5, 3)) * level
    return LightRig(key, key_color, fill, fill_color, ambient, float(rng.uniform(0.001, 0.004)))
