"""Nuke itself: its threads, its messages, and the session's engine. Imports `nuke`."""

from __future__ import annotations

import collections
import threading
from typing import Any, Callable, Mapping

import nuke

from vfxswap_nuke.engine_client import Engine
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.runs import Run, Runs
from vfxswap_nuke.settings import PluginSettings

RUNS = Runs()
"""All renders of this session."""

ENGINE_LOG: collections.deque[str] = collections.deque(maxlen=2000)
"""The last lines that the session's engine wrote for people."""

_PROGRESS_S = 0.2
_SAID_S = 5.0


def on_main(call: Callable[..., None], *arguments: Any) -> None:
    """Calls on the main thread, now or soon: nodes may be changed there alone.

    Without a GUI nothing runs other threads' calls there, so those are left out: they are about
    what nobody sees.
    """
    # executeInMainThread hangs when it is called on the main thread itself.
    if threading.current_thread() is threading.main_thread():
        call(*arguments)
    elif nuke.GUI:
        nuke.executeInMainThread(call, args=arguments)


def complain(message: str) -> None:
    """Tells the artist what is wrong; called on the main thread by a button or a menu."""
    if nuke.GUI:
        nuke.message(message)
    else:
        nuke.tprint(f"vfxswap: {message}")


def watch(run: Run) -> None:
    """Shows a render's progress until it is over; blocks, so it has a thread of its own in the
    GUI."""
    if nuke.GUI:
        task = nuke.ProgressTask(f"vfxswap {run.node}")
        while not run.wait(_PROGRESS_S):
            task.setProgress(run.percent)
            task.setMessage(run.status())
            if task.isCancelled() and not run.cancelled.is_set():
                run.cancel()
        del task
        return
    said = ""
    while not run.wait(_SAID_S):
        if run.status() != said:
            said = run.status()
            nuke.tprint(f"vfxswap {run.node}: {said}")


class _Session:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engine: Engine | None = None
        self.made_with: tuple[Any, ...] = ()


_session = _Session()


def engine(settings: PluginSettings) -> Engine:
    """The session's engine; another one once the settings that start it have changed."""
    wanted = (settings.engine, tuple(settings.options()), settings.hang_s, settings.stall_s)
    with _session.lock:
        old = _session.engine
        if old is None or _session.made_with != wanted:
            _session.engine = Engine(
                settings.engine,
                options=settings.options(),
                log=ENGINE_LOG.append,
                hang_s=settings.hang_s,
                stall_s=settings.stall_s,
            )
            _session.made_with = wanted
            if old is not None:
                old.close(grace_s=1.0)
        found = _session.engine
        assert found is not None
        return found


def restart_engine() -> None:
    """Ends the session's engine; the next request starts a new one."""
    with _session.lock:
        old = _session.engine
    if old is not None:
        old.restart(grace_s=1.0)


def close_engine() -> None:
    """Ends the session's engine for good."""
    with _session.lock:
        old, _session.engine = _session.engine, None
    if old is not None:
        old.close(grace_s=1.0)


def effect_row(description: Mapping[str, Any], effect: str) -> Mapping[str, Any]:
    """What the engine says of an effect. Raises NodeError when it has no such effect."""
    for row in description["effects"]:
        if row["name"] == effect:
            found: Mapping[str, Any] = row
            return found
    known = ", ".join(row["name"] for row in description["effects"])
    raise NodeError(f"this engine ({description.get('version')}) has no {effect}, only {known}")
