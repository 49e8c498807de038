"""Text to nodes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcl_loader import GROUPS, Script, ScriptNode, load_text

from fake_nuke import knobs as k
from fake_nuke.classes import CLASSES
from fake_nuke.nodes import Group, Node, Root, knob_states

if TYPE_CHECKING:
    from fake_nuke.session import FakeNuke


class UnknownError(Exception):
    """A class or knob that Nuke does not have, as far as anybody here looked it up."""


def read_into(fake: FakeNuke, text: str, scope: Group, *, fresh: bool = False) -> list[Node]:
    """Makes the nodes of a script in `scope`; returns those at its top.

    `fresh` is a script that is opened: its root's knobs count. Raises UnknownError, ScriptError,
    NameError.
    """
    script: Script = load_text(text)
    fake.layers.update(script.layers)
    made: dict[ScriptNode, Node] = {}
    if fresh:
        _take_knobs(fake.root_node, script.root)
    for node in script.root.children:
        _make(node, scope, made)
    for source, node_made in made.items():
        node_made._wire([made[i] if i is not None else None for i in source.inputs])
    _take_links(script.root.children, made)
    return [made[node] for node in script.root.children]


def _make(source: ScriptNode, scope: Group, made: dict[ScriptNode, Node]) -> None:
    if source.kind not in CLASSES:
        raise UnknownError(f"no class {source.kind} is known")
    node = (Group if source.kind in GROUPS else Node)(source.kind, scope)
    name = source.name or source.kind
    if scope._find_child(name) is not None or not source.name:
        name = scope._free_name(name)
    node._name = name
    node._knobs["name"]._set(name)
    for spec in source.user:
        node._add_user_knob(spec)
    scope._children.append(node)
    made[source] = node
    _take_knobs(node, source)
    if isinstance(node, Group):
        for child in source.children:
            _make(child, node, made)


def _take_knobs(node: Node, source: ScriptNode) -> None:
    for name, words in source.knobs.items():
        if name == "name" and not isinstance(node, Root):
            continue
        if name not in node._knobs:
            raise UnknownError(f"{source.kind} {source.name}: no knob {name} is known")
        knob = node._knobs[name]
        if not isinstance(knob, k.Link_Knob):
            knob._from_script(words)


def _take_links(sources: list[ScriptNode], made: dict[ScriptNode, Node]) -> None:
    """Values of links go to their targets, which are there only now."""
    for source in sources:
        node = made[source]
        for link in k.linked(node._knobs):
            target = link._target()
            if link._name in source.knobs:
                target._from_script(source.knobs[link._name])
        _take_links(source.children, made)


def as_text(fake: FakeNuke) -> str:
    """The whole script, as Nuke saves it."""
    layers = [f"add_layer {{{' '.join([n, *c])}}}" for n, c in fake.layers.items()]
    root = ["Root {", *(f" {n} {v}" for n, v in knob_states(fake.root_node).items())]
    root += [f' name "{fake.root_node._knobs["name"]._text(0)}"', "}"]
    return "\n".join([*root, *layers, *_text_of(fake.root_node, {})]) + "\n"


def _text_of(group: Group, variables: dict[Node, str]) -> list[str]:
    lines: list[str] = []
    for node in _in_order(group._children):
        for source in reversed(node._inputs):
            lines.append(f"push {'$' + variables[source] if source is not None else '0'}")
        lines += [f"{node._kind} {{", f" inputs {len(node._inputs)}", f" name {node._name}"]
        states = dict(knob_states(node))
        own = [f" {name} {states.pop(name)}" for name in list(states) if name not in node._user]
        lines += own
        for name, number in node._user.items():
            lines.append(f" addUserKnob {{{_user_knob(node._knobs[name], number)}}}")
            if name in states and number not in (22, 41):
                lines.append(f" {name} {states[name]}")
        lines.append("}")
        if isinstance(node, Group):
            lines += [*_text_of(node, variables), "end_group"]
        variables[node] = f"N{len(variables)}"
        lines.append(f"set {variables[node]} [stack 0]")
    return lines


def _in_order(nodes: list[Node]) -> list[Node]:
    """Inputs before those that take them."""
    done: list[Node] = []

    def visit(node: Node) -> None:
        if node in done:
            return
        for source in node._inputs:
            if source is not None:
                visit(source)
        done.append(node)

    for node in nodes:
        visit(node)
    return done


def _user_knob(knob: k.Knob, number: int) -> str:
    words = [str(number), knob._name]
    if knob._label is not None:
        words += ["l", k.quoted(knob._label)]
    if knob._tip:
        words += ["t", k.quoted(knob._tip)]
    if not knob._visible:
        words.append("+INVISIBLE")
    if isinstance(knob, k.Enumeration_Knob):
        words += ["M", "{" + " ".join(map(k.quoted, knob._options)) + "}"]
    elif isinstance(knob, k.Tab_Knob) and knob._group:
        words += ["n", str(knob._group)]
    elif isinstance(knob, k.Array_Knob):
        words += ["R", f"{knob._range[0]:g}", f"{knob._range[1]:g}"]
    elif isinstance(knob, k.Link_Knob):
        words += ["T", knob._link]
    elif isinstance(knob, k.PyScript_Knob):
        words += ["T", k.quoted(knob._value)]
    return " ".join(words)
