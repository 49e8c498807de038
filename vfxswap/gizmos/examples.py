"""Example scripts: what an artist does with the layers, ready to open on a plate.

They read `plate.%04d.exr` from the folder that they lie in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vfxswap.gizmos.group import gizmo_name, group
from vfxswap.gizmos.nk import Node, expression, quoted, script

_WIDTH, _HEIGHT, _FIRST, _LAST = 2048, 1152, 1001, 1003
_FOLDER = "[file dirname [value root.name]]"
_RGBA = ("red", "green", "blue", "alpha")


def examples(description: Mapping[str, Any]) -> dict[str, str]:
    """The scripts whose effects are all described, by path."""
    effects = {effect["name"]: effect for effect in description["effects"]}
    version = description["version"]
    made = {}
    if "swap" in effects:
        made["examples/swap_matte_work.nk"] = _swap_matte_work(effects["swap"], version)
    if {"style", "mosaic"} <= effects.keys():
        made["examples/stacked_look.nk"] = _stacked_look(
            effects["style"], effects["mosaic"], version
        )
    return made


def _swap_matte_work(effect: Mapping[str, Any], version: str) -> str:
    """The swap taken apart and put together by hand: its patch graded warmer, held out by the
    occluder matte, merged over the plate, and mixed with the engine's own comp; grade on skin."""
    plate = _plate()
    own = group(effect, version=version)
    swap = own.node(gizmo_name("swap") + "1", inputs=(plate, None, None), at=(0, 160))
    patch = _shuffle("SwapPatch", swap, "swap_face", _RGBA, at=(220, 260))
    warm = Node(
        "Grade",
        "PatchGrade",
        (patch,),
        [
            ("channels", "rgb"),
            ("white", "{1.06 1 0.95 1}"),
            ("black_clamp", "false"),
            ("unpremult", "rgba.alpha"),
            ("label", quoted("warmer, where the patch is")),
        ],
        (220, 340),
    )
    occluder = _shuffle("OccluderMatte", swap, "swap_matte", ("blue",), at=(440, 260))
    held = _merge("HoldOccluder", warm, occluder, "stencil", at=(220, 420))
    right = Node("Dot", "PlateRight", (plate,), at=(640, 10))
    down = Node("Dot", "PlateDown", (right,), at=(640, 517))
    over = _merge("PatchOverPlate", down, held, "over", at=(220, 500))
    matte = _shuffle("SwapMatte", swap, "swap_matte", ("red",), at=(-260, 420))
    mix = Node(
        "Keymix",
        "MixWithComp",
        (swap, over, matte),
        [("channels", "rgb"), ("mix", "0.5"), ("label", quoted("half by hand, half the engine"))],
        (0, 580),
    )
    skin = Node(
        "Grade",
        "SkinGrade",
        (mix,),
        [
            ("channels", "rgb"),
            ("gamma", "1.05"),
            ("black_clamp", "false"),
            ("maskChannelInput", "swap_matte.green"),
            ("label", quoted("skin alone")),
        ],
        (0, 660),
    )
    note = _note(
        "SwapNote",
        "Choose a persona on the swap and press Render.\n"
        "swap_face is premultiplied; swap_matte holds swap, skin, occluder, hair.",
        at=(-480, 150),
    )
    nodes = [_root(), note, plate, swap, matte, occluder, patch, warm, held, right, down]
    nodes += [over, mix, skin]
    return script([*nodes, *_end(skin, at=(0, 740))])


