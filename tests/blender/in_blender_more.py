"""More of what the tests have Blender do: every effect's node, chains, copies, movies, the bake as
a window steps through it, and the cache. Run as in_blender.py is.
"""

from __future__ import annotations

import shutil
import time
import types
from pathlib import Path
from typing import Any

import bpy
from in_blender import Lab, answer, calls, part, switch_on


def still(lab: Lab, path: str, space: str = "Linear Rec.709") -> Any:
    """An Image node of one picture."""
    node = lab.tree.nodes.new("CompositorNodeImage")
    node.image = bpy.data.images.load(path, check_existing=False)
    node.image.colorspace_settings.name = space
    return node


def set_rows(rows: Any, pairs: list[list[Any]]) -> None:
    """Makes the pairs of a setting those."""
    while len(rows):
        rows.remove(0)
    for name, value in pairs:
        row = rows.add()
        row.name, row.value = name, value


def renders_an_effect(asked: dict[str, Any]) -> dict[str, Any]:
    """A node of any effect, from file: `settings` (rows as lists of pairs), `pictures` linked by
    setting, `mattes` by role, `keys` of the values of pairs by frame."""
    lab = Lab(asked)
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    node = lab.node(effect=asked["effect"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    own = getattr(node.node_tree, f"vfxswap_{asked['effect']}")
    for name, value in asked["settings"].items():
        if isinstance(value, list):
            set_rows(getattr(own, name), value)
        else:
            setattr(own, name, value)
    for title, path in asked.get("pictures", {}).items():
        bend = lab.tree.nodes.new("NodeReroute")
        lab.link(still(lab, path).outputs[0], bend.inputs[0])
        lab.link(bend.outputs[0], node.inputs[title])
    for title, path in asked.get("mattes", {}).items():
        lab.link(still(lab, path, "Non-Color").outputs[0], node.inputs[title])
    for name, frames in asked.get("keys", {}).items():
        row = getattr(own, name)[0]
        for frame, value in frames.items():
            row.value = value
            row.keyframe_insert("value", frame=int(frame))
    lab.render("comp")
    first = calls()
    outputs = [socket.name for socket in node.outputs if socket.name != "Image"]
    for name in outputs:
        lab.link(node.outputs[name], lab.end)
        lab.render(name.replace(" ", "_"), 2)
    sockets = calls()
    lab.link(node.outputs["Image"], lab.end)
    for path in asked.get("then_touch", ()):
        with Path(path).open("ab") as file:
            file.write(b"\n")
    lab.render("touched", 2)
    return {
        "outputs": outputs, "first": first, "sockets": sockets, "touched": calls(),
        "report": lab.report(),
    }  # fmt: skip


def shows_settings(asked: dict[str, Any]) -> dict[str, Any]:
    """What an artist meets of every effect: properties as Blender has them, and the panel and menu
    drawn on a layout that notes what is put there."""
    lab = Lab(asked)
    found: dict[str, Any] = {}
    for effect in part("session").known().effects:
        node = lab.node(effect=effect.name)
        own = getattr(node.node_tree, f"vfxswap_{effect.name}")
        properties = {}
        for setting in effect.settings:
            rna = own.bl_rna.properties[setting.name]
            properties[setting.name] = {
                "type": rna.type,
                "tip": rna.description,
                "animatable": rna.is_animatable,
                "range": [rna.hard_min, rna.hard_max] if rna.type in ("INT", "FLOAT") else None,
            }
        layout = Layout()
        context = types.SimpleNamespace(active_node=node)
        panel = types.SimpleNamespace(layout=layout)
        assert bpy.types.VFXSWAP_PT_node.poll(context)
        bpy.types.VFXSWAP_PT_node.draw(panel, context)
        found[effect.name] = {
            "properties": properties,
            "drawn": layout.drawn,
            "inputs": {s.name: s.description for s in _interface(node, "INPUT")},
            "outputs": {s.name: s.description for s in _interface(node, "OUTPUT")},
        }
    drawing = bpy.types.NODE_MT_compositor_node_add_all.draw._draw_funcs
    mine = [function for function in drawing if "vfxswap" in function.__module__]
    add = Layout()
    for function in mine:
        function(types.SimpleNamespace(layout=add), None)
    entries = Layout()
    bpy.types.VFXSWAP_MT_add.draw(types.SimpleNamespace(layout=entries), None)
    preferences = Layout()
    own = bpy.context.preferences.addons["bl_ext.user_default.vfxswap_blender"].preferences
    shown = {each.identifier: getattr(own, each.identifier) for each in own.bl_rna.properties}
    type(own).draw(types.SimpleNamespace(**{**shown, "layout": preferences, "result": ""}), None)
    return {
        "effects": found,
        "add": add.drawn,
        "menu": entries.drawn,
        "preferences": preferences.drawn,
    }


def _interface(node: Any, side: str) -> list[Any]:
    return [item for item in node.node_tree.interface.items_tree if item.in_out == side]


class Layout:
    """What a panel draws on: notes the properties and operators put there, folds opened."""

    def __init__(self, drawn: list[str] | None = None) -> None:
        self.drawn: list[str] = [] if drawn is None else drawn

    def prop(self, owner: Any, name: str, **_: Any) -> None:
        assert hasattr(owner, name), name
        self.drawn.append(name)

    def operator(self, name: str, **_: Any) -> Any:
        self.drawn.append(name)
        return types.SimpleNamespace()

    def menu(self, name: str) -> None:
        assert hasattr(bpy.types, name), name
        self.drawn.append(name)

    def panel(self, name: str, *, default_closed: bool) -> tuple[Layout, Layout]:
        return Layout(self.drawn), Layout(self.drawn)

    def row(self, **_: Any) -> Layout:
        return Layout(self.drawn)

    box = row

    def label(self, *, text: str, icon: str = "NONE") -> None:
        self.drawn.append(f"# {text}")

    def separator(self) -> None:
        pass


def edits_rows(asked: dict[str, Any]) -> dict[str, Any]:
    """Removing a pair by the button leaves the others' animation theirs; a driver is named."""
    lab = Lab(asked)
    node = lab.node(effect=asked["effect"])
    group, props = node.node_tree, part("props")
    effect = part("session").known().effect(asked["effect"])
    owner, name = f"vfxswap_{asked['effect']}", asked["setting"]
    for index, label in enumerate(("a", "b", "c")):
        press = {"group": group.name, "owner": owner, "setting": name}
        assert bpy.ops.vfxswap.rows(**press) == {"FINISHED"}
        row = getattr(getattr(group, owner), name)[index]
        row.name = label
        for frame, value in ((1, float(index)), (3, float(index) + 1)):
            row.value = value
            row.keyframe_insert("value", frame=frame)
    before = [props.settings_at(group, effect, frame)[name] for frame in (1, 2, 3)]
    assert bpy.ops.vfxswap.rows(**press, remove=1) == {"FINISHED"}
    after = [props.settings_at(group, effect, frame)[name] for frame in (1, 2, 3)]
    getattr(group, owner).driver_add("amount")
    try:
        props.settings_at(group, effect, 1)
        driven = ""
    except ValueError as error:
        driven = str(error)
    return {"before": before, "after": after, "driven": driven}


def chains(asked: dict[str, Any]) -> dict[str, Any]:
    """A second node over the first one's result, and a copy of the first beside it."""
    lab = Lab(asked)
    first = lab.node(persona=asked["persona"])
    lab.link(lab.plate.outputs[0], first.inputs["Image"])
    lab.render("first")
    second = lab.node(asked["mode"], effect="style")
    set_rows(second.node_tree.vfxswap_style.style, [[asked["style"], 1.0]])
    lab.link(first.outputs["Image"], second.inputs["Image"])
    if asked["mode"] == "BAKE":
        assert bpy.ops.vfxswap.bake(group=second.node_tree.name) == {"FINISHED"}
    lab.render("both")
    made = calls()
    lab.render("both_again")
    again = calls()
    copy = lab.tree.nodes.new("CompositorNodeGroup")
    copy.node_tree = first.node_tree  # as Shift D leaves it
    lab.link(lab.plate.outputs[0], copy.inputs["Image"])
    lab.link(copy.outputs["Image"], lab.end)
    lab.render("copied")
    own = copy.node_tree != first.node_tree
    copy.node_tree.vfxswap_swap.amount = 0.0
    lab.render("unlike")
    lab.link(first.outputs["Image"], lab.end)
    lab.render("first_again")
    return {"made": made, "again": again, "own": own, "report": lab.report()}


def renders_a_movie(asked: dict[str, Any]) -> dict[str, Any]:
    """The plate as a movie file, shown by a movie clip and by an image, each swapped from file."""
    lab = Lab(asked)
    lab.link(lab.plate.outputs[0], lab.end)
    movie = write_movie(lab, str(lab.out / "plate"))
    clip = lab.tree.nodes.new("CompositorNodeMovieClip")
    clip.clip = bpy.data.movieclips.load(movie)
    image = lab.tree.nodes.new("CompositorNodeImage")
    image.image = bpy.data.images.load(movie)
    image.frame_duration, image.use_auto_refresh = 3, True
    found = {"clip": clip.clip.source, "image": image.image.source}
    node = lab.node(persona=asked["persona"])
    for name, output in (("clip", clip.outputs["Image"]), ("image", image.outputs[0])):
        lab.link(output, lab.end)
        lab.render(f"{name}_plain")
        lab.link(node.outputs["Image"], lab.end)
        lab.link(output, node.inputs["Image"])
        node.node_tree.vfxswap.mode = "AUTO"
        lab.render(name)
    return {"sources": found, "report": lab.report()}


def write_movie(lab: Lab, path: str) -> str:
    """Renders the scene to a movie without loss, and sets it back to pictures."""
    render = lab.scene.render
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MKV", "FFV1"
    render.filepath, render.use_file_extension = path, True
    bpy.ops.render.render(animation=True)
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"
    return str(next(Path(path).parent.glob(Path(path).name + "*.mkv")))


class Window:
    """The parts of a window's context that a modal bake uses; notes what it is shown."""

    def __init__(self, scene: Any) -> None:
        self.scene, self.window, self.screen = scene, object(), None
        self.window_manager = self.workspace = self
        self.shown: list[tuple[str, Any]] = []
        self.timers = 0

    def progress_begin(self, low: int, high: int) -> None:
        self.shown.append(("begin", [low, high]))

    def progress_update(self, value: int) -> None:
        self.shown.append(("progress", value))

    def progress_end(self) -> None:
        self.shown.append(("end", None))

    def event_timer_add(self, seconds: float, *, window: Any) -> object:
        self.timers += 1
        return self

    def event_timer_remove(self, timer: object) -> None:
        self.timers -= 1

    def modal_handler_add(self, operator: Any) -> None:
        self.shown.append(("modal", None))

    def status_text_set(self, text: str | None) -> None:
        self.shown.append(("status", text))


def steps_through_a_bake(asked: dict[str, Any]) -> dict[str, Any]:
    """The modal bake as a window's events drive it: cancelled while it renders, cancelled while
    the engine works, and to its end."""
    lab = Lab(asked)
    part("operators").STEP_S = 0.0  # one step an event, so that each can be stopped
    lab.scene.frame_set(2)
    node = lab.node("AUTO", persona=asked["persona"])
    lab.link(lab.plate.outputs[0], lab.end)
    lab.render("plain")
    lab.link(node.outputs["Image"], lab.end)
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    found = {}
    for name, until in (("rendering", "rendering frame 2"), ("effect", "effect on"), ("whole", "")):
        window = Window(lab.scene)
        said: list[Any] = []
        operator = _operator(node.node_tree.name, said)
        begun = [operator._start(window)]
        while begun[-1] & {"RUNNING_MODAL", "PASS_THROUGH"}:
            status = next((t for kind, t in reversed(window.shown) if kind == "status" and t), "")
            stop = bool(until) and until in status
            asked_at = time.monotonic()
            begun.append(operator.modal(window, _event("ESC" if stop else "TIMER")))
            took_s = time.monotonic() - asked_at
            if not stop and len(begun) == 2:
                assert operator.modal(window, _event("MOUSEMOVE")) == {"PASS_THROUGH"}
        found[name] = {
            "ended": sorted(begun[-1]),
            "said": said,
            "timers": window.timers,
            "shown": window.shown,
            "scenes": len(bpy.data.scenes),
            "groups": len(bpy.data.node_groups),
            "frame": lab.scene.frame_current,
            "busy": part("handlers")._busy,
            "status": node.node_tree.vfxswap.status,
            "last_s": took_s,
            "idle": comes_to_rest(),
            "work": [path.name for path in Path(asked["cache"]).glob("work/*")],
            "baked": [node.node_tree.vfxswap.baked_first, node.node_tree.vfxswap.baked_last],
        }
    before = calls()
    lab.render("comp")
    return {"found": found, "asked_again": calls() - before, "report": lab.report()}


def comes_to_rest(within_s: float = 200.0) -> bool:
    """Whether the engine has nothing to do before long."""
    until = time.monotonic() + within_s
    engine = part("session")._service._engine
    while time.monotonic() < until:
        said = engine.ping(timeout_s=within_s)
        if not said["running"] and not said["queued"]:
            return True
        time.sleep(0.2)
    return False


def _operator(group: str, said: list[Any]) -> Any:
    """A bake operator outside of a window: its own code, on a stand-in for Blender's part."""
    cls = part("operators").VFXSWAP_OT_bake
    made = types.SimpleNamespace(group=group, _bake=None, _timer=None)
    made.report = lambda level, line: said.append([sorted(level), line])
    for name in ("_start", "modal", "_end", "_finished", "_failed"):
        setattr(made, name, types.MethodType(getattr(cls, name), made))
    return made


def _event(kind: str) -> Any:
    return types.SimpleNamespace(type=kind)


def keeps_the_limit(asked: dict[str, Any]) -> dict[str, Any]:
    """A cache that older results overfill, and one that shown frames alone do."""
    import os

    lab = Lab(asked)
    cache = Path(asked["cache"])
    node = lab.node(persona=asked["persona"])
    lab.link(lab.plate.outputs[0], node.inputs["Image"])
    lab.render("comp")
    preferences = bpy.context.preferences.addons["bl_ext.user_default.vfxswap_blender"].preferences
    preferences.limit_gb = 0.1
    old = []
    for index, letter in enumerate("ab"):
        path = cache / "objects" / (letter * 2) / f"{letter * 64}.exr"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(70_000_000)
        os.utime(path, (1000.0 + index, 1000.0 + index))
        old.append(path)
    lab.render("again")
    left = [path.exists() for path in old]
    pinned = cache / "results" / "anothernode" / "result.0001.exr"
    pinned.parent.mkdir(parents=True)
    with pinned.open("wb") as file:
        file.truncate(120_000_000)
    lab.render("pinned")
    warned = lab.report()
    assert bpy.ops.vfxswap.remove_unused() == {"FINISHED"}
    asked_for = calls()
    lab.render("after")
    return {
        "left": left, "warned": warned, "pinned": pinned.exists(), "after": lab.report(),
        "again": calls() - asked_for,
    }  # fmt: skip


def completes_old_nodes(asked: dict[str, Any]) -> dict[str, Any]:
    """A node that lacks sockets, as one made by an earlier extension, saved and opened."""
    lab = Lab(asked)
    found = {}
    for effect in part("session").known().effects:
        node = lab.node(effect=effect.name)
        group = node.node_tree
        whole = [[s.name for s in node.inputs], [s.name for s in node.outputs]]
        sockets = [i for i in group.interface.items_tree if i.name != "Image"]
        for item in (sockets[0], sockets[-1]):
            group.interface.remove(item)
        assert [[s.name for s in node.inputs], [s.name for s in node.outputs]] != whole
        found[effect.name] = {"node": node.name, "whole": whole}
    lab.save()
    bpy.ops.wm.open_mainfile(filepath=str(lab.out / "scene.blend"))
    tree = part("api").tree_of(bpy.context.scene)
    for each in found.values():
        node = tree.nodes[each["node"]]
        each["now"] = [[s.name for s in node.inputs], [s.name for s in node.outputs]]
    return {"found": found}


def outlives_an_update(asked: dict[str, Any]) -> dict[str, Any]:
    """Effects that were fetched give way to those of an extension installed after."""
    switch_on(asked["engine"], asked["cache"])
    session, described = part("session"), part("description")
    assert bpy.ops.vfxswap.update_nodes() == {"FINISHED"}
    fetched = Path(session._fetched_path())
    assert fetched.exists()
    names = [effect.name for effect in session.known().effects]
    text = Path(described.SNAPSHOT).read_text()
    shutil.copy(described.SNAPSHOT, asked["out"])
    Path(described.SNAPSHOT).write_text(text.replace('"name": "swap"', '"name": "swap_two"', 1))
    after = [effect.name for effect in session.known().effects]
    Path(described.SNAPSHOT).write_text(text)
    return {"names": names, "after": after}


if __name__ == "__main__":
    answer(globals())
