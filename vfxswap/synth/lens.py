"""Spectacle lenses as two refracting surfaces, traced exactly: where does each pixel look?

Lens coordinates are metres: u to the picture's right (the wearer's left), v up, w from the viewer
into the wearer's head; the origin is the back vertex, the point of the back surface on the axis.
Axis and prism base count from u anticlockwise as the viewer sees them (TABO).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INDEX = 1.5
VERTEX_M = 0.012
"""From the cornea to the back vertex."""
BASE_CURVE_DPT = 6.0
EDGE_RADIUS_M = 0.022
THINNEST_M = 0.0015


@dataclass(frozen=True)
class Prescription:
    """Back vertex power of a lens. `sphere_dpt` along the axis, `sphere_dpt + cylinder_dpt` across
    it; `prism_pdpt` bends by that many centimetres a metre towards its base."""

    sphere_dpt: float = 0.0
    cylinder_dpt: float = 0.0
    axis_deg: float = 0.0
    prism_pdpt: float = 0.0
    base_deg: float = 0.0
    pd_mm: float = 63.0

    @property
    def bends(self) -> bool:
        """Whether light is bent at all by more than glass of equal thickness does."""
        return bool(self.sphere_dpt or self.cylinder_dpt or self.prism_pdpt)


@dataclass(frozen=True)
class Lens:
    """Two surfaces. The front is a sphere of curvature `front` (1/m), its vertex at w = -thickness;
    the back has curvatures `along` and `across` its axis, which is turned by `axis_rad`, and leans
    by the slopes `lean` (u, v) for prism."""

    front: float
    along: float
    across: float
    axis_rad: float
    lean: tuple[float, float]
    thickness: float
    index: float = INDEX


def made(prescription: Prescription) -> Lens:
    """The lens of a prescription.

    The front's power follows Vogel's rule (6 dpt and half of a minus power, all of a plus one,
    at least 0.5 dpt); the back makes the back vertex power exact on the axis:
    F2 = F - F1 / (1 - t·F1 / n) (Jalie, *Ophthalmic Lenses and Dispensing*). Thickness keeps the
    edge of plus lenses above 0.8 mm at 22 mm.
    """
    powers = (
        prescription.sphere_dpt, prescription.sphere_dpt + prescription.cylinder_dpt
    )  # fmt: skip
    mean = sum(powers) / 2
    front_dpt = max(0.5, BASE_CURVE_DPT + (mean if mean > 0 else mean / 2))
    highest = max(*powers, 0.0)
    thickness = THINNEST_M + highest * EDGE_RADIUS_M**2 / (2 * (INDEX - 1))
    arriving = front_dpt / (1 - thickness * front_dpt / INDEX)
    # Seen from the front, a back surface of curvature c has the power (1 - n)·c.
    along, across = ((power - arriving) / (1 - INDEX) for power in powers)
    bend = np.arctan(prescription.prism_pdpt / 100) / (INDEX - 1)
    base = np.deg2rad(prescription.base_deg)
    lean = (float(np.tan(bend) * np.cos(base)), float(np.tan(bend) * np.sin(base)))
    return Lens(
        front_dpt / (INDEX - 1), along, across, np.deg2rad(prescription.axis_deg), lean, thickness
    )


def traced(lens: Lens, origins: Array, directions: Array) -> tuple[Array, Array]:
    """Rays [N, 3] through the lens, without an edge: where they leave it, and unit directions.

    Snell's law at both surfaces. Rays that miss a surface (beyond its radius) come back as nan.
    """
    toward = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    point, normal = _met(origins, toward, _Front(lens))
    toward = refracted(toward, normal, 1 / lens.index)
    point, normal = _met(point, toward, _Back(lens))
    return point, refracted(toward, normal, lens.index)


def refracted(directions: Array, normals: Array, ratio: float) -> Array:
    """Unit directions [N, 3] behind a surface whose unit `normals` [N, 3] face the rays.

    `ratio` is the refractive index before over that behind (Snell's law as a vector: Born & Wolf,
    section 3.2.2). Total reflection gives nan.
    """
    cosine = -(directions * normals).sum(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        behind = np.sqrt(1 - ratio**2 * (1 - cosine**2))
    bent: Array = ratio * directions + (ratio * cosine - behind) * normals
    return bent


@dataclass(frozen=True)
class _Front:
    lens: Lens

    def sag(self, u: Array, v: Array) -> tuple[Array, Array, Array]:
        """Depth w over (u, v), and its slopes."""
        w, du, dv = _biconic(u, v, self.lens.front, self.lens.front)
        return w - self.lens.thickness, du, dv


@dataclass(frozen=True)
class _Back:
    lens: Lens

    def sag(self, u: Array, v: Array) -> tuple[Array, Array, Array]:
        lens = self.lens
        c, s = np.cos(lens.axis_rad), np.sin(lens.axis_rad)
        p, q = c * u + s * v, c * v - s * u
        w, dp, dq = _biconic(p, q, lens.along, lens.across)
        lean_u, lean_v = lens.lean
        return w + lean_u * u + lean_v * v, dp * c - dq * s + lean_u, dp * s + dq * c + lean_v


def _biconic(u: Array, v: Array, cu: float, cv: float) -> tuple[Array, Array, Array]:
    """Depth and slopes of a surface with curvatures cu and cv; a sphere where they are one."""
    with np.errstate(invalid="ignore"):
        root = np.sqrt(1 - (cu * u) ** 2 - (cv * v) ** 2)
    top = cu * u**2 + cv * v**2
    w = top / (1 + root)
    # d root / du = -cu² u / root
    du = (2 * cu * u + w * cu**2 * u / root) / (1 + root)
    dv = (2 * cv * v + w * cv**2 * v / root) / (1 + root)
    return w, du, dv


def _met(origins: Array, toward: Array, surface: _Front | _Back) -> tuple[Array, Array]:
    """Points of a surface that rays meet, and unit normals towards where they come from, by
    Newton's method from the plane through its vertex."""
    w0, _, _ = surface.sag(np.zeros(1), np.zeros(1))
    way = (w0 - origins[:, 2]) / toward[:, 2]
    for _ in range(8):
        point = origins + way[:, None] * toward
        w, du, dv = surface.sag(point[:, 0], point[:, 1])
        missing = point[:, 2] - w
        closing = toward[:, 2] - du * toward[:, 0] - dv * toward[:, 1]
        way = way - missing / closing
    point = origins + way[:, None] * toward
    _, du, dv = surface.sag(point[:, 0], point[:, 1])
    normal = np.stack([du, dv, -np.ones_like(du)], -1)
    return point, normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def thin_magnification(power_dpt: float, behind_m: float, before_m: float) -> float:
    """How large a thin lens shows what lies `behind_m` behind it to a viewer `before_m` before it,
    against how large it would be seen without.

    An object at distance l has its image, l' = l / (1 - l·F) behind the lens, larger by
    m = 1 / (1 - l·F) (the lens equation 1/l' = 1/l - F for distances behind the lens); from L
    before the lens m / (L + l') stands against 1 / (L + l): 1 / (1 - F · L·l / (L + l)).
    """
    reach = before_m * behind_m / (before_m + behind_m)
    return 1 / (1 - power_dpt * reach)
