"""The fake is held to Nuke's published interface, and refuses what Nuke would not survive."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_nuke import FakeNuke, Group, Misuse, api
from fake_nuke.scripts import UnknownError

GIZMOS = Path(__file__).parent.parent.parent / "gizmos"
FRAMES = (1001, 1002)


# The interface ------------------------------------------------------------------------------------


class Stubs:
    """What types-nuke says that Nuke has: functions with their arguments, classes, constants."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("nuke-stubs")
        assert spec is not None and spec.submodule_search_locations, "types-nuke is not installed"
        (folder,) = spec.submodule_search_locations
        self.functions: dict[str, list[ast.FunctionDef]] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.constants: set[str] = set()
        for path in sorted(Path(folder).glob("*.pyi")):
            for item in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(item, ast.FunctionDef):
                    self.functions.setdefault(item.name, []).append(item)
                elif isinstance(item, ast.ClassDef):
                    self.classes[item.name] = item
                elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    self.constants.add(item.target.id)

    def methods(self, name: str) -> dict[str, list[ast.FunctionDef]]:
        """Methods of a class and of those that it is made from."""
        found: dict[str, list[ast.FunctionDef]] = {}
        row = self.classes[name]
        for base in row.bases:
            if isinstance(base, ast.Name) and base.id in self.classes:
                found |= self.methods(base.id)
        for item in row.body:
            if isinstance(item, ast.FunctionDef):
                found.setdefault(item.name, []).append(item)
        return found


@pytest.fixture(scope="module")
def stubs() -> Stubs:
    return Stubs()


def takes(overloads: list[ast.FunctionDef], names: list[str]) -> bool:
    """Whether Nuke's function has these arguments, by position."""
    for one in overloads:
        if one.args.vararg is not None:
            return True
        wanted = [a.arg for a in one.args.args if a.arg != "self"]
        if len(names) <= len(wanted) + len(one.args.kwonlyargs):
            return True
    return False


FORGOTTEN = {("Link_Knob", "setValue")}
"""Methods whose arguments the stubs forgot."""


def public(thing: type[Any]) -> list[str]:
    return [n for n, v in vars(thing).items() if not n.startswith("_") and callable(v)]


@pytest.mark.parametrize("thing", [*api.CLASSES, *api.MORE_CLASSES], ids=lambda c: str(c.__name__))
def test_a_class_of_the_fake_has_no_method_that_nuke_lacks(thing: type[Any], stubs: Stubs) -> None:
    known = stubs.methods(thing.__name__)
    for name in public(thing):
        assert name in known, f"{thing.__name__}.{name} is not Nuke's"
        if (thing.__name__, name) not in FORGOTTEN:
            names = api.signature_of(getattr(thing, name))
            assert takes(known[name], names), f"{thing.__name__}.{name} takes {names}"


@pytest.mark.parametrize("function", api.FUNCTIONS, ids=lambda f: str(f.__name__))
def test_a_function_of_the_fake_is_one_of_nukes(function: Callable[..., Any], stubs: Stubs) -> None:
    assert function.__name__ in stubs.functions
    names = api.signature_of(function)
    assert takes(stubs.functions[function.__name__], names), f"it takes {names}"


def test_callbacks_and_constants_of_the_fake_are_nukes(stubs: Stubs) -> None:
    assert api.CALLBACKS.keys() <= stubs.functions.keys()
    with FakeNuke() as fake:
        assert api.constants(fake).keys() <= stubs.constants


def test_what_the_fake_does_not_know_is_refused_by_name() -> None:
    with FakeNuke() as fake:
        with pytest.raises(Misuse, match="zoomToFitSelected is not in the fake"):
            fake.nuke.zoomToFitSelected()
        with pytest.raises(AttributeError):
            fake.nuke.nodes.NoOp().forceValidate()
        with pytest.raises(RuntimeError, match="Unknown command"):
            fake.nuke.nodes.Inference()
        with pytest.raises(UnknownError, match="no knob glow"):
            fake.load("Grade {\n inputs 0\n glow 3\n}")
        with pytest.raises(NameError, match="knob glow does not exist"):
            fake.nuke.nodes.Grade()["glow"]
        fake.misuses.clear()


