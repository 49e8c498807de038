"""What a guided change may set: names, units, ranges, and the values at which nothing changes.

One table for the effect's settings, the networks' conditioning vector and the synthetic truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Characteristic:
    """A number from `low` to `high`; at `neutral` (all of them) the picture stays as it is."""

    name: str
    help: str
    low: float
    high: float
    neutral: float = 0.0
    unit: str = ""


LIGHTS: Final = ("light1", "light2", "light3")


def _color(of: str, what: str, neutral: float) -> tuple[Characteristic, ...]:
    return tuple(
        Characteristic(f"{of}_{channel}", f"{what}: {channel}.", 0.0, 1.0, neutral)
        for channel in ("red", "green", "blue")
    )


def _light(light: str) -> tuple[Characteristic, ...]:
    place = "counted from between the eyes"
    return (
        Characteristic(
            f"{light}_intensity",
            "Light that it adds to a surface one head away that faces it, in units of the light "
            "that is on the face.",
            0.0,
            4.0,
        ),
        Characteristic(
            f"{light}_x", f"To the right in the picture, {place}.", -4.0, 4.0, 0.0, "head"
        ),
        Characteristic(f"{light}_y", f"Up, {place}.", -4.0, 4.0, 0.0, "head"),
        Characteristic(
            f"{light}_z", f"To the camera, {place}; below 0 behind.", -4.0, 4.0, 1.0, "head"
        ),
        *_color(light, "Colour of the light, scene-linear", 1.0),
    )


CHARACTERISTICS: Final = (
    Characteristic("frames", "Degree to which frames are worn.", 0.0, 1.0),
    *_color("frames", "Albedo of the frames, scene-linear", 0.03),
    Characteristic("sphere", "Power of both lenses.", -8.0, 6.0, 0.0, "dpt"),
    Characteristic("cylinder", "Further power across the axis.", -4.0, 4.0, 0.0, "dpt"),
    Characteristic(
        "axis_deg",
        "Axis of the cylinder, from the picture's right, anticlockwise (TABO).",
        0.0,
        180.0,
        0.0,
        "deg",
    ),
    Characteristic("prism", "Prism of both lenses, in prism dioptres.", 0.0, 8.0, 0.0, "pdpt"),
    Characteristic(
        "prism_base_deg",
        "Where the prism's base lies, from the picture's right, anticlockwise.",
        0.0,
        360.0,
        0.0,
        "deg",
    ),
    Characteristic("pd_mm", "Distance of the lenses' optical centres.", 50.0, 76.0, 63.0, "mm"),
    Characteristic("tint_density", "Optical density of the tint; 1 passes a tenth.", 0.0, 2.0),
    *_color("tint", "Share that the full tint lets through beside its density", 1.0),
    Characteristic(
        "tint_gradient", "0 tints evenly; 1 fades from full at the top to clear below.", 0.0, 1.0
    ),
    *(each for light in LIGHTS for each in _light(light)),
)
"""In the order of every conditioning vector."""

HEAD_M: Final = 0.23
"""A head, the unit of the lights' places, in metres."""

NEUTRAL: Final[Mapping[str, float]] = {each.name: each.neutral for each in CHARACTERISTICS}
"""Values at which nothing changes."""

# Between a colour, a direction or a centre nothing changes while what has it is absent.
CAUSES: Final = ("frames", "sphere", "cylinder", "prism", "tint_density", "tint_red", "tint_green",
                 "tint_blue", *(f"{light}_intensity" for light in LIGHTS))  # fmt: skip
"""The characteristics that change a picture; the rest say how."""


def towards(values: Mapping[str, float], degree: float) -> dict[str, float]:
    """A transformation to a `degree` of 0 (nothing) to 1: causes scaled from neutral, the rest
    as in `values`; names that `values` leaves out are neutral."""
    whole = {**NEUTRAL, **values}
    return {
        name: NEUTRAL[name] + degree * (value - NEUTRAL[name]) if name in CAUSES else value
        for name, value in whole.items()
    }
