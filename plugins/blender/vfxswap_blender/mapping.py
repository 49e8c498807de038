# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as Blender properties, and the properties' values as settings of a job; without bpy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .description import Effect, Layer, Setting

INT_LIMIT = 2**31 - 1
FLOAT_DIGITS = 7
"""Blender keeps floats of 32 bits: 0.1 must reach the engine as 0.1."""


def title(name: str) -> str:
    """A setting's name as an artist reads it; a unit in the name is shown by the property."""
    words = name.removesuffix("_px").removesuffix("_deg").replace("_", " ")
    return words[:1].upper() + words[1:]


def property_of(setting: Setting) -> tuple[str, dict[str, Any]]:
    """Name of the function in bpy.props that makes the property, and its arguments.

    `rows` are a collection, whose type the caller gives.
    """
    common: dict[str, Any] = {"name": title(setting.name), "description": tip(setting)}
    if not setting.keyframes:
        common["options"] = set()
    if setting.kind == "float":
        return "FloatProperty", {**common, **_range(setting, float), "precision": 3}
    if setting.kind == "int":
        subtype = {"subtype": "PIXEL"} if setting.unit == "px" else {}
        return "IntProperty", {**common, **_range(setting, int), **subtype}
    if setting.kind == "bool":
        return "BoolProperty", {**common, "default": bool(setting.default)}
    if setting.kind == "enum":
        items = [(choice, title(choice), "") for choice in setting.choices]
        return "EnumProperty", {**common, "items": items, "default": setting.default}
    if setting.kind == "rows":
        return "CollectionProperty", common
    default = setting.default if setting.kind == "string" else json.dumps(setting.default)
    return "StringProperty", {**common, "default": str(default or "")}


def tip(setting: Setting) -> str:
    """The tooltip: Blender adds the full stop itself."""
    unit = {"px": "plate pixels", "s": "seconds", "deg": "degrees"}.get(setting.unit, setting.unit)
    said = setting.help.rstrip(".")
    return f"{said} ({unit})" if unit else said


def value_of(setting: Setting, value: Any) -> Any:
    """A property's value (of `rows`: pairs) as the job wants it. Raises ValueError for text that
    is no JSON or no number where one is wanted."""
    if setting.kind == "float":
        return float(f"{_within(setting, float(value)):.{FLOAT_DIGITS}g}")
    if setting.kind == "int":
        return int(_within(setting, value))
    if setting.kind == "bool":
        return bool(value)
    if setting.kind == "rows":
        return rows_of(setting, value)
    if setting.kind == "json":
        try:
            return json.loads(str(value)) if str(value).strip() else setting.default
        except ValueError:
            raise ValueError(f"{setting.name} is no JSON: {value}") from None
    return str(value)


def rows_of(setting: Setting, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Rows name=value as a dictionary; rows without a name are passed over."""
    read = {"string": str, "float": float, "int": int}[setting.row_kind]
    found: dict[str, Any] = {}
    for name, text in pairs:
        name = name.strip()
        if not name:
            continue
        try:
            found[name] = read(text.strip())
        except ValueError:
            raise ValueError(f"{setting.name}: {name}={text} is no number") from None
    return found


def layer_sockets(layer: Layer) -> list[tuple[str, str]]:
    """Output sockets of a layer, as (name, kind): kind is color, float or vector.

    A colour of three or four channels is one socket; so are two channels of data, as a vector.
    Everything else is single channels: a matte's are named by its help where that lists them.
    """
    if layer.kind == "color" and len(layer.channels) >= 3:
        return [(layer.name, "color")]
    if layer.kind == "data" and 2 <= len(layer.channels) <= 3:
        return [(layer.name, "vector")]
    if len(layer.channels) == 1:
        return [(layer.name, "float")]
    words = [word.strip().lower() for word in layer.help.rstrip(".").split(",")]
    named = words if len(words) == len(layer.channels) else list(layer.channels)
    return [(f"{layer.name} {word}", "float") for word in named]


def at_frames(by_frame: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings of frames as settings of a job: plain where all frames agree, else keyed, exactly.

    Raises ValueError for a value that varies and is no number or switch.
    """
    frames = sorted(by_frame)
    first = by_frame[frames[0]]
    job: dict[str, Any] = {}
    for name, value in first.items():
        values = [by_frame[frame][name] for frame in frames]
        if all(other == value for other in values):
            job[name] = value
            continue
        if not all(isinstance(other, int | float) for other in values):
            raise ValueError(f"{name} cannot be animated")
        keys = {str(frame): other for frame, other in zip(frames, values, strict=True)}
        job[name] = {"keys": keys, "interpolation": "step"}
    return job


def settings_of(effect: Effect, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by setting as settings of a job. Raises ValueError."""
    return {s.name: value_of(s, values[s.name]) for s in effect.settings if s.name in values}


def _within(setting: Setting, value: float) -> float:
    """An animation curve may run past the ends that the property has."""
    if setting.minimum is not None:
        value = max(value, setting.minimum)
    return value if setting.maximum is None else min(value, setting.maximum)


def _range(setting: Setting, kind: type) -> dict[str, Any]:
    limits: dict[str, Any] = {"default": kind(setting.default)}
    if setting.minimum is not None:
        limits["min"] = kind(max(setting.minimum, -INT_LIMIT))
    if setting.maximum is not None:
        limits["max"] = kind(min(setting.maximum, INT_LIMIT))
    return limits
