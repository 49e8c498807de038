"""Light rigs: a key and a fill from a direction each, and a 9-term ambient environment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LightRig:
    """Scene-linear Rec.709 light. Directions [3] point from the face to the light.

    `ambient` [9, 3] are coefficients on 1, x, y, z, xy, yz, 3z²-1, xz, x²-y² of the normal
    (Ramamoorthi and Hanrahan 2001, up to constants). `softness_m` widens the key's shadow edge;
    `glint` scales mirror-like highlights on wet parts, which reach far beyond 1.

    With `key_position` [3] metres the key is a point light: its direction and, by the square of
    the distance, its level change over the face; `key_color` is what arrives at `key_aim` [3].
    Its shadow stays that of the direction from there.
    """

    key_direction: Array
    key_color: Array
    fill_direction: Array
    fill_color: Array
    ambient: Array
    softness_m: float = 0.002
    glint: float = 1.0
    key_position: Array | None = None
    key_aim: Array | None = None

    def scaled(self, factor: float) -> LightRig:
        """All light times `factor`."""
        return replace(
            self,
            key_color=self.key_color * factor,
            fill_color=self.fill_color * factor,
            ambient=self.ambient * factor,
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


def point_rig(position: Array, aim: Array, color: Array) -> LightRig:
    """A point light at `position` [3] metres alone, with no other light: what it adds to a scene.
    `color` [3] arrives at `aim` [3]."""
    away = np.asarray(position, np.float64) - aim
    none = np.zeros(3)
    return LightRig(
        key_direction=away / np.linalg.norm(away),
        key_color=np.asarray(color, np.float64),
        fill_direction=np.array([0.0, -1.0, 0.0]),
        fill_color=none,
        ambient=np.zeros((9, 3)),
        key_position=np.asarray(position, np.float64),
        key_aim=np.asarray(aim, np.float64),
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
