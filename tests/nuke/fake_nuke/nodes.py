"""Nodes and groups, with the names and behaviour of Nuke's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tcl_loader import UserKnob

from fake_nuke import knobs as k
from fake_nuke.classes import CLASSES, COMMON, USER_KNOBS
from fake_nuke.guard import on_main, session

if TYPE_CHECKING:
    from fake_nuke.operators import Picture


class Node:
    """A node of the script. After it was deleted every call raises ValueError, as in Nuke."""

    def __init__(self, kind: str, parent: Group | None) -> None:
        self._kind = kind
        self._parent = parent
        self._name = ""
        self._inputs: list[Node | None] = []
        self._knobs: dict[str, k.Knob] = {}
        self._user: dict[str, int] = {}
        self._attached = True
        for name, make in {**COMMON, **CLASSES[kind].knobs}.items():
            self._own(make(name))

    # For the fake itself ------------------------------------------------------------------------

    def _own(self, knob: k.Knob) -> None:
        knob._node = self
        self._knobs[knob._name] = knob

    def _add_user_knob(self, spec: UserKnob) -> None:
        """Raises ValueError for a number that is no user knob's, NameError for a second of a
        name."""
        if spec.kind not in USER_KNOBS:
            raise ValueError(f"{self._name}: there is no user knob {spec.kind}")
        if spec.name in self._knobs:
            raise NameError(f"{self._name}: a second knob {spec.name}")
        knob = USER_KNOBS[spec.kind](spec.name, spec.label)
        knob._tip = spec.tip
        knob._visible = "+INVISIBLE" not in spec.flags
        if isinstance(knob, k.Enumeration_Knob):
            knob._options = list(spec.options)
        elif spec.text is not None:
            knob._set(spec.text)
        if isinstance(knob, k.Tab_Knob):
            knob._group = spec.group
        if isinstance(knob, k.Array_Knob) and spec.limits:
            knob._range = spec.limits
        self._own(knob)
        self._user[spec.name] = spec.kind

    def _knob(self, name: str) -> k.Knob:
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist")
        return self._knobs[name]

    def _value(self, name: str, frame: float) -> Any:
        """A knob's value on a frame: what evaluating the node asks for."""
        knob = self._knob(name)
        if isinstance(knob, k.Array_Knob):
            return knob._typed(knob._number(frame))
        return knob._text(frame)

    def _find_child(self, name: str) -> Node | None:
        return None

    def _look(self, name: str, frame: float) -> Any:
        """What a dotted name means to this node's expressions: a knob, or a node's word."""
        *path, last = name.split(".")
        node: Node | None = self
        if path == ["this"]:
            path = []
        for step in path:
            if node is None:
                break
            if step == "parent":
                node = node._parent
            elif step == "root":
                node = session().root_node
            else:
                scope = node if node is not self else node._parent
                node = scope._find_child(step) if scope is not None else None
        if node is None:
            raise NameError(f"nothing is named {name}")
        if last == "name" and node is not session().root_node:
            return node._name
        return node._knob(last)

    def _check(self) -> None:
        if not self._attached:
            raise ValueError("A PythonObject is not attached to a node")

    def _full(self) -> str:
        above = self._parent
        if above is None or above is session().root_node:
            return self._name
        return f"{above._full()}.{self._name}"

    def _wire(self, inputs: list[Node | None]) -> None:
        self._inputs = list(inputs)

    def _input(self, index: int) -> Node | None:
        return self._inputs[index] if index < len(self._inputs) else None

    def _picture(self, frame: int) -> Picture:
        return session().picture(self, frame)

    def _detach(self) -> None:
        self._attached = False

    # Nuke's -------------------------------------------------------------------------------------

    @on_main
    def Class(self) -> str:
        self._check()
        return self._kind

    @on_main
    def name(self) -> str:
        self._check()
        return self._name

    @on_main
    def fullName(self) -> str:
        self._check()
        return self._full()

    @on_main
    def setName(self, name: str) -> None:
        self._check()
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name of a node")
        if self._parent is not None and self._parent._find_child(name) not in (None, self):
            name = self._parent._free_name(name)
        self._name = name
        self._knobs["name"]._set(name)

    @on_main
    def knob(self, p: str) -> k.Knob | None:
        self._check()
        return self._knobs.get(p)

    @on_main
    def knobs(self) -> dict[str, k.Knob]:
        self._check()
        return dict(self._knobs)

    @on_main
    def allKnobs(self) -> list[k.Knob]:
        self._check()
        return list(self._knobs.values())

    @on_main
    def __getitem__(self, name: str) -> k.Knob:
        self._check()
        return self._knob(name)

    @on_main
    def addKnob(self, knob: k.Knob) -> None:
        self._check()
        if knob._name in self._knobs:
            raise NameError(f"{self._name}: a second knob {knob._name}")
        numbers = [n for n, kind in USER_KNOBS.items() if type(knob) is kind]
        self._own(knob)
        self._user[knob._name] = numbers[0]

    @on_main
    def removeKnob(self, knob: k.Knob) -> None:
        self._check()
        del self._knobs[knob._name], self._user[knob._name]

    @on_main
    def input(self, index: int) -> Node | None:
        self._check()
        return self._input(index)

    @on_main
    def inputs(self) -> int:
        self._check()
        connected = [i for i, node in enumerate(self._inputs) if node is not None]
        return connected[-1] + 1 if connected else 0

    @on_main
    def maxInputs(self) -> int:
        self._check()
        return self._most_inputs()

    def _most_inputs(self) -> int:
        return CLASSES[self._kind].most

    @on_main
    def setInput(self, i: int, node: Node | None) -> bool:
        self._check()
        if i >= self._most_inputs():
            return False
        self._inputs += [None] * (i + 1 - len(self._inputs))
        self._inputs[i] = node
        return True

    @on_main
    def parent(self) -> Group | None:
        self._check()
        return self._parent

    @on_main
    def xpos(self) -> int:
        self._check()
        return int(self._value("xpos", 0))

    @on_main
    def ypos(self) -> int:
        self._check()
        return int(self._value("ypos", 0))

    @on_main
    def setXYpos(self, x: int, y: int) -> None:
        self._check()
        self._knobs["xpos"]._set(int(x))
        self._knobs["ypos"]._set(int(y))

    @on_main
    def isSelected(self) -> bool:
        return bool(self._value("selected", 0))

    @on_main
    def setSelected(self, selected: bool) -> None:
        self._check()
        self._knobs["selected"]._set(bool(selected))

    @on_main
    def channels(self) -> list[str]:
        self._check()
        return sorted(self._picture(session().frame_now).channels)

    @on_main
    def width(self) -> int:
        self._check()
        return self._picture(session().frame_now).width

    @on_main
    def height(self) -> int:
        self._check()
        return self._picture(session().frame_now).height

    @on_main
    def pixelAspect(self) -> float:
        self._check()
        return self._picture(session().frame_now).aspect

    @on_main
    def metadata(self) -> dict[str, Any]:
        self._check()
        return dict(self._picture(session().frame_now).metadata)

    @on_main
    def error(self) -> bool:
        self._check()
        return session().has_error(self)

    @on_main
    def hasError(self) -> bool:
        self._check()
        return session().has_error(self)

    @on_main
    def firstFrame(self) -> int:
        self._check()
        return session().range_of(self)[0]

    @on_main
    def lastFrame(self) -> int:
        self._check()
        return session().range_of(self)[1]

    @on_main
    def showControlPanel(self) -> None:
        self._check()
        session().need_gui("Node.showControlPanel")

    @on_main
    def redraw(self) -> None:
        self._check()

    @on_main
    def dependencies(self, mask: int = 0) -> list[Node]:
        self._check()
        return [node for node in self._inputs if node is not None]


