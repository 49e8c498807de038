# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as Blender properties, and the properties' values as settings of a job; without bpy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .description import Effect, Layer, Setting

MANY, GROUP = 24, 3
"""More settings than are read at a glance, and the fewest that make a group of their own."""
INT_LIMIT = 2**31 - 1
OPEN_STEP = 1e-4
"""How near a float may come to a bound that it must not have."""
FLOAT_DIGITS = 7
"""Blender keeps floats of 32 bits: 0.1 must reach the engine as 0.1."""


_UNITS = {
    "px": "plate pixels",
    "s": "seconds",
    "deg": "degrees",
    "mm": "millimetres",
    "dpt": "dioptres",
    "pdpt": "prism dioptres",
    "head": "heads",
}


def title(name: str) -> str:
    """A setting's name as an artist reads it; a unit in the name is shown by the property."""
    words = name
    for unit in ("_px", "_deg", "_mm"):
        words = words.removesuffix(unit)
    words = words.replace("_", " ")
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
        # The pairs themselves are animated, or not.
        return "CollectionProperty", {**common, "options": set()}
    if setting.kind == "file":
        default = str(setting.default or "")
        return "StringProperty", {**common, "default": default, "subtype": "FILE_PATH"}
    default = setting.default if setting.kind == "string" else json.dumps(setting.default)
    return "StringProperty", {**common, "default": str(default or "")}


def tip(setting: Setting) -> str:
    """The tooltip: Blender adds the full stop itself."""
    unit = _UNITS.get(setting.unit, setting.unit)
    said = setting.help.rstrip(".")
    return f"{said} ({unit})" if unit else said


def value_of(setting: Setting, value: Any) -> Any:
    """A property's value (of `rows`: pairs) as the job wants it. Raises ValueError for text that
    is no JSON, or for pairs of one name."""
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


def rows_of(setting: Setting, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Rows name=value as a dictionary; rows without a name are passed over. Raises ValueError for
    a name that is there twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        name = name.strip()
        if not name:
            continue
        if name in found:
            raise ValueError(f"{setting.name} names {name} twice")
        if setting.row_kind == "float":
            found[name] = float(f"{value:.{FLOAT_DIGITS}g}")
        else:
            found[name] = round(value) if setting.row_kind == "int" else str(value).strip()
    return found


def grouped(settings: Sequence[Setting]) -> list[tuple[str, list[Setting]]]:
    """Settings in the order of a panel: of many, those that begin with the same word lie together
    under it, where the first of them stands; "" for those outside such groups."""
    words = [setting.name.partition("_")[0] for setting in settings]
    folded = {word for word in words if len(settings) > MANY and words.count(word) >= GROUP}
    found: dict[str, list[Setting]] = {}
    for word, setting in zip(words, settings, strict=True):
        found.setdefault(word if word in folded else setting.name, []).append(setting)
    return [(name if name in folded else "", held) for name, held in found.items()]


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
        if isinstance(value, Mapping) and all(set(other) == set(value) for other in values):
            job[name] = {
                entry: _keyed(f"{name}.{entry}", frames, [other[entry] for other in values])
                for entry in value
            }
        else:
            job[name] = _keyed(name, frames, values)
    return job


def _keyed(name: str, frames: Sequence[int], values: Sequence[Any]) -> Any:
    if all(other == values[0] for other in values):
        return values[0]
    if not all(isinstance(other, int | float) for other in values):
        raise ValueError(f"{name} cannot be animated")
    keys = {str(frame): other for frame, other in zip(frames, values, strict=True)}
    return {"keys": keys, "interpolation": "step"}


def settings_of(effect: Effect, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by setting as settings of a job. Raises ValueError."""
    return {s.name: value_of(s, values[s.name]) for s in effect.settings if s.name in values}


def _within(setting: Setting, value: float) -> float:
    """An animation curve may run past the ends that the property has."""
    low, high = _ends(setting)
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)


def _ends(setting: Setting) -> tuple[float | None, float | None]:
    """Least and greatest value that a property may have."""
    step = 1 if setting.kind == "int" else OPEN_STEP
    low, high = setting.minimum, setting.maximum
    if low is not None and "minimum" in setting.open:
        low += step
    if high is not None and "maximum" in setting.open:
        high -= step
    return low, high


def _range(setting: Setting, kind: type) -> dict[str, Any]:
    limits: dict[str, Any] = {"default": kind(setting.default)}
    low, high = _ends(setting)
    if low is not None:
        limits["min"] = kind(max(low, -INT_LIMIT))
    if high is not None:
        limits["max"] = kind(min(high, INT_LIMIT))
    return limits
