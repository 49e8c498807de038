"""Loads Nuke scripts with a Tcl interpreter whose commands are all taken away but `set`.

A script is Tcl. This is how its text becomes nodes and wires without Nuke: node classes are unknown
commands, and the few words of the format (`push`, `stack` …) are supplied. Nothing in a file runs:
`[exec …]` is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

try:
    import tkinter
except ImportError as missing:  # pragma: no cover
    raise ImportError(
        "the tests of Nuke scripts load them with Tcl: Python needs its tkinter module "
        "(Debian: python3-tk; pyenv: build with tk-dev)"
    ) from missing

GROUPS = {"Group", "Gizmo", "LiveGroup"}
_FLAGS = {"STARTLINE", "INVISIBLE", "DISABLED", "ENDLINE"}


# An interpreter takes a millisecond to make, and belongs to the thread that made it.
_LOCAL = threading.local()


class ScriptError(Exception):
    """A script that Nuke could not read, in one sentence."""


@dataclass(frozen=True)
class UserKnob:
    """An addUserKnob line: `{7 gain l "gain" t "tip" +STARTLINE R 0 4}`."""

    kind: int
    name: str
    label: str | None = None
    tip: str = ""
    text: str | None = None
    options: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    group: int = 0
    """Of a tab: 1 begins a group of knobs, -1 ends it."""


@dataclass(eq=False)
class ScriptNode:
    """A node as it stands in the file. `knobs` hold raw Tcl words; later ones win."""

    kind: str
    parent: ScriptNode | None
    knobs: dict[str, str] = field(default_factory=dict)
    user: list[UserKnob] = field(default_factory=list)
    inputs: list[ScriptNode | None] = field(default_factory=list)
    children: list[ScriptNode] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.knobs.get("name", "")

    def walk(self) -> list[ScriptNode]:
        """All nodes below, in the order of the file."""
        return [node for child in self.children for node in (child, *child.walk())]

    def child(self, name: str) -> ScriptNode:
        return next(node for node in self.children if node.name == name)


@dataclass
class Script:
    """The nodes of a file under one root, and the layers that it makes known."""

    root: ScriptNode
    layers: dict[str, tuple[str, ...]]

    def nodes(self) -> list[ScriptNode]:
        return self.root.walk()


def load_file(path: Path) -> Script:
    return load_text(path.read_text(encoding="utf-8"))


def load_text(text: str) -> Script:
    """The script in `text`. Raises ScriptError."""
    return _Loader().run(text)


def split_list(text: str) -> tuple[str, ...]:
    """The elements of a Tcl list."""
    if not hasattr(_LOCAL, "tcl"):
        _LOCAL.tcl = tkinter.Tcl()
    return tuple(str(word) for word in _LOCAL.tcl.splitlist(text))


class _Loader:
    def __init__(self) -> None:
        self._tcl = tkinter.Tcl()
        self._root = ScriptNode("Root", None)
        self._group = self._root
        self._stacks: list[list[ScriptNode | None]] = [[]]
        self._known: dict[str, ScriptNode | None] = {"0": None}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._error: ScriptError | None = None

    def run(self, text: str) -> Script:
        tcl = self._tcl
        for name in tcl.splitlist(tcl.eval("info commands")):
            if name not in ("set", "rename"):
                tcl.call("rename", name, "")
        commands: dict[str, Callable[..., object]] = {
            "unknown": self._node, "push": self._push, "stack": self._stack,
            "add_layer": self._add_layer, "end_group": self._end_group, "version": self._nothing,
            "clone": self._clone, "define_window_layout_xml": self._nothing,
        }  # fmt: skip
        for name, command in commands.items():
            tcl.createcommand(name, command)
        tcl.call("rename", "rename", "")
        try:
            tcl.eval(text)
        except tkinter.TclError as error:
            raise self._error or ScriptError(f"not a script: {error}") from None
        if len(self._stacks) != 1:
            raise ScriptError(f"group {self._group.name} has no end_group")
        return Script(self._root, self._layers)

    def _words(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(str(word) for word in self._tcl.splitlist(text))
        except tkinter.TclError as error:
            raise self._refuse(f"not a list: {error}") from None

    def _refuse(self, sentence: str) -> ScriptError:
        self._error = ScriptError(sentence)
        return self._error

    def _nothing(self, *_: str) -> str:
        return ""

    def _node(self, kind: str, *bodies: str) -> str:
        if len(bodies) != 1:
            raise self._refuse(f"command {kind} with {len(bodies)} words is no node")
        words = self._words(bodies[0])
        if len(words) % 2:
            raise self._refuse(f"{kind}: a knob without a value, near {words[-1]!r}")
        root = kind == "Root"
        node = self._root if root else ScriptNode(kind, self._group)
        for name, value in zip(words[::2], words[1::2]):
            if name == "addUserKnob":
                node.user.append(self._user_knob(value))
            else:
                node.knobs[name] = value
        if root:
            node.knobs.pop("inputs", None)
            return ""
        count = sum(int(part) for part in node.knobs.pop("inputs", "1").split("+"))
        stack = self._stacks[-1]
        node.inputs = [stack.pop() if stack else None for _ in range(count)]
        self._group.children.append(node)
        stack.append(node)
        if kind in GROUPS:
            self._group = node
            self._stacks.append([])
        return ""

    def _user_knob(self, text: str) -> UserKnob:
        try:
            return _user_knob(self._words(text))
        except ScriptError as error:
            raise self._refuse(str(error)) from None

    def _clone(self, source: str, *_: str) -> str:
        if source.lstrip("$") not in self._known:
            raise self._refuse(f"clone of the unknown node {source}")
        node = ScriptNode("Clone", self._group)
        self._group.children.append(node)
        self._stacks[-1].append(node)
        return ""

    def _stack(self, index: str) -> str:
        stack = self._stacks[-1]
        node = stack[-1 - int(index)] if int(index) < len(stack) else None
        key = "0" if node is None else f"N{id(node):x}"
        self._known[key] = node
        return key

    def _push(self, key: str) -> str:
        if key not in self._known:
            raise self._refuse(f"push of the unknown node {key}")
        node = self._known[key]
        if node is not None and node.parent is not self._group:
            raise self._refuse(f"{node.name} is pushed outside its group")
        self._stacks[-1].append(node)
        return ""

    def _add_layer(self, text: str) -> str:
        name, *channels = self._words(text)
        self._layers[name] = tuple(channels)
        return ""

    def _end_group(self) -> str:
        if len(self._stacks) < 2 or self._group.parent is None:
            raise self._refuse("end_group without a group")
        self._stacks.pop()
        self._group = self._group.parent
        return ""


def _user_knob(words: tuple[str, ...]) -> UserKnob:
    if len(words) < 2 or not words[0].isdigit():
        raise ScriptError(f"not a user knob: {' '.join(words)}")
    knob = UserKnob(int(words[0]), words[1])
    rest = list(words[2:])
    changes: dict[str, object] = {}
    flags: list[str] = []
    while rest:
        word = rest.pop(0)
        if word[:1] in "+-" and word[1:] in _FLAGS:
            flags.append(word)
        elif word in ("l", "t", "T") and rest:
            changes[{"l": "label", "t": "tip", "T": "text"}[word]] = rest.pop(0)
        elif word == "M" and rest:
            changes["options"] = split_list(rest.pop(0))
        elif word == "R" and len(rest) > 1:
            changes["limits"] = (float(rest.pop(0)), float(rest.pop(0)))
        elif word == "n" and rest:
            changes["group"] = int(rest.pop(0))
        else:
            raise ScriptError(f"user knob {knob.name}: {word!r} is not understood")
    return UserKnob(knob.kind, knob.name, flags=tuple(flags), **changes)  # type: ignore[arg-type]
