# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds swap.blend: a performer over a rendered background, grain laid on it, and then swapped.

    blender -b --python build_swap.py -- FOLDER [--render]

FOLDER holds what make_plate.py wrote. The extension must be installed. The node taps what is
linked to it, so `blender -b FOLDER/swap.blend -a` renders it; in the window press Bake instead.
--render renders its first frame at once.
A Python that has bpy runs this file as well: `python build_swap.py -- FOLDER`.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.vfxswap_blender"
SIZE, FRAMES = (960, 540), 4


def main() -> None:
    """Builds, saves and, if asked, renders."""
    given = sys.argv[sys.argv.index("--") + 1 :]
    folder = Path(given[0]).absolute()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module=MODULE)
    scene = bpy.context.scene
    _set_up(scene, folder)
    _background(scene)
    _comp(scene, folder)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "swap.blend"))
    if "--render" in given:
        scene.frame_end = 1
        bpy.ops.render.render(animation=True)


def _set_up(scene: Any, folder: Path) -> None:
    scene.frame_start, scene.frame_end = 1, FRAMES
    render = scene.render
    render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.seed = 8, 3
    scene.cycles.use_denoising = True
    render.resolution_x, render.resolution_y, render.resolution_percentage = *SIZE, 100
    if hasattr(render, "compositor_device"):
        render.compositor_device = "CPU"
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_depth = "OPEN_EXR", "16"
    render.filepath = str(folder / "comp.####")


def _background(scene: Any) -> None:
    """Lamps out of focus before a warm wall: nothing that needs more than primitives."""
    camera = bpy.data.cameras.new("camera")
    camera.dof.use_dof, camera.dof.focus_distance, camera.dof.aperture_fstop = True, 1.2, 0.6
    eye = bpy.data.objects.new("camera", camera)
    eye.location, eye.rotation_euler = (0, -6, 1.2), (math.pi / 2, 0, 0)
    scene.collection.objects.link(eye)
    scene.camera = eye
    bpy.ops.mesh.primitive_plane_add(size=30, location=(0, 6, 0), rotation=(math.pi / 2, 0, 0))
    bpy.context.object.data.materials.append(_material("wall", (0.12, 0.07, 0.05), 0.0))
    bpy.ops.object.light_add(type="AREA", location=(-4, 0, 5))
    bpy.context.object.data.energy, bpy.context.object.data.size = 300, 3
    picks = random.Random(5)
    for index in range(24):
        place = (picks.uniform(-5, 5), picks.uniform(1, 5), picks.uniform(-1.5, 4))
        bpy.ops.mesh.primitive_uv_sphere_add(radius=0.07, location=place)
        warm = picks.uniform(0.2, 1)
        lamp = _material(f"lamp {index}", (1, 0.35 + 0.5 * warm, 0.15 + 0.5 * warm), 40.0)
        bpy.context.object.data.materials.append(lamp)


def _material(name: str, color: tuple[float, float, float], emission: float) -> Any:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1)
    shader.inputs["Emission Color"].default_value = (*color, 1)
    shader.inputs["Emission Strength"].default_value = emission
    return material


def _comp(scene: Any, folder: Path) -> None:
    if bpy.app.version >= (5, 0, 0):
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        end = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        end = tree.nodes.new("CompositorNodeComposite")
    rendered = tree.nodes.new("CompositorNodeRLayers")
    grain, performer = _sequence(tree, folder, "grain"), _sequence(tree, folder, "performer")
    grainy, over = (tree.nodes.new("CompositorNodeAlphaOver") for _ in range(2))
    grainy.label, over.label = "Grain on the background", "Performer over it"
    _lay(tree, grainy, rendered.outputs["Image"], grain.outputs["Image"])
    _lay(tree, over, grainy.outputs[0], performer.outputs["Image"])
    assert bpy.ops.vfxswap.add_node(effect="swap") == {"FINISHED"}
    node = tree.nodes["VFXSwap Swap"]
    group = node.node_tree
    group.vfxswap.mode = "TAP"
    settings = group.vfxswap_swap
    settings.persona, settings.performer, settings.grain = "basalt", "amber", 1.0
    tree.links.new(over.outputs[0], node.inputs["Image"])
    tree.links.new(node.outputs["Image"], end.inputs[0])
    for place, placed in (
        ((0, 420), rendered), ((0, 100), grain), ((0, -220), performer), ((300, 300), grainy),
        ((540, 120), over), ((780, 160), node), ((1080, 200), end),
    ):  # fmt: skip
        placed.location = place


def _lay(tree: Any, node: Any, under: Any, over: Any) -> None:
    pictures = [socket for socket in node.inputs if socket.type == "RGBA"]
    tree.links.new(under, pictures[0])
    tree.links.new(over, pictures[1])


def _sequence(tree: Any, folder: Path, name: str) -> Any:
    image = bpy.data.images.load(str(folder / f"{name}.0001.exr"))
    image.source = "SEQUENCE"
    node = tree.nodes.new("CompositorNodeImage")
    node.image, node.frame_duration, node.label = image, FRAMES, name.capitalize()
    node.use_auto_refresh = True
    return node


if __name__ == "__main__":
    main()
