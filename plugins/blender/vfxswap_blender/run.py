# SPDX-License-Identifier: GPL-3.0-or-later
"""One render, or one bake: results are got from the cache or the engine before Blender composites
a frame; where there is none the plate goes through and the report says why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import bpy

from . import api, graph, groups, jobs, props, upstream
from .description import Description, Effect
from .report import Report
from .sequences import Clip, filled
from .service import Batch, EngineError, LastIdentity, Outcome, RequestFailedError, Service
from .store import Store

Say = Callable[[str, str], None]
"""Takes a level (INFO, WARNING, ERROR) and a line for the info area."""
RESULT = "result.####.exr"


class Run:
    """The effect nodes of a scene, upstream first, over its frames.

    `animating` is set once more than one frame is known to be rendered: frames ahead are then
    asked for in one request, so that the engine works while Blender does.
    """

    def __init__(
        self,
        scene: Any,
        description: Description,
        service: Service,
        store: Store,
        say: Say,
        *,
        only: graph.Place | None = None,
    ) -> None:
        self.scene, self.service, self.store = scene, service, store
        self.report = Report(os.path.join(store.folder, "report.json"))
        self.animating = False
        self.engine_error = ""
        self._say = say
        self._identity: Mapping[str, Any] | None = None
        tree = api.tree_of(scene)
        found = list(graph.places(tree)) if tree is not None else []
        if only is not None:
            last = next(i for i, p in enumerate(found) if p.group == only.group)
            found = found[: last + 1]
        self.nodes: list[NodeRun] = []
        seen: set[str] = set()
        met: set[tuple[str, str]] = set()
        for place in found:
            where = (place.tree.name, place.node.name)
            if where in met:
                message = "lies in a group that is used more than once: all show the first's result"
                self.tell("WARNING", place.name, None, message)
                continue
            met.add(where)
            copied = groups.own_group(place, seen)
            effect = description.effect(place.group.vfxswap.effect)
            if effect is None:
                groups.through(place.group, True)
                message = groups.describe_missing(description, place.group)
                self.tell("ERROR", place.name, None, message)
                continue
            if copied:
                self.tell("INFO", place.name, None, "is a copy and got settings of its own")
            self.nodes.append(NodeRun(self, place, effect))

    @property
    def frames(self) -> range:
        """Frames of the scene."""
        return range(self.scene.frame_start, self.scene.frame_end + 1, self.scene.frame_step)

    @property
    def span(self) -> range:
        """All frames from the scene's first to its last: a shot is tracked without gaps."""
        return range(self.scene.frame_start, self.scene.frame_end + 1)

    def ready(self, frame: int) -> None:
        """Has every node show its result of a frame, or the plate."""
        for node in self.nodes:
            node.ready(frame)

    def identity(self) -> Mapping[str, Any] | None:
        """The engine's; without an engine the one last seen with this cache, else None."""
        if self._identity is None and not self.engine_error:
            last = LastIdentity(self.store.folder)
            try:
                self._identity = self.service.identity()
                with contextlib.suppress(OSError):
                    last.write(self._identity)
            except (EngineError, RequestFailedError) as error:
                self.engine_error = str(error)
                self._identity = last.read()
        return self._identity

    def tell(self, level: str, node: str, frame: int | None, message: str) -> None:
        """Reports one sentence, once."""
        entry = self.report.add(level, node, frame, message)
        if entry is not None:
            self._say(level, entry.line())
            self.report.write()

    def finish(self) -> None:
        """Lets go of what is under way, and keeps the cache within its limit."""
        for node in self.nodes:
            node.finish()
        self.store.prune()
        over = self.store.size() - self.store.limit
        if over > 0 and self.nodes:
            message = (
                f"{self.store.folder} holds {over / 1e9:.1f} GB more than its limit, all of it "
                "bakes and frames that nodes show: Clear results, or Remove unused in the "
                "preferences"
            )
            self.tell("WARNING", "the cache", None, message)
        self.report.write()


