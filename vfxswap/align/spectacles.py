"""Spectacles on a head: outlines of frames, and where thin lenses show the face behind them.

Millimetres in head coordinates (see `align.head`). A lens bends the ray through (x, y) by its
power times the distance from its optical centre (Prentice's rule), the ray then meets the face
behind: what is seen there is drawn where the camera sees it without the lens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vfxswap.align.head import HeadPose, met, surface_depth
from vfxswap.geometry import Array

VERTEX_MM: Final = 12.0
"""From the cornea to the lens's back vertex."""
TILT: Final = 0.105
"""Slope of the lens plane (6°): its top leans away from the brows."""
_BASE_CURVE_DPT: Final = 6.0
_INDEX: Final = 1.5
_CENTRE_MM: Final = 1.5
_EDGE_MM: Final = 22.0
RIGHT, LEFT = -1, 1
"""The subject's right lens lies at negative x."""


@dataclass(frozen=True)
class FrameShape:
    """Half axes of a lens in millimetres, the exponent of its superellipse (2 is an ellipse, more
    is boxier), how much wider it is above than below, how far its outer top corner is swept up,
    width of rim and half the bridge."""

    half_width: float
    half_height: float
    exponent: float = 2.0
    taper: float = 0.0
    sweep: float = 0.0
    rim: float = 3.0
    half_bridge: float = 9.0


SHAPES: Final[Mapping[str, FrameShape]] = {
    "round": FrameShape(22.5, 22.5, rim=2.0, half_bridge=10.0),
    "oval": FrameShape(25.0, 17.0, 2.2, rim=2.0),
    "rectangle": FrameShape(25.5, 16.0, 5.0, rim=3.0),
    "trapeze": FrameShape(24.5, 20.0, 3.4, taper=0.1, rim=4.5),
    "cat_eye": FrameShape(25.0, 18.0, 2.8, taper=0.06, sweep=6.0, rim=4.0),
    "aviator": FrameShape(27.5, 23.5, 2.4, taper=0.12, rim=1.6, half_bridge=8.5),
}
"""The built-in set of frames."""

_POINTS = 96
_ARM_MM: Final = (72.0, -84.0)
"""x and z of an ear, where an arm ends."""
_ARM_HALF_HEIGHT_MM: Final = 2.2
_FAR_SIDE: Final = -0.06
"""Sine of the angle from which the arm of the far side is behind the face."""


@dataclass(frozen=True)
class Lens:
    """A prescription, both eyes alike: powers in dioptres, prism in prism dioptres, angles in
    degrees anticlockwise from the picture's right; optical centres `pd_mm` apart."""

    sphere: float = 0.0
    cylinder: float = 0.0
    axis_deg: float = 0.0
    prism: float = 0.0
    prism_base_deg: float = 0.0
    pd_mm: float = 63.0

    @property
    def bends(self) -> bool:
        """Whether it moves anything."""
        return bool(self.sphere or self.cylinder or self.prism)

    @property
    def shape_factor(self) -> float:
        """How much nearer to the axis a ray leaves the lens than it came in, t·F1 / n, by the
        front's power F1 (Vogel's rule) and the thickness t of a lens with a usable edge (Jalie,
        *Ophthalmic Lenses and Dispensing*)."""
        powers = (self.sphere, self.sphere + self.cylinder)
        mean = sum(powers) / 2
        front = max(0.5, _BASE_CURVE_DPT + (mean if mean > 0 else mean / 2))
        bulge = max(*powers, 0.0) * _EDGE_MM**2 / (2000 * (_INDEX - 1))
        return (_CENTRE_MM + bulge) / 1000 * front / _INDEX

    def deflection(self, x: Array, y: Array, side: int) -> tuple[Array, Array]:
        """Change of slope (millimetres to the side a millimetre towards the face) of the ray
        that leaves the lens at `side` in (x, y)."""
        turn, base = np.radians(self.axis_deg), np.radians(self.prism_base_deg)
        across = np.array([np.sin(turn), np.cos(turn)])  # y counts down
        from_x, from_y = (x - side * self.pd_mm / 2) / 1000, y / 1000
        bent = self.cylinder * (across[0] * from_x + across[1] * from_y)
        tilt = self.prism / 100
        return (
            -self.sphere * from_x - bent * across[0] + tilt * np.cos(base),
            -self.sphere * from_y - bent * across[1] - tilt * np.sin(base),
        )


def rim_outline(shape: str, side: int, *, scale: float = 1.0, grown_mm: float = 0.0) -> Array:
    """[N, 2] outline of a lens in the lens plane, anticlockwise from its outer edge; grown by a
    rim's width it is the outside of the rim."""
    form = SHAPES[shape]
    turn = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    power = 2 / form.exponent
    half = (form.half_width * scale + grown_mm, form.half_height * scale + grown_mm)
    x = half[0] * np.sign(cos) * np.abs(cos) ** power
    y = -half[1] * np.sign(sin) * np.abs(sin) ** power
    x = x * (1 - form.taper * y / half[1])
    y = y - form.sweep * scale * np.clip(x / half[0], 0, None) ** 2 * (1 - y / half[1]) / 2
    centre = scale * (form.half_width + form.half_bridge)
    return np.stack([side * (centre + x), y + scale * 1.5], 1)


