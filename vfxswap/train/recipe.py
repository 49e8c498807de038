"""Recipes of trainings: TOML files, checked against their settings model."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from vfxswap.errors import JobError
from vfxswap.settings import Settings, validated

Recipe = TypeVar("Recipe", bound=Settings)


def read_recipe(file: Path, model: type[Recipe]) -> Recipe:
    """The recipe in a TOML file. Raises JobError when it cannot be read or says something wrong."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(f"recipe cannot be read: {error.strerror}", file=file) from None
    except ValueError as error:
        raise JobError(f"recipe is no valid TOML: {error}", file=file) from None
    return validated(model, content, file=file)
