"""The conditioning vector of the guided networks, and what a network reads out of it.

A vector has the `characteristics.CHARACTERISTICS` in their order, in their own units. Inside,
lenses are power vectors (Thibos, Wheeler & Horner 1997), so that an axis of 0° and one of 180° are
one and a lens without cylinder has none; lights are directions and distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from vfxswap.characteristics import CHARACTERISTICS, LIGHTS, NEUTRAL

INDEX: Final[Mapping[str, int]] = {each.name: i for i, each in enumerate(CHARACTERISTICS)}
"""Place of a characteristic in the vector."""
VECTOR: Final = len(CHARACTERISTICS)
"""Numbers in a conditioning vector."""
NEAREST_HEAD: Final = 0.6
"""Lights nearer than this, in heads, count as this far: there is the head itself."""

_POWER_DPT: Final = 8.0
_PRISM_PDPT: Final = 8.0
_PD_MM: Final = (63.0, 13.0)


class Lenses(NamedTuple):
    """Both lenses of each picture. `power` [B, 5]: sphere-equivalent M, J0, J45 and the prism's
    base x and y, each 1 at 8 dpt or pdpt; all 0 for lenses that bend nothing. `place` [B, 1]: the
    distance of their centres, 0 at 63 mm."""

    power: Tensor
    place: Tensor


class Lights(NamedTuple):
    """Three lights. `code` [B, 3, 4]: direction x, y, z from between the eyes (unit length) and
    one over the distance in heads; `level` [B, 3, 3]: red, green, blue that arrive there, in
    units of the light on the face, 0 for a light that is out."""

    code: Tensor
    level: Tensor


def vectors(values: Sequence[Mapping[str, float]]) -> Tensor:
    """[B, V] float32 of characteristics by name; those left out are neutral.

    Raises KeyError for a name that is none.
    """
    rows = torch.tensor([list(NEUTRAL.values())], dtype=torch.float32).repeat(len(values), 1)
    for row, given in zip(rows, values, strict=True):
        for name, value in given.items():
            row[INDEX[name]] = value
    return rows


def lenses(vector: Tensor) -> Lenses:
    """What the vector [B, V] says of the lenses."""
    sphere, cylinder, prism, pd = (
        vector[:, INDEX[name]] for name in ("sphere", "cylinder", "prism", "pd_mm")
    )
    axis, base = (torch.deg2rad(vector[:, INDEX[n]]) for n in ("axis_deg", "prism_base_deg"))
    power = [
        (sphere + cylinder / 2) / _POWER_DPT,
        -cylinder / 2 * torch.cos(2 * axis) / _POWER_DPT,
        -cylinder / 2 * torch.sin(2 * axis) / _POWER_DPT,
        prism * torch.cos(base) / _PRISM_PDPT,
        prism * torch.sin(base) / _PRISM_PDPT,
    ]
    return Lenses(torch.stack(power, 1), ((pd - _PD_MM[0]) / _PD_MM[1])[:, None])


def prescription(power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sphere and cylinder [B] in dpt and axis [B] in degrees, 0…180, of power vectors M, J0, J45
    [B, 3 or more]; the cylinder is given as negative, as prescriptions mostly are."""
    mean, straight, oblique = (_POWER_DPT * power[:, i] for i in range(3))
    cylinder = -2 * torch.hypot(straight, oblique)
    axis = torch.rad2deg(0.5 * torch.atan2(oblique, straight)) % 180.0
    return mean - cylinder / 2, cylinder, axis


def lights(vector: Tensor) -> Lights:
    """What the vector [B, V] says of the lights."""
    codes, levels = [], []
    for light in LIGHTS:
        place, color = (
            torch.stack([vector[:, INDEX[f"{light}_{part}"]] for part in parts], 1)
            for parts in (("x", "y", "z"), ("red", "green", "blue"))
        )
        far = place.norm(dim=1, keepdim=True)
        ahead = torch.tensor([0.0, 0.0, 1.0]).to(place).expand_as(place)
        toward = torch.where(far > 1e-6, place / far.clamp_min(1e-6), ahead)
        near = 1 / far.clamp_min(NEAREST_HEAD)
        codes.append(torch.cat([toward, near], 1))
        levels.append(vector[:, INDEX[f"{light}_intensity"], None] * color * near**2)
    return Lights(torch.stack(codes, 1), torch.stack(levels, 1))


def frames(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Degree [B, 1] to which frames are worn, and their colour [B, 3]."""
    color = [vector[:, INDEX[f"frames_{channel}"]] for channel in ("red", "green", "blue")]
    return vector[:, INDEX["frames"], None], torch.stack(color, 1)


def tint_transmission(vector: Tensor, down: Tensor) -> Tensor:
    """Share of the light [B, 3, …] that tinted lenses pass, exactly; 1 without a tint.

    vector [B, V]; `down` [B or 1, …] is the height on the lens: 0 at its top, 1 at its bottom.
    The tint's colour fades along with its density.
    """
    shape = (-1, *[1] * (down.ndim - 1))
    density = vector[:, INDEX["tint_density"]].view(shape)
    gradient = vector[:, INDEX["tint_gradient"]].view(shape)
    here = 1 - gradient * down.clamp(0, 1)
    grey = torch.pow(10.0, -density * here)
    color = [vector[:, INDEX[f"tint_{c}"]].view(shape) for c in ("red", "green", "blue")]
    return torch.stack([grey * torch.lerp(torch.ones_like(here), c, here) for c in color], 1)
