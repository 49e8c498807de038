# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between Blender 4.5 and 5.x in the compositor, behind one set of functions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import bpy

NEW_COMPOSITOR = bpy.app.version >= (5, 0, 0)
"""Since 5.0 the compositor is a node group of its own, with a group output."""
MENU = "NODE_MT_compositor_node_add_all"


def tree_of(scene: Any) -> Any | None:
    """The scene's compositing tree, None without one."""
    if NEW_COMPOSITOR:
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def made_tree(scene: Any) -> Any:
    """The scene's compositing tree, made if need be, with an output node."""
    tree = tree_of(scene)
    if tree is None and NEW_COMPOSITOR:
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
    elif tree is None:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
    output_socket(tree)
    return tree


def output_socket(tree: Any) -> Any:
    """The input socket of the tree's output node, made if need be."""
    kind = "NodeGroupOutput" if NEW_COMPOSITOR else "CompositorNodeComposite"
    if NEW_COMPOSITOR and not any(
        item.item_type == "SOCKET" and item.in_out == "OUTPUT" for item in tree.interface.items_tree
    ):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    found = [node for node in tree.nodes if node.bl_idname == kind]
    node = next((n for n in found if getattr(n, "is_active_output", True)), None)
    return (node or tree.nodes.new(kind)).inputs[0]


OUTPUTS = ("CompositorNodeOutputFile", "CompositorNodeComposite", "CompositorNodeViewer")
"""Nodes that a copy of a tree must not have: they would write or show things a second time."""


def write_single(scene: Any, path: str) -> None:
    """Sets a scene to write scene-linear EXR of 32 bits to a path with # for the frame."""
    render = scene.render
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "OPEN_EXR"
    settings.color_mode, settings.color_depth, settings.exr_codec = "RGBA", "32", "ZIP"
    settings.color_management = "OVERRIDE"
    settings.linear_colorspace_settings.name = scene_linear()
    render.filepath = path
    render.use_file_extension = False
    render.use_overwrite, render.use_placeholder = True, False
    for name in dir(render):
        # Dates and times in the header would make each render of the same pixels another file.
        if name.startswith("use_stamp"):
            setattr(render, name, False)


def add_matte_output(tree: Any, path: str, socket: Any) -> None:
    """Makes a tree write one more socket, as single channel V, beside what the scene writes.

    One node a matte: several items of one node share a file, whose names differ by version.
    """
    folder, name = os.path.split(path)
    node = tree.nodes.new("CompositorNodeOutputFile")
    if NEW_COMPOSITOR:
        node.directory, node.file_name = folder, name
        node.format.media_type = "MULTI_LAYER_IMAGE"
        node.file_output_items.clear()
        node.file_output_items.new("FLOAT", "matte")
    else:
        node.base_path = path
        node.format.file_format = "OPEN_EXR_MULTILAYER"
        node.layer_slots.clear()
        node.layer_slots.new("matte")
    node.format.color_depth, node.format.exr_codec = "32", "ZIP"
    tree.links.new(socket, node.inputs[0])


MATTE_CHANNEL = "matte.V"
"""The channel of a matte written so."""


def switch(tree: Any, name: str) -> Any:
    """A switch between two pictures; its inputs are the switch itself, off and on."""
    node = tree.nodes.new("CompositorNodeSwitch")
    node.name = name
    return node


def scene_linear() -> str:
    """Name of the space that the compositor works in."""
    if NEW_COMPOSITOR:
        return str(bpy.data.colorspace.working_space)
    names = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    known = [item.identifier for item in names]
    for name in ("scene_linear", "Linear Rec.709"):
        if name in known:
            return name
    return str(known[0])


def fcurves(datablock: Any) -> Iterator[Any]:
    """Animation curves of a datablock."""
    bag = _channels(datablock)
    if bag is not None:
        yield from bag.fcurves


def remove_fcurve(datablock: Any, curve: Any) -> None:
    """Removes one of a datablock's animation curves."""
    bag = _channels(datablock)
    assert bag is not None
    bag.fcurves.remove(curve)


def drivers(datablock: Any) -> Iterator[Any]:
    """Drivers of a datablock."""
    if datablock.animation_data is not None:
        yield from datablock.animation_data.drivers


def _channels(datablock: Any) -> Any | None:
    data = datablock.animation_data
    if data is None or data.action is None or data.action_slot is None:
        return None
    from bpy_extras.anim_utils import action_get_channelbag_for_slot

    return action_get_channelbag_for_slot(data.action, data.action_slot)


def use_cpu(scene: Any) -> None:
    """Without a window there may be no GPU to composite on."""
    if bpy.app.background and hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
