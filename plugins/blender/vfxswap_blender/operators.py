# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators: adding nodes, baking, testing the engine."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

import bpy

from . import graph, groups, props, session
from .bake import Bake
from .preferences import preferences
from .service import EngineError, RequestFailedError
from .upstream import NotOnDiskError

LEVELS = [(level, level.capitalize(), "") for level in ("INFO", "WARNING", "ERROR")]
STEP_S = 0.1
"""How long a bake goes on before a window is given its turn."""
_BAKE_ERRORS = (NotOnDiskError, RuntimeError, ValueError, OSError)


class VFXSWAP_OT_say(bpy.types.Operator):  # noqa: N801
    """Writes a line into the info area"""

    bl_idname = "vfxswap.say"
    bl_label = "VFXSwap says"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    __annotations__ = {
        "level": bpy.props.EnumProperty(items=LEVELS),
        "line": bpy.props.StringProperty(),
    }

    def execute(self, context: Any) -> set[str]:
        self.report({self.level}, self.line)
        return {"FINISHED"}


class VFXSWAP_OT_add_node(bpy.types.Operator):  # noqa: N801
    """Adds a node to the compositing tree"""

    bl_idname = "vfxswap.add_node"
    bl_label = "Add VFXSwap node"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    __annotations__ = {"effect": bpy.props.StringProperty()}

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        effect = session.known().effect(properties.effect)
        return effect.help.rstrip(".") if effect else ""

    def execute(self, context: Any) -> set[str]:
        effect = session.known().effect(self.effect)
        if effect is None:
            self.report({"ERROR"}, f"VFXSwap: no such effect: {self.effect}")
            return {"CANCELLED"}
        space = context.space_data
        tree = getattr(space, "edit_tree", None) if space else None
        node = groups.add_node(context.scene, effect, tree)
        if space is not None and hasattr(space, "cursor_location"):
            node.location = space.cursor_location
        for other in node.id_data.nodes:
            other.select = other == node
        node.id_data.nodes.active = node
        return {"FINISHED"}

    def invoke(self, context: Any, event: Any) -> set[str]:
        space = context.space_data
        if space is not None and hasattr(space, "cursor_location_from_region"):
            space.cursor_location_from_region(event.mouse_region_x, event.mouse_region_y)
        done = self.execute(context)
        if done == {"FINISHED"} and space is not None:
            bpy.ops.node.translate_attach_remove_on_cancel("INVOKE_DEFAULT")
        return done


class VFXSWAP_OT_bake(bpy.types.Operator):  # noqa: N801
    """Renders what is linked to the node over the frame range, runs the effect on it and keeps
    both"""

    bl_idname = "vfxswap.bake"
    bl_label = "Bake"

    __annotations__ = {
        "group": bpy.props.StringProperty(options={"HIDDEN"}),
    }

    _bake = None  # type: Bake | None
    _timer = None  # type: Any

    def execute(self, context: Any) -> set[str]:
        """Bakes at once."""
        try:
            self._bake = Bake(context.scene, self.group)
            while self._bake.step() is not None:
                pass
        except _BAKE_ERRORS as error:
            return self._failed(error)
        finally:
            self._end(context)
        return self._finished()

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Bakes a step at a time: Blender stays in hand, Esc cancels."""
        if bpy.app.background or context.window is None:
            return self.execute(context)
        return self._start(context)

    def _start(self, context: Any) -> set[str]:
        try:
            self._bake = Bake(context.scene, self.group)
        except _BAKE_ERRORS as error:
            return self._failed(error)
        manager = context.window_manager
        manager.progress_begin(0, 1000)
        self._timer = manager.event_timer_add(0.05, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        if event.type == "ESC":
            self.report({"WARNING"}, "VFXSwap: the bake was cancelled")
            self._end(context)
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        assert self._bake is not None
        begun = time.monotonic()
        try:
            while True:
                told = self._bake.step()
                if told is None:
                    self._end(context)
                    return self._finished()
                share, status = told
                context.window_manager.progress_update(int(1000 * share))
                context.workspace.status_text_set(f"VFXSwap: {status} (Esc cancels)")
                _redraw(context)
                if time.monotonic() - begun >= STEP_S:
                    return {"RUNNING_MODAL"}
        except _BAKE_ERRORS as error:
            self._end(context)
            return self._failed(error)

    def cancel(self, context: Any) -> None:
        """Called by Blender when it ends while the bake goes on."""
        self._end(context)

    def _end(self, context: Any) -> None:
        if self._bake is not None:
            self._bake.end()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            context.window_manager.progress_end()
            context.workspace.status_text_set(None)
            self._timer = None
            _redraw(context)

    def _finished(self) -> set[str]:
        assert self._bake is not None
        errors = self._bake.errors
        if errors:
            self.report({"WARNING"}, f"VFXSwap: baked with {len(errors)} errors, see the report")
        else:
            self.report({"INFO"}, f"VFXSwap: baked {len(self._bake.run.frames)} frames")
        return {"FINISHED"}

    def _failed(self, error: Exception) -> set[str]:
        self.report({"ERROR"}, f"VFXSwap: {error}")
        return {"CANCELLED"}


def _redraw(context: Any) -> None:
    """The panel shows how far a bake is."""
    for area in context.screen.areas if context.screen else ():
        if area.type == "NODE_EDITOR":
            area.tag_redraw()


class VFXSWAP_OT_clear(bpy.types.Operator):  # noqa: N801
    """Removes the node's bake and results from the disk"""

    bl_idname = "vfxswap.clear"
    bl_label = "Clear results"

    __annotations__ = {
        "group": bpy.props.StringProperty(options={"HIDDEN"}),
    }

    def execute(self, context: Any) -> set[str]:
        place = graph.find(context.scene, self.group)
        if place is None:
            return {"CANCELLED"}
        own = place.group.vfxswap
        shutil.rmtree(os.path.join(session.store().folder, "results", own.uid), ignore_errors=True)
        own.baked_first, own.baked_last = 0, -1
        groups.through(place.group, True)
        groups.refresh(place.group)
        return {"FINISHED"}


