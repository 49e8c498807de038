"""The group in the script: its knobs, and the Writes and the Read inside it. Imports `nuke`.

Everything here is called on the main thread.
"""

from __future__ import annotations

import os
import re
from typing import Any, Mapping

import nuke

from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.layout import (
    MATTE_WRITE,
    PICTURE_WRITE,
    PLATE_WRITE,
    RESULT_READ,
    Layout,
    card_of,
    default_cache,
    posix,
)
from vfxswap_nuke.snapshot import ENTRY, KnobState, NodeState, Scalar

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
CHANGED = "changed since this was rendered: Render again"
_BESIDE = ("_group", "_group_end", "_entries", "_tab")
"""Ends of names of knobs that go with those of settings: tabs and groups of knobs, and buttons."""


def is_ours(node: nuke.Node) -> bool:
    """Whether a node is one of the generated groups."""
    return node.knob(PREFIX + "effect") is not None and node.knob(PREFIX + "cache") is not None


def decides_pixels(knob: str) -> bool:
    """Whether a knob of that name changes what is rendered."""
    return knob in (PREFIX + "seed", PREFIX + "space") or not (
        knob in CONTROLS or knob.endswith(_BESIDE)
    )


def tell_change(node: nuke.Node) -> None:
    """Says that a node whose result is shown was changed since."""
    if node[PREFIX + "use"].value():
        set_status(node, CHANGED)


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
    stills = _stills(node)
    return NodeState(
        node.fullName(),
        _text(node, "effect"),
        layout=layout,
        frames=frames,
        views=_views(node, layout),
        knobs={
            name[len(PREFIX) :]: _state(knob, frames)
            for name, knob in node.knobs().items()
            if name.startswith(PREFIX)
            and name not in CONTROLS
            and knob.Class() not in _NO_SETTINGS
            and not name.endswith(_BESIDE)
            and name not in [_card_knob(still) for still in stills]
        },
        proxy=int(_text(node, "proxy") or 1),
        space=_text(node, "space"),
        config=_ocio_config(),
        show=_text(node, "show"),
        seed=seed,
        roles=[name[len(MATTE_WRITE) :] for name in _connected_mattes(node)],
        pictures=[name for name in stills if _connected(node, name, PICTURE_WRITE + name)],
    )


def write_inputs(node: nuke.Node, state: NodeState) -> None:
    """Has Nuke write plate and mattes, and the pictures of the node's first frame, which are stills
    whatever is rendered. Raises RuntimeError as Nuke does, cancelling included."""
    _set_spaces(node, state.space)
    os.makedirs(state.layout.folder, exist_ok=True)
    views = state.views if state.layout.per_view else list(nuke.views())
    writing = node[PREFIX + "writing"]
    writing.setValue(True)
    try:
        for name in (PLATE_WRITE, *_connected_mattes(node)):
            nuke.execute(_inner(node, name), state.frames[0], state.frames[-1], 1, views)
        first = _int(node, "first")
        for name in state.pictures:
            nuke.execute(_inner(node, PICTURE_WRITE + name), first, first, 1, views[:1])
    finally:
        writing.setValue(False)


def card_for(node: nuke.Node, setting: str) -> str:
    """The card of who is on the picture at an input: the one that the node names, else the one
    beside the file that the input is read from. Raises NodeError where there is none, or several.
    """
    named = _text(node, setting + "_card")
    if named:
        return mapped(named)
    first = _int(node, "first")
    found = {card_of(mapped(path)) for path in _files_above(_source(node, setting), first)}
    cards = sorted(card for card in found if os.path.isfile(card))
    if len(cards) != 1:
        words = "no card" if not cards else f"{len(cards)} cards"
        raise NodeError(
            f"input {setting} of {node.name()} has {words} of who is on it: name one in "
            f"'{setting.replace('_', ' ')} card', or put it beside the file that is read"
        )
    return cards[0]


def add_entries(node: nuke.Node, setting: str, numbers: Mapping[str, float]) -> None:
    """A knob for each of these numbers of a setting, on a tab of their own; those that are there
    keep their value. Raises NodeError for a name that no knob can have."""
    for name in numbers:
        if not re.match(r"[A-Za-z][A-Za-z0-9_]*$", name):
            raise NodeError(f"{name} is no name for a knob: leave it as a line of {setting}")
    tab = f"{PREFIX}{setting}{ENTRY}tab"
    if numbers and node.knob(tab) is None:
        node.addKnob(nuke.Tab_Knob(tab, setting.replace("_", " ").capitalize()))
    for name, value in numbers.items():
        full = PREFIX + setting + ENTRY + name
        if node.knob(full) is None:
            knob = nuke.Double_Knob(full, name.replace("_", " "))
            knob.setRange(0, 1)
            knob.setTooltip(f"{name} of {setting}. May be animated.")
            node.addKnob(knob)
            knob.setValue(value)


def entries(node: nuke.Node, setting: str) -> list[str]:
    """Names of the numbers of a setting that have knobs of their own."""
    start = PREFIX + setting + ENTRY
    found = [name[len(start) :] for name in node.knobs() if name.startswith(start)]
    return [name for name in found if name != "tab"]


def choose(node: nuke.Node, setting: str, name: str) -> None:
    """Sets a setting to one thing by its name, alone."""
    for entry in entries(node, setting):
        knob: Any = node[PREFIX + setting + ENTRY + entry]
        knob.clearAnimated()
        knob.setValue(1.0 if entry == name else 0.0)
    if name not in entries(node, setting):
        node[PREFIX + setting].setValue(name)


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


def _stills(node: Any) -> list[str]:
    """Settings whose pictures may come by an input."""
    names = [inner.name() for inner in node.nodes()]
    return sorted(n[len(PICTURE_WRITE) :] for n in names if n.startswith(PICTURE_WRITE))


def _card_knob(still: str) -> str:
    return PREFIX + still + "_card"


def _files_above(node: nuke.Node | None, frame: int) -> set[str]:
    """Files that Reads above a node take on a frame."""
    files: set[str] = set()
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if at is None or at.fullName() in seen:
            continue
        seen.add(at.fullName())
        if at.Class() == "Read":
            file: Any = at["file"]
            files.add(str(file.evaluate(frame) or ""))
        waiting += [at.input(i) for i in range(at.inputs())]
    return files - {""}


def _state(knob: nuke.Knob, frames: range) -> KnobState:
    if isinstance(knob, nuke.File_Knob):
        path = _evaluated(knob).strip()
        return KnobState(mapped(path) if path else "")
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
    return node.node(write) is not None and _source(node, input_name) is not None


def _source(node: Any, input_name: str) -> nuke.Node | None:
    """What the group's input of that name is connected to."""
    if node.node(input_name) is None:
        return None
    found: nuke.Node | None = node.input(int(node.node(input_name)["number"].value()))
    return found


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
