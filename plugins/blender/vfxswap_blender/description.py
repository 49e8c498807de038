# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine says of its effects (`vfxswap describe --json`), as this extension uses it.

Nothing here knows bpy, and nothing here knows an effect by name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

SNAPSHOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "description.json")
"""The description that the extension was built with, so that nodes draw without an engine."""

Kind = Literal["float", "int", "bool", "enum", "string", "file", "rows", "json"]
"""`rows` are name=value pairs; `json` is whatever has no widget of its own, as JSON text."""


@dataclass(frozen=True)
class Setting:
    """One setting of an effect. `minimum` and `maximum` are None where there is no bound; `open`
    names those of them that no value may have. `keyframes` of rows are those of each value."""

    name: str
    kind: Kind
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    keyframes: bool = False
    open: tuple[str, ...] = ()
    row_kind: Literal["string", "float", "int"] = "string"
    """What the values of `rows` are."""


@dataclass(frozen=True)
class Layer:
    """A layer that an effect gives: `kind` is color, matte or data."""

    name: str
    channels: tuple[str, ...]
    kind: str
    help: str


@dataclass(frozen=True)
class Matte:
    """An input matte, by role."""

    role: str
    help: str


@dataclass(frozen=True)
class Picture:
    """A still that a setting names, which may be linked instead. `card`: who is on it is told by
    a card beside its file."""

    setting: str
    help: str
    card: bool = False


@dataclass(frozen=True)
class Effect:
    """An effect, from which a node, its properties and its sockets are made."""

    name: str
    help: str
    settings: tuple[Setting, ...]
    layers: tuple[Layer, ...]
    mattes: tuple[Matte, ...]
    pictures: tuple[Picture, ...] = ()
    names: tuple[str, ...] = ()
    """What its text settings may name, to suggest: models, personas, styles, themes, features."""

    @property
    def label(self) -> str:
        """The name as a menu shows it."""
        return self.name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Description:
    """Effects of an engine of this version."""

    version: str
    effects: tuple[Effect, ...]

    def effect(self, name: str) -> Effect | None:
        """The effect of this name, None when this description has none."""
        return next((effect for effect in self.effects if effect.name == name), None)


def parse(data: Mapping[str, Any]) -> Description:
    """A description from the engine's, or from a snapshot. Raises ValueError for anything else."""
    try:
        names = data.get("names", {})
        effects = tuple(_effect(row, names.get(row["name"], ())) for row in data["effects"])
        return Description(str(data["version"]), effects)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a description of effects: {error!r}") from None


def read(path: str = SNAPSHOT) -> Description:
    """The description in a file. Raises ValueError, OSError."""
    with open(path, encoding="utf-8") as file:
        return parse(json.load(file))


def snapshot(description: Mapping[str, Any], models: Any) -> dict[str, Any]:
    """What a snapshot holds of an engine's `describe` and `models` answers."""
    names: dict[str, set[str]] = {}
    for model in models:
        lists = [value for value in model.values() if isinstance(value, list)]
        known = {str(name) for named in (*lists, model.get("thumbs", ())) for name in named}
        names.setdefault(str(model["effect"]), set()).update(known, (str(model["name"]),))
    kept = {key: description[key] for key in ("version", "effects")}
    return {**kept, "names": {effect: sorted(found) for effect, found in names.items()}}


def _effect(row: Mapping[str, Any], names: Iterable[str]) -> Effect:
    layers = tuple(
        Layer(x["name"], tuple(x["channels"]), x["kind"], x.get("help", "")) for x in row["layers"]
    )
    mattes = tuple(Matte(x["role"], x.get("help", "")) for x in row["mattes"])
    pictures = tuple(
        Picture(x["setting"], x.get("help", ""), bool(x.get("card")))
        for x in row.get("pictures", ())
    )
    settings = tuple(_setting(x) for x in row["settings"])
    help_text = row.get("help", "")
    return Effect(row["name"], help_text, settings, layers, mattes, pictures, tuple(names))


def _setting(row: Mapping[str, Any]) -> Setting:
    kind, row_kind = _kind(row)
    return Setting(
        name=row["name"],
        kind=kind,
        default=row.get("default"),
        help=row.get("help", ""),
        minimum=_bound(row, "minimum", "exclusiveMinimum"),
        maximum=_bound(row, "maximum", "exclusiveMaximum"),
        unit=row.get("unit", ""),
        choices=tuple(str(choice) for choice in row.get("enum", ())),
        keyframes=bool(row.get("keyframes") or row.get("keyframed_entries")),
        open=tuple(
            end
            for end, name in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
            if row.get(end) is None and row.get(name) is not None
        ),
        row_kind=row_kind,
    )


def _bound(row: Mapping[str, Any], *names: str) -> float | None:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _kind(row: Mapping[str, Any]) -> tuple[Kind, Literal["string", "float", "int"]]:
    choices, kind = row.get("enum"), row.get("type")
    if choices:
        texts = all(isinstance(choice, str) for choice in choices)
        return ("enum" if texts and row.get("default") in choices else "json"), "string"
    if kind == "string" and row.get("file"):
        return "file", "string"
    plain: dict[Any, Kind] = {
        "number": "float", "integer": "int", "boolean": "bool", "string": "string",
    }  # fmt: skip
    if kind in plain and (kind == "string" or row.get("default") is not None):
        return plain[kind], "string"
    values = row.get("additionalProperties")
    if kind == "object" and isinstance(values, Mapping):
        inner = values.get("type")
        if inner == "string":
            return "rows", "string"
        if inner == "number":
            return "rows", "float"
        if inner == "integer":
            return "rows", "int"
    return "json", "string"
