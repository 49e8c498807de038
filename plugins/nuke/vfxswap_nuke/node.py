"""The group in the script: its knobs, and the Writes and the Read inside it. Imports `nuke`.

Everything here is called on the main thread.
"""

from __future__ import annotations

import os
from typing import Any

import nuke

from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.layout import (
    MATTE_WRITE,
    PLATE_WRITE,
    REFERENCE_WRITE,
    RESULT_READ,
    Layout,
    default_cache,
    posix,
)
from vfxswap_nuke.snapshot import KnobState, NodeState, Scalar

PREFIX = "vfx_"
CONTROLS = frozenset(
    PREFIX + name
    for name in (
        "effect", "describe_version", "cache", "first", "last", "proxy", "version", "space",
        "show", "seed", "use", "status", "writing", "render", "render_frame", "background",
        "cancel",
    )
)  # fmt: skip
"""Knobs that are no settings of the effect."""
_NO_SETTINGS = (
    "Tab_Knob", "Text_Knob", "PyScript_Knob", "Script_Knob", "Link_Knob", "BeginTabGroup_Knob",
    "EndTabGroup_Knob",
)  # fmt: skip


def is_ours(node: nuke.Node) -> bool:
    """Whether a node is one of the generated groups."""
    return node.knob(PREFIX + "effect") is not None and node.knob(PREFIX + "cache") is not None


def read_node(node: nuke.Node, *, only_frame: int | None = None) -> NodeState:
    """What decides a render, as the node says now. An empty cache folder is filled in.

    Raises NodeError for a node that is none of ours or cannot render.
    """
    if not is_ours(node):
        raise NodeError(f"{node.name()} is no node of vfxswap")
    if node.input(0) is None:
        raise NodeError(f"{node.name()} has no plate: connect its first input")
    first, last = _int(node, "first"), _int(node, "last")
    if last < first:
        raise NodeError(f"{node.name()} ends on frame {last}, before it begins on {first}")
    frames = range(first, last + 1) if only_frame is None else range(only_frame, only_frame + 1)
    layout = _layout(node)
    seed = _int(node, "seed")
    if seed < 0:
        raise NodeError(f"{node.name()} has the seed {seed}, which must not be below 0")
    return NodeState(
        node.fullName(),
        _text(node, "effect"),
        layout=layout,
        frames=frames,
        views=_views(node, layout),
        knobs={
            name[len(PREFIX) :]: _state(knob, frames)
            for name, knob in node.knobs().items()
            if name.startswith(PREFIX) and name not in CONTROLS and knob.Class() not in _NO_SETTINGS
        },
        proxy=int(_text(node, "proxy") or 1),
        space=_text(node, "space"),
        config=_ocio_config(),
        show=_text(node, "show"),
        seed=seed,
        roles=[name[len(MATTE_WRITE) :] for name in _connected_mattes(node)],
        reference=_connected(node, "reference", REFERENCE_WRITE),
    )


def write_inputs(node: nuke.Node, state: NodeState) -> None:
    """Has Nuke write plate, mattes and reference. Raises RuntimeError as Nuke does, cancelling
    included."""
    _set_spaces(node, state.space)
    os.makedirs(state.layout.folder, exist_ok=True)
    names = [PLATE_WRITE, *_connected_mattes(node)]
    names += [REFERENCE_WRITE] if state.reference else []
    writing = node[PREFIX + "writing"]
    writing.setValue(True)
    try:
        for name in names:
            frames, views = state.frames, state.views if state.layout.per_view else nuke.views()
            nuke.execute(_inner(node, name), frames[0], frames[-1], 1, views)
    finally:
        writing.setValue(False)


def show_result(node: nuke.Node) -> None:
    """Has the node show what was rendered, read anew."""
    reload = _inner(node, RESULT_READ).knob("reload")
    if reload is not None:
        execute: Any = reload
        execute.execute()
    node[PREFIX + "use"].setValue(True)


def set_status(node: nuke.Node, text: str) -> None:
    """Writes the node's status line. A node that was deleted since has none."""
    try:
        node[PREFIX + "status"].setValue(text)
    except (ValueError, NameError, RuntimeError):
        return


def our_nodes() -> list[nuke.Node]:
    """Every node of vfxswap in the script, in groups too."""
    return [node for node in nuke.allNodes(recurseGroups=True) if is_ours(node)]