def test_a_misuse_is_raised_again_at_the_end_when_it_was_caught() -> None:
    with pytest.raises(Misuse, match="nothing would ever answer"), FakeNuke(gui=False) as fake:
        _quiet(lambda: fake.nuke.executeInMainThread(print))


# Bad plug-ins -------------------------------------------------------------------------------------


def on_thread(call: Callable[[], Any]) -> None:
    thread = threading.Thread(target=call, name="bad shim")
    thread.start()
    thread.join()


def touches_a_knob_off_the_main_thread(fake: FakeNuke, node: Group) -> None:
    on_thread(lambda: _quiet(lambda: node["vfx_status"].setValue("half")))  # type: ignore[attr-defined]


def makes_a_node_off_the_main_thread(fake: FakeNuke, node: Group) -> None:
    on_thread(lambda: _quiet(lambda: fake.nuke.nodes.NoOp()))


def shows_a_message_off_the_main_thread(fake: FakeNuke, node: Group) -> None:
    on_thread(lambda: _quiet(lambda: fake.nuke.message("done")))


def calls_the_main_thread_from_itself(fake: FakeNuke, node: Group) -> None:
    fake.nuke.executeInMainThread(print)


def waits_for_the_main_thread_on_itself(fake: FakeNuke, node: Group) -> None:
    fake.nuke.executeInMainThreadWithResult(print)


def shows_a_panel_inside_a_call_of_the_main_thread(fake: FakeNuke, node: Group) -> None:
    on_thread(lambda: fake.nuke.executeInMainThread(fake.nuke.message, "done"))
    fake.pump()


def asks_inside_a_call_of_the_main_thread(fake: FakeNuke, node: Group) -> None:
    on_thread(lambda: fake.nuke.executeInMainThread(fake.nuke.ask, "sure?"))
    fake.pump()


def _quiet(call: Callable[[], Any]) -> None:
    """A shim that swallows every error: the fake must not be fooled."""
    with contextlib.suppress(Exception):
        call()


GUI_SINS = (
    touches_a_knob_off_the_main_thread,
    makes_a_node_off_the_main_thread,
    shows_a_message_off_the_main_thread,
    calls_the_main_thread_from_itself,
    waits_for_the_main_thread_on_itself,
    shows_a_panel_inside_a_call_of_the_main_thread,
    asks_inside_a_call_of_the_main_thread,
)


@pytest.mark.parametrize("sin", GUI_SINS, ids=lambda s: s.__name__.replace("_", " "))
def test_a_shim_is_caught_that(sin: Callable[[FakeNuke, Group], None]) -> None:
    with pytest.raises(Misuse), FakeNuke() as fake:
        sin(fake, group(fake))


TERMINAL_SINS: dict[str, Callable[[FakeNuke], Any]] = {
    "creates nodes as in the GUI": lambda fake: fake.nuke.createNode("NoOp"),
    "calls a main thread that has no loop": lambda fake: fake.nuke.executeInMainThread(print),
    "asks": lambda fake: fake.nuke.ask("sure?"),
    "makes menus": lambda fake: fake.nuke.menu("Nodes"),
    "opens a panel": lambda fake: __import__("nukescripts").panels.registerWidgetAsPanel(
        "a.B", "B", "b"
    ),
}


@pytest.mark.parametrize("sin", TERMINAL_SINS.values(), ids=TERMINAL_SINS.keys())
def test_a_shim_is_caught_that_in_a_terminal_session(sin: Callable[[FakeNuke], Any]) -> None:
    with pytest.raises(Misuse), FakeNuke(gui=False) as fake:
        sin(fake)


def group(fake: FakeNuke) -> Group:
    fake.plugin_paths.append(str(GIZMOS))
    node = fake.create("VfxSwap")
    assert isinstance(node, Group)
    return node


def test_a_shim_is_caught_that_uses_a_node_after_it_was_deleted() -> None:
    with FakeNuke() as fake:
        node = group(fake)
        inner = node.node("VfxPlateWrite")
        assert inner is not None
        fake.nuke.delete(node)
        for dead in (node, inner):
            with pytest.raises(ValueError, match="not attached"):
                dead["label"]


