# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the nodes. They live on the node's group, `tree.vfxswap` for what all effects
share and `tree.vfxswap_EFFECT` for an effect's settings, so that they are saved, copied and
animated with it.
"""

from __future__ import annotations

from typing import Any

import bpy

from . import api
from .description import Description, Effect, Setting
from .mapping import property_of, settings_of, tip

MODES = (
    ("AUTO", "From file", "Take the image sequence or movie clip that is linked"),
    ("BAKE", "Bake", "Render what is linked once, whatever it is, and keep it"),
    ("TAP", "Tap", "Render what is linked frame by frame; only without a window"),
)
_registered: list[type] = []


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
    _register(VFXSwapNode)
    bpy.types.NodeTree.vfxswap = bpy.props.PointerProperty(type=VFXSwapNode)
    for effect in description.effects:
        properties = {setting.name: _property(effect, setting) for setting in effect.settings}
        group = _registered_type(f"VFXSwapSettings_{effect.name}", properties)
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
    curves = {curve.data_path: curve for curve in api.fcurves(group) if not curve.mute}
    driven = {driver.data_path for driver in api.drivers(group)}

    def at(path: str, value: Any) -> Any:
        if path in driven:
            name = path.removeprefix(attribute(effect) + ".")
            raise ValueError(f"{name} has a driver, which is not followed: bake it to keyframes")
        return curves[path].evaluate(frame) if path in curves else value

    values: dict[str, Any] = {}
    for setting in effect.settings:
        path = f"{attribute(effect)}.{setting.name}"
        value = getattr(own, setting.name)
        if setting.kind == "rows":
            value = [
                (row.name, at(row_path(path, index), row.value)) for index, row in enumerate(value)
            ]
        elif setting.kind in ("float", "int", "bool"):
            value = at(path, value)
            if setting.kind != "float":
                value = round(value)
        values[setting.name] = value
    return settings_of(effect, values)


def row_path(setting: str, index: int) -> str:
    """Where the value of a pair is, from its group."""
    return f"{setting}[{index}].value"


def remove_row(group: Any, setting: str, index: int) -> None:
    """Removes a pair, and its animation; the later pairs keep theirs."""
    rows = group.path_resolve(setting)
    curves = list(api.fcurves(group))
    for curve in [c for c in curves if c.data_path == row_path(setting, index)]:
        curves.remove(curve)
        api.remove_fcurve(group, curve)
    for later in range(index + 1, len(rows)):
        for curve in curves:
            if curve.data_path == row_path(setting, later):
                curve.data_path = row_path(setting, later - 1)
    rows.remove(index)


def is_animated(group: Any, effect: Effect) -> bool:
    """Whether a setting of a node changes over time."""
    return any(c.data_path.startswith(attribute(effect) + ".") for c in api.fcurves(group))


def _register(cls: type) -> None:
    bpy.utils.register_class(cls)
    _registered.append(cls)


def _registered_type(name: str, properties: dict[str, Any]) -> type:
    made = type(name, (bpy.types.PropertyGroup,), {"__annotations__": properties})
    _register(made)
    return made


def _property(effect: Effect, setting: Setting) -> Any:
    function, arguments = property_of(setting)
    if function == "CollectionProperty":
        arguments["type"] = _row_type(effect, setting)
    if setting.kind == "string":
        arguments.update(_suggesting(effect))
    return getattr(bpy.props, function)(**arguments)


def _row_type(effect: Effect, setting: Setting) -> type:
    """A pair name=value of a setting; what is known may be a number's name, or a word's value."""
    known = _suggesting(effect)
    common: dict[str, Any] = {"name": "Value", "description": tip(setting)}
    if not setting.keyframes:
        common["options"] = set()
    if setting.row_kind == "string":
        name = bpy.props.StringProperty(name="Name", options=set())
        value = bpy.props.StringProperty(**common, **known)
    else:
        name = bpy.props.StringProperty(name="Name", options=set(), **known)
        if setting.row_kind == "float":
            value = bpy.props.FloatProperty(**common, default=1.0, step=5, precision=3)
        else:
            value = bpy.props.IntProperty(**common, default=1)
    row = f"VFXSwapRow_{effect.name}_{setting.name}"
    return _registered_type(row, {"name": name, "value": value})


def _suggesting(effect: Effect) -> dict[str, Any]:
    def search(owner: Any, context: Any, text: str) -> list[str]:
        return [name for name in effect.names if text.lower() in name.lower()]

    return {"search": search, "search_options": {"SUGGESTION"}}
