"""Small files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from typing import Any


def write_json(path: str, content: Any) -> None:
    """Writes JSON, complete or not at all. Raises OSError."""
    temporary = _beside(path)
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def read_json(path: str) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none, or what is there is damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def copy(source: str, target: str) -> None:
    """Copies a file, complete or not at all. Raises OSError."""
    temporary = _beside(target)
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def link_or_copy(source: str, target: str) -> None:
    """Puts the file of one name under another too, at once; a copy where links cannot be.

    Raises OSError.
    """
    if os.path.exists(target) and os.path.samefile(source, target):
        return
    temporary = _beside(target)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy2(source, temporary)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _beside(path: str) -> str:
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
