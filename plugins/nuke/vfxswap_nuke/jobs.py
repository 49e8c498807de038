"""From a node to a job of the engine."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Mapping, Sequence

from vfxswap_nuke.curves import keyframed
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.snapshot import ENTRY, KnobState, NodeState, Scalar

Row = Mapping[str, Any]
"""A setting as `vfxswap describe --json` describes it."""


def build_job(state: NodeState, effect: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The job of a node, and warnings. `effect` is the row of `vfxswap describe --json`.

    Raises NodeError for a setting that cannot be read.
    """
    layout = state.layout
    settings, warnings = build_settings(state.knobs, effect["settings"])
    settings.update({name: layout.picture(name) for name in state.pictures})
    job = {
        "version": 1,
        "plate": {"pattern": layout.plate, "color_space": state.space},
        "frames": frame_range(state.frames),
        "views": [view for view in state.views if view],
        "show": state.show,
        "effects": [
            {
                "effect": state.effect,
                "settings": settings,
                "mattes": {
                    role: {"pattern": layout.matte(role), "channel": "A"} for role in state.roles
                },
                "spaces": dict.fromkeys(state.pictures, state.space),
            }
        ],
        "color": {"config": state.config},
        "seed": state.seed,
        "proxy": state.proxy,
        "output": {"pattern": layout.result(state.proxy)},
    }
    return job, warnings


def named_files(job: Mapping[str, Any], effect: Mapping[str, Any]) -> dict[str, str]:
    """The files that the settings of a node's job name, by setting."""
    stated = job["effects"][0]["settings"]
    names = [str(row["name"]) for row in effect["settings"] if row.get("file")]
    return {name: str(stated[name]) for name in names if stated.get(name)}


def frame_range(frames: range) -> str:
    """A range as jobs state it."""
    first, last = frames[0], frames[-1]
    return str(first) if first == last else f"{first}-{last}"


def build_settings(
    knobs: Mapping[str, KnobState], rows: Sequence[Row]
) -> tuple[dict[str, Any], list[str]]:
    """Settings for a job, and warnings. Knobs that the effect does not know (any more), and
    settings without a knob, are told of; the engine's defaults stand for the latter."""
    settings: dict[str, Any] = {}
    warnings: list[str] = []
    known = {str(row["name"]): row for row in rows}
    entries: dict[str, dict[str, KnobState]] = {}
    for full in sorted(knobs):
        name, mark, entry = full.partition(ENTRY)
        if name not in known or (mark and not known[name].get("keyframed_entries")):
            warnings.append(f"the engine knows no setting {full}: it is left out")
        elif mark:
            entries.setdefault(name, {})[entry] = knobs[full]
    for name, row in known.items():
        if name not in knobs:
            warnings.append(f"the node has no {name}: its default is taken")
            continue
        value = _value(name, knobs[name], row, warnings)
        if name in entries:
            value = dict(value, **_entries(name, entries[name], row, warnings))
        if row.get("file") and value and not os.path.isabs(value):
            raise NodeError(f"{name}: the path {value} is not absolute")
        if value is not None:
            settings[name] = value
    return settings, warnings


def _entries(
    name: str, knobs: Mapping[str, KnobState], row: Row, warnings: list[str]
) -> dict[str, Any]:
    """Numbers of a setting that have knobs of their own: values or keyframes."""
    number = dict(row["additionalProperties"], keyframes=True)
    return {
        entry: _value(f"{name}.{entry}", knob, number, warnings)
        for entry, knob in sorted(knobs.items())
    }


def numbers_by_name(text: str) -> dict[str, float]:
    """The numbers in the lines of a knob, by name. Raises NodeError."""
    try:
        return _pairs(text, {"additionalProperties": {"type": "number"}})
    except ValueError as error:
        raise NodeError(str(error)) from None


def _value(name: str, knob: KnobState, row: Row, warnings: list[str]) -> Any:
    """A plain value or keyframes; None for an unset optional one."""
    if knob.samples is None:
        return _plain(name, knob.value, row)
    if not row.get("keyframes"):
        if len(set(knob.samples.values())) > 1:
            raise NodeError(f"{name} is animated, which it cannot be")
        return _plain(name, next(iter(knob.samples.values())), row)
    return keyframed(
        {
            f: _in_range(name, f, _plain(name, s, row), row, warnings)
            for f, s in knob.samples.items()
        }
    )


def _in_range(name: str, frame: int, value: Any, row: Row, warnings: list[str]) -> Any:
    """A curve may swing past its keys: the limit is taken, and it is said once for a setting."""
    if isinstance(value, bool):
        return value
    low, high = _limits(row)
    taken = type(value)(min(max(value, low), high))
    start = f"{name} goes beyond"
    if taken != value and not any(warning.startswith(start) for warning in warnings):
        warnings.append(f"{start} its limit on frame {frame}: {taken:g} is taken for {value:g}")
    return taken


def _limits(row: Row) -> tuple[float, float]:
    schema = _schema(row)
    return float(schema.get("minimum", -math.inf)), float(schema.get("maximum", math.inf))


def _plain(name: str, value: Scalar, row: Row) -> Any:
    schema = _schema(row)
    kind = schema.get("type")
    optional = schema is not row
    if optional and value == "":
        return None
    try:
        if kind == "object":
            return _pairs(str(value), schema)
        if kind == "array":
            return _several(str(value), schema)
        return _scalar(value, kind)
    except ValueError as error:
        raise NodeError(f"{name}: {error}") from None


def _schema(row: Row) -> Row:
    """The schema of what is stated: of an optional setting, the one that is not null."""
    for arm in row.get("anyOf", ()):
        if arm.get("type") != "null":
            return dict(arm)
    return row


def _scalar(value: Scalar, kind: Any) -> Any:
    if kind == "boolean":
        return bool(float(value)) if not isinstance(value, str) else _switch(value)
    if kind == "integer":
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{value} is no number")
        # Halves go up, as the engine rounds keyframes.
        return math.floor(number + 0.5)
    if kind == "number":
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{value} is no number")
        return number
    return value if isinstance(value, str) else str(value)


def _switch(text: str) -> bool:
    if text.strip().lower() in ("true", "1", "on", "yes"):
        return True
    if text.strip().lower() in ("false", "0", "off", "no"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _pairs(text: str, schema: Row) -> dict[str, Any]:
    """`name=value` lines. Where values are numbers a line may hold several pairs, and a name alone
    stands for the weight 1."""
    inner = schema.get("additionalProperties")
    kind = inner.get("type") if isinstance(inner, Mapping) else "string"
    numbers = kind in ("number", "integer")
    pairs: dict[str, Any] = {}
    for line in text.split() if numbers and "= " not in text else _lines(text):
        name, equals, value = (word.strip() for word in line.partition("="))
        if not name or not (equals or numbers):
            raise ValueError(f"{line!r} is not of the form name=value")
        if name in pairs:
            raise ValueError(f"{name} appears twice")
        pairs[name] = _scalar(value if equals else 1.0, kind)
    return pairs


def _several(text: str, schema: Row) -> list[Any]:
    """One value a line; one that has parts of its own is written as JSON."""
    items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
    kind = items.get("type")
    if kind in ("string", "number", "integer", "boolean"):
        return [_scalar(line, kind) for line in _lines(text)]
    return [json.loads(line) for line in _lines(text)]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
