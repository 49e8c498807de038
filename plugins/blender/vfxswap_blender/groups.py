# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's group: sockets by the effect's description, and inside them the result's frames.

Nodes are Blender's own group nodes: a file keeps its pixels on a machine without this extension,
where a node type of our own would be undefined and give none.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

import bpy

from . import api, graph
from .description import Description, Effect, Layer, Picture
from .mapping import layer_sockets, title
from .sequences import Clip

SWITCH, RESULT, DATA = "VFXSwap switch", "VFXSwap result", "VFXSwap result data"
_SOCKETS = {
    "color": "NodeSocketColor",
    "float": "NodeSocketFloat",
    "vector": "NodeSocketVector",
}


def new_group(effect: Effect) -> Any:
    """A group for a node of this effect; it passes the plate through until there is a result."""
    group = bpy.data.node_groups.new(f"VFXSwap {effect.label}", "CompositorNodeTree")
    own = group.vfxswap
    own.effect, own.uid = effect.name, uuid.uuid4().hex[:12]
    plain = getattr(group, f"vfxswap_{effect.name}")
    for setting in effect.settings:
        if setting.kind == "rows":
            for name, value in (setting.default or {}).items():
                row = getattr(plain, setting.name).add()
                row.name, row.value = str(name), value
    complete(group, effect)
    begin, end = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    chooser = api.switch(group, SWITCH)
    begin.location, chooser.location, end.location = (-600, 200), (200, 200), (500, 0)
    group.links.new(begin.outputs["Image"], chooser.inputs[1])
    group.links.new(chooser.outputs[0], end.inputs["Image"])
    return group


def complete(group: Any, effect: Effect) -> bool:
    """Gives a group the sockets of its effect that it lacks, as one made by an earlier extension
    may; whether it lacked any."""
    wanted = [("Image", "INPUT", "color", "")]
    wanted += [(title(m.role), "INPUT", "float", m.help) for m in effect.mattes]
    wanted += [(title(p.setting), "INPUT", "color", _picture_help(p)) for p in effect.pictures]
    wanted += [("Image", "OUTPUT", "color", "")]
    wanted += [
        (name, "OUTPUT", kind, layer.help)
        for layer in effect.layers
        for name, kind in layer_sockets(layer)
    ]
    items = group.interface.items_tree
    there = {(item.name, item.in_out) for item in items if item.item_type == "SOCKET"}
    missing = [row for row in wanted if row[:2] not in there]
    for name, side, kind, help_text in missing:
        socket = group.interface.new_socket(name, in_out=side, socket_type=_SOCKETS[kind])
        socket.description = help_text
        if side == "INPUT" and name != "Image":
            socket.hide_value = True
            if kind == "float":
                socket.min_value, socket.max_value = 0.0, 1.0
    return bool(missing)


def complete_all(description: Description) -> None:
    """Completes the groups of this file that can be changed."""
    for group in bpy.data.node_groups:
        own = getattr(group, "vfxswap", None)
        effect = description.effect(own.effect) if own is not None else None
        if effect is not None and group.library is None:
            complete(group, effect)


def _picture_help(picture: Picture) -> str:
    card = " Its card lies beside the file." if picture.card else ""
    return f"{picture.help} A picture file; instead of the setting.{card}"


def add_node(scene: Any, effect: Effect, tree: Any | None = None) -> Any:
    """A node of an effect in the scene's compositing tree, or in `tree`."""
    tree = tree or api.made_tree(scene)
    node = tree.nodes.new(graph.GROUP)
    node.node_tree = new_group(effect)
    node.name = node.label = f"VFXSwap {effect.label}"
    node.width = 200
    return node


def input_socket(node: Any, name: str) -> Any | None:
    """The input of a matte, by role, or of a picture, by setting."""
    return node.inputs.get(title(name))


def own_group(place: graph.Place, seen: set[str]) -> bool:
    """Gives a node a group and a uid of its own where a copy shares it; whether it had to."""
    if place.group.name not in seen and not any(
        g.vfxswap.uid == place.group.vfxswap.uid for g in _groups(seen)
    ):
        seen.add(place.group.name)
        return False
    if place.group.name in seen:
        place.node.node_tree = place.group.copy()
    place.group.vfxswap.uid = uuid.uuid4().hex[:12]
    for name in (RESULT, DATA):
        node = place.group.nodes.get(name)
        if node is not None:
            place.group.nodes.remove(node)
    through(place.group, True)
    seen.add(place.group.name)
    return True


def through(group: Any, plate: bool) -> None:
    """Chooses between the plate and the result."""
    socket = group.nodes[SWITCH].inputs[0]
    if socket.default_value == plate:
        socket.default_value = not plate


