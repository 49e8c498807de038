"""Checks of groups and plug-in inside a real Nuke, for whoever has a licence.

    Nuke15.1 -t run_in_nuke.py

Not run in a real Nuke so far: the project's own tests run it in a stand-in for Nuke, which shows
that it works as a program and no more. It needs nothing but Nuke; checks of the engine run where
one is found ($VFXSWAP_ENGINE, or `vfxswap` on the PATH). It opens scripts of its own in a temporary
folder and leaves nothing. $VFXSWAP_TEST_REFERENCE may name a picture of a face with its card beside
it, which feature transfer needs. The last line says how many checks failed, so does the exit code.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import traceback
from typing import Any, Callable

import nuke

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = os.path.dirname(HERE)
FIRST, LAST = 1001, 1003
SIZE = (64, 48)
Check = Callable[[str], None]
CHECKS: list[tuple[str, Check]] = []


class SkippedError(Exception):
    """Why a check was not made."""


def check(sentence: str) -> Callable[[Check], Check]:
    """Adds a check to the list, under the fact that it holds."""

    def add(function: Check) -> Check:
        CHECKS.append((sentence, function))
        return function

    return add


def gizmos() -> dict[str, str]:
    """The shipped groups: their texts by name."""
    for folder in (
        os.environ.get("VFXSWAP_GIZMOS", ""),
        os.path.join(PLUGIN, "gizmos"),
        os.path.join(os.path.dirname(os.path.dirname(PLUGIN)), "gizmos"),
    ):
        if folder and os.path.isdir(folder):
            names = [n for n in sorted(os.listdir(folder)) if n.endswith(".gizmo")]
            return {n[:-6]: _text(os.path.join(folder, n)) for n in names}
    raise AssertionError("the folder of groups is not there; name it in $VFXSWAP_GIZMOS")


def paste(text: str, folder: str) -> Any:
    """The node in a text, as Nuke reads it."""
    path = os.path.join(folder, "paste.nk")
    with open(path, "w") as file:
        file.write(text)
    return nuke.nodePaste(path.replace(os.sep, "/"))


def group(folder: str, name: str = "VfxSwap") -> Any:
    """A group on a plate with overscan, negatives and highlights, in a saved script."""
    nuke.scriptClear()
    root: Any = nuke.root()
    root["first_frame"].setValue(FIRST)
    root["last_frame"].setValue(LAST)
    root["format"].setValue("{0} {1} 0 0 {0} {1} 1 vfxswap_test".format(*SIZE))
    nuke.scriptSaveAs(os.path.join(folder, "test.nk").replace(os.sep, "/"), 1)
    form = "80 60 0 0 80 60 1 vfxswap_large"
    color = nuke.nodes.Constant(channels="rgba", color=[12.5, -0.25, 0.18, 1], format=form)
    plate = nuke.nodes.Reformat(
        inputs=[color], type="to format", format="vfxswap_test", resize="none", center=False,
        pbb=True,
    )  # fmt: skip
    made = paste(gizmos()[name], folder)
    made.setInput(0, plate)
    made["vfx_cache"].setValue(os.path.join(folder, "cache").replace(os.sep, "/"))
    return made


def same(found: Any, wanted: Any, what: str = "") -> None:
    if found != wanted:
        raise AssertionError(f"{what or 'value'}: got {found!r}, wanted {wanted!r}")


def write(node: Any, frames: tuple[int, int] = (FIRST, LAST)) -> list[str]:
    """Has the group write its plate; the files."""
    node["vfx_writing"].setValue(True)
    try:
        nuke.execute(node.node("VfxPlateWrite"), frames[0], frames[1], 1)
    finally:
        node["vfx_writing"].setValue(False)
    knob: Any = node.node("VfxPlateWrite")["file"]
    return [knob.evaluate(frame) for frame in range(frames[0], frames[1] + 1)]


@check("every group is read without a word lost: its knobs, their values, its inputs")
def _groups_are_read(folder: str) -> None:
    for name, text in gizmos().items():
        node = paste(text, folder)
        wanted = re.findall(r"^ addUserKnob \{\d+ (\w+)", text, re.M)
        missing = [knob for knob in wanted if node.knob(knob) is None]
        same(missing, [], name + ": knobs that are missing")
        for knob, value in re.findall(r"^ (vfx_\w+) (-?\d+(?:\.\d+)?)$", text, re.M):
            if not hasattr(node[knob], "values") and not knob.endswith("_group"):
                same(_number(node[knob]), float(value), name + "." + knob)
        same(node.maxInputs(), len(re.findall(r"^ Input \{", text, re.M)), name + ": inputs")
        nuke.delete(node)


@check("every knob inside a group is one that Nuke knows, and takes the value in the file")
def _inner_knobs_are_known(folder: str) -> None:
    for text in gizmos().values():
        node = paste(text, folder)
        for kind, body in re.findall(r"^ (\w+) \{\n(.*?)^ \}", text, re.M | re.S):
            rows = dict(re.findall(r"^  (\w+) (.*)$", body, re.M))
            inner = node.node(rows["name"])
            for knob, value in rows.items():
                if knob == "inputs":
                    continue
                same(inner.knob(knob) is not None, True, kind + "." + knob + " is known")
                plain = value.strip('"')
                options = getattr(inner[knob], "values", None)
                if options is not None and "{" not in value:
                    same(
                        plain in [str(o) for o in options()], True, kind + "." + knob + " " + plain
                    )
        nuke.delete(node)


@check("paths follow cache folder, take and proxy")
def _paths_follow_knobs(folder: str) -> None:
    node = group(folder)
    cache = node["vfx_cache"].value()
    node["vfx_version"].setValue(12)
    node["vfx_proxy"].setValue("4")
    read: Any = node.node("VfxResultRead")["file"]
    same(read.evaluate(1001), cache + "/v12/result_proxy4.main.1001.exr")
    plate: Any = node.node("VfxPlateWrite")["file"]
    same(plate.evaluate(1003), cache + "/v12/plate.main.1003.exr")


@check("the switch, the proxy's size and the Writes follow the group's knobs")
def _switches_follow_knobs(folder: str) -> None:
    node = group(folder)
    for value in (True, False):
        node["vfx_use"].setValue(value)
        same(int(_number(node.node("VfxUse")["which"])), int(value), "VfxUse.which")
        node["vfx_writing"].setValue(value)
        same(bool(node.node("VfxPlateWrite")["disable"].value()), not value, "disable")
    node["vfx_proxy"].setValue("8")
    same(bool(node.node("VfxFromProxy")["disable"].value()), False, "VfxFromProxy.disable")
    node["vfx_proxy"].setValue("1")
    same(bool(node.node("VfxFromProxy")["disable"].value()), True, "VfxFromProxy.disable")


@check("the plate's type is linked to the Write inside")
def _link_reaches_the_write(folder: str) -> None:
    node = group(folder)
    same(str(node["vfx_plate_type"].value()), "32 bit float")


@check("a plate comes back bit for bit through files, overscan, negatives and highlights too")
def _plate_comes_back(folder: str) -> None:
    node = group(folder)
    files = write(node)
    read: Any = node.node("VfxResultRead")["file"]
    for frame, path in zip(range(FIRST, LAST + 1), files):
        shutil.copy(path, read.evaluate(frame))
    reload: Any = node.node("VfxResultRead")["reload"]
    reload.execute()
    nuke.frame(FIRST)
    plate = node.input(0)
    node["vfx_use"].setValue(True)
    for x, y in ((0.5, 0.5), (31.5, 20.5), (70.5, 55.5), (79.5, 59.5)):
        for channel in ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha"):
            found, wanted = (_sample(n, channel, x, y) for n in (node, plate))
            same(found, wanted, f"{channel} at {x:g}, {y:g}")
    same(_sample(node, "rgba.red", 0.5, 0.5), 12.5, "a highlight")
    same(_sample(node, "rgba.green", 0.5, 0.5), -0.25, "a negative")


@check("a picture at an input is written as one still, of the node's first frame")
def _pictures_are_stills(folder: str) -> None:
    written = 0
    for name, text in gizmos().items():
        for setting in re.findall(r"^  name VfxPictureWrite_(\w+)$", text, re.M):
            node = group(folder, name)
            number = int(node.node(setting)["number"].value())
            color: Any = nuke.nodes.Constant(channels="rgba", color=[0.25, 0.5, 12.5, 1])
            node.setInput(number, color)
            node["vfx_writing"].setValue(True)
            inner = node.node("VfxPictureWrite_" + setting)
            nuke.execute(inner, FIRST, FIRST, 1)
            path = node["vfx_cache"].value() + "/v1/" + setting + ".exr"
            same(inner["file"].evaluate(FIRST), path, name + "." + setting)
            same(os.path.isfile(path), True, path + " is there")
            written += 1
    same(written > 0, True, "an effect with a picture is here")


@check("numbers by name become knobs that can be animated, and the lines go")
def _entries_become_knobs(folder: str) -> None:
    use_plugin()
    made = 0
    for name, text in gizmos().items():
        for setting in re.findall(r"^ addUserKnob \{22 vfx_(\w+)_entries ", text, re.M):
            node = group(folder, name)
            node["vfx_" + setting].setValue("one=0.25\ntwo=0.75")
            button: Any = node["vfx_" + setting + "_entries"]
            button.execute()
            same(node["vfx_" + setting].value(), "", "the lines")
            knob: Any = node["vfx_" + setting + "__two"]
            same(knob.value(), 0.75)
            knob.setAnimated()
            knob.setValueAt(0.5, LAST)
            same(knob.getValueAt(LAST), 0.5)
            made += 1
    same(made > 0, True, "an effect with numbers by name is here")


@check("a frame that was not rendered is an error, never black")
def _missing_frames_fail(folder: str) -> None:
    node = group(folder)
    node["vfx_use"].setValue(True)
    nuke.frame(FIRST)
    same(bool(node.node("VfxResultRead").hasError()), True, "VfxResultRead.hasError")
    node["vfx_use"].setValue(False)
    same(bool(node.hasError()), False, "hasError of the group that shows its plate")


@check("a render of every Write leaves those in the groups alone")
def _writes_stay_off(folder: str) -> None:
    node = group(folder)
    with contextlib.suppress(RuntimeError):
        nuke.execute(node.node("VfxPlateWrite"), FIRST, FIRST, 1)
    path = node.node("VfxPlateWrite")["file"].evaluate(FIRST)
    same(os.path.exists(path), False, "a plate was written")


@check("a saved script is the same when it is opened again")
def _script_survives(folder: str) -> None:
    node = group(folder)
    knob: Any = node["vfx_amount"]
    knob.setAnimated()
    knob.setValueAt(0.25, FIRST)
    knob.setValueAt(1.0, LAST)
    name, path = node.name(), os.path.join(folder, "again.nk").replace(os.sep, "/")
    nuke.scriptSaveAs(path, 1)
    nuke.scriptClear()
    nuke.scriptOpen(path)
    again: Any = nuke.toNode(name)
    same([again["vfx_amount"].getValueAt(f) for f in (FIRST, LAST)], [0.25, 1.0], "amount")
    same(again["vfx_effect"].value(), "swap")
    same(str(again["vfx_plate_type"].value()), "32 bit float")


@check("a render goes through the engine: without a face in it the plate comes back bit for bit")
def _engine_renders(folder: str) -> None:
    need_engine()
    node = group(folder)
    node["vfx_persona"].setValue("amber")
    execute: Any = node["vfx_render"]
    execute.execute()
    same(bool(node["vfx_use"].value()), True, "use result; status: " + str(_status(node)))
    nuke.frame(FIRST)
    for x, y in ((0.5, 0.5), (31.5, 20.5)):
        same(_sample(node, "rgba.red", x, y), _sample(node.input(0), "rgba.red", x, y))
    layers_are_there(node, "VfxSwap")


FILLED: dict[str, dict[str, object]] = {
    "VfxSwap": {"vfx_persona": "amber"},
    "VfxStyle": {"vfx_style": "ink_wash"},
    "VfxMosaic": {"vfx_size_min_px": 12.0, "vfx_size_max_px": 24.0},
    "VfxFeatures": {"vfx_feature": "nose=0"},
    "VfxGuided": {"vfx_frames": 1.0, "vfx_sphere": -3.0},
}
"""What a group must be told before it renders; it needs no more than the starter models."""


@check("every effect renders through the engine, and its layers are there")
def _every_effect_renders(folder: str) -> None:
    need_engine()
    reference = os.environ.get("VFXSWAP_TEST_REFERENCE", "")
    for name in gizmos():
        node = group(folder, name)
        if node.knob("vfx_reference") is not None:
            if not reference:
                continue
            node["vfx_reference"].setValue(reference)
        for knob, value in FILLED.get(name, {}).items():
            node[knob].setValue(value)
        execute: Any = node["vfx_render"]
        execute.execute()
        same(bool(node["vfx_use"].value()), True, name + ": " + str(_status(node)))
        nuke.frame(FIRST)
        layers_are_there(node, name)
    if not reference:
        raise SkippedError("the others do, but $VFXSWAP_TEST_REFERENCE names no picture")


def layers_are_there(node: Any, name: str) -> None:
    """Every layer of an effect, under its intended name."""
    names = set(node.channels())
    wanted = re.findall(r"add_layer \{\S+ (.*)\}", gizmos()[name])
    missing = [c for row in wanted for c in row.split() if c not in names]
    same(missing, [], name + ": channels that are missing")


def use_plugin() -> None:
    """Makes the buttons find what they call, where NUKE_PATH does not name the plug-in."""
    if PLUGIN not in sys.path:
        sys.path.insert(0, PLUGIN)


def need_engine() -> None:
    """Raises SkippedError without an engine."""
    if not (os.environ.get("VFXSWAP_ENGINE") or shutil.which("vfxswap")):
        raise SkippedError("no engine is here")
    use_plugin()


def _status(node: Any) -> Any:
    return node["vfx_status"].value()


def _number(knob: Any) -> float:
    value = knob.getValue()
    return float(value if not isinstance(value, (list, tuple)) else value[0])


def _sample(node: Any, channel: str, x: float, y: float) -> float:
    sample: Any = nuke.sample
    return float(sample(node, channel, x, y))


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()


def main() -> int:
    """Makes all checks; how many failed."""
    failed = 0
    print(f"Nuke {nuke.NUKE_VERSION_STRING}, Python {sys.version.split()[0]}")
    for sentence, function in CHECKS:
        folder = tempfile.mkdtemp(prefix="vfxswap-nuke-")
        try:
            function(folder)
            print("ok      " + sentence)
        except SkippedError as reason:
            print(f"skipped {sentence}: {reason}")
        except Exception:
            failed += 1
            print(f"FAILED  {sentence}\n{traceback.format_exc()}")
        finally:
            nuke.scriptClear()
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{failed} of {len(CHECKS)} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
