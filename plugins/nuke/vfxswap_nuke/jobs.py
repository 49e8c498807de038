"""From a node to a job of the engine."""

from __future__ import annotations

import json
import math
from typing import Any, Mapping, Sequence

from vfxswap_nuke.curves import keyframed
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.snapshot import KnobState, NodeState, Scalar

Row = Mapping[str, Any]
"""A setting as `vfxswap describe --json` describes it."""


def build_job(state: NodeState, effect: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The job of a node, and warnings. `effect` is the row of `vfxswap describe --json`.

    Raises NodeError for a setting that cannot be read.
    """
    layout = state.layout
    settings, warnings = build_settings(state.knobs, effect["settings"])
    if state.reference and "reference" in effect:
        settings[str(effect["reference"]["setting"])] = layout.reference
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
            }
        ],
        "color": {"config": state.config},
        "seed": state.seed,
        "proxy": state.proxy,
        "output": {"pattern": layout.result(state.proxy)},
    }
    return job, warnings


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
    for name in sorted(knobs):
        if name not in known:
            warnings.append(f"the engine knows no setting {name}: it is left out")
    for name, row in known.items():
        if name not in knobs:
            warnings.append(f"the node has no {name}: its default is taken")
            continue
        value = _value(name, knobs[name], row, warnings)
        if value is not None:
            settings[name] = value
    return settings, warnings


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
