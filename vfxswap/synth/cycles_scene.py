"""Renders the scene of a folder with Cycles; run by a Python that has `bpy`, never imported.

    python cycles_scene.py FOLDER

Reads `scene.json`, `shared.npz` and one `NAME.npz` a frame; writes `NAME-beauty.exr`,
`NAME-truth0.exr` … and, last, `result.json`. Only the standard library, numpy and bpy are used.
Truth comes from renders of the same scene in which every surface emits its own values and nothing
is lit: half-transparent hair then weighs by what it covers, which index passes do not.
"""
# mypy: ignore-errors

import importlib.util
import json
import math
import os
import sys
import time
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector

TRUTH_PASSES = 3
OPAQUE = ("skin", "eye_left", "eye_right")


def sibling(name):
    """A module beside this script, by its path: the folder stays out of `sys.path`."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


looks = sibling("cycles_looks")


class Thing:
    """One mesh with its surfaces, placed anew in every frame."""

    def __init__(self, scene, entry, arrays, surfaces):
        name = self.name = entry["name"]
        self.surfaces = [surfaces[s] for s in entry["surfaces"]]
        faces, uv = arrays[f"{name}.faces"], arrays[f"{name}.uv"]
        mesh = self.mesh = bpy.data.meshes.new(name)
        mesh.vertices.add(int(entry["vertices"]))
        mesh.loops.add(faces.size)
        mesh.polygons.add(len(faces))
        mesh.loops.foreach_set("vertex_index", faces.reshape(-1).astype(np.int32))
        mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
        mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
        if f"{name}.surface" in arrays:
            mesh.polygons.foreach_set("material_index", arrays[f"{name}.surface"].astype(np.int32))
        mesh.uv_layers.new(name="uv").data.foreach_set("uv", uv.reshape(-1).astype(np.float32))
        for surface in self.surfaces:
            mesh.materials.append(surface.seen)
        self.place({k: v for k, v in arrays.items() if k.startswith(f"{name}.")})
        mesh.validate()
        self.object = bpy.data.objects.new(name, mesh)
        scene.collection.objects.link(self.object)

    def place(self, arrays):
        """Sets positions and the attributes that `arrays` holds for this mesh."""
        for key, values in arrays.items():
            owner, _, what = key.partition(".")
            if owner != self.name or what in ("faces", "uv", "surface"):
                continue
            if what == "points":
                self.mesh.vertices.foreach_set("co", values.reshape(-1).astype(np.float32))
                continue
            kind, field = ("FLOAT", "value") if values.ndim == 1 else ("FLOAT_VECTOR", "vector")
            attribute = self.mesh.attributes.get(what)
            if attribute is None:
                attribute = self.mesh.attributes.new(what, kind, "POINT")
            attribute.data.foreach_set(field, values.reshape(-1).astype(np.float32))
        self.mesh.update()

    def wear(self, which):
        for i, surface in enumerate(self.surfaces):
            self.mesh.materials[i] = getattr(surface, which)


# Scene ------------------------------------------------------------------------------------------


def new_scene(settings):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine, cycles.device = "CYCLES", "CPU"
    render.film_transparent = True
    render.use_persistent_data = False
    render.resolution_percentage = 100
    if settings["threads"]:
        render.threads_mode, render.threads = "FIXED", settings["threads"]
    cycles.seed = settings["seed"]
    cycles.use_adaptive_sampling = False
    # A box of one pixel: coverage then means the same in picture, mattes and the other renderer.
    cycles.pixel_filter_type = "BOX"
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.max_bounces, cycles.transparent_max_bounces = 4, 48
    cycles.sample_clamp_indirect = 8.0
    output = render.image_settings
    output.file_format, output.color_mode, output.color_depth = "OPEN_EXR", "RGBA", "32"
    output.exr_codec = "ZIP"
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    return scene


def set_camera(scene, frame):
    width, height, aspect = frame["width"], frame["height"], frame["pixel_aspect"]
    x, y = frame["centre_px"]
    render, camera = scene.render, scene.camera.data
    render.resolution_x, render.resolution_y = width, height
    render.pixel_aspect_x, render.pixel_aspect_y = max(aspect, 1.0), max(1.0 / aspect, 1.0)
    camera.sensor_fit, camera.sensor_height = "VERTICAL", 24.0
    camera.lens = frame["focal_px"] / height * camera.sensor_height
    camera.shift_x = (width / 2 - x) * aspect / height
    camera.shift_y = (y - height / 2) / height
    camera.clip_start, camera.clip_end = 0.01, 100.0
    scene.camera.location = frame["position"]
    scene.camera.rotation_euler = (math.pi / 2, 0.0, 0.0)
    bpy.context.view_layer.update()


def set_light(scene, frame, environment):
    for old in [o for o in scene.objects if o.type == "LIGHT"]:
        bpy.data.lights.remove(old.data)
    for lamp in frame["suns"]:
        color = np.array(lamp["color"], np.float64)
        if color.max() <= 0:
            continue
        sun = bpy.data.lights.new("sun", "SUN")
        # A white diffuse surface facing a sun of irradiance E has the radiance E / pi.
        sun.energy, sun.color, sun.angle = math.pi * color.max(), color / color.max(), lamp["angle"]
        placed = bpy.data.objects.new("sun", sun)
        placed.rotation_euler = Vector(lamp["direction"]).to_track_quat("Z", "Y").to_euler()
        scene.collection.objects.link(placed)
    nodes, links = scene.world.node_tree.nodes, scene.world.node_tree.links
    nodes.clear()
    image = nodes.new("ShaderNodeTexEnvironment")
    if "world" in bpy.data.images:
        bpy.data.images.remove(bpy.data.images["world"])
    image.image = looks.float_image("world", environment)
    background, output = nodes.new("ShaderNodeBackground"), nodes.new("ShaderNodeOutputWorld")
    links.new(image.outputs[0], background.inputs[0])
    links.new(background.outputs[0], output.inputs[0])
    # By itself Cycles makes a map of millions of directions, which takes seconds a render.
    scene.world.cycles.sampling_method = "MANUAL"
    scene.world.cycles.sample_map_resolution = 2 * len(environment)


def projected(scene, points):
    """Where Blender's own camera sees points, in pixels of the window, rows downwards."""
    width, height = scene.render.resolution_x, scene.render.resolution_y
    seen = (world_to_camera_view(scene, scene.camera, Vector(p.tolist())) for p in points)
    return [[v.x * width, (1.0 - v.y) * height] for v in seen]


