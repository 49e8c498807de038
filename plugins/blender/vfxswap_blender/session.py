# SPDX-License-Identifier: GPL-3.0-or-later
"""What lives as long as Blender does: the description, the engine, and the render under way."""

from __future__ import annotations

import json
import os
import sys

import bpy

from . import description as described
from .preferences import cache_folder, limit_bytes, preferences
from .run import Run
from .service import Service
from .store import Store, content, file_state, write_whole

_service: Service | None = None
_known: tuple[str, described.Description] | None = None
_lines: list[tuple[str, str]] = []
current: Run | None = None
"""The render under way."""


def known() -> described.Description:
    """The newest description: one fetched from an engine since this extension was installed, else
    the one that was shipped.

    Raises ValueError, OSError when there is neither. Read again only when a file changed: panels
    ask for it each time they are drawn.
    """
    global _known
    path = _fetched_path()
    state = f"{file_state(path)} {file_state(described.SNAPSHOT)}"
    if _known is None or _known[0] != state:
        try:
            with open(path, encoding="utf-8") as file:
                fetched = json.load(file)
            # An extension that was replaced may ship more than was fetched for the one before.
            if fetched["over"] != content(described.SNAPSHOT):
                raise ValueError("fetched for another extension")
            _known = (state, described.parse(fetched))
        except (OSError, ValueError, LookupError, TypeError):
            _known = (state, described.read())
    return _known[1]


def fetch_description() -> described.Description:
    """Asks the engine for its description and keeps it. Raises EngineError, OSError."""
    description, models = service().catalogue()
    kept = described.snapshot(description, models)
    kept["over"] = content(described.SNAPSHOT)
    write_whole(_fetched_path(), json.dumps(kept).encode())
    return described.parse(kept)


def service() -> Service:
    """The engine; a new one after its preferences changed."""
    global _service
    wanted = (bpy.path.abspath(preferences().engine), preferences().device)
    if _service is not None and (_service.setting, _service.device) != wanted:
        close()
    if _service is None:
        _service = Service(*wanted, _log)
    return _service


def store() -> Store:
    """The cache, as the preferences have it."""
    return Store(cache_folder(), limit_bytes())


def close() -> None:
    """Ends the render under way and the engine."""
    global _service, current
    run, current = current, None
    if run is not None:
        run.finish()
    ended, _service = _service, None
    if ended is not None:
        ended.close()


def say(level: str, line: str) -> None:
    """A line for the info area: at once without a window, else when the main thread is free."""
    if bpy.app.background:
        _report(level, line)
    else:
        _lines.append((level, line))
        if not bpy.app.timers.is_registered(_say_waiting):
            bpy.app.timers.register(_say_waiting, first_interval=0.2)


def _say_waiting() -> None:
    while _lines:
        _report(*_lines.pop(0))


def _report(level: str, line: str) -> None:
    try:
        bpy.ops.vfxswap.say(level=level, line=line)
    except RuntimeError:
        # An operator that reports an error raises it, after it was shown.
        if level != "ERROR":
            print(line, file=sys.stderr)


def _log(line: str) -> None:
    if os.environ.get("VFXSWAP_BLENDER_LOG"):
        print(f"vfxswap engine: {line}", file=sys.stderr)


def _fetched_path() -> str:
    folder = bpy.utils.extension_path_user(__package__, path="", create=False)
    return os.path.join(folder, "description.json")
