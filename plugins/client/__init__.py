"""Drives a vfxswap engine from the Python of a host application.

Standard library only, grammar of Python 3.7: a host's plug-in carries this folder as it is. The
engine is a process of its own, `vfxswap worker`; docs/worker-protocol.md says what is spoken.

    with Engine() as engine:
        task = engine.render(job, on_event=show)
        report = task.result()

Nothing here touches a host: callbacks run on threads of this package, so a host's plug-in hands
them over to its main thread.
"""

from __future__ import annotations

from .engine import Engine, Job
from .environment import ENGINE_VARIABLE, clean_environment, find_engine
from .errors import (
    EngineDiedError,
    EngineError,
    EngineNotFoundError,
    EngineTimeoutError,
    Event,
    RequestFailedError,
)
from .process import PROTOCOL
from .task import OnEvent, Task

__all__ = [
    "ENGINE_VARIABLE",
    "PROTOCOL",
    "Engine",
    "EngineDiedError",
    "EngineError",
    "EngineNotFoundError",
    "EngineTimeoutError",
    "Event",
    "Job",
    "OnEvent",
    "RequestFailedError",
    "Task",
    "clean_environment",
    "find_engine",
]