def rim_width(shape: str, *, scale: float = 1.0) -> float:
    """Width of a rim in millimetres."""
    return SHAPES[shape].rim * scale


def bridge_outline(shape: str, *, scale: float = 1.0) -> Array:
    """[N, 2] outline of the bridge in the lens plane, an arc that ends inside the rims."""
    form = SHAPES[shape]
    reach = scale * (form.half_bridge + 0.15 * form.half_width)
    x = np.linspace(-reach, reach, 17)
    # Where it meets the rims they have curved away from the nose.
    top = -scale * (0.32 * form.half_height + 1.5 * (1 - (x / reach) ** 2))
    thick = scale * max(1.4, 0.8 * form.rim)
    return np.concatenate([np.stack([x, top], 1), np.stack([x, top + thick], 1)[::-1]])


def arm_outline(shape: str, side: int, pose: HeadPose, *, scale: float = 1.0) -> Array | None:
    """[N, 2] plate pixels of the part of an arm that is in sight; None when there is none.

    It goes from the rim's outer top straight to the ear and is hidden from where the head comes
    before it.
    """
    if side * pose.to_camera[0] < _FAR_SIDE:
        return None
    form = SHAPES[shape]
    outer = rim_outline(shape, side, scale=scale, grown_mm=form.rim * scale)
    hinge = outer[np.argmax(side * outer[:, 0] - 0.6 * outer[:, 1])]
    share = np.linspace(0, 1, 25)[:, None]
    start = np.array([hinge[0] - side * 1.0, hinge[1] + 2.5, VERTEX_MM - 1.0])
    end = np.array([side * _ARM_MM[0] * max(scale, 1.0), hinge[1] + 4.0, _ARM_MM[1]])
    # An arm first runs straight back from the hinge, as far out as the ear.
    corner = np.array([end[0], start[1], start[2] - 6.0])
    line = np.concatenate(
        [start + share[:5] * 6 * (corner - start), corner + share * (end - corner)]
    )
    seen = ~_hidden(line, pose)
    count = len(seen) if seen.all() else int(np.argmin(seen))
    if count < 2:
        return None
    half = np.array([0.0, _ARM_HALF_HEIGHT_MM * scale, 0.0])
    edge = line[:count]
    return pose.project(np.concatenate([edge - half, (edge + half)[::-1]]))


def in_lens_plane(flat: Array) -> Array:
    """Head points [..., 3] of points [..., 2] of the lens plane."""
    return np.concatenate([flat, VERTEX_MM - TILT * flat[..., 1:2]], -1)


def on_lens_plane(pose: HeadPose, pixels: Array) -> Array:
    """Head points [..., 3] of the lens plane that are seen at plate pixels [..., 2]."""
    origin = pose.project(np.array([0.0, 0.0, VERTEX_MM]))
    steps = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, -TILT]])
    ahead = (pose.project(steps + np.array([0.0, 0.0, VERTEX_MM])) - origin).T
    flat: Array = (pixels - origin) @ np.linalg.inv(ahead).T
    return in_lens_plane(flat)


def seen_through(
    pixels: Array, lens: Lens, side: int, pose: HeadPose, *, removed: bool = False
) -> Array:
    """Plate pixels [..., 2] to where what a lens shows there lies on the plate without it; with
    `removed`, to where the lens shows what lies there without it."""
    if not lens.bends:
        return pixels
    if not removed:
        return _through(pixels, lens, side, pose)
    # The field moves things by much less than it changes: its inverse is a fixed point.
    found = pixels
    for _ in range(12):
        found = found + pixels - _through(found, lens, side, pose)
    return found


def _through(pixels: Array, lens: Lens, side: int, pose: HeadPose) -> Array:
    at = on_lens_plane(pose, pixels)
    ahead = pose.to_camera
    slopes = np.broadcast_to(-ahead[:2] / ahead[2], at[..., :2].shape)
    centre = np.array([side * lens.pd_mm / 2, 0.0, 0.0])
    leaving = at - lens.shape_factor * (at - centre) * [1.0, 1.0, 0.0]
    bent = np.stack(lens.deflection(leaving[..., 0], leaving[..., 1], side), -1)
    # Without a lens the same two steps give the pixel back but for rounding: the rest is the lens.
    return pixels + pose.project(met(leaving, slopes + bent)) - pose.project(met(at, slopes))


def _hidden(points: Array, pose: HeadPose) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which of points [N, 3] lie behind the head for the camera."""
    far = np.arange(2.0, 160.0, 3.0)[:, None, None]
    toward = points + far * pose.to_camera
    return np.asarray((toward[..., 2] < surface_depth(toward) - 1.0).any(0))
