"""Rendering with the session's engine, which keeps networks loaded from one render to the next."""

from __future__ import annotations

import threading
from typing import Any, Mapping, NamedTuple, Sequence

from vfxswap_nuke.engine_client import Engine, EngineDiedError, EngineError, Event, Task
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.inputs import Inputs, Unit, card_mark, file_mark, units_of
from vfxswap_nuke.layout import Layout
from vfxswap_nuke.results import Results, edits_in, frame_keys, models_mark
from vfxswap_nuke.runs import CANCELLED, DONE, FAILED, Run, frames_text, stage_text, summary
from vfxswap_nuke.settings import PluginSettings
from vfxswap_nuke.snapshot import NodeState
from vfxswap_nuke.store import Store

_LIVES = 2
"""Engines that one render may use up: a frame that kills one may well kill the next."""


class Wanted(NamedTuple):
    """A render, ready but for the frames that are there already."""

    job: dict[str, Any]
    keys: dict[Unit, str]
    results: Results


def want(
    state: NodeState,
    job: dict[str, Any],
    run: Run,
    *,
    engine: Engine,
    effects: Sequence[str],
    settings: PluginSettings,
    files: Mapping[str, str] | None = None,
) -> Wanted:
    """Looks at what Nuke wrote and what is there; `files` are those that settings name. Raises
    NodeError, EngineError, also for what is there but may not be shown any more."""
    layout = state.layout
    units = units_of(state.frames, state.views)
    inputs = Inputs(layout.inputs_index)
    run.say("looking at the plates")
    hashes = inputs.hashes(_patterns(state, layout), units, tell=lambda _: _stop_at(run))
    if len(state.frames) == 1:
        # Tracks of one frame must not replace those of the shot.
        first = hashes[units[0]]["plate"]
        job = dict(job, tracks=layout.look_tracks(first))
        edits = ""
    else:
        edits = edits_in(layout.tracks(state.proxy))
    made_by = {
        "version": engine.start().get("version"),
        "models": models_mark(engine.models(), state.effect, effects),
        "precision": settings.precision,
        "device": settings.device,
    }
    # What Nuke wrote itself is in `hashes`, without the dates in its header.
    marks = {
        name: card_mark(path) if name in state.pictures else file_mark(name, path)
        for name, path in (files or {}).items()
    }
    store = Store(layout.store, int(settings.store_gb * 1e9))
    results = Results(job["output"]["pattern"], layout.index(state.proxy), store)
    keys = frame_keys(job, hashes, engine=made_by, edits=edits, files=marks)
    if results.any_kept(keys):
        _ask_again(job, state, engine, run)
    return Wanted(job, keys, results)


def _ask_again(job: Mapping[str, Any], state: NodeState, engine: Engine, run: Run) -> None:
    """A render asks for consent by itself; what is kept would be shown without: the engine is
    asked whether it would still make it. It may be at another node's render, so this waits for as
    long as a render would. Raises EngineError where it would not."""
    task = engine.check(dict(job, frames=str(state.frames[0])))
    while not task.finished:
        if run.cancelled.wait(0.05):
            task.cancel()
            _stop_at(run)
    for finding in task.wait(0.0)["report"].get("findings", ()):
        if finding["level"] == "error" and finding["exit_code"] == 2:
            raise EngineError(str(finding["message"]))


def _patterns(state: NodeState, layout: Layout) -> dict[str, str]:
    patterns = {"plate": layout.plate}
    patterns.update({"matte " + role: layout.matte(role) for role in state.roles})
    patterns.update({"picture " + name: layout.picture(name) for name in state.pictures})
    return patterns


def _stop_at(run: Run) -> None:
    if run.cancelled.is_set():
        raise NodeError("cancelled")


class Foreground:
    """Renders what is wanted, blocking; an engine that dies is replaced once."""

    def __init__(self, run: Run, wanted: Wanted, engine: Engine) -> None:
        self._run, self._wanted, self._engine = run, wanted, engine
        self._kept = 0
        self._made: dict[Unit, bool] = {}
        self._failed: dict[Unit, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def perform(self) -> None:
        """Renders and ends the run; raises nothing that the engine is to blame for."""
        run, wanted = self._run, self._wanted
        missing = wanted.results.missing(wanted.keys)
        self._kept = len(wanted.keys) - len(missing)
        run.total = len(wanted.keys)
        run.advance(self._kept)
        try:
            self._render(missing)
        except EngineError as error:
            run.end(FAILED, str(error))
            return
        finally:
            run.cache_words = wanted.results.save()
        left = [unit for unit in missing if unit not in self._made]
        text = summary(
            made=len(self._made),
            kept=self._kept,
            failed=list(self._failed.values()),
            not_reached=max(0, len(left) - len(self._failed)),
            cancelled=run.cancelled.is_set() and bool(left),
        )
        if run.cancelled.is_set() and left:
            run.end(CANCELLED, text)
        else:
            run.end(FAILED if left else DONE, text)

    def _render(self, missing: Sequence[Unit]) -> None:
        run = self._run
        for life in range(_LIVES):
            left = [unit for unit in missing if unit not in self._made]
            if not left or run.cancelled.is_set():
                return
            run.say("the engine is loading" if life == 0 else "a new engine goes on")
            self._failed = {}
            task = self._engine.render(
                self._wanted.job, frames=frames_text(left), on_event=self._hear
            )
            try:
                self._wait(task)
            except EngineDiedError as error:
                for line in error.log[-20:]:
                    run.say("", note=line)
                if life + 1 == _LIVES or run.cancelled.is_set():
                    raise
                run.say(str(error))
                continue
            self._judge(task)
            return

    def _wait(self, task: Task) -> None:
        told = False
        while not task.finished:
            if self._run.cancelled.wait(0.1) and not told:
                told = True
                task.cancel()
        task.wait(0.0)

    def _judge(self, task: Task) -> None:
        """Raises EngineError for a job that was refused as a whole."""
        fatal = [event for event in task.errors if event.get("fatal")]
        if fatal and fatal[-1].get("kind") != "cancelled":
            raise EngineError(str(fatal[-1].get("message")))

    def _hear(self, event: Event) -> None:
        """Called on the client's threads."""
        run, kind = self._run, event["event"]
        if kind == "frame_done":
            unit = (int(event["frame"]), str(event.get("view", "")))
            with self._lock:
                if unit in self._wanted.keys and unit not in self._made:
                    self._made[unit] = True
                    self._wanted.results.made(unit, self._wanted.keys[unit])
            where = f"frame {unit[0]} {unit[1]}"
            run.say(
                "rendering", note="{} in {:.2f} s".format(where.strip(), event.get("seconds", 0.0))
            )
            run.advance(self._kept + len(self._made))
        elif kind == "error":
            if event.get("frame") is not None and not event.get("fatal"):
                self._failed[(int(event["frame"]), str(event.get("view", "")))] = event
            run.say(str(event.get("message")))
        elif kind == "warning":
            run.say("", note=str(event.get("message")))
        elif kind == "started":
            run.say("rendering on {}".format(event.get("device")))
        elif kind == "progress" and event.get("stage") != "render":
            run.say(stage_text(event))