def _layout(node: nuke.Node) -> Layout:
    cache = node[PREFIX + "cache"]
    if not _text(node, "cache"):
        cache.setValue(default_cache(nuke.scriptName() if _saved() else "", node.fullName()))
    folder = mapped(_text(node, "cache")).rstrip("/")
    if not os.path.isabs(folder):
        raise NodeError(f"the cache folder {folder} of {node.name()} is not absolute")
    write = _inner(node, PLATE_WRITE)["file"]
    plate = mapped(_evaluated(write))
    take, name = plate.rpartition("/")[::2]
    if not name.startswith("plate."):
        raise NodeError(
            f"{PLATE_WRITE} in {node.name()} writes {plate or 'nothing'}, not plate.…: the group "
            "was changed, or is of another version than this plug-in"
        )
    return Layout(folder, take, per_view="%V" in str(write.value()))


def _saved() -> bool:
    name = nuke.root().name()
    return bool(name) and name != "Root"


def mapped(path: str) -> str:
    """A path as this machine knows it: with the substitutions that Nuke itself makes."""
    found = nuke.filenameFilter(path)  # type: ignore[no-untyped-call]
    return posix(str(found) if found else path)


def _views(node: nuke.Node, layout: Layout) -> list[str]:
    views = list(nuke.views())
    if layout.per_view:
        return views
    if len(views) > 1:
        raise NodeError(
            f"{node.name()} has no %V in its files, and the script has {len(views)} views: "
            "make the node anew"
        )
    return [""]


def _state(knob: nuke.Knob, frames: range) -> KnobState:
    moving = isinstance(knob, nuke.Array_Knob) and (knob.isAnimated() or knob.hasExpression())
    if not moving:
        return KnobState(_value(knob))
    return KnobState(_value(knob), {frame: _value_at(knob, frame) for frame in frames})


def _value(knob: nuke.Knob) -> Scalar:
    # Lists of settings may be JSON, whose brackets are Tcl to a knob that evaluates.
    if isinstance(knob, nuke.Multiline_Eval_String_Knob):
        return str(knob.value() or "")
    if isinstance(knob, nuke.EvalString_Knob):
        return _evaluated(knob)
    value: Scalar = knob.value()
    return value


def _value_at(knob: nuke.Knob, frame: int) -> Scalar:
    value = knob.getValueAt(frame)
    if isinstance(knob, nuke.Enumeration_Knob):
        return str(knob.values()[int(value)])
    if isinstance(knob, nuke.Boolean_Knob):
        return bool(value)
    plain: Scalar = value
    return plain


def _evaluated(knob: Any) -> str:
    """A string knob with its expressions worked out."""
    found = knob.evaluate()
    return str(found) if found is not None else ""


def _text(node: nuke.Node, name: str) -> str:
    knob = node.knob(PREFIX + name)
    if knob is None:
        return ""
    return str(_value(knob)).strip()


def _int(node: nuke.Node, name: str) -> int:
    knob = node.knob(PREFIX + name)
    return int(knob.value()) if knob is not None else 0


def _inner(node: Any, name: str) -> nuke.Node:
    found: nuke.Node | None = node.node(name)
    if found is None:
        raise NodeError(f"{node.name()} has no {name} inside: the group was changed")
    return found


def _connected_mattes(node: Any) -> list[str]:
    """Names of the Writes of the mattes whose inputs are connected."""
    writes = [inner.name() for inner in node.nodes() if inner.name().startswith(MATTE_WRITE)]
    return sorted(name for name in writes if _connected(node, name[len(MATTE_WRITE) :], name))


def _connected(node: Any, input_name: str, write: str) -> bool:
    """Whether the group's input of that name is connected to something; no such input is not."""
    if node.node(write) is None or node.node(input_name) is None:
        return False
    number = int(node.node(input_name)["number"].value())
    return node.input(number) is not None


def _set_spaces(node: Any, space: str) -> None:
    """The conversions inside the group, as plain values: a result keeps the space it was made
    in."""
    for inner in node.nodes():
        if inner.name().startswith("VfxToWorking"):
            inner["out_colorspace"].setValue(space)
        elif inner.name().startswith("VfxFromWorking"):
            inner["in_colorspace"].setValue(space)


def _ocio_config() -> str:
    """The config file that the script names itself; the engine finds $OCIO without it."""
    root = nuke.root()
    knobs = [root.knob(name) for name in ("colorManagement", "OCIO_config", "customOCIOConfigPath")]
    if os.environ.get("OCIO") or None in knobs:
        return ""
    management, config, path = knobs
    assert management is not None and config is not None and path is not None
    if management.value() != "OCIO" or config.value() != "custom":
        return ""
    return mapped(_evaluated(path))
