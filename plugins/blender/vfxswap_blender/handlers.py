# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders: results are there before Blender composites.

Blender brings its copy of the tree up to date before `render_pre`, so what a node shows on a frame
is decided one frame ahead: of the first in `render_init`, of the next in `render_post`. The files
themselves are read later, so a result that comes in `render_pre` is still seen; only a change
between plate and result would then come one frame late.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import api, graph, groups, session
from .run import Run

_busy = False
_seen: set[int] = set()


@contextlib.contextmanager
def _once() -> Any:
    """Renders that this extension starts itself are not for it."""
    global _busy
    _busy = True
    try:
        yield
    finally:
        _busy = False


def busy() -> Any:
    """While this is entered, renders are left alone."""
    return _once()


@persistent
def on_init(scene: Any, *_: Any) -> None:
    """A render begins: it is not known yet whether of one frame or of many."""
    if _busy:
        return
    _drop()
    tree = api.tree_of(scene)
    if tree is None or not scene.render.use_compositing:
        return
    if next(graph.places(tree), None) is None:
        return
    with _once(), _reported():
        _seen.clear()
        run = Run(scene, session.known(), session.service(), session.store(), session.say)
        session.current = run
        run.ready(scene.frame_current)
        if _ahead() and scene.frame_current != scene.frame_start:
            run.ready(scene.frame_start)


@persistent
def on_pre(scene: Any, *_: Any) -> None:
    """A frame is about to be rendered."""
    run = session.current
    if _busy or run is None or run.scene != scene:
        return
    with _once(), _reported():
        _seen.add(scene.frame_current)
        run.animating = len(_seen) > 1
        run.ready(scene.frame_current)


@persistent
def on_post(scene: Any, *_: Any) -> None:
    """A frame was composited: the next one's turn, if there is one."""
    run = session.current
    if _busy or run is None or run.scene != scene:
        return
    after = scene.frame_current + scene.frame_step
    if after <= scene.frame_end and (run.animating or _ahead()):
        with _once(), _reported():
            run.ready(after)


@persistent
def on_end(scene: Any, *_: Any) -> None:
    """The render is over, or was cancelled."""
    if not _busy and session.current is not None and session.current.scene == scene:
        with _once():
            _drop()


@persistent
def on_load(*_: Any) -> None:
    """A file was opened, perhaps of an earlier extension."""
    with _reported():
        groups.complete_all(session.known())


_HANDLERS = {
    "load_post": on_load,
    "render_init": on_init,
    "render_pre": on_pre,
    "render_post": on_post,
    "render_complete": on_end,
    "render_cancel": on_end,
}


def register() -> None:
    """Hooks into renders and files. Handlers left at exit hang Blender 4.5, so they go then."""
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)
    atexit.register(unregister)


def unregister() -> None:
    """Lets go of renders and of the engine."""
    atexit.unregister(unregister)
    for name, handler in _HANDLERS.items():
        hooked = getattr(bpy.app.handlers, name)
        if handler in hooked:
            hooked.remove(handler)
    session.close()


def _ahead() -> bool:
    """Whether to take a render for an animation before that is known: without a window, where a
    frame that shows the wrong picture is noticed late, unless single frames are asked for."""
    single = {"-f", "--render-frame"} & set(sys.argv)
    return bool(bpy.app.background) and not single


def _drop() -> None:
    run, session.current = session.current, None
    if run is not None:
        run.finish()


@contextlib.contextmanager
def _reported() -> Any:
    """A fault in here must not end an artist's render."""
    try:
        yield
    except Exception as error:
        import traceback

        traceback.print_exc()
        session.say("ERROR", f"VFXSwap: {error!r}; the plate goes through")
