"""The module `nuke`: names, arguments and results of Nuke's own; a test holds it to the stubs."""

from __future__ import annotations

import inspect
import math
import os
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fake_nuke import values
from fake_nuke.artist import (
    Menu,
    MenuItem,
    alert,
    ask,
    debug,
    error,
    menu,
    message,
    toolbar,
    tprint,
    warning,
)
from fake_nuke.guard import on_main, session
from fake_nuke.knobs import (
    Array_Knob,
    Boolean_Knob,
    Disable_Knob,
    Double_Knob,
    Enumeration_Knob,
    EvalString_Knob,
    File_Knob,
    Int_Knob,
    Knob,
    Link_Knob,
    Multiline_Eval_String_Knob,
    PyScript_Knob,
    Script_Knob,
    String_Knob,
    Tab_Knob,
    Text_Knob,
)
from fake_nuke.nodes import Group, Node, Root
from fake_nuke.rendering import FrameRange, FrameRanges, ProgressTask, execute, executeMultiple
from vfxswap.geometry import Box

if TYPE_CHECKING:
    from fake_nuke.session import FakeNuke

CLASSES: tuple[type[Any], ...] = (
    Array_Knob, Boolean_Knob, Disable_Knob, Double_Knob, Enumeration_Knob, EvalString_Knob,
    File_Knob, Int_Knob, Knob, Link_Knob, Multiline_Eval_String_Knob, PyScript_Knob, Script_Knob,
    String_Knob, Tab_Knob, Text_Knob, Group, Node, Root,
)  # fmt: skip

INVISIBLE, STARTLINE, DISABLED, NO_ANIMATION, REPLACE = 1024, 4096, 128, 256, 1


# The script -------------------------------------------------------------------------------------


@on_main
def root() -> Root:
    return session().root_node


@on_main
def thisNode() -> Node:
    fake = session()
    if not fake.this:
        raise ValueError("there is no node in this context")
    return fake.this[-1]


@on_main
def thisKnob() -> Knob | None:
    return session().this_knob


@on_main
def thisGroup() -> Group:
    return session().scopes[-1]


@on_main
def toNode(s: str) -> Node | None:
    return session().find(s)


@on_main
def allNodes(
    filter: str | None = None, group: Group | None = None, recurseGroups: bool = False
) -> list[Node]:
    scope = group if group is not None else session().scopes[-1]
    found = scope._walk() if recurseGroups else list(scope._children)
    return [node for node in found if filter in (None, node._kind)]


@on_main
def selectedNodes(filter: str | None = None) -> list[Node]:
    return [node for node in allNodes(filter) if node._value("selected", 0)]


@on_main
def selectedNode() -> Node:
    chosen = selectedNodes()
    if not chosen:
        raise ValueError("no node selected")
    return chosen[-1]


@on_main
def createNode(node: str, knobs: str = "", inpanel: bool = True) -> Node:
    fake = session()
    fake.need_gui("createNode")
    above = selectedNodes()
    made = fake.create(node, text=knobs)
    if above and made._most_inputs():
        made._wire([above[-1]])
    for other in above:
        other.setSelected(False)
    made.setSelected(True)
    fake.called_back("onUserCreate", made)
    return made


@on_main
def delete(n: Node) -> None:
    n._check()
    fake = session()
    assert n._parent is not None
    fake.called_back("onDestroy", n)
    n._parent._children.remove(n)
    for other in fake.root_node._walk():
        other._inputs = [None if i is n else i for i in other._inputs]
    n._detach()