def test_a_shim_is_caught_that_gives_a_knob_the_wrong_type() -> None:
    with FakeNuke() as fake:
        node = group(fake)
        for knob, wrong in (("vfx_cache", Path("/x")), ("vfx_first", "1001"), ("vfx_use", "on")):
            with pytest.raises(TypeError):
                node[knob].setValue(wrong)  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="none of"):
            node["vfx_proxy"].setValue("3")  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            fake.nuke.ProgressTask("x").setProgress(0.5)


def test_a_shim_is_caught_that_executes_a_write_that_is_disabled(tmp_path: Path) -> None:
    with FakeNuke() as fake:
        node = group(fake)
        node["vfx_cache"].setValue(str(tmp_path))  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="VfxPlateWrite is disabled"):
            fake.nuke.execute(node.node("VfxPlateWrite"), 1001, 1001)
        assert not list(tmp_path.iterdir())


def test_a_broken_menu_is_an_error_of_the_start(tmp_path: Path) -> None:
    (tmp_path / "init.py").write_text("import nuke\nnuke.pluginAddPath('x')\n")
    (tmp_path / "menu.py").write_text("1 / 0\n")
    with FakeNuke(gui=False) as fake:
        fake.load_plugin(tmp_path)
        assert fake.nuke.pluginPath()[0] == "x"
    with FakeNuke() as fake, pytest.raises(ZeroDivisionError):
        fake.load_plugin(tmp_path)


# Knobs, expressions, scripts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1+2*3", 7), ("(1+2)*3", 9), ("-2*-3", 6), ("!0 && 2 > 1", 1), ("frame==5 ? 10 : 20", 10),
        ("pow(2,parent.vfx_proxy)", 4), ("root.first_frame", 1001), ("a.xpos-1", 6),
        ("parent.vfx_writing==0", 1), ("7 % 4 / 2", 1.5), ("max(1, 3, 2)", 3),
    ],
)  # fmt: skip
def test_expressions_are_computed(text: str, value: float) -> None:
    with FakeNuke() as fake:
        node = group(fake)
        fake.root_node["first_frame"].setValue(1001)  # type: ignore[attr-defined]
        node["vfx_proxy"].setValue("4")  # type: ignore[attr-defined]
        with node:
            fake.load("NoOp {\n inputs 0\n name a\n xpos 7\n}\nNoOp {\n inputs 0\n name b\n}")
        b = node.node("b")
        assert b is not None
        b["xpos"].setExpression(text)  # type: ignore[attr-defined]
        assert b["xpos"]._number(5) == value


def test_a_name_that_is_nowhere_is_an_error_of_the_node() -> None:
    with FakeNuke() as fake:
        node = fake.nuke.nodes.Switch(inputs=[fake.nuke.nodes.Constant()])
        node["which"].setExpression("parent.nothing")
        assert node.hasError()


def test_animated_knobs_are_exact_at_their_keys_after_saving(tmp_path: Path) -> None:
    with FakeNuke() as fake:
        knob: Any = group(fake)["vfx_amount"]
        knob.setAnimated()
        knob.setValueAt(0.25, 1001)
        knob.setValueAt(1.0, 1010)
        fake.save(tmp_path / "a.nk")
        fake.open(tmp_path / "a.nk")
        again: Any = fake.nuke.toNode("VfxSwap1")["vfx_amount"]
        assert [again.getValueAt(f) for f in (1001, 1010)] == [0.25, 1.0]
        assert again.isAnimated()


def test_a_saved_script_is_the_same_script(tmp_path: Path) -> None:
    source = GIZMOS / "examples" / "swap_matte_work.nk"
    with FakeNuke() as fake:
        fake.open(source)
        fake.save(tmp_path / "a.nk")
        fake.open(tmp_path / "a.nk")
        fake.save(tmp_path / "b.nk")
        names = [n._full() for n in fake.root_node._walk()]
        layers = dict(fake.layers)
        fake.open(source)
        assert sorted(names) == sorted(n._full() for n in fake.root_node._walk())
        assert layers == fake.layers
    first, second = ((tmp_path / n).read_text().replace(n, "") for n in ("a.nk", "b.nk"))
    assert first == second
