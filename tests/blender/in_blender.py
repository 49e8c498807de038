"""What the tests have Blender do; run by a Python that has bpy, never imported by the tests.

    PYTHON in_blender.py REQUEST.json

The request names one of the functions below and its arguments; the answer is written beside it.
Ends as any process does, so that a handler left behind would hang it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.vfxswap_blender"
api: Any = None


def part(name: str) -> Any:
    """A module of the extension that is switched on."""
    return importlib.import_module(f"{MODULE}.{name}")


def switch_on(engine: str, cache: str) -> Any:
    """The extension's preferences."""
    global api
    assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}
    api = part("api")
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.engine, preferences.cache, preferences.device = engine, cache, "cpu"
    return preferences


class Lab:
    """A scene of three frames with a plate."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked, self.out = asked, Path(asked["out"])
        bpy.ops.wm.read_factory_settings(use_empty=True)
        switch_on(asked["engine"], asked.get("cache", str(self.out / "cache")))
        self.scene = bpy.context.scene
        self.tree = api.made_tree(self.scene)
        self.end = api.output_socket(self.tree)
        width, height = asked["size"]
        set_up(self.scene, width, height)
        self.plate = self.sequence(asked["plate"])
        self.plate.image.colorspace_settings.name = asked.get("space", "Linear Rec.709")

    def sequence(self, path: str) -> Any:
        image = bpy.data.images.load(path)
        image.source = "SEQUENCE"
        node = self.tree.nodes.new("CompositorNodeImage")
        node.image, node.frame_duration, node.frame_start = image, 3, 1
        node.use_auto_refresh = True
        return node

    def node(self, mode: str = "AUTO", effect: str = "swap", **settings: Any) -> Any:
        """A node, as the menu adds it, linked to the output."""
        before = set(self.tree.nodes)
        assert bpy.ops.vfxswap.add_node(effect=effect) == {"FINISHED"}
        node = next(n for n in self.tree.nodes if n not in before)
        node.node_tree.vfxswap.mode = mode
        for name, value in settings.items():
            setattr(getattr(node.node_tree, f"vfxswap_{effect}"), name, value)
        self.link(node.outputs["Image"], self.end)
        return node

    def link(self, output: Any, socket: Any) -> None:
        self.tree.links.new(output, socket)

    def render(self, name: str, frame: int | None = None) -> None:
        """Renders the range, or a still, to NAME.####.exr."""
        render(self.scene, str(self.out / name), frame)

    def save(self) -> None:
        bpy.ops.wm.save_as_mainfile(filepath=str(self.out / "scene.blend"))

    def report(self) -> list[Any]:
        path = Path(self.asked.get("cache", str(self.out / "cache"))) / "report.json"
        entries: list[Any] = json.loads(path.read_text())["entries"] if path.exists() else []
        return entries


def set_up(scene: Any, width: int, height: int) -> None:
    scene.frame_start, scene.frame_end = 1, 3
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    if hasattr(render, "compositor_device"):
        render.compositor_device = "CPU"
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"


def render(scene: Any, path: str, frame: int | None = None) -> None:
    scene.render.filepath = f"{path}.####.exr"
    scene.render.use_file_extension = False
    if frame is None:
        bpy.ops.render.render(animation=True)
    else:
        scene.frame_set(frame)
        scene.render.filepath = f"{path}.{frame:04d}.exr"
        bpy.ops.render.render(write_still=True)


def calls() -> int:
    service = part("session")._service
    return service.calls if service is not None else 0


def nested_exposure(lab: Lab) -> tuple[Any, Any]:
    """A group that doubles inside a group, with reroutes before, in and after them: the node of
    the outer one and its last socket."""
    group, begin, end = a_group("Doubled")
    exposure, bend = group.nodes.new("CompositorNodeExposure"), group.nodes.new("NodeReroute")
    exposure.inputs["Exposure"].default_value = 1.0
    group.links.new(begin.outputs[0], exposure.inputs[0])
    group.links.new(exposure.outputs[0], bend.inputs[0])
    group.links.new(bend.outputs[0], end.inputs[0])
    node = lab.tree.nodes.new("CompositorNodeGroup")
    node.node_tree = around(group)
    first, last = (lab.tree.nodes.new("NodeReroute") for _ in range(2))
    lab.link(lab.plate.outputs[0], first.inputs[0])
    lab.link(first.outputs[0], node.inputs[0])
    lab.link(node.outputs[0], last.inputs[0])
    return node, last.outputs[0]


