# SPDX-License-Identifier: GPL-3.0-or-later
"""Menu and panel in the compositor."""

from __future__ import annotations

from typing import Any

import bpy

from . import api, graph, groups, props, session
from .description import Effect, Setting
from .mapping import grouped, title


class VFXSWAP_MT_add(bpy.types.Menu):  # noqa: N801
    """Add ▸ VFXSwap"""

    bl_idname = "VFXSWAP_MT_add"
    bl_label = "VFXSwap"

    def draw(self, context: Any) -> None:
        for effect in session.known().effects:
            self.layout.operator("vfxswap.add_node", text=effect.label).effect = effect.name


class VFXSWAP_PT_node(bpy.types.Panel):  # noqa: N801
    """Settings of the active node"""

    bl_idname = "VFXSWAP_PT_node"
    bl_label = "VFXSwap"
    bl_space_type = "NODE_EDITOR"
    bl_region_type = "UI"
    bl_category = "VFXSwap"

    @classmethod
    def poll(cls, context: Any) -> bool:
        node = context.active_node
        return node is not None and graph.is_effect(node)

    def draw(self, context: Any) -> None:
        layout, group = self.layout, context.active_node.node_tree
        layout.use_property_split = True
        own = group.vfxswap
        effect = session.known().effect(own.effect)
        layout.prop(own, "mode")
        row = layout.row(align=True)
        row.operator("vfxswap.bake").group = group.name
        row.operator("vfxswap.clear").group = group.name
        if own.status:
            layout.label(text=own.status)
        if effect is None:
            layout.label(text=f"unknown effect: {own.effect}", icon="ERROR")
            return
        layout.separator()
        draw_settings(layout, context.active_node, effect)
        layout.separator()
        for name in ("tracks", "show", "seed"):
            layout.prop(own, name)


def draw_settings(layout: Any, node: Any, effect: Effect) -> None:
    """The settings of an effect; of many, those that begin with the same word in a fold."""
    for word, settings in grouped(effect.settings):
        body = layout
        if word:
            head, body = layout.panel(f"vfxswap_{effect.name}_{word}", default_closed=True)
            head.label(text=title(word))
        for setting in settings if body is not None else ():
            _draw_setting(body, node, effect, setting)


def _draw_setting(layout: Any, node: Any, effect: Effect, setting: Setting) -> None:
    group = node.node_tree
    if setting.kind == "rows":
        _draw_rows(layout, group, effect, setting)
        return
    row = layout.row()
    socket = groups.input_socket(node, setting.name) if setting.kind == "file" else None
    row.active = socket is None or not socket.is_linked
    row.prop(getattr(group, props.attribute(effect)), setting.name)


def _draw_rows(layout: Any, group: Any, effect: Effect, setting: Setting) -> None:
    def button(row: Any, icon: str, remove: int) -> None:
        operator = row.operator("vfxswap.rows", text="", icon=icon)
        operator.group, operator.owner = group.name, props.attribute(effect)
        operator.setting, operator.remove = setting.name, remove

    box = layout.box()
    head = box.row()
    head.label(text=title(setting.name))
    button(head, "ADD", -1)
    for index, pair in enumerate(getattr(getattr(group, props.attribute(effect)), setting.name)):
        row = box.row(align=True)
        row.use_property_split = False
        row.prop(pair, "name", text="")
        row.prop(pair, "value", text="=")
        button(row, "REMOVE", index)


def _draw_menu(menu: Any, context: Any) -> None:
    menu.layout.separator()
    menu.layout.menu(VFXSWAP_MT_add.bl_idname)


CLASSES = (VFXSWAP_MT_add, VFXSWAP_PT_node)


def register() -> None:
    """Adds the menu."""
    menu = getattr(bpy.types, api.MENU, None)
    if menu is not None:
        menu.append(_draw_menu)


def unregister() -> None:
    """Removes the menu."""
    menu = getattr(bpy.types, api.MENU, None)
    if menu is not None:
        menu.remove(_draw_menu)