class NodeConstructor:
    """Makes nodes of one class, wired to nothing unless asked."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    @on_main
    def __call__(self, **knobs: Any) -> Node:
        inputs = knobs.pop("inputs", [])
        node = session().create(self._kind)
        name = knobs.pop("name", None)
        if name is not None:
            node.setName(name)
        for knob, value in knobs.items():
            node[knob].setValue(value)  # type: ignore[attr-defined]
        node._wire(list(inputs))
        return node


class Nodes:
    """`nuke.nodes.Read(file=…)`: works without a GUI too."""

    def __getattr__(self, item: str) -> NodeConstructor:
        if item.startswith("_"):
            raise AttributeError(item)
        return NodeConstructor(item)


@on_main
def scriptName() -> str:
    name = session().root_node._value("name", 0)
    if not name:
        raise RuntimeError("no script is open")
    return str(name)


@on_main
def script_directory() -> str:
    return os.path.dirname(scriptName())


@on_main
def scriptOpen(filename: str) -> None:
    session().open(filename)


@on_main
def scriptReadText(s: str) -> None:
    session().load(s)


@on_main
def scriptSave(filename: str | None = None) -> bool:
    session().save(filename or scriptName())
    return True


@on_main
def scriptSaveAs(filename: str, overwrite: int = -1) -> None:
    if os.path.exists(filename) and overwrite != 1:
        raise RuntimeError(f"{filename} is there already")
    session().save(filename)


@on_main
def scriptClear() -> None:
    session().clear()


@on_main
def nodePaste(s: str) -> Node | None:
    with open(s, encoding="utf-8") as file:
        made = session().load(file.read())
    return made[-1] if made else None


@on_main
def frame(f: int | None = None) -> int:
    fake = session()
    if f is not None:
        fake.frame_now = int(f)
    return fake.frame_now


@on_main
def views() -> list[str]:
    return session().views


@on_main
def filename(node: Node, i: int = 0) -> str | None:
    knob = node._knobs.get("file")
    if not isinstance(knob, File_Knob) or not knob._value:
        return None
    now = session().frame_now
    return knob._file_on(now) if i == REPLACE else knob._text(now)


@on_main
def value(knob: str, default: str | None = None) -> str:
    fake = session()
    scope: Node = fake.this[-1] if fake.this else fake.root_node
    try:
        found = scope._look(knob, fake.frame_now)
    except NameError:
        if default is None:
            raise
        return default
    return found._text(fake.frame_now) if isinstance(found, Knob) else values.as_text(found)


@on_main
def exists(s: str) -> bool:
    fake = session()
    scope: Node = fake.this[-1] if fake.this else fake.root_node
    try:
        scope._look(s, fake.frame_now)
    except NameError:
        return toNode(s) is not None
    return True


@on_main
def sample(node: Node, channel: str, x: float, y: float, dx: float = 1, dy: float = 1) -> float:
    """A pixel, counted from the lower left."""
    node._check()
    picture = session().picture(node)
    box = Box(math.floor(x), picture.height - 1 - math.floor(y), 1, 1)
    return float(picture.plane(channel, box)[0, 0])


@on_main
def modified(state: bool | None = None) -> bool:
    if state is not None:
        session().root_node._modified = state
    return session().root_node._modified


# Plug-ins ---------------------------------------------------------------------------------------


@on_main
def pluginAddPath(args: Any, addToSysPath: bool = True) -> None:
    for path in [args] if isinstance(args, str) else args:
        session().plugin_paths.insert(0, path)
        if addToSysPath:
            sys.path.insert(0, path)


@on_main
def pluginAppendPath(args: Any, addToSysPath: bool = True) -> None:
    for path in [args] if isinstance(args, str) else args:
        session().plugin_paths.append(path)
        if addToSysPath:
            sys.path.append(path)


@on_main
def pluginPath() -> list[str]:
    return list(session().plugin_paths)


def filenameFilter(filename: str) -> str | None:
    """What a studio's filters make of a file name; None leaves it as it is."""
    changed = None
    for function, args, kwargs, _ in session().callbacks.get("filenameFilter", ()):
        changed = function(changed or filename, *args, **dict(kwargs or {})) or changed
    return changed


class GlobalsEnvironment(dict[str, Any]):
    """`nuke.env`."""


def executeInMainThread(call: Callable[..., Any], args: Any = (), kwargs: Any = None) -> None:
    session().ask_main(call, args, kwargs, wait=False)


def executeInMainThreadWithResult(
    call: Callable[..., Any], args: Any = (), kwargs: Any = None
) -> Any:
    return session().ask_main(call, args, kwargs, wait=True)


