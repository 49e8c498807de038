# SPDX-License-Identifier: GPL-3.0-or-later
"""What is linked to a node: a clip on disk, or pixels that only a render gives.

Pixels are rendered in a copy of the scene whose compositing output is the node's input.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import bpy

from . import api, graph, groups
from .description import Effect
from .sequences import Clip, number_of, pattern_of
from .spaces import engine_space

PLATE = "plate.####.exr"
_TAP = "vfxswap tap"


class NotOnDiskError(Exception):
    """An input is no clip on disk; the message says what to do, `movie` that it is one file."""

    def __init__(self, message: str, *, movie: bool = False) -> None:
        super().__init__(message)
        self.movie = movie


def own_config() -> bool:
    """Whether Blender and the engine read one OCIO config of the studio's."""
    return bool(os.environ.get("OCIO"))


def linear_space() -> str:
    """The engine's name of the space that the compositor works in. Raises ValueError."""
    return engine_space(api.scene_linear(), own_config=own_config())


def clip_of(place: graph.Place, socket: Any) -> Clip:
    """The clip that is linked to an input, by nothing but reroutes and groups.

    Raises NotOnDiskError, and ValueError for a colour space that the engine lacks.
    """
    output = graph.source(place, socket)
    if output is None:
        raise NotOnDiskError("nothing is linked to Image")
    node = output.node
    if node.bl_idname == "CompositorNodeImage" and node.image is not None:
        return _of_image(node, output)
    if node.bl_idname == "CompositorNodeMovieClip" and node.clip is not None:
        return _of_movie_clip(node.clip)
    raise NotOnDiskError(
        f"{node.label or node.name} is no image sequence or movie clip: bake it, or tap it"
    )


def blender_space(place: graph.Place, socket: Any) -> str:
    """Blender's name of the colour space of a clip that is linked."""
    output = graph.source(place, socket)
    if output is None:
        raise NotOnDiskError("nothing is linked to Image")
    node = output.node
    clip = node.image if node.bl_idname == "CompositorNodeImage" else node.clip
    return str(clip.colorspace_settings.name)


def _of_image(node: Any, output: Any) -> Clip:
    image = node.image
    if image.source == "MOVIE":
        raise NotOnDiskError(f"{image.name} is a movie file: bake it", movie=True)
    if image.source not in ("FILE", "SEQUENCE") or image.packed_file is not None:
        raise NotOnDiskError(f"{image.name} is not on disk as it is: bake it, or tap it")
    path = os.path.abspath(bpy.path.abspath(image.filepath))
    space = engine_space(image.colorspace_settings.name, own_config=own_config())
    if output.name == "Alpha":
        raise NotOnDiskError(f"the alpha of {image.name} is linked to Image: bake it, or tap it")
    layer = "" if output.name in ("Image", "Combined") else str(output.name)
    if image.type == "MULTILAYER" and node.has_layers and node.layer:
        layer = f"{node.layer}.{output.name}"
    if image.source == "FILE":
        return Clip(path, space, 1, 0, 1, still=True, layer=layer)
    return Clip(
        pattern_of(path), space, node.frame_start, node.frame_offset, node.frame_duration,
        node.use_cyclic, layer=layer,
    )  # fmt: skip


def _of_movie_clip(clip: Any) -> Clip:
    if clip.source == "MOVIE":
        raise NotOnDiskError(f"{clip.name} is a movie file: bake it", movie=True)
    path = os.path.abspath(bpy.path.abspath(clip.filepath))
    space = engine_space(clip.colorspace_settings.name, own_config=own_config())
    pattern = pattern_of(path)
    if pattern == path:
        return Clip(path, space, 1, 0, 1, still=True)
    offset = number_of(path) - 1 + clip.frame_offset
    return Clip(pattern, space, clip.frame_start, offset, clip.frame_duration)


def matte_clips(place: graph.Place, effect: Effect) -> dict[str, tuple[Clip, str]]:
    """Clips and channels of the linked mattes by role. Raises NotOnDiskError."""
    found = {}
    for role, socket in linked_mattes(place, effect).items():
        output = graph.source(place, socket)
        try:
            if output is None or output.node.bl_idname != "CompositorNodeImage":
                raise NotOnDiskError("")
            clip = _of_image_data(output.node)
        except NotOnDiskError:
            raise NotOnDiskError(
                f"the {role} matte is no image sequence: bake, or tap, so that it is rendered too"
            ) from None
        found[role] = (clip, "A" if output.name == "Alpha" else "")
    return found


def _of_image_data(node: Any) -> Clip:
    image = node.image
    if image is None or image.source not in ("FILE", "SEQUENCE"):
        raise NotOnDiskError("")
    path = os.path.abspath(bpy.path.abspath(image.filepath))
    if image.source == "FILE":
        return Clip(path, "", 1, 0, 1, still=True)
    return Clip(
        pattern_of(path), "", node.frame_start, node.frame_offset, node.frame_duration,
        node.use_cyclic,
    )  # fmt: skip


