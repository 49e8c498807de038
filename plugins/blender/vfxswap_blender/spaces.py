# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's names of colour spaces as the engine's built-in config has them; without bpy."""

from __future__ import annotations

_ENGINE_NAMES = {
    "Linear Rec.709": "Linear Rec.709 (sRGB)",
    "Linear Rec.2020": "Linear Rec.2020",
    "ACEScg": "ACEScg",
    "ACES2065-1": "ACES2065-1",
    "ACEScct": "ACEScct",
    "ACEScc": "ACEScc",
    "sRGB": "sRGB Encoded Rec.709 (sRGB)",
    "Linear DCI-P3 D65": "Linear P3-D65",
    "Rec.1886": "Gamma 2.4 Encoded Rec.709",
}


def engine_space(name: str, *, own_config: bool) -> str:
    """The engine's name for a space of Blender's.

    `own_config` says that $OCIO is set: then both read the same config and names are shared.
    Raises ValueError for a space that the engine's config lacks, and for data that is no colour.
    """
    if name in ("Non-Color", "Raw", ""):
        raise ValueError(f"the plate's colour space is {name or 'unknown'}: give the image one")
    if own_config:
        return name
    try:
        return _ENGINE_NAMES[name]
    except KeyError:
        raise ValueError(
            f"the engine has no colour space {name}: choose one of {', '.join(_ENGINE_NAMES)}, "
            "or set $OCIO for both"
        ) from None
