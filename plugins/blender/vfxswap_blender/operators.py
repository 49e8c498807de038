# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators: adding nodes, baking, testing the engine."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator
from typing import Any

import bpy

from . import graph, groups, handlers, session
from .preferences import preferences
from .run import Run
from .service import EngineError, RequestFailedError
from .upstream import NotOnDiskError

LEVELS = [(level, level.capitalize(), "") for level in ("INFO", "WARNING", "ERROR")]
_STEP_S = 0.1


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

    _run = None  # type: Run | None
    _steps = None  # type: Generator[tuple[float, str]] | None
    _timer = None  # type: Any

    def execute(self, context: Any) -> set[str]:
        """Bakes at once."""
        try:
            for _ in self._begin(context):
                pass
        except (NotOnDiskError, RuntimeError, ValueError, OSError) as error:
            return self._failed(error)
        finally:
            self._end(context)
        return self._finished()

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Bakes a step at a time: Blender stays in hand, Esc cancels."""
        if bpy.app.background or context.window is None:
            return self.execute(context)
        self._steps = self._begin(context)
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
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < _STEP_S:
                assert self._steps is not None
                share, status = next(self._steps)
                context.window_manager.progress_update(int(1000 * share))
                context.workspace.status_text_set(f"VFXSwap: {status} (Esc cancels)")
                self._place.group.vfxswap.status = status
        except StopIteration:
            self._end(context)
            return self._finished()
        except (NotOnDiskError, RuntimeError, ValueError, OSError) as error:
            self._end(context)
            return self._failed(error)
        return {"RUNNING_MODAL"}

    def _begin(self, context: Any) -> Generator[tuple[float, str]]:
        """What is done and how it goes: renders upstream, then asks the engine."""
        scene = context.scene
        place = graph.find(scene, self.group)
        if place is None:
            raise ValueError(f"no VFXSwap node with the group {self.group} is in this scene")
        self._place = place
        self._run = run = Run(
            scene, session.known(), session.service(), session.store(), session.say, only=place
        )
        node = run.nodes[-1]
        frames = list(run.frames)
        before, node_settings = scene.frame_current, place.group.vfxswap
        run.animating = True
        with handlers.busy():
            for index, _ in enumerate(node.bake(frames)):
                yield index / len(frames) / 2, f"rendering frame {frames[index]}"
            node_settings.mode = "BAKE"
            for index, frame in enumerate(frames):
                while not node.ready(frame, timeout_s=0.05):
                    yield 0.5 + index / len(frames) / 2, f"effect on frame {frame}"
                yield 0.5 + (index + 1) / len(frames) / 2, f"frame {frame} done"
        if scene.frame_current != before:
            scene.frame_set(before)

    def _end(self, context: Any) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if self._run is not None:
            self._run.finish()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            context.window_manager.progress_end()
            context.workspace.status_text_set(None)
            self._timer = None

    def _finished(self) -> set[str]:
        assert self._run is not None
        errors = [entry for entry in self._run.report.entries if entry.level == "ERROR"]
        if errors:
            self.report({"WARNING"}, f"VFXSwap: baked with {len(errors)} errors, see the report")
        else:
            self.report({"INFO"}, f"VFXSwap: baked {len(self._run.frames)} frames")
        return {"FINISHED"}

    def _failed(self, error: Exception) -> set[str]:
        self.report({"ERROR"}, f"VFXSwap: {error}")
        return {"CANCELLED"}


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
        rows = getattr(getattr(group, self.owner), self.setting)
        if self.remove >= 0:
            rows.remove(self.remove)
        else:
            rows.add()
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
    from . import props

    props.unregister()
    props.register(session.known())


CLASSES = (
    VFXSWAP_OT_say,
    VFXSWAP_OT_add_node,
    VFXSWAP_OT_bake,
    VFXSWAP_OT_clear,
    VFXSWAP_OT_rows,
    VFXSWAP_OT_test_engine,
    VFXSWAP_OT_update_nodes,
)
