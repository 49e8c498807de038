"""Typed settings: one documented model a thing; unknown keys raise; written and read as JSON.

Command line, host knobs and documents are generated from these models.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every settings model. Every field has a description, a default where one makes
    sense, and its range as pydantic constraints; `json_schema_extra={"unit": "px"}` names a unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def describe(settings: type[Settings]) -> list[dict[str, Any]]:
    """The fields of a settings model for generators: name, type, default, range, unit, help."""
    schema = settings.model_json_schema()
    rows = []
    for name, field in schema.get("properties", {}).items():
        row = {"name": name, **{k: v for k, v in field.items() if k != "title"}}
        row["help"] = row.pop("description", "")
        rows.append(row)
    return rows
