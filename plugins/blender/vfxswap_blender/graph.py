# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the nodes are in a compositing tree, and what is linked to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import api

GROUP = "CompositorNodeGroup"


@dataclass(frozen=True, eq=False)
class Place:
    """A node: `path` are the group nodes that lead to its tree, outermost first."""

    root: Any
    path: tuple[Any, ...]
    node: Any

    @property
    def tree(self) -> Any:
        """The tree that the node lies in."""
        return self.path[-1].node_tree if self.path else self.root

    @property
    def group(self) -> Any:
        """The node's own group."""
        return self.node.node_tree

    @property
    def name(self) -> str:
        """The node as an artist knows it."""
        return str(self.node.label or self.node.name)


def is_effect(node: Any) -> bool:
    """Whether a node is one of this extension's."""
    if node.bl_idname != GROUP or node.node_tree is None:
        return False
    own = getattr(node.node_tree, "vfxswap", None)
    return bool(own is not None and own.effect)


def places(tree: Any, path: tuple[Any, ...] = (), root: Any = None) -> Iterator[Place]:
    """The effect nodes of a tree and of the groups in it, muted ones aside; each after those that
    its inputs come from."""
    root = tree if root is None else root
    for node in _upstream_first(tree):
        if node.mute:
            continue
        if is_effect(node):
            yield Place(root, path, node)
        elif node.bl_idname == GROUP and node.node_tree is not None:
            yield from places(node.node_tree, (*path, node), root)


def find(scene: Any, group_name: str) -> Place | None:
    """The effect node whose group has this name."""
    tree = api.tree_of(scene)
    every = places(tree) if tree is not None else iter(())
    return next((place for place in every if place.group.name == group_name), None)


def linked(tree: Any, socket: Any) -> Any | None:
    """The output socket that an input comes from in its own tree, reroutes and muted nodes passed;
    None when nothing is linked."""
    while True:
        link = next((x for x in tree.links if x.to_socket == socket and not x.is_muted), None)
        if link is None:
            return None
        node = link.from_node
        if node.bl_idname == "NodeReroute":
            socket = node.inputs[0]
        elif node.mute:
            inside = next((x for x in node.internal_links if x.to_socket == link.from_socket), None)
            if inside is None:
                return None
            socket = inside.from_socket
        else:
            return link.from_socket


def source(place: Place, socket: Any) -> Any | None:
    """The node output that an input's pixels come from, through reroutes and groups, out of the
    group that the node lies in and into others; None when nothing is linked."""
    path, tree = list(place.path), place.tree
    while True:
        found = linked(tree, socket)
        if found is None:
            return None
        node = found.node
        if node.bl_idname == "NodeGroupInput" and path:
            outer = path.pop()
            tree = path[-1].node_tree if path else place.root
            socket = outer.inputs[_index(node.outputs, found)]
        elif node.bl_idname == GROUP and node.node_tree is not None and not is_effect(node):
            path.append(node)
            tree = node.node_tree
            ends = [n for n in tree.nodes if n.bl_idname == "NodeGroupOutput"]
            end = next((n for n in ends if n.is_active_output), None)
            if end is None:
                return None
            socket = end.inputs[_index(node.outputs, found)]
        else:
            return found


def _index(sockets: Any, wanted: Any) -> int:
    return next(i for i, socket in enumerate(sockets) if socket == wanted)


def _upstream_first(tree: Any) -> list[Any]:
    before: dict[str, set[str]] = {node.name: set() for node in tree.nodes}
    for link in tree.links:
        before[link.to_node.name].add(link.from_node.name)
    ordered: dict[str, None] = {}

    def visit(name: str, seen: frozenset[str]) -> None:
        if name in ordered or name in seen:
            return
        for earlier in sorted(before[name]):
            visit(earlier, seen | {name})
        ordered[name] = None

    for name in before:
        visit(name, frozenset())
    return [tree.nodes[name] for name in ordered]
