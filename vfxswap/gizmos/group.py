"""One effect as a Nuke group: inputs written as EXR, the engine's result read back.

Nothing in a group runs on its own: every path and switch is an expression of the group's knobs,
so a script renders its cached result without our plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vfxswap.errors import JobError
from vfxswap.gizmos.knobs import (
    BOOL,
    ENUMERATION,
    FILE,
    INT,
    LINK,
    PYTHON,
    STRING,
    TAB,
    TEXT,
    Lines,
    setting_knob,
    user_knob,
)
from vfxswap.gizmos.nk import Node, add_layer, expression, quoted, script

TILE_COLOR = "0x3a7d6fff"
PROXIES = ("1", "2", "4", "8")
_TAKE = "[value parent.vfx_cache]/v[value parent.vfx_version]/"
# No [format %03d …] here: in a file name Nuke may take the %03d for the frame number.
_RESULT = "result_proxy[value parent.vfx_proxy].%V.%04d.exr"
_COLUMN, _ROW = 190, 90

CONSENT = (
    "Write a likeness only with the informed consent of both: the person it belongs to and the\n"
    "performer on the plate. No minors, nothing sexual, no deception.\n"
    "Without valid consent for the show the engine refuses."
)
PATENTS = (
    "Some methods follow published patent applications: see Patents in the README.\n"
    "Commercial users should take advice."
)


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
    user = [*_effect_tab(effect), *_render_tab(effect, version), *_about_tab(effect, version)]
    names = [value.strip("{}").split()[1] for name, value in user if name == "addUserKnob"]
    for name in names:
        if names.count(name) > 1:
            raise JobError(f"setting {name.removeprefix('vfx_')} is named as a knob of every group")
    layers = tuple(add_layer(layer["name"], layer["channels"]) for layer in effect["layers"])
    return Group(user, layers, _nodes(effect))


def _effect_tab(effect: Mapping[str, Any]) -> Lines:
    title = effect["name"].replace("_", " ").capitalize()
    lines = user_knob(TAB, "vfx_effect_tab", label=title)
    lines += user_knob(TEXT, "vfx_help", label="", text=effect["help"], flags="+STARTLINE")
    for setting in effect["settings"]:
        lines += setting_knob(setting)
    lines += user_knob(TEXT, "vfx_divider", label="", flags="+STARTLINE")
    return lines + user_knob(
        BOOL,
        "vfx_use",
        label="use result",
        tip="On: the rendered result. Off: the plate. Render turns it on.",
        flags="+STARTLINE",
        value="false",
    )


def _render_tab(effect: Mapping[str, Any], version: str) -> Lines:
    hidden = "+INVISIBLE"
    name = effect["name"]
    return [
        *user_knob(TAB, "vfx_render_tab", label="Render"),
        *user_knob(STRING, "vfx_effect", flags=hidden, value=quoted(name)),
        *user_knob(STRING, "vfx_describe_version", flags=hidden, value=quoted(version)),
        *user_knob(
            FILE,
            "vfx_cache",
            label="cache folder",
            tip="Folder for the plate that the engine is given and for its results. Empty: Render "
            "fills in vfxswap/ and the name of this node, beside the script.",
            value='""',
        ),
        *user_knob(
            INT,
            "vfx_version",
            label="take",
            tip="Each take has a folder of its own: raise it to keep the result you have.",
            value="1",
        ),
        *user_knob(
            INT,
            "vfx_first",
            label="frames",
            tip="First frame.",
            value=expression("root.first_frame"),
        ),
        *user_knob(
            INT,
            "vfx_last",
            label="to",
            tip="Last frame.",
            flags="-STARTLINE",
            value=expression("root.last_frame"),
        ),
        *user_knob(
            ENUMERATION,
            "vfx_proxy",
            label="proxy 1/",
            tip="Work at 1, 1/2, 1/4 or 1/8 of the size, for a quick look. Each has results of "
            "its own; a proxy is shown in blocks, at full size.",
            options=PROXIES,
            value="1",
        ),
        *user_knob(
            STRING,
            "vfx_space",
            label="file space",
            tip="Colour space of the files between Nuke and the engine, a name of the OCIO config. "
            "scene_linear takes the script's working space as it is, without any conversion.",
            value="scene_linear",
        ),
        *user_knob(
            LINK,
            "vfx_plate_type",
            label="plate as",
            tip="Type of the plate's file. 32 bit float keeps every bit outside the matte; "
            "16 bit half does so for a plate that comes straight from a half file.",
            text="VfxPlateWrite.datatype",
        ),
        *user_knob(
            STRING,
            "vfx_show",
            label="show",
            tip="Show that consent is asked for. Empty takes $VFXSWAP_SHOW.",
            value='""',
        ),
        *user_knob(
            INT,
            "vfx_seed",
            label="seed",
            tip="Seed of all that is random: another one, another draw.",
            value="0",
        ),
        *user_knob(BOOL, "vfx_writing", flags=hidden, value="false"),
        *user_knob(TEXT, "vfx_render_divider", label="", flags="+STARTLINE"),
        *_button("render", "Render", "Write the inputs, run the engine, read the result."),
        *_button("render_frame", "This frame", "The current frame alone, at the proxy chosen."),
        *_button("background", "In background", "As Render; Nuke stays free.", "render_background"),
        *_button("cancel", "Cancel", "Ends after the frame in hand; finished frames stay."),
        *user_knob(
            TEXT,
            "vfx_status",
            label="status",
            tip="What the engine is doing.",
            text="not rendered",
            flags="+STARTLINE",
        ),
    ]


def _button(knob: str, label: str, tip: str, function: str = "") -> Lines:
    """A button that tells, once and without raising, where the plug-in is not installed."""
    code = (
        "try:\n"
        f"    import vfxswap_nuke; vfxswap_nuke.{function or knob}(nuke.thisNode())\n"
        "except ImportError as error:\n"
        "    nuke.message('The vfxswap plug-in is not installed here (%s). '\n"
        "                 'A result that was rendered before still plays.' % error)"
    )
    flags = "+STARTLINE" if knob == "render" else "-STARTLINE"
    return user_knob(PYTHON, f"vfx_{knob}", label=label, tip=tip, text=code, flags=flags)


def _about_tab(effect: Mapping[str, Any], version: str) -> Lines:
    layers = "\n".join(
        f"{layer['name']}  ({' '.join(layer['channels'])}): {layer['help']}"
        + (" Premultiplied." if layer.get("premultiplied") else "")
        for layer in effect["layers"]
    )
    return [
        *user_knob(TAB, "vfx_about_tab", label="About"),
        *user_knob(TEXT, "vfx_layers", label="layers", text=layers, flags="+STARTLINE"),
        *user_knob(TEXT, "vfx_consent", label="consent", text=CONSENT, flags="+STARTLINE"),
        *user_knob(TEXT, "vfx_patents", label="patents", text=PATENTS, flags="+STARTLINE"),
        *user_knob(
            TEXT,
            "vfx_about",
            label="vfxswap",
            text=f"{version}, Apache-2.0. This group was generated; every knob is a setting of "
            "the engine.",
            flags="+STARTLINE",
        ),
    ]


def _nodes(effect: Mapping[str, Any]) -> tuple[Node, ...]:
    plate = _input("plate", 0)
    nodes = [plate]
    to_working = _space("VfxToWorking", plate, "in", channels="rgb", at=(_COLUMN, _ROW))
    nodes += [to_working, _write("VfxPlateWrite", to_working, "plate", "all", 1)]
    roles = [matte["role"] for matte in effect["mattes"]]
    for number, role in enumerate(roles, 1):
        source = _input(role, number)
        nodes += [source, _write(f"VfxMatteWrite_{role}", source, role, "alpha", number + 1)]
    if effect.get("reference"):
        number = len(roles) + 1
        source = _input("reference", number)
        space = _space(
            "VfxToWorking_reference",
            source,
            "in",
            channels="rgb",
            at=((number + 1) * _COLUMN, _ROW),
        )
        write = _write("VfxReferenceWrite", space, "reference", "rgba", number + 1)
        nodes += [source, space, write]
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


def _write(name: str, source: Node, stem: str, channels: str, column: int) -> Node:
    knobs = [
        ("channels", channels),
        ("file", quoted(f"{_TAKE}{stem}.%V.%04d.exr")),
        ("file_type", "exr"),
        ("datatype", quoted("32 bit float" if channels == "all" else "16 bit half")),
        ("compression", quoted("Zip (1 scanline)")),
        ("metadata", quoted("all metadata")),
        ("raw", "true"),
        ("create_directories", "true"),
        # A farm that executes all Writes of a script must leave these alone.
        ("disable", expression("parent.vfx_writing==0")),
    ]
    return Node("Write", name, (source,), knobs, (column * _COLUMN, 2 * _ROW))
