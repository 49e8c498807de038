"""The engine's client, from the folder beside this plug-in.

It is imported as a part of this package, so that no other tool's module `client` is met.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import vfxswap_nuke

_HERE = os.path.dirname(os.path.abspath(__file__))

if TYPE_CHECKING:
    from client import (
        Engine,
        EngineDiedError,
        EngineError,
        Event,
        RequestFailedError,
        Task,
        clean_environment,
        find_engine,
    )
else:
    # Carried within this package, or `plugins/client` as vfxswap is laid out.
    if not os.path.isdir(os.path.join(_HERE, "client")):
        vfxswap_nuke.__path__.append(os.path.dirname(os.path.dirname(_HERE)))
    from vfxswap_nuke.client import (
        Engine,
        EngineDiedError,
        EngineError,
        Event,
        RequestFailedError,
        Task,
        clean_environment,
        find_engine,
    )

__all__ = [
    "Engine",
    "EngineDiedError",
    "EngineError",
    "Event",
    "RequestFailedError",
    "Task",
    "clean_environment",
    "find_engine",
]