def _adder(event: str) -> Callable[..., None]:
    @on_main
    def add(call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*") -> None:
        session().callbacks.setdefault(event, []).append((call, args, kwargs, nodeClass))

    return add


def _remover(event: str) -> Callable[..., None]:
    @on_main
    def remove(call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*") -> None:
        kept = [row for row in session().callbacks.get(event, []) if row[0] is not call]
        session().callbacks[event] = kept

    return remove


_EVENTS = (
    "onCreate", "onUserCreate", "onDestroy", "onScriptLoad", "onScriptSave", "onScriptClose",
    "knobChanged", "filenameFilter",
)  # fmt: skip
CALLBACKS: dict[str, Callable[..., None]] = {
    **{f"add{e[0].upper()}{e[1:]}": _adder(e) for e in _EVENTS},
    **{f"remove{e[0].upper()}{e[1:]}": _remover(e) for e in _EVENTS},
}
FUNCTIONS: tuple[Callable[..., Any], ...] = (
    alert, allNodes, ask, createNode, debug, delete, error, execute, executeInMainThread,
    executeInMainThreadWithResult, executeMultiple, exists, filename, filenameFilter,
    frame, menu, message, modified, nodePaste, pluginAddPath, pluginAppendPath,
    pluginPath, root, scriptClear,
    sample, scriptName, scriptOpen, scriptReadText, scriptSave, scriptSaveAs, script_directory,
    selectedNode, selectedNodes, thisGroup, thisKnob, thisNode, toNode, toolbar, tprint, value,
    views, warning,
)  # fmt: skip
MORE_CLASSES: tuple[type[Any], ...] = (
    FrameRange, FrameRanges, ProgressTask, Menu, MenuItem, Nodes, NodeConstructor,
    GlobalsEnvironment,
)  # fmt: skip


def constants(fake: FakeNuke) -> dict[str, Any]:
    major, minor = fake.version
    text = f"{major}.{minor}v3"
    return {
        "GUI": fake.gui,
        "INTERACTIVE": fake.gui,
        "NUKE_VERSION_MAJOR": major,
        "NUKE_VERSION_MINOR": minor,
        "NUKE_VERSION_STRING": text,
        "EXE_PATH": "/opt/nuke/Nuke",
        "INVISIBLE": INVISIBLE,
        "STARTLINE": STARTLINE,
        "DISABLED": DISABLED,
        "NO_ANIMATION": NO_ANIMATION,
        "REPLACE": REPLACE,
        "nodes": Nodes(),
        "env": GlobalsEnvironment(
            gui=fake.gui, interactive=fake.gui, NukeVersionMajor=major, NukeVersionMinor=minor,
            NukeVersionString=text, ExecutablePath="/opt/nuke/Nuke", threads=2, nc=False,
        ),
    }  # fmt: skip


def module(fake: FakeNuke) -> types.ModuleType:
    """The module `nuke` of a session."""
    made = types.ModuleType("nuke", "Nuke, as far as tests need it.")
    for kind in (*CLASSES, *MORE_CLASSES):
        setattr(made, kind.__name__, kind)
    for function in FUNCTIONS:
        setattr(made, function.__name__, function)
    for name, content in {**CALLBACKS, **constants(fake)}.items():
        setattr(made, name, content)

    def unknown(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise fake.misuse(f"nuke.{name} is not in the fake: look it up, then add it")

    setattr(made, "__getattr__", unknown)  # noqa: B010
    return made


def companions(fake: FakeNuke) -> list[types.ModuleType]:
    """`nukescripts`, of which nothing but the door for panels is used."""
    scripts, panels = types.ModuleType("nukescripts"), types.ModuleType("nukescripts.panels")

    def registerWidgetAsPanel(
        widget: str, name: str, id: str, create: bool = False
    ) -> types.SimpleNamespace | None:
        fake.need_gui("registerWidgetAsPanel")
        fake.panels[id] = (widget, name)
        if not create:
            return None
        return types.SimpleNamespace(addToPane=lambda pane=None: None)

    setattr(panels, "registerWidgetAsPanel", registerWidgetAsPanel)  # noqa: B010
    setattr(scripts, "panels", panels)  # noqa: B010
    return [scripts, panels]


def signature_of(function: Callable[..., Any]) -> list[str]:
    """Names of a function's arguments, in order, but for self."""
    return [n for n in inspect.signature(function).parameters if n != "self"]