def _stacked_look(style: Mapping[str, Any], mosaic: Mapping[str, Any], version: str) -> str:
    """A style on the whole plate, a mosaic on top of it, and less of both by their mattes."""
    plate = _plate()
    styled = group(style, version=version).node(
        gizmo_name("style") + "1", inputs=(plate, *_unconnected(style)), at=(0, 160)
    )
    set_in = group(mosaic, version=version).node(
        gizmo_name("mosaic") + "1", inputs=(styled, *_unconnected(mosaic)), at=(-230, 280)
    )
    matte = _shuffle("MosaicMatte", set_in, "mosaic_matte", ("red",), at=(-460, 390))
    less = Node(
        "Keymix",
        "MosaicOverStyle",
        (styled, set_in, matte),
        [("channels", "rgb"), ("mix", "0.7"), ("label", quoted("less mosaic"))],
        (0, 480),
    )
    style_matte = _shuffle("StyleMatte", styled, "style_matte", ("red",), at=(230, 400))
    right = Node("Dot", "PlateRight", (plate,), at=(460, 10))
    down = Node("Dot", "PlateDown", (right,), at=(460, 577))
    back = Node(
        "Keymix",
        "LookOverPlate",
        (down, less, style_matte),
        [("channels", "rgb"), ("mix", "0.9"), ("label", quoted("a tenth of the plate"))],
        (0, 560),
    )
    note = _note(
        "LookNote",
        "Each group writes what comes in from above:\nrender the style first, then the mosaic.",
        at=(-460, 150),
    )
    nodes = [_root(), note, plate, styled, set_in, matte, less, style_matte]
    nodes += [right, down, back]
    return script([*nodes, *_end(back, at=(0, 640))])


def _unconnected(effect: Mapping[str, Any]) -> tuple[None, ...]:
    return (None,) * (len(effect["mattes"]) + len(effect["pictures"]))


def _root() -> Node:
    form = f"{_WIDTH} {_HEIGHT} 0 0 {_WIDTH} {_HEIGHT} 1 plate"
    return Node(
        "Root",
        "root",
        knobs=[
            ("frame", str(_FIRST)),
            ("first_frame", str(_FIRST)),
            ("last_frame", str(_LAST)),
            ("format", quoted(form)),
        ],
    )


def _plate() -> Node:
    knobs = [
        ("file_type", "exr"),
        ("file", quoted(f"{_FOLDER}/plate.%04d.exr")),
        ("first", expression("root.first_frame")),
        ("last", expression("root.last_frame")),
        ("raw", "true"),
        ("label", quoted("scene-linear, in the script's working space")),
    ]
    return Node("Read", "Plate", knobs=knobs, at=(0, 0))


def _shuffle(
    name: str, source: Node, layer: str, channels: Sequence[str], *, at: tuple[int, int]
) -> Node:
    """A layer as rgba; a single channel as alpha."""
    targets = channels if len(channels) > 1 else ("alpha",)
    rows = [
        f"{layer}.{channel} 0 {_RGBA.index(channel)} rgba.{target} 0 {_RGBA.index(target)}"
        for channel, target in zip(channels, targets, strict=True)
    ]
    knobs = [
        ("fromInput1", "{{0} B}"),
        ("in1", layer),
        ("fromInput2", "{{0} B}"),
        ("mappings", quoted(" ".join([str(len(rows)), *rows]))),
        ("label", quoted(f"{layer}.{channels[0]} to alpha" if len(channels) == 1 else layer)),
    ]
    return Node("Shuffle2", name, (source,), knobs, at)


def _merge(name: str, b: Node, a: Node, operation: str, *, at: tuple[int, int]) -> Node:
    return Node("Merge2", name, (b, a), [("operation", operation)], at)


def _note(name: str, text: str, *, at: tuple[int, int]) -> Node:
    return Node("StickyNote", name, knobs=[("label", quoted(text))], at=at)


def _end(source: Node, *, at: tuple[int, int]) -> list[Node]:
    write = Node(
        "Write",
        "CompWrite",
        (source,),
        [
            ("channels", "rgba"),
            ("file", quoted(f"{_FOLDER}/comp.%04d.exr")),
            ("file_type", "exr"),
            ("datatype", quoted("16 bit half")),
            ("compression", quoted("Zip (1 scanline)")),
            ("raw", "true"),
            ("create_directories", "true"),
        ],
        at,
    )
    viewer = Node("Viewer", "Viewer1", (source,), at=(at[0] + 220, at[1]))
    return [write, viewer]
