"""Nuke groups and example scripts, generated from what the effects say of themselves.

`python -m vfxswap.gizmos FOLDER` writes them; gizmos/README.md is the contract they keep with the
plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vfxswap.files import write_atomically
from vfxswap.gizmos.examples import examples
from vfxswap.gizmos.group import gizmo, gizmo_name

__all__ = ["gizmo", "gizmo_name", "gizmos", "write_gizmos"]


def gizmos(description: Mapping[str, Any]) -> dict[str, str]:
    """The text of every file by its path under gizmos/, from `description()` alone.

    Raises JobError for a setting that no knob can hold.
    """
    groups = {
        f"{gizmo_name(effect['name'])}.gizmo": gizmo(effect, version=description["version"])
        for effect in description["effects"]
    }
    return {**groups, **examples(description)}


def write_gizmos(folder: Path, description: Mapping[str, Any]) -> list[Path]:
    """Writes all files under `folder`, each complete or not at all.

    Raises OutputError, JobError.
    """
    paths = []
    for name, text in gizmos(description).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        paths.append(path)
    return paths