class NodeRun:
    """One effect node over a render."""

    def __init__(self, run: Run, place: graph.Place, effect: Effect) -> None:
        self.run, self.place, self.effect = run, place, effect
        self._own = place.group.vfxswap
        self.folder = os.path.join(run.store.folder, "results", self._own.uid)
        self._closing = contextlib.ExitStack()
        self._copy: Any = None
        self._wish: jobs.Wish | None = None
        self._space = ""
        self._states = jobs.States()
        self._shot = ""
        self._lasting = ""
        self._batch: Batch | None = None
        self._batch_keys: dict[int, str] = {}
        self._noted = 0

    def ready(self, frame: int, *, timeout_s: float | None = None) -> bool:
        """Has the node show its result of a frame, or the plate; False when `timeout_s` is over
        first."""
        try:
            shown = self._ready(frame, timeout_s)
        except (upstream.NotOnDiskError, ValueError, OSError, RuntimeError) as error:
            self._pass_through(frame, str(error))
            return True
        return shown

    def bake(self, frames: Sequence[int]) -> Generator[None]:
        """Renders what is linked to the node and keeps it, one frame a step.

        Raises NotOnDiskError, RuntimeError.
        """
        folder = self.baked_folder
        with upstream.copied(self.run.scene, self.place, self.effect, folder) as copy:
            for frame in frames:
                for node in self.run.nodes[:-1]:
                    node.ready(frame)
                upstream.render(copy, frame)
                yield
        mattes = upstream.linked_mattes(self.place, self.effect)
        self._own.baked_mattes = ",".join(mattes)
        self._own.baked_first, self._own.baked_last = min(frames), max(frames)

    @property
    def baked_folder(self) -> str:
        """Where a bake lies."""
        return os.path.join(self.folder, "baked")

    def finish(self) -> None:
        if self._batch is not None:
            self._batch.discard()
        with contextlib.suppress(OSError):
            self._states.write()
        self._closing.close()
        self._own.status = ""

    # Plate --------------------------------------------------------------------------------------

    def _wanted(self, frame: int) -> jobs.Wish:
        """What is asked of the engine for a frame. Raises NotOnDiskError, ValueError."""
        if self._own.mode == "TAP":
            return self._tapped(frame)
        if self._wish is None:
            self._wish = self._from_file() if self._own.mode == "AUTO" else self._baked()
            role = jobs.mistimed(self._wish, self.run.frames)
            if role:
                raise ValueError(f"the {role} matte is timed in another way than the plate: bake")
            self._shot = jobs.shot_state(self._wish, self._states)
        return self._wish

    def _from_file(self) -> jobs.Wish:
        socket = self.place.node.inputs["Image"]
        try:
            clip = upstream.clip_of(self.place, socket)
        except upstream.NotOnDiskError as error:
            if not (error.movie and bpy.app.background):
                raise
            for _ in self.bake(self.run.span):
                pass
            return self._baked()
        self._space = upstream.blender_space(self.place, socket)
        if clip.still and props.is_animated(self.place.group, self.effect):
            raise ValueError("settings are animated over a still: bake it")
        return self._wish_for(clip, upstream.matte_clips(self.place, self.effect))

    def _baked(self) -> jobs.Wish:
        first, last = self._own.baked_first, self._own.baked_last
        if last < first:
            raise ValueError("is not baked yet: press Bake")
        folder = self.baked_folder
        self._states = jobs.States(os.path.join(folder, "content.json"))
        clip = self._rendered(folder, first, last)
        roles = [role for role in self._own.baked_mattes.split(",") if role]
        return self._wish_for(clip, self._rendered_mattes(folder, clip, roles))

    def _tapped(self, frame: int) -> jobs.Wish:
        if not bpy.app.background:
            raise ValueError("taps render without a window alone (blender -b): press Bake here")
        folder = os.path.join(self.folder, "tap")
        if self._copy is None:
            self._states = jobs.States(os.path.join(folder, "content.json"))
            copied = upstream.copied(self.run.scene, self.place, self.effect, folder)
            self._copy = self._closing.enter_context(copied)
        upstream.render(self._copy, frame)
        clip = self._rendered(folder, frame, frame)
        roles = list(upstream.linked_mattes(self.place, self.effect))
        wish = self._wish_for(clip, self._rendered_mattes(folder, clip, roles))
        self._shot = jobs.shot_state(wish, self._states)
        return wish

    def _rendered(self, folder: str, first: int, last: int) -> Clip:
        self._space = api.scene_linear()
        pattern = os.path.join(folder, upstream.PLATE)
        return Clip(pattern, upstream.linear_space(), first, first - 1, last - first + 1)

    def _rendered_mattes(
        self, folder: str, clip: Clip, roles: Sequence[str]
    ) -> dict[str, tuple[Clip, str]]:
        return {
            role: (replace(clip, pattern=upstream.matte_file(folder, role)), api.MATTE_CHANNEL)
            for role in roles
        }

    def _wish_for(self, clip: Clip, mattes: Mapping[str, tuple[Clip, str]]) -> jobs.Wish:
        effect, tracks = self.effect, self._own.tracks
        own = getattr(self.place.group, props.attribute(effect))
        linked = upstream.linked_pictures(self.place, effect)
        named = {s.name: str(getattr(own, s.name)) for s in effect.settings if s.kind == "file"}
        files = {name: _absolute(path) for name, path in named.items()}
        return jobs.Wish(
            effect.name,
            clip,
            mattes,
            {**files, **{setting: path for setting, (path, _) in linked.items()}},
            {setting: space for setting, (_, space) in linked.items()},
            _absolute(tracks),
            self._own.show,
            self._own.seed,
        )

    # Result -------------------------------------------------------------------------------------

    def _ready(self, frame: int, timeout_s: float | None) -> bool:
        wish = self._wanted(frame)
        number = wish.clip.number(frame)
        if number not in wish.clip.frames:
            groups.through(self.place.group, True)
            self.run.tell("INFO", self.place.name, frame, "the clip has not begun")
            return True
        identity = self.run.identity()
        key = "" if identity is None else self._key(wish, number, frame, identity)
        if not (key and self.run.store.has(key)):
            if self._kept(wish, number):
                return True
            if identity is None:
                raise ValueError(self.run.engine_error)
            outcome = self._fetched(wish, number, frame, key, identity, timeout_s)
            if outcome is None:
                return False
            if not outcome.path:
                if outcome.lasting:
                    self._lasting = self._lasting or outcome.message
                self._pass_through(frame, outcome.message)
                return True
            self.run.store.adopt(outcome.path, key)
        self._show(wish, number, key)
        return True

    def _key(self, wish: jobs.Wish, number: int, frame: int, identity: Mapping[str, Any]) -> str:
        settings = props.settings_at(self.place.group, self.effect, frame)
        return jobs.frame_key(
            wish, number, settings, shot=self._shot, states=self._states, identity=identity
        )

    def _fetched(
        self,
        wish: jobs.Wish,
        number: int,
        frame: int,
        key: str,
        identity: Mapping[str, Any],
        timeout_s: float | None,
    ) -> Outcome | None:
        if self._lasting:
            return Outcome(lasting=True)
        if self.run.engine_error:
            return Outcome(message=self.run.engine_error, lasting=True)
        if self._batch_keys.get(number) != key:
            self._ask(wish, number, frame, key, identity)
        assert self._batch is not None
        outcome = self._batch.wait(number, timeout_s)
        if outcome is not None:
            self._batch_keys.pop(number, None)
        notes = self._batch.notes[self._noted :]
        self._noted += len(notes)
        for noted, message in notes:
            self.run.tell("INFO", self.place.name, noted, message)
        return outcome

    def _ask(
        self, wish: jobs.Wish, number: int, frame: int, key: str, identity: Mapping[str, Any]
    ) -> None:
        """Asks for a frame, and with it for those ahead that the cache has not."""
        if self._batch is not None:
            self._batch.discard()
        group, effect = self.place.group, self.effect
        keys = {number: key}
        settings = {number: props.settings_at(group, effect, frame)}
        ahead = self.run.frames if self.run.animating and self._own.mode != "TAP" else ()
        for later in (f for f in ahead if f > frame):
            other = wish.clip.number(later)
            if other not in keys and other in wish.clip.frames:
                keys[other] = self._key(wish, other, later, identity)
                settings[other] = props.settings_at(group, effect, later)
        missing = [n for n in keys if n == number or not self.run.store.has(keys[n])]
        self._batch_keys = {n: keys[n] for n in missing}
        job = jobs.job_of(wish, {n: settings[n] for n in missing}, tracks=self._tracks())
        work = os.path.join(self.run.store.folder, "work")
        self._batch, self._noted = self.run.service.fetch(job, missing, work), 0

    def _kept(self, wish: jobs.Wish, number: int) -> bool:
        """Without an engine, shows an earlier result that cannot be told from a new one."""
        target = self._target(number)
        if not self.run.engine_error or self._own.mode == "TAP" or not os.path.exists(target):
            return False
        groups.wire(self.place.group, self.effect, wish.clip, target, self._space)
        groups.through(self.place.group, False)
        message = f"{self.run.engine_error}; what was rendered before is shown, old or not"
        self.run.tell("WARNING", self.place.name, None, message)
        return True

    def _tracks(self) -> str:
        return os.path.join(self.run.store.folder, "tracks", f"{self._shot[:32]}.json")

    def _target(self, number: int) -> str:
        return filled(os.path.join(self.folder, RESULT), number)

    def _show(self, wish: jobs.Wish, number: int, key: str) -> None:
        group, target = self.place.group, self._target(number)
        changed = self.run.store.show(key, target)
        player = wish.clip
        if self._own.mode == "TAP":
            first = min(self.run.scene.frame_start, number)
            last = max(self.run.scene.frame_end, number)
            player = replace(player, start=first, offset=first - 1, duration=last - first + 1)
        groups.wire(group, self.effect, player, target, self._space)
        if changed:
            groups.refresh(group)
        groups.through(group, False)

    def _pass_through(self, frame: int, message: str) -> None:
        """The plate goes through; what an earlier render left there is no longer the result."""
        group = self.place.group
        if self._wish is not None or self._own.mode == "TAP":
            number = frame if self._wish is None else self._wish.clip.number(frame)
            if self.run.store.hide(self._target(number)):
                groups.refresh(group)
        groups.through(group, True)
        if message:
            on = None if self._lasting else frame
            self.run.tell("ERROR", self.place.name, on, f"{message}; the plate goes through")


def _absolute(path: str) -> str:
    """A path of Blender's, // included, as any program reads it; "" as it is."""
    return os.path.abspath(bpy.path.abspath(path)) if path else ""