class VFXSWAP_OT_remove_unused(bpy.types.Operator):  # noqa: N801
    """Removes from the cache folder all that no node of this file shows, bakes included; other
    files that share the folder lose theirs"""

    bl_idname = "vfxswap.remove_unused"
    bl_label = "Remove unused"

    def invoke(self, context: Any, event: Any) -> set[str]:
        return set(context.window_manager.invoke_confirm(self, event))

    def execute(self, context: Any) -> set[str]:
        used = {group.vfxswap.uid for group in bpy.data.node_groups}
        freed = session.store().remove_unused(used)
        self.report({"INFO"}, f"VFXSwap: {freed / 1e9:.2f} GB removed")
        return {"FINISHED"}


class VFXSWAP_OT_rows(bpy.types.Operator):  # noqa: N801
    """Adds or removes a name=value pair"""

    bl_idname = "vfxswap.rows"
    bl_label = "Pairs"
    bl_options = {"INTERNAL", "UNDO"}  # noqa: RUF012

    __annotations__ = {
        "group": bpy.props.StringProperty(),
        "owner": bpy.props.StringProperty(),
        "setting": bpy.props.StringProperty(),
        "remove": bpy.props.IntProperty(default=-1),
    }

    def execute(self, context: Any) -> set[str]:
        group = bpy.data.node_groups.get(self.group)
        if group is None:
            return {"CANCELLED"}
        if self.remove >= 0:
            props.remove_row(group, f"{self.owner}.{self.setting}", self.remove)
        else:
            getattr(getattr(group, self.owner), self.setting).add()
        return {"FINISHED"}


class VFXSWAP_OT_test_engine(bpy.types.Operator):  # noqa: N801
    """Starts the engine and says what it is"""

    bl_idname = "vfxswap.test_engine"
    bl_label = "Test engine"

    def execute(self, context: Any) -> set[str]:
        service = session.service()
        try:
            path = service.find()
            hello = service.hello()
            _, models = service.catalogue()
        except (EngineError, RequestFailedError) as error:
            preferences().result = str(error)
            self.report({"ERROR"}, f"VFXSwap: {error}")
            return {"CANCELLED"}
        said = (
            f"vfxswap {hello['version']} at {path}; effects: {', '.join(hello['effects'])}; "
            f"{len(models)} models"
        )
        shipped = session.known().version
        if shipped != hello["version"]:
            said += f"\nnodes are those of vfxswap {shipped}: press Update nodes"
        preferences().result = said
        self.report({"INFO"}, f"VFXSwap: {said}")
        return {"FINISHED"}


class VFXSWAP_OT_update_nodes(bpy.types.Operator):  # noqa: N801
    """Asks the engine for its effects and settings, for nodes that are new to this extension"""

    bl_idname = "vfxswap.update_nodes"
    bl_label = "Update nodes"

    def execute(self, context: Any) -> set[str]:
        try:
            found = session.fetch_description()
        except (EngineError, RequestFailedError, OSError, ValueError) as error:
            self.report({"ERROR"}, f"VFXSwap: {error}")
            return {"CANCELLED"}
        _again()
        names = ", ".join(effect.name for effect in found.effects)
        self.report({"INFO"}, f"VFXSwap: nodes of vfxswap {found.version}: {names}")
        return {"FINISHED"}


def _again() -> None:
    """Properties by the newest description; what files hold of them stays."""
    props.unregister()
    props.register(session.known())
    groups.complete_all(session.known())


CLASSES = (
    VFXSWAP_OT_say,
    VFXSWAP_OT_add_node,
    VFXSWAP_OT_bake,
    VFXSWAP_OT_clear,
    VFXSWAP_OT_remove_unused,
    VFXSWAP_OT_rows,
    VFXSWAP_OT_test_engine,
    VFXSWAP_OT_update_nodes,
)
