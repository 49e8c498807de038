# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the nodes. They live on the node's group, `tree.vfxswap` for what all effects
share and `tree.vfxswap_EFFECT` for an effect's settings, so that they are saved, copied and
animated with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from . import api
from .description import Description, Effect, Setting
from .mapping import property_of, settings_of

MODES = (
    ("AUTO", "From file", "Take the image sequence or movie clip that is linked"),
    ("BAKE", "Bake", "Render what is linked once, whatever it is, and keep it"),
    ("TAP", "Tap", "Render what is linked frame by frame; only without a window"),
)
_registered: list[type] = []
_names: tuple[str, ...] = ()


class VFXSwapRow(bpy.types.PropertyGroup):
    """A pair name=value."""

    __annotations__ = {"value": bpy.props.StringProperty(name="Value")}


class VFXSwapNode(bpy.types.PropertyGroup):
    """What every effect's node has."""

    __annotations__ = {
        "effect": bpy.props.StringProperty(options={"HIDDEN"}),
        "uid": bpy.props.StringProperty(options={"HIDDEN"}),
        "mode": bpy.props.EnumProperty(name="Plate", items=MODES, default="AUTO", options=set()),
        "tracks": bpy.props.StringProperty(
            name="Tracks",
            description="Tracks file of the shot; empty tracks it here",
            subtype="FILE_PATH",
            options=set(),
        ),
        "show": bpy.props.StringProperty(
            name="Show",
            description="Show that consent is asked for; empty takes $VFXSWAP_SHOW",
            options=set(),
        ),
        "seed": bpy.props.IntProperty(
            name="Seed", description="Seed of all randomness", min=0, options=set()
        ),
        "baked_first": bpy.props.IntProperty(options={"HIDDEN"}),
        "baked_last": bpy.props.IntProperty(options={"HIDDEN"}, default=-1),
        "baked_mattes": bpy.props.StringProperty(options={"HIDDEN"}),
        "status": bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"}),
    }


def register(description: Description) -> None:
    """Registers the properties, those of the effects generated."""
    global _names
    _names = description.names
    for cls in (VFXSwapRow, VFXSwapNode):
        _register(cls)
    bpy.types.NodeTree.vfxswap = bpy.props.PointerProperty(type=VFXSwapNode)
    for effect in description.effects:
        group = type(
            f"VFXSwapSettings_{effect.name}",
            (bpy.types.PropertyGroup,),
            {"__annotations__": {s.name: _property(s) for s in effect.settings}},
        )
        _register(group)
        setattr(bpy.types.NodeTree, attribute(effect), bpy.props.PointerProperty(type=group))


def unregister() -> None:
    """Unregisters them; what files hold of them stays in the files."""
    for name in [n for n in dir(bpy.types.NodeTree) if n.startswith("vfxswap")]:
        delattr(bpy.types.NodeTree, name)
    while _registered:
        bpy.utils.unregister_class(_registered.pop())


def attribute(effect: Effect) -> str:
    """Name of an effect's settings on a node's group."""
    return f"vfxswap_{effect.name}"


def node_of(group: Any) -> Any:
    """What every effect's node has, of a group."""
    return group.vfxswap


def settings_at(group: Any, effect: Effect, frame: int) -> dict[str, Any]:
    """An effect's settings on a frame of the scene, animation included. Raises ValueError."""
    own = getattr(group, attribute(effect))
    # A property's own value is that of the frame shown, or of the last one that was.
    curves = {curve.data_path: curve for curve in api.fcurves(group)}
    values: dict[str, Any] = {}
    for setting in effect.settings:
        value = getattr(own, setting.name)
        curve = curves.get(f"{attribute(effect)}.{setting.name}")
        if setting.kind == "rows":
            value = [(row.name, row.value) for row in value]
        elif curve is not None and setting.kind in ("float", "int", "bool"):
            value = curve.evaluate(frame)
            if setting.kind != "float":
                value = round(value)
        values[setting.name] = value
    return settings_of(effect, values)


def is_animated(group: Any, effect: Effect) -> bool:
    """Whether a setting of a node changes over time."""
    return any(c.data_path.startswith(attribute(effect) + ".") for c in api.fcurves(group))


def _register(cls: type) -> None:
    bpy.utils.register_class(cls)
    _registered.append(cls)


def _property(setting: Setting) -> Any:
    function, arguments = property_of(setting)
    if function == "CollectionProperty":
        arguments["type"] = VFXSwapRow
    if setting.kind == "string":
        arguments["search"] = _suggestions()
        arguments["search_options"] = {"SUGGESTION"}
    return getattr(bpy.props, function)(**arguments)


def _suggestions() -> Callable[[Any, Any, str], list[str]]:
    def search(owner: Any, context: Any, text: str) -> list[str]:
        return [name for name in _names if text.lower() in name.lower()]

    return search