def a_group(name: str) -> tuple[Any, Any, Any]:
    """A group of one picture in and one out, its beginning and its end."""
    group = bpy.data.node_groups.new(name, "CompositorNodeTree")
    group.interface.new_socket("In", in_out="INPUT", socket_type="NodeSocketColor")
    group.interface.new_socket("Out", in_out="OUTPUT", socket_type="NodeSocketColor")
    return group, group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")


def around(inner: Any) -> Any:
    """A group that holds another, with a reroute before it."""
    group, begin, end = a_group(f"{inner.name} inside")
    node, bend = group.nodes.new("CompositorNodeGroup"), group.nodes.new("NodeReroute")
    node.node_tree = inner
    group.links.new(begin.outputs[0], bend.inputs[0])
    group.links.new(bend.outputs[0], node.inputs[0])
    group.links.new(node.outputs[0], end.inputs[0])
    return group


# What is asked -----------------------------------------------------------------------------------


def adds_every_node(asked: dict[str, Any]) -> dict[str, Any]:
    lab = Lab(asked)
    nodes = {}
    for effect in part("session").known().effects:
        node = lab.node(effect=effect.name)
        nodes[effect.name] = {
            "inputs": [socket.name for socket in node.inputs],
            "outputs": [[socket.name, socket.type] for socket in node.outputs],
            "settings": list(
                getattr(node.node_tree, f"vfxswap_{effect.name}").bl_rna.properties.keys()
            ),
        }
    lab.render("through", 1)
    lab.link(lab.plate.outputs[0], lab.end)
    types = ("VFXSWAP_PT_node", "VFXSWAP_MT_add")
    ui = [name for name in types if hasattr(bpy.types, name)]
    return {"nodes": nodes, "ui": ui, "calls": calls()}