def linked_mattes(place: graph.Place, effect: Effect) -> dict[str, Any]:
    """The matte inputs that something is linked to, by role."""
    sockets = {m.role: groups.input_socket(place.node, m.role) for m in effect.mattes}
    return {
        role: socket
        for role, socket in sockets.items()
        if socket is not None and graph.source(place, socket) is not None
    }


def linked_pictures(place: graph.Place, effect: Effect) -> dict[str, tuple[str, str]]:
    """Files and colour spaces of the stills that are linked, by setting.

    A picture is taken as it lies on disk: what says who is on it lies beside the file. Raises
    ValueError for anything else that is linked, and for a colour space that the engine lacks.
    """
    found = {}
    for setting in (picture.setting for picture in effect.pictures):
        socket = groups.input_socket(place.node, setting)
        output = graph.source(place, socket) if socket is not None else None
        if output is None:
            continue
        image = output.node.image if output.node.bl_idname == "CompositorNodeImage" else None
        if image is None or image.source != "FILE" or image.packed_file is not None:
            name = output.node.label or output.node.name
            raise ValueError(
                f"{setting} is linked to {name}: link a single picture file, unchanged"
            )
        space = engine_space(image.colorspace_settings.name, own_config=own_config())
        found[setting] = (os.path.abspath(bpy.path.abspath(image.filepath)), space)
    return found


def matte_file(folder: str, role: str) -> str:
    """Where the frames of a rendered matte lie."""
    return os.path.join(folder, f"{role}.####.exr")


@contextlib.contextmanager
def copied(scene: Any, place: graph.Place, effect: Effect, folder: str) -> Iterator[Any]:
    """A copy of the scene that renders what is linked to a node, and its mattes, to EXR frames in
    `folder`; nothing of it is left behind. Raises NotOnDiskError when nothing is linked."""
    wanted = {"": place.node.inputs["Image"], **linked_mattes(place, effect)}
    outputs = {role: graph.linked(place.tree, socket) for role, socket in wanted.items()}
    if outputs[""] is None:
        raise NotOnDiskError("nothing is linked to Image")
    os.makedirs(folder, exist_ok=True)
    made: list[Any] = []
    copy = scene.copy()
    copy.name = f"{scene.name} {_TAP}"
    try:
        if api.NEW_COMPOSITOR:
            root = place.root.copy()
            made.append(root)
            copy.compositing_node_group = root
        else:
            root = copy.node_tree
        trees = [root]
        for outer in place.path:
            inner = trees[-1].nodes[outer.name]
            inner.node_tree = inner.node_tree.copy()
            made.append(inner.node_tree)
            trees.append(inner.node_tree)
        for tree in trees:
            for node in [n for n in tree.nodes if n.bl_idname in api.OUTPUTS]:
                tree.nodes.remove(node)
        for role, output in outputs.items():
            socket = _brought_out(trees, place.path, output, role)
            if role:
                path = matte_file(folder, role)
                api.add_matte_output(root, path, socket)
            else:
                root.links.new(socket, api.output_socket(root))
        copy.frame_step = 1
        copy.render.use_compositing, copy.render.use_sequencer = True, False
        api.write_single(copy, os.path.join(folder, PLATE))
        api.use_cpu(copy)
        yield copy
    finally:
        bpy.data.scenes.remove(copy)
        for tree in made:
            bpy.data.node_groups.remove(tree)


def render(copy: Any, frame: int) -> None:
    """Renders a frame of a scene made by `copied`. Raises RuntimeError where Blender cannot.

    As an animation of one frame: a still is rendered on the frame that the window's scene is on.
    """
    copy.frame_start = copy.frame_end = frame
    bpy.ops.render.render(scene=copy.name, animation=True)


def _brought_out(trees: Sequence[Any], path: Sequence[Any], output: Any, role: str) -> Any:
    """The socket in the copy of the outermost tree that gives what `output` gives in the tree
    that the node lies in: each group on the way gets one output more."""
    node = trees[-1].nodes[output.node.name]
    socket = next(s for s in node.outputs if s.identifier == output.identifier)
    for tree, outer, around in zip(
        reversed(trees[1:]), reversed(path), reversed(trees[:-1]), strict=True
    ):
        kind = "NodeSocketFloat" if role else "NodeSocketColor"
        name = f"{_TAP} {role}"
        made = tree.interface.new_socket(name, in_out="OUTPUT", socket_type=kind)
        ends = [n for n in tree.nodes if n.bl_idname == "NodeGroupOutput" and n.is_active_output]
        end = ends[0] if ends else tree.nodes.new("NodeGroupOutput")
        tree.links.new(socket, next(s for s in end.inputs if s.identifier == made.identifier))
        shown = around.nodes[outer.name]
        socket = next(s for s in shown.outputs if s.identifier == made.identifier)
    return socket
