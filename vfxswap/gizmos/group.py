"""One effect as a Nuke group: inputs written as EXR, the engine's result read back.

Nothing in a group runs on its own: every path and switch is an expression of the group's knobs,
so a script renders its cached result without our plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vfxswap.errors import JobError
from vfxswap.gizmos.knobs import Lines
from vfxswap.gizmos.nk import Node, add_layer, expression, quoted, script
from vfxswap.gizmos.tabs import about_tab, effect_tab, render_tab

TILE_COLOR = "0x3a7d6fff"
_TAKE = "[value parent.vfx_cache]/v[value parent.vfx_version]/"
# No [format %03d …] here: in a file name Nuke may take the %03d for the frame number.
_RESULT = "result_proxy[value parent.vfx_proxy].%V.%04d.exr"
_COLUMN, _ROW = 190, 90
_BESIDE = ("_group", "_group_end", "_entries", "_tab")
"""Ends of names that the plug-in passes over."""


class Group(NamedTuple):
    """A group's own knobs, the layers it makes known, and the nodes inside."""

    user: Lines
    layers: tuple[str, ...]
    children: tuple[Node, ...]

    def node(self, name: str, **wired: Any) -> Node:
        """The group as a node of a script."""
        return Node(
            "Group",
            name,
            knobs=[("tile_color", TILE_COLOR)],
            user=self.user,
            layers=self.layers,
            children=self.children,
            **wired,
        )


def gizmo_name(effect: str) -> str:
    """`VfxSwap` for swap: the file, the menu entry, and what nodes are named after."""
    return "Vfx" + "".join(word.capitalize() for word in effect.split("_"))


def gizmo(effect: Mapping[str, Any], *, version: str) -> str:
    """The text of an effect's file, from its row in `description()`.

    Raises JobError for a setting that no knob can hold, or that is named as a knob of every group.
    """
    # One input: the node that is selected when the group is created becomes its plate.
    name = gizmo_name(effect["name"]) + "1"
    return script([group(effect, version=version).node(name, inputs=(None,))])


def group(effect: Mapping[str, Any], *, version: str) -> Group:
    """The group of an effect, from its row in `description()`. Raises JobError as `gizmo` does."""
    user = [*effect_tab(effect), *render_tab(effect, version), *about_tab(effect, version)]
    names = [value.strip("{}").split()[1] for name, value in user if name == "addUserKnob"]
    for name in names:
        if names.count(name) > 1:
            raise JobError(f"setting {name.removeprefix('vfx_')} is named as a knob of every group")
    for setting in effect["settings"]:
        if "__" in setting["name"] or setting["name"].endswith(_BESIDE):
            raise JobError(f"setting {setting['name']} is named as knobs that go with settings")
    layers = tuple(add_layer(layer["name"], layer["channels"]) for layer in effect["layers"])
    return Group(user, layers, _nodes(effect))


def _nodes(effect: Mapping[str, Any]) -> tuple[Node, ...]:
    plate = _input("plate", 0)
    nodes = [plate]
    to_working = _space("VfxToWorking", plate, "in", channels="rgb", at=(_COLUMN, _ROW))
    nodes += [to_working, _write("VfxPlateWrite", to_working, "plate", "all", 1)]
    roles = [matte["role"] for matte in effect["mattes"]]
    for number, role in enumerate(roles, 1):
        source = _input(role, number)
        nodes += [source, _write(f"VfxMatteWrite_{role}", source, role, "alpha", number + 1)]
    for number, picture in enumerate(effect["pictures"], len(roles) + 1):
        name = picture["setting"]
        source = _input(name, number)
        place = ((number + 1) * _COLUMN, _ROW)
        space = _space(f"VfxToWorking_{name}", source, "in", channels="rgb", at=place)
        still = _write(f"VfxPictureWrite_{name}", space, name, "rgba", number + 1, still=True)
        nodes += [source, space, still]
    result = Node(
        "Read",
        "VfxResultRead",
        knobs=[
            ("file_type", "exr"),
            ("file", quoted(_TAKE + _RESULT)),
            ("first", expression("parent.vfx_first")),
            ("last", expression("parent.vfx_last")),
            ("before", "black"),
            ("after", "black"),
            ("origfirst", expression("parent.vfx_first")),
            ("origlast", expression("parent.vfx_last")),
            ("origset", "true"),
            # A frame that was not rendered must fail on a farm, not go black.
            ("on_error", "error"),
            ("raw", "true"),
        ],
        at=(-_COLUMN, 0),
    )
    full_size = Node(
        "Reformat",
        "VfxFromProxy",
        (result,),
        [
            ("type", "scale"),
            ("scale", expression("pow(2,parent.vfx_proxy)")),
            ("filter", "impulse"),
            ("pbb", "true"),
            ("disable", expression("parent.vfx_proxy==0")),
        ],
        at=(-_COLUMN, _ROW),
    )
    nodes += [result, full_size]
    nodes.append(
        _space("VfxFromWorking", full_size, "out", channels="rgb", at=(-_COLUMN, 2 * _ROW))
    )
    for row, layer in enumerate((la for la in effect["layers"] if la["kind"] == "color"), 3):
        name = layer["name"]
        rgb = " ".join(f"{name}.{channel}" for channel in layer["channels"] if channel != "alpha")
        nodes.append(
            _space(
                f"VfxFromWorking_{name}",
                nodes[-1],
                "out",
                channels=f"{{{rgb}}}",
                at=(-_COLUMN, row * _ROW),
            )
        )
    bottom = nodes[-1].at[1] + _ROW
    use = Node(
        "Switch",
        "VfxUse",
        (plate, nodes[-1]),
        [("which", expression("parent.vfx_use"))],
        at=(0, bottom),
    )
    return (*nodes, use, Node("Output", "Output1", (use,), at=(0, bottom + _ROW)))


def _input(name: str, number: int) -> Node:
    knobs = [("number", str(number))] if number else []
    return Node("Input", name, knobs=knobs, at=(number and (number + 1) * _COLUMN, 0))


def _space(name: str, source: Node, way: str, *, channels: str, at: tuple[int, int]) -> Node:
    """A conversion between the script's working space and the files' one. Both are the same
    until Render copies the knob's value here: a result keeps the space that it was made in."""
    label = "to the files' space" if way == "in" else "from the files' space"
    knobs = [
        ("channels", channels),
        ("in_colorspace", "scene_linear"),
        ("out_colorspace", "scene_linear"),
        ("label", quoted(label)),
    ]
    return Node("OCIOColorSpace", name, (source,), knobs, at)


def _write(
    name: str, source: Node, stem: str, channels: str, column: int, *, still: bool = False
) -> Node:
    knobs = [
        ("channels", channels),
        ("file", quoted(f"{_TAKE}{stem}.exr" if still else f"{_TAKE}{stem}.%V.%04d.exr")),
        ("file_type", "exr"),
        ("datatype", quoted("16 bit half" if channels == "alpha" else "32 bit float")),
        ("compression", quoted("Zip (1 scanline)")),
        ("metadata", quoted("all metadata")),
        ("raw", "true"),
        ("create_directories", "true"),
        # A farm that executes all Writes of a script must leave these alone.
        ("disable", expression("parent.vfx_writing==0")),
    ]
    return Node("Write", name, (source,), knobs, (column * _COLUMN, 2 * _ROW))