def renders_from_file(asked: dict[str, Any]) -> dict[str, Any]:
    lab = Lab(asked)
    lab.scene.view_settings.view_transform = "Standard"
    lab.scene.view_settings.exposure = 2.0
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    node = lab.node(persona=asked["persona"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    lab.render("comp")
    first = calls()
    lab.render("again")
    again = calls()
    for socket in asked.get("sockets", ()):
        lab.link(node.outputs[socket], lab.end)
        lab.render(socket.replace(" ", "_"), 2)
    lab.link(node.outputs["Image"], lab.end)
    lab.render("still", 3)
    settings = node.node_tree.vfxswap_swap
    before = calls()
    settings.amount = 0.5
    lab.render("half", 2)
    changed = calls()
    settings.amount = 1.0
    lab.render("whole", 2)
    lab.save()
    return {
        "first": first, "again": again, "sockets": before, "changed": changed, "back": calls(),
        "report": lab.report(),
    }  # fmt: skip


def renders_a_saved_file(asked: dict[str, Any]) -> dict[str, Any]:
    if asked["switched_on"]:
        switch_on(asked["engine"], asked["cache"])
    bpy.ops.wm.open_mainfile(filepath=asked["file"])
    known = hasattr(bpy.types.NodeTree, "vfxswap")
    if "amount" in asked:
        group = next(g for g in bpy.data.node_groups if g.vfxswap.effect)
        group.vfxswap_swap.amount = asked["amount"]
    render(bpy.context.scene, str(Path(asked["out"]) / asked["name"]))
    path = Path(asked["cache"]) / "report.json"
    return {"known": known, "report": json.loads(path.read_text())["entries"]}


def renders_what_is_linked(asked: dict[str, Any]) -> dict[str, Any]:
    """BAKE or TAP of pixels that are on no disk."""
    lab = Lab(asked)
    _, doubled = nested_exposure(lab)
    lab.link(doubled, lab.end)
    lab.render("plain")
    node = lab.node(asked["mode"], persona=asked["persona"])
    lab.link(doubled, node.inputs["Image"])
    if asked["mode"] == "BAKE":
        assert bpy.ops.vfxswap.bake(group=node.node_tree.name) == {"FINISHED"}
    lab.render("comp")
    first = calls()
    lab.render("again")
    scenes, groups = len(bpy.data.scenes), len(bpy.data.node_groups)
    return {
        "first": first, "again": calls(), "scenes": scenes, "groups": groups,
        "report": lab.report(),
    }  # fmt: skip


def renders_inside_groups(asked: dict[str, Any]) -> dict[str, Any]:
    """The node lies in a group of the artist's inside another, with a mask as its holdout."""
    lab = Lab(asked)
    group, begin, end = a_group("Shot")
    groups = part("groups")
    node = groups.add_node(lab.scene, part("session").known().effect("swap"), group)
    node.node_tree.vfxswap_swap.persona = asked["persona"]
    mask = group.nodes.new("CompositorNodeBoxMask")
    _size_mask(mask)
    group.links.new(mask.outputs[0], node.inputs["Holdout"])
    group.links.new(begin.outputs[0], node.inputs["Image"])
    group.links.new(node.outputs["Image"], end.inputs[0])
    outer = lab.tree.nodes.new("CompositorNodeGroup")
    outer.node_tree = around(group)
    lab.link(lab.plate.outputs[0], outer.inputs[0])
    lab.link(outer.outputs[0], lab.end)
    node.node_tree.vfxswap.mode = asked["mode"]
    if asked["mode"] == "BAKE":
        assert bpy.ops.vfxswap.bake(group=node.node_tree.name) == {"FINISHED"}
    lab.render("comp")
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    return {"report": lab.report(), "groups": len(bpy.data.node_groups)}


def _size_mask(mask: Any) -> None:
    """The left half of the picture."""
    if "Size" in mask.inputs:
        mask.inputs["Position"].default_value = (0.25, 0.5)
        mask.inputs["Size"].default_value = (0.5, 4.0)
    else:
        mask.x, mask.y, mask.mask_width, mask.mask_height = 0.25, 0.5, 0.5, 4.0


def animates(asked: dict[str, Any]) -> dict[str, Any]:
    lab = Lab(asked)
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    node = lab.node(persona=asked["persona"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    settings = node.node_tree.vfxswap_swap
    for frame, amount in ((1, 0.0), (3, 1.0)):
        settings.amount = amount
        settings.keyframe_insert("amount", frame=frame)
    lab.render("comp")
    return {"calls": calls(), "report": lab.report()}


def renders_with_trouble(asked: dict[str, Any]) -> dict[str, Any]:
    """An engine that is missing or dies, a plate that is broken, or no face."""
    lab = Lab(asked)
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    node = lab.node(persona=asked["persona"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    killed: list[int] = []

    def kill(scene: Any, *_: Any) -> None:
        if scene.frame_current == 2 and not killed:
            killed.append(part("session")._service._engine.pid)
            os.kill(killed[0], signal.SIGKILL)

    if asked.get("kill") == "between frames":
        bpy.app.handlers.render_pre.insert(0, kill)
    elif asked.get("kill") == "at work":
        kill_at_work(part("session").service(), killed)
    lab.render("comp")
    if kill in bpy.app.handlers.render_pre:
        bpy.app.handlers.render_pre.remove(kill)
    return {"calls": calls(), "report": lab.report(), "killed": len(killed)}


def kill_at_work(service: Any, killed: list[int]) -> None:
    """Kills the engine as soon as it has begun on frames."""
    asked = service.render

    def render(job: dict[str, Any], frames: str, on_event: Any) -> Any:
        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "started" and not killed:
                killed.append(service._engine.pid)
                os.kill(killed[0], signal.SIGKILL)
            on_event(event)

        return asked(job, frames, hear)

    service.render = render


def tests_the_engine(asked: dict[str, Any]) -> dict[str, Any]:
    preferences = switch_on(asked["engine"], asked["out"])
    try:
        done = bpy.ops.vfxswap.test_engine() == {"FINISHED"}
    except RuntimeError:
        done = False
    return {"done": done, "says": preferences.result}


def learns_new_effects(asked: dict[str, Any]) -> dict[str, Any]:
    lab = Lab(asked)
    before = [effect.name for effect in part("session").known().effects]
    assert bpy.ops.vfxswap.update_nodes() == {"FINISHED"}
    part("operators")._again()  # the timer's turn, which comes with a window alone
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    node = lab.node(effect=asked["effect"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    lab.render("comp")
    after = [effect.name for effect in part("session").known().effects]
    return {"before": before, "after": after, "report": lab.report(), "calls": calls()}


def resolves_clips(asked: dict[str, Any]) -> dict[str, Any]:
    """What is seen of clips that are linked in every way, beside what Blender itself shows of
    them; no engine is needed."""
    lab = Lab(asked)
    upstream, graph = part("upstream"), part("graph")
    node = lab.node()
    found: dict[str, Any] = {}

    def see(name: str, output: Any, *frames: int) -> None:
        lab.link(output, node.inputs["Image"])
        place = next(graph.places(lab.tree))
        try:
            clip = upstream.clip_of(place, node.inputs["Image"])
        except (upstream.NotOnDiskError, ValueError) as error:
            found[name] = str(error)
            return
        lab.link(output, lab.end)
        for frame in frames:
            lab.render(name, frame)
        files = {frame: clip.path(clip.number(frame)) for frame in frames}
        found[name] = {"files": files, "space": clip.color_space, "layer": clip.layer}

    see("plain", lab.plate.outputs[0], 1, 2, 3)
    late = lab.sequence(asked["plate"])
    late.frame_start, late.frame_offset, late.frame_duration = 3, 1, 2
    see("late", late.outputs[0], 1, 3, 4, 9)
    late.use_cyclic = True
    see("cyclic", late.outputs[0], 1, 3, 4, 9)
    clip = bpy.data.movieclips.load(asked["plate"])
    moving = lab.tree.nodes.new("CompositorNodeMovieClip")
    moving.clip = clip
    see("clip", moving.outputs["Image"], 1, 2, 3)
    clip.frame_start, clip.frame_offset = 2, 1
    see("late clip", moving.outputs["Image"], 2, 3)
    still = lab.tree.nodes.new("CompositorNodeImage")
    still.image = bpy.data.images.load(asked["plate"], check_existing=False)
    see("still", still.outputs[0], 1, 2)
    group, begin, end = a_group("Through")
    group.links.new(begin.outputs[0], end.inputs[0])
    outer = lab.tree.nodes.new("CompositorNodeGroup")
    outer.node_tree = around(group)
    lab.link(lab.plate.outputs[0], outer.inputs[0])
    see("through groups", outer.outputs[0], 2)
    muted = lab.tree.nodes.new("CompositorNodeExposure")
    muted.mute = True
    lab.link(lab.plate.outputs[0], muted.inputs[0])
    see("muted", muted.outputs[0], 2)
    _, doubled = nested_exposure(lab)
    see("changed", doubled)
    still.image.colorspace_settings.name = "Non-Color"
    see("no colour", still.outputs[0])
    lab.tree.links.remove(next(x for x in lab.tree.links if x.to_node == node))
    place = next(graph.places(lab.tree))
    try:
        upstream.clip_of(place, node.inputs["Image"])
    except upstream.NotOnDiskError as error:
        found["nothing"] = str(error)
    return {"found": found}


def goes_without_residue(asked: dict[str, Any]) -> dict[str, Any]:
    lab = Lab(asked)
    node = lab.node(persona=asked["persona"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    assert bpy.ops.vfxswap.update_nodes() == {"FINISHED"}
    fetched = Path(part("session")._fetched_path())
    assert fetched.exists()
    lab.render("comp")
    pid = part("session")._service._engine.pid
    folder = Path(part("api").__file__).parent
    repos = bpy.context.preferences.extensions.repos
    index = next(i for i, repo in enumerate(repos) if repo.module == "user_default")
    done = bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="vfxswap_blender")
    handlers = [
        f"{name}: {handler}"
        for name in dir(bpy.app.handlers)
        for handler in _list(getattr(bpy.app.handlers, name))
        if "vfxswap" in str(getattr(handler, "__module__", ""))
    ]
    return {
        "done": sorted(done),
        "engine": pid is not None and _alive(pid),
        "handlers": handlers,
        "types": [name for name in dir(bpy.types) if "vfxswap" in name.lower()],
        "properties": [n for n in dir(bpy.types.NodeTree) if n.startswith("vfxswap")],
        "operators": list(dir(bpy.ops.vfxswap)),
        "threads": [t.name for t in threading.enumerate() if "vfxswap" in t.name],
        "modules": [name for name in sys.modules if "vfxswap_blender" in name],
        "files": sorted(p.name for p in folder.iterdir()) if folder.exists() else [],
        "fetched": [str(fetched)] if fetched.exists() else [],
        "addons": [a.module for a in bpy.context.preferences.addons if "vfxswap" in a.module],
        "menu": [m for m in drawing(bpy.types.NODE_MT_compositor_node_add_all) if "vfxswap" in m],
    }


def drawing(menu: Any) -> list[str]:
    """The modules of what draws a menu."""
    return [str(function.__module__) for function in menu.draw._draw_funcs]


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def _list(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list) else []


def answer(functions: dict[str, Any]) -> None:
    """Does what the request names, and writes the answer beside it."""
    path = Path(sys.argv[-1])
    asked = json.loads(path.read_text())
    told = functions[asked["function"]](asked)
    told["version"] = list(bpy.app.version)
    path.with_suffix(".answer.json").write_text(json.dumps(told))


if __name__ == "__main__":
    answer(globals())
