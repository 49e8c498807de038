"""Nuke scripts as text: quoting, nodes, and the stack that wires them.

A script is Tcl (tried on 323 public files): a command a node, its body an even list of knob names
and values; a node takes its inputs from a stack, input 0 from the top, and is pushed itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9_./:+%-]+")
_ESCAPES = str.maketrans(
    {"\n": "\\n", **{sign: "\\" + sign for sign in ("\\", '"', "[", "]", "{", "}", "$")}}
)


def quoted(text: str) -> str:
    """`text` as one word of Tcl that nothing is substituted in."""
    return text if _PLAIN.fullmatch(text) else f'"{text.translate(_ESCAPES)}"'


def number(value: float) -> str:
    """A number as Nuke writes it: 1, 0.25."""
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def expression(text: str) -> str:
    """A knob's value that Nuke computes."""
    return f"{{{{{text}}}}}"


@dataclass(eq=False)
class Node:
    """A node of a script. `knobs` and `user` (addUserKnob lines and their values) are pairs of a
    name and Tcl text; an input may be None, not connected. A group holds `children`, and lines
    that make its layers known."""

    kind: str
    name: str
    inputs: Sequence[Node | None] = ()
    knobs: Sequence[tuple[str, str]] = ()
    at: tuple[int, int] = (0, 0)
    user: Sequence[tuple[str, str]] = ()
    layers: Sequence[str] = ()
    children: Sequence[Node] = ()


def script(nodes: Sequence[Node], *, layers: Sequence[str] = ()) -> str:
    """The nodes as text, each after those that it takes its inputs from."""
    return "\n".join([*layers, *_body(nodes, "", {})]) + "\n"


def add_layer(name: str, channels: Sequence[str]) -> str:
    """The line that makes a layer known before a file with it is read."""
    return f"add_layer {{{' '.join([name, *(f'{name}.{c}' for c in channels)])}}}"


def _body(nodes: Sequence[Node], indent: str, variables: dict[Node, str]) -> list[str]:
    """`variables` are of the whole script: those of a group would overwrite the others."""
    lines: list[str] = []
    pushed = _pushed(nodes)
    top: Node | None = None
    for node in nodes:
        if node.inputs and tuple(node.inputs) != (top,):
            for source in reversed(node.inputs):
                lines.append(f"{indent}push {'$' + variables[source] if source else '0'}")
        lines += [indent + line for line in _node(node)]
        if node.kind == "Group":
            lines += [f"{indent} {line}" for line in node.layers]
            lines += _body(node.children, indent + " ", variables)
            lines.append(f"{indent}end_group")
        if node in pushed:
            variables[node] = f"N{len(variables) + 1}"
            lines.append(f"{indent}set {variables[node]} [stack 0]")
        if node.kind != "Root":
            top = node
    return lines


def _pushed(nodes: Sequence[Node]) -> set[Node]:
    """Nodes that cannot be taken from the top of the stack, where they lie once written."""
    pushed: set[Node] = set()
    for before, node in zip([None, *nodes], nodes):
        if tuple(node.inputs) != (before,):
            pushed.update(source for source in node.inputs if source is not None)
    return pushed


def _node(node: Node) -> list[str]:
    inputs = [] if len(node.inputs) == 1 else [("inputs", str(len(node.inputs)))]
    own = [("name", node.name), ("xpos", str(node.at[0])), ("ypos", str(node.at[1]))]
    pairs = [*inputs, *node.knobs, *(own if node.kind != "Root" else []), *node.user]
    return [f"{node.kind} {{", *(f" {name} {value}" for name, value in pairs), "}"]