def first_hits(scene, things, points):
    """Depth of the first opaque surface on the way to each point; very far where there is none."""
    bpy.context.view_layer.update()
    eye = Vector(scene.camera.location)
    depths = []
    for point in points:
        way = (Vector(point.tolist()) - eye).normalized()
        hits = [t.object.ray_cast(eye, way) for t in things if t.name in OPAQUE]
        depths.append(min([(at - eye).y for hit, at, _, _ in hits if hit], default=1e9))
    return depths


def render_to(scene, path, *, samples, denoise):
    scene.cycles.samples, scene.cycles.use_denoising = samples, denoise
    if denoise:
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    if not path.exists():
        raise RuntimeError(f"Blender wrote no {path.name}")


def main(folder):
    description = json.loads((folder / "scene.json").read_text(encoding="utf-8"))
    with np.load(folder / "shared.npz", allow_pickle=False) as stored:
        shared = {name: stored[name] for name in stored.files}
    scene = new_scene(description)
    stock = looks.Stock(shared)
    surfaces = {n: looks.Surface(n, look, stock) for n, look in description["surfaces"].items()}
    things = [Thing(scene, entry, shared, surfaces) for entry in description["things"]]
    told = []
    for frame in description["frames"]:
        start = time.perf_counter()
        with np.load(folder / f"{frame['name']}.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        for thing in things:
            thing.place(arrays)
            thing.wear("seen")
        for surface in surfaces.values():
            surface.turn(Matrix(frame["head"]))
        set_camera(scene, frame)
        set_light(scene, frame, arrays["environment"])
        beauty = folder / f"{frame['name']}-beauty.exr"
        render_to(scene, beauty, samples=description["samples"], denoise=description["denoise"])
        middle = time.perf_counter()
        for thing in things:
            thing.wear("truth")
        world, scene.world = scene.world, None
        for number in range(TRUTH_PASSES):
            for surface in surfaces.values():
                surface.show(number)
            path = folder / f"{frame['name']}-truth{number}.exr"
            render_to(scene, path, samples=description["truth_samples"], denoise=False)
        scene.world = world
        told.append(
            {
                "name": frame["name"],
                "landmarks": projected(scene, arrays["landmarks"]),
                "front_m": first_hits(scene, things, arrays["landmarks"]),
                "beauty_s": middle - start,
                "truth_s": time.perf_counter() - middle,
            }
        )
        print(f"frame {frame['name']}", flush=True)
    result = {"blender": bpy.app.version_string, "frames": told}
    (folder / "result.tmp").write_text(json.dumps(result), encoding="utf-8")
    (folder / "result.tmp").replace(folder / "result.json")


if __name__ == "__main__":
    code = 1
    try:
        main(Path(sys.argv[1]))
        code = 0
    except BaseException as error:
        import traceback

        traceback.print_exc()
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Blender's own clean-up at exit may hang or crash after a render; everything is on disk.
    os._exit(code)