def wire(group: Any, effect: Effect, clip: Clip, file: str, color_space: str) -> None:
    """Puts the result's frames into the group, played as the plate is. `file` is one of them."""
    linear = color_space == api.scene_linear()
    result = _player(group, RESULT, clip, file, color_space)
    # Blender converts every pass of three or four channels, mattes too, from the image's space.
    data = result if linear else _player(group, DATA, clip, file, "Non-Color")
    end = next(n for n in group.nodes if n.bl_idname == "NodeGroupOutput")
    chooser = group.nodes[SWITCH]
    _link(group, result.outputs.get("Combined"), chooser.inputs[2])
    for layer in effect.layers:
        _wire_layer(group, layer, result if layer.kind == "color" else data, end)


def refresh(group: Any) -> None:
    """Makes Blender read the result's frames again."""
    for name in (RESULT, DATA):
        node = group.nodes.get(name)
        if node is not None and node.image is not None:
            node.image.reload()


def is_wired(group: Any, file: str) -> bool:
    """Whether the group plays the frames that `file` is one of."""
    node = group.nodes.get(RESULT)
    if node is None or node.image is None:
        return False
    now = os.path.dirname(bpy.path.abspath(node.image.filepath_raw))
    return bool(os.path.normpath(now) == os.path.normpath(os.path.dirname(file)))


def _groups(names: set[str]) -> list[Any]:
    return [bpy.data.node_groups[name] for name in names if name in bpy.data.node_groups]


def _player(group: Any, name: str, clip: Clip, file: str, color_space: str) -> Any:
    node = group.nodes.get(name)
    if node is None:
        node = group.nodes.new("CompositorNodeImage")
        node.name = node.label = name
        node.location = (-600, 0 if name == RESULT else -400)
    shown = bpy.path.relpath(file) if _beside_blend(file) else file
    if node.image is None or not is_wired(group, file):
        image = node.image or bpy.data.images.load(file)
        image.name = f"{group.name} {name.removeprefix('VFXSwap ')}"
        image.filepath = shown
        image.source = "SEQUENCE"
        node.image = image
    node.image.colorspace_settings.name = color_space
    node.frame_start, node.frame_offset = clip.start, clip.offset
    node.frame_duration, node.use_cyclic = clip.duration, clip.cyclic
    node.use_auto_refresh = True
    return node


def _beside_blend(file: str) -> bool:
    folder = os.path.dirname(bpy.data.filepath)
    return bool(folder) and os.path.normpath(file).startswith(os.path.normpath(folder) + os.sep)


def _wire_layer(group: Any, layer: Layer, player: Any, end: Any) -> None:
    output = player.outputs.get(layer.name)
    sockets = layer_sockets(layer)
    if output is None:
        return
    if len(sockets) == 1 and sockets[0][1] == "vector" and len(layer.channels) == 2:
        _wire_pair(group, layer, output, end)
    elif len(sockets) == 1:
        _link(group, output, end.inputs.get(sockets[0][0]))
    else:
        split = group.nodes.get(layer.name) or group.nodes.new("CompositorNodeSeparateColor")
        split.name = layer.name
        split.location = (-200, -200)
        _link(group, output, split.inputs[0])
        for index, (name, _) in enumerate(sockets):
            _link(group, split.outputs[index], end.inputs.get(name))


def _wire_pair(group: Any, layer: Layer, output: Any, end: Any) -> None:
    """Blender takes the two channels of a pass in the order of their names in the file."""
    first, second = f"{layer.name} split", f"{layer.name} join"
    split = group.nodes.get(first) or group.nodes.new("ShaderNodeSeparateXYZ")
    join = group.nodes.get(second) or group.nodes.new("ShaderNodeCombineXYZ")
    split.name, join.name = first, second
    split.location, join.location = (-200, -500), (0, -500)
    _link(group, output, split.inputs[0])
    for place, channel in enumerate(layer.channels):
        _link(group, split.outputs[sorted(layer.channels).index(channel)], join.inputs[place])
    _link(group, join.outputs[0], end.inputs.get(layer.name))


def _link(group: Any, output: Any, socket: Any) -> None:
    if output is None or socket is None:
        return
    for link in group.links:
        if link.to_socket == socket and link.from_socket == output:
            return
    group.links.new(output, socket)


def describe_missing(description: Description, group: Any) -> str:
    """Why a node cannot run: its effect is not in the description."""
    return (
        f"the engine that this extension knows has no effect {group.vfxswap.effect}; it knows "
        + ", ".join(effect.name for effect in description.effects)
    )