class Group(Node):
    """A node with nodes inside; the root is one too."""

    def __init__(self, kind: str, parent: Group | None) -> None:
        self._children: list[Node] = []
        super().__init__(kind, parent)

    def _find_child(self, name: str) -> Node | None:
        return next((node for node in self._children if node._name == name), None)

    def _free_name(self, stem: str) -> str:
        stem = stem.rstrip("0123456789") or stem
        taken = {node._name for node in self._children}
        number = 1
        while f"{stem}{number}" in taken:
            number += 1
        return f"{stem}{number}"

    def _walk(self) -> list[Node]:
        found: list[Node] = []
        for node in self._children:
            found.append(node)
            if isinstance(node, Group):
                found += node._walk()
        return found

    def _detach(self) -> None:
        super()._detach()
        for node in self._children:
            node._detach()

    def _most_inputs(self) -> int:
        return sum(node._kind == "Input" for node in self._children)

    @on_main
    def node(self, s: str) -> Node | None:
        self._check()
        return self._find_child(s)

    @on_main
    def nodes(self) -> list[Node]:
        self._check()
        return list(self._children)

    @on_main
    def begin(self) -> Group:
        self._check()
        session().scopes.append(self)
        return self

    @on_main
    def end(self) -> None:
        self._check()
        session().scopes.pop()

    def __enter__(self) -> Group:
        return self.begin()

    def __exit__(self, type: object, value: object, traceback: object) -> None:
        self.end()


class Root(Group):
    """The script itself."""

    def __init__(self) -> None:
        super().__init__("Root", None)
        self._knobs["name"]._set("")
        self._name = "root"
        self._modified = False

    @on_main
    def name(self) -> str:
        return str(self._value("name", 0)) or "Root"

    @on_main
    def setModified(self, modified: bool) -> None:
        self._modified = bool(modified)

    @on_main
    def modified(self) -> bool:
        return self._modified

    @on_main
    def firstFrame(self) -> int:
        return int(self._value("first_frame", 0))

    @on_main
    def lastFrame(self) -> int:
        return int(self._value("last_frame", 0))

    @on_main
    def fps(self) -> float:
        return float(self._value("fps", 0))


def knob_states(node: Node) -> Mapping[str, str]:
    """The knobs that differ from a new node's, as Tcl text."""
    fresh = {name: make(name) for name, make in {**COMMON, **CLASSES[node._kind].knobs}.items()}
    states = {}
    for name, knob in node._knobs.items():
        text = knob._to_script()
        if name == "name" or text is None:
            continue
        if name in fresh and fresh[name]._to_script() == text:
            continue
        states[name] = text
    return states
