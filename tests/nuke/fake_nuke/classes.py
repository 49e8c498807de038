"""The node classes that our groups, scripts and plug-in use, with their knobs and inputs.

This is an allow-list: a class or knob that is not here is a mistake until somebody looked it up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fake_nuke import knobs as k

Make = Callable[[str], k.Knob]
"""A new knob of a given name."""


def text(value: str = "") -> Make:
    return lambda name: k.String_Knob(name, None, value)


def number(value: float = 0.0) -> Make:
    return lambda name: k.Double_Knob(name, None, value)


def whole(value: int = 0) -> Make:
    return lambda name: k.Int_Knob(name, None, value)


def switch(value: bool = False) -> Make:
    return lambda name: k.Boolean_Knob(name, None, value)


def choice(*options: str, value: str = "") -> Make:
    return lambda name: k.Enumeration_Knob(name, None, options, value or options[0])


def several(*value: float) -> Make:
    return lambda name: k.Tuple_Knob(name, None, value)


def file(name: str) -> k.Knob:
    return k.File_Knob(name)


def button(name: str) -> k.Knob:
    return k.PyScript_Knob(name)


COMMON: Mapping[str, Make] = {
    "name": text(),
    "label": text(),
    "help": text(),
    "note_font": text("Verdana"),
    "note_font_size": number(11),
    "note_font_color": whole(),
    "tile_color": whole(),
    "xpos": whole(),
    "ypos": whole(),
    "selected": switch(),
    "hide_input": switch(),
    "postage_stamp": switch(),
    "disable": lambda name: k.Disable_Knob(name, None, False),
}
_MASK: Mapping[str, Make] = {
    "maskChannelInput": text("none"),
    "invert_mask": switch(),
    "mix": number(1),
}
_DEPTHS = ("16 bit half", "32 bit float")
_COMPRESSIONS = (
    "none", "RLE", "Zip (1 scanline)", "Zip (16 scanlines)", "PIZ Wavelet (32 scanlines)",
)  # fmt: skip
_METADATA = (
    "default metadata", "no metadata", "default metadata and exr/*",
    "all metadata except input/*", "all metadata",
)  # fmt: skip
FILTERS = ("Cubic", "impulse", "Keys", "Simon", "Rifman", "Mitchell", "Parzen", "Notch")


@dataclass(frozen=True)
class NodeClass:
    """A class's knobs beside the common ones, and how many inputs it has: the fewest and most.
    `spare` are those that end every list of inputs, such as a mask."""

    knobs: Mapping[str, Make] = field(default_factory=dict)
    fewest: int = 1
    most: int = 1


CLASSES: Mapping[str, NodeClass] = {
    "Root": NodeClass(
        {
            "frame": whole(1),
            "first_frame": whole(1),
            "last_frame": whole(100),
            "fps": number(24),
            "lock_range": switch(),
            "format": text("2048 1556 0 0 2048 1556 1 2K_Super_35(full-ap)"),
            "proxy": switch(),
            "project_directory": file,
            "views": text("main #ffffff"),
            "colorManagement": choice("Nuke", "OCIO"),
            "OCIO_config": choice(
                "nuke-default", "custom", "fn-nuke_cg-config-v1.0.0_aces-v1.3_ocio-v2.1"
            ),
            "customOCIOConfigPath": file,
            "workingSpaceLUT": text("scene_linear"),
        },
        0,
        0,
    ),
    "Group": NodeClass({}, 0, 32),
    "Input": NodeClass({"number": whole()}, 0, 1),
    "Output": NodeClass(),
    "Read": NodeClass(
        {
            "file": file,
            "file_type": text(),
            "proxy": file,
            "format": text(),
            "first": whole(1),
            "last": whole(1),
            "before": choice("hold", "loop", "bounce", "black"),
            "after": choice("hold", "loop", "bounce", "black"),
            "origfirst": whole(1),
            "origlast": whole(1),
            "origset": switch(),
            "on_error": choice("error", "black", "checkerboard", "nearestframe"),
            "reload": button,
            "colorspace": text("default"),
            "raw": switch(),
            "premultiplied": switch(),
            "auto_alpha": switch(),
            "localizationPolicy": choice("on", "fromAutoLocalizePath", "onDemand", "off"),
        },
        0,
        0,
    ),
    "Write": NodeClass(
        {
            "channels": text("rgb"),
            "file": file,
            "file_type": text(),
            "datatype": choice(*_DEPTHS),
            "compression": choice(*_COMPRESSIONS, value="Zip (1 scanline)"),
            "metadata": choice(*_METADATA),
            "interleave": choice("channels, layers and views", "channels and layers", "channels"),
            "first_part": text(),
            "autocrop": switch(),
            "colorspace": text("default"),
            "raw": switch(),
            "premultiplied": switch(),
            "create_directories": switch(),
            "checkHashOnRead": switch(True),
            "use_limit": switch(),
            "first": whole(1),
            "last": whole(1),
            "version": whole(),
            "views": text("main"),
            "Render": button,
        },
    ),
    "Switch": NodeClass({"which": number()}, 0, 32),
    "Dot": NodeClass(),
    "NoOp": NodeClass(),
    "BackdropNode": NodeClass({"bdwidth": whole(), "bdheight": whole(), "z_order": whole()}, 0, 0),
    "StickyNote": NodeClass({}, 0, 0),
    "Viewer": NodeClass({"frame": whole(1), "frame_range": text(), "fps": number(24)}, 0, 10),
    "Constant": NodeClass(
        {
            "channels": text("rgb"),
            "color": several(0.0),
            "format": text(),
            "first": whole(1),
            "last": whole(1),
        },
        0,
        1,
    ),
    "OCIOColorSpace": NodeClass(
        {
            "channels": text("rgb"),
            "in_colorspace": text("scene_linear"),
            "out_colorspace": text("scene_linear"),
            **_MASK,
        },
        1,
        2,
    ),
    "Reformat": NodeClass(
        {
            "type": choice("to format", "to box", "scale"),
            "scale": several(1.0),
            "filter": choice(*FILTERS),
            "format": text(),
            "resize": choice("width", "none", "height", "fit", "fill", "distort"),
            "center": switch(True),
            "pbb": switch(),
        }
    ),
    "Crop": NodeClass({"box": several(0, 0, 0, 0), "reformat": switch(), "crop": switch(True)}),
    "Copy": NodeClass(
        {
            **{f"from{i}": text("none") for i in range(4)},
            **{f"to{i}": text("none") for i in range(4)},
            "bbox": choice("union", "B side", "A side"),
        },
        2,
        3,
    ),
    "Shuffle2": NodeClass(
        {
            "in1": text("rgba"),
            "in2": text("none"),
            "out1": text("rgba"),
            "out2": text("none"),
            "fromInput1": text("{0} B"),
            "fromInput2": text("{0} B"),
            "mappings": text(),
        },
        1,
        2,
    ),
    "Merge2": NodeClass(
        {
            "operation": choice(
                "over", "plus", "multiply", "mask", "stencil", "copy", "minus", "max", "min"
            ),
            "bbox": choice("union", "intersection", "A", "B"),
            "mix": number(1),
            "maskChannelMask": text("none"),
            "output": text("rgba"),
            "also_merge": text("none"),
        },
        2,
        3,
    ),
    "Keymix": NodeClass(
        {
            "channels": text("all"),
            "maskChannel": text("rgba.alpha"),
            "invertMask": switch(),
            "mix": number(1),
            "bbox": choice("union", "B side", "A side"),
        },
        2,
        3,
    ),
    "Grade": NodeClass(
        {
            "channels": text("rgb"),
            "blackpoint": several(0.0),
            "whitepoint": several(1.0),
            "black": several(0.0),
            "white": several(1.0),
            "multiply": several(1.0),
            "add": several(0.0),
            "gamma": several(1.0),
            "black_clamp": switch(True),
            "white_clamp": switch(),
            "unpremult": text("none"),
            **_MASK,
        },
        1,
        2,
    ),
    "STMap": NodeClass(
        {
            "channels": text("all"),
            "uv": text("none"),
            "filter": choice(*FILTERS),
            "blur": text("none"),
            "blackOutside": switch(True),
        },
        2,
        3,
    ),
}

USER_KNOBS: Mapping[int, type[k.Knob]] = {
    1: k.String_Knob,
    2: k.File_Knob,
    3: k.Int_Knob,
    4: k.Enumeration_Knob,
    6: k.Boolean_Knob,
    7: k.Double_Knob,
    20: k.Tab_Knob,
    22: k.PyScript_Knob,
    26: k.Text_Knob,
    41: k.Link_Knob,
    43: k.Multiline_Eval_String_Knob,
}
"""Nuke's numbers of user knobs, those in use here."""
