"""Settings of an effect as Nuke's user knobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vfxswap.errors import JobError
from vfxswap.gizmos.nk import number, quoted

Lines = list[tuple[str, str]]
"""Pairs of a knob's name and Tcl text, as in a node's body."""

PREFIX = "vfx_"

STRING, FILE, INT, ENUMERATION, BOOL, DOUBLE = 1, 2, 3, 4, 6, 7
TAB, PYTHON, TEXT, LINK, MULTILINE = 20, 22, 26, 41, 43
_MANY, _GROUP = 24, 3
"""More settings than an artist reads at a glance; and the fewest that make a group."""


def user_knob(
    kind: int,
    name: str,
    *,
    label: str | None = None,
    tip: str = "",
    options: Iterable[str] = (),
    limits: tuple[float, float] | None = None,
    text: str | None = None,
    flags: str = "",
    value: str | None = None,
) -> Lines:
    """An addUserKnob line, and the line of its value (Tcl text) where it has one."""
    words = [str(kind), name]
    if label is not None:
        words += ["l", quoted(label)]
    if tip:
        words += ["t", quoted(tip)]
    words += flags.split()
    if limits is not None:
        words += ["R", number(limits[0]), number(limits[1])]
    if options := tuple(options):
        words += ["M", "{" + " ".join(map(quoted, options)) + "}"]
    if text is not None:
        words += ["T", quoted(text)]
    lines = [("addUserKnob", f"{{{' '.join(words)}}}")]
    return lines if value is None else [*lines, (name, value)]


def setting_knob(setting: Mapping[str, Any]) -> Lines:
    """The knob of a setting, as `describe` tells it.

    Raises JobError for a setting of a form that no knob can hold.
    """
    name, default = PREFIX + setting["name"], setting.get("default")
    label, tip = label_of(setting), tip_of(setting)
    limits = limits_of(setting)
    kind = _type(setting)
    if "enum" in setting:
        options = [str(option) for option in setting["enum"]]
        return user_knob(
            ENUMERATION, name, label=label, tip=tip, options=options, value=quoted(str(default))
        )
    if kind == "boolean":
        value = "true" if default else "false"
        return user_knob(BOOL, name, label=label, tip=tip, flags="+STARTLINE", value=value)
    if kind in ("integer", "number"):
        return user_knob(
            INT if kind == "integer" else DOUBLE,
            name,
            label=label,
            tip=tip,
            limits=limits,
            value=number(default or 0),
        )
    if setting.get("file"):
        return user_knob(FILE, name, label=label, tip=tip, value=quoted(default or ""))
    if kind == "string":
        return user_knob(STRING, name, label=label, tip=tip, value=quoted(default or ""))
    if kind in ("object", "array"):
        text = _lines_of(default)
        return user_knob(MULTILINE, name, label=label, tip=tip, value=quoted(text))
    raise JobError(
        f"setting {setting['name']} has no knob",
        got=json.dumps(dict(setting)),
        wanted="a number, switch, string, choice, list or table",
    )


def grouped(
    settings: Sequence[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Settings in the order of a panel: of many, those that begin with the same word lie together
    in a group of that name, where the first of them stands; "" for those outside groups."""
    words = [str(setting["name"]).partition("_")[0] for setting in settings]
    many = len(settings) > _MANY
    folded = {word for word in words if many and words.count(word) >= _GROUP}
    found: list[tuple[str, list[Mapping[str, Any]]]] = []
    for word, setting in zip(words, settings, strict=True):
        if word not in folded:
            found.append(("", [setting]))
        elif word not in [name for name, _ in found]:
            found.append((word, [s for w, s in zip(words, settings, strict=True) if w == word]))
    return found


def label_of(setting: Mapping[str, Any]) -> str:
    """`matte_grow_px` in px is "matte grow (px)"."""
    name, unit = str(setting["name"]), setting.get("unit", "")
    words = name.removesuffix(f"_{unit}").replace("_", " ")
    return f"{words} ({unit})" if unit else words


def limits_of(setting: Mapping[str, Any]) -> tuple[float, float] | None:
    """Least and greatest value, of a setting that states both."""
    inside = 1 if _type(setting) == "integer" else 0
    low, high = setting.get("minimum"), setting.get("maximum")
    if low is None and "exclusiveMinimum" in setting:
        low = setting["exclusiveMinimum"] + inside
    if high is None and "exclusiveMaximum" in setting:
        high = setting["exclusiveMaximum"] - inside
    return None if low is None or high is None else (low, high)


def tip_of(setting: Mapping[str, Any]) -> str:
    """What it does, its range, and how it is written."""
    sentences = [str(setting["help"])]
    unit = f" {setting['unit']}" if "unit" in setting else ""
    if limits := limits_of(setting):
        sentences.append(f"{number(limits[0])} to {number(limits[1])}{unit}.")
    kind = _type(setting)
    if kind == "object":
        sentences.append("Lines of name=value.")
    elif kind == "array":
        objects = "$ref" in setting.get("items", {})
        sentences.append("One JSON object a line." if objects else "One value a line.")
    if setting["keyframes"]:
        sentences.append("May be animated.")
    return " ".join(sentences)


def _type(setting: Mapping[str, Any]) -> str:
    return str(setting.get("type", ""))


def _lines_of(default: Any) -> str:
    if isinstance(default, Mapping):
        return "\n".join(f"{name}={value}" for name, value in default.items())
    return "\n".join(map(str, default or ()))
