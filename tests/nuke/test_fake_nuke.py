"""The fake is held to Nuke's published interface, and refuses what Nuke would not survive."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_nuke import FakeNuke, Group, Misuse, Node, Picture, api, read_exr, write_exr
from fake_nuke.pictures import RGBA
from fake_nuke.scripts import UnknownError

from vfxswap.geometry import Box

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


def test_a_shim_is_caught_that_forgets_to_reload(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    with FakeNuke() as fake:
        node = reader(fake, path)
        write_exr(str(path), ramp(1), RGBA, half=False, compression="none")
        assert fake.picture(node, 1).plane("rgba.red")[0, 0] == 1
        write_exr(str(path), ramp(2), RGBA, half=False, compression="none")
        assert fake.picture(node, 1).plane("rgba.red")[0, 0] == 1, "what it read before"
        node["reload"].execute()  # type: ignore[attr-defined]
        assert fake.picture(node, 1).plane("rgba.red")[0, 0] == 2


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


# Pictures -----------------------------------------------------------------------------------------

WINDOW = Box(-4, -3, 24, 18)


def picture(seed: int = 0, window: Box = WINDOW) -> Picture:
    """Highlights, negatives, overscan; alpha between 0 and 1."""
    rng = np.random.default_rng(seed)
    planes = {n: rng.normal(0, 4, (window.height, window.width)).astype(np.float32) for n in RGBA}
    planes["rgba.alpha"] = rng.random((window.height, window.width)).astype(np.float32)
    planes["rgba.alpha"][:4] = 0
    planes["swap_matte.red"] = rng.random((window.height, window.width)).astype(np.float32)
    return Picture(planes, window, 16, 12)


def ramp(value: float) -> Picture:
    return Picture({n: np.full((2, 2), value, np.float32) for n in RGBA}, Box(0, 0, 2, 2), 2, 2)


def reader(fake: FakeNuke, path: Path) -> Node:
    node: Node = fake.nuke.nodes.Read(file=path.as_posix(), raw=True)
    return node


class Bench:
    """Two pictures on disk, and nodes on them."""

    def __init__(self, fake: FakeNuke, folder: Path) -> None:
        self.fake = fake
        fake.root_node["format"].setValue("16 12 0 0 16 12 1 small")  # type: ignore[attr-defined]
        self.inputs = []
        for index in (0, 1):
            path = folder / f"in{index}.exr"
            source = picture(index)
            write_exr(str(path), source, source.channels, half=False, compression="none")
            self.inputs.append(reader(fake, path))
        self.b, self.a = (fake.picture(node, 1) for node in self.inputs)

    def __call__(self, kind: str, *, inputs: int = 1, **knobs: Any) -> Picture:
        node = getattr(self.fake.nuke.nodes, kind)(inputs=self.inputs[:inputs])
        for name, value in knobs.items():
            node[name].setValue(value)
        return self.fake.picture(node, 1)


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    with FakeNuke() as fake:
        yield Bench(fake, tmp_path)


def same(one: Picture, other: Picture, names: Any = RGBA) -> bool:
    return one.bbox == other.bbox and all(
        np.array_equal(one.plane(n), other.plane(n), equal_nan=True) for n in names
    )


def test_a_file_comes_back_bit_for_bit_with_a_black_pixel_around_overscan(bench: Bench) -> None:
    source = picture(0)
    assert bench.b.bbox == WINDOW.grown(1)
    assert bench.b.channels.keys() == source.channels.keys()
    for name, plane in source.channels.items():
        assert np.array_equal(bench.b.plane(name)[1:-1, 1:-1], plane)
        assert not bench.b.plane(name)[0].any() and not bench.b.plane(name)[:, -1].any()


def test_a_file_without_overscan_keeps_its_window(tmp_path: Path) -> None:
    source = picture(0, Box(0, 0, 16, 12))
    write_exr(str(tmp_path / "a.exr"), source, RGBA, half=True, compression="Zip (1 scanline)")
    again = read_exr(str(tmp_path / "a.exr"))
    assert again.bbox == Box(0, 0, 16, 12)
    halves = source.plane("rgba.red").astype(np.float16).astype(np.float32)
    assert np.array_equal(again.plane("rgba.red"), halves)


def test_a_missing_file_is_an_error_or_black_as_the_read_says(bench: Bench, tmp_path: Path) -> None:
    node: Any = reader(bench.fake, tmp_path / "none.%04d.exr")
    node["last"].setValue(2000)
    with pytest.raises(RuntimeError, match=r"none.1001.exr: Read error: No such file"):
        bench.fake.picture(node, 1001)
    node["on_error"].setValue("black")
    assert not bench.fake.picture(node, 1001).plane("rgba.red").any()


def test_a_switch_passes_one_input_untouched(bench: Bench) -> None:
    assert same(bench("Switch", inputs=2, which=1), bench.a)
    assert same(bench("Switch", inputs=2, which=0), bench.b)
    assert same(bench("Switch", inputs=2, which=7), bench.a), "beyond the last: the last"


def test_a_disabled_node_passes_its_first_input(bench: Bench) -> None:
    assert same(bench("Grade", white=3, disable=True), bench.b)


def test_crop_counts_from_the_lower_left(bench: Bench) -> None:
    cut = bench("Crop", box=[2, 1, 10, 5])
    assert cut.bbox == Box(2, 7, 8, 4), "rows 1 to 4 from below are 7 to 10 from above"
    whole = bench.b.plane("rgba.red", Box(2, 7, 8, 4))
    assert np.array_equal(cut.plane("rgba.red"), whole)
    assert bench("Crop", box=[2, 1, 10, 5], reformat=True).bbox == Box(0, 0, 8, 4)


def test_copy_takes_channels_of_a(bench: Bench) -> None:
    made = bench("Copy", inputs=2, from0="rgba.red", to0="rgba.alpha")
    assert np.array_equal(made.plane("rgba.alpha"), bench.a.plane("rgba.red"))
    assert np.array_equal(made.plane("rgba.green"), bench.b.plane("rgba.green"))


def test_shuffle_moves_channels_and_fills(bench: Bench) -> None:
    rows = "2 swap_matte.red 0 0 rgba.alpha 0 3 white -1 -1 rgba.green 0 1"
    made = bench("Shuffle2", mappings=rows)
    assert np.array_equal(made.plane("rgba.alpha"), bench.b.plane("swap_matte.red"))
    assert (made.plane("rgba.green") == 1).all()
    assert np.array_equal(made.plane("rgba.red"), bench.b.plane("rgba.red"))


@pytest.mark.parametrize(
    ("operation", "formula"),
    [
        ("over", lambda a, b, m: a + b * (1 - m)), ("plus", lambda a, b, m: a + b),
        ("multiply", lambda a, b, m: a * b), ("mask", lambda a, b, m: b * m),
        ("stencil", lambda a, b, m: b * (1 - m)), ("copy", lambda a, b, m: a),
    ],
)  # fmt: skip
def test_merge_follows_its_formula(
    bench: Bench, operation: str, formula: Callable[[Any, Any, Any], Any]
) -> None:
    made = bench("Merge2", inputs=2, operation=operation)
    alpha = bench.a.plane("rgba.alpha")
    for name in RGBA:
        wanted = formula(bench.a.plane(name), bench.b.plane(name), alpha)
        assert np.array_equal(made.plane(name), wanted), name


def test_keymix_is_exact_where_its_mask_is_0_or_1(bench: Bench) -> None:
    mask = bench.fake.nuke.nodes.Constant(
        inputs=[], channels="alpha", color=[0, 0, 0, 1], format="8 12 0 0 8 12"
    )
    node = bench.fake.nuke.nodes.Keymix(inputs=[*bench.inputs, mask])
    assert same(bench.fake.picture(node, 1), bench.a)
    node["invertMask"].setValue(True)
    assert same(bench.fake.picture(node, 1), bench.b)


def test_grade_follows_its_formula_and_keeps_negatives(bench: Bench) -> None:
    made = bench("Grade", white=2, add=0.5, black_clamp=False)
    wanted = np.float32(2) * bench.b.plane("rgba.red") + np.float32(0.5)
    assert np.array_equal(made.plane("rgba.red"), wanted) and wanted.min() < 0
    assert np.array_equal(made.plane("rgba.alpha"), bench.b.plane("rgba.alpha"))
    masked = bench("Grade", white=2, black_clamp=False, maskChannelInput="rgba.alpha")
    clear = bench.b.plane("rgba.alpha") == 0
    assert np.array_equal(masked.plane("rgba.red")[clear], bench.b.plane("rgba.red")[clear])
    assert bench("Grade").plane("rgba.red").min() == 0, "Nuke's default clamps blacks"


def test_a_conversion_to_the_same_space_changes_no_bit(bench: Bench) -> None:
    assert same(bench("OCIOColorSpace"), bench.b)
    other = bench("OCIOColorSpace", out_colorspace="Linear Rec.709 (sRGB)")
    assert not np.array_equal(other.plane("rgba.red"), bench.b.plane("rgba.red"))
    assert np.array_equal(other.plane("rgba.alpha"), bench.b.plane("rgba.alpha"))


def test_reformat_repeats_pixels(bench: Bench) -> None:
    big = bench("Reformat", type="scale", scale=4, filter="Impulse", pbb=True)
    assert (big.width, big.height) == (64, 48)
    assert np.array_equal(big.plane("rgba.red")[::4, ::4], bench.b.plane("rgba.red"))


def test_st_map_of_identity_gives_the_picture_back(tmp_path: Path) -> None:
    window = Box(0, 0, 16, 12)
    y, x = np.mgrid[0:12, 0:16].astype(np.float32)
    uv = {"swap_uv.red": (x + 0.5) / 16, "swap_uv.green": 1 - (y + 0.5) / 12}
    with FakeNuke() as fake:
        source = picture(0, window)
        write_exr(str(tmp_path / "p.exr"), source, RGBA, half=False, compression="none")
        st = Picture(uv, window, 16, 12)
        write_exr(str(tmp_path / "s.exr"), st, uv, half=False, compression="none")
        node = fake.nuke.nodes.STMap(
            inputs=[reader(fake, tmp_path / n) for n in ("p.exr", "s.exr")],
            uv="swap_uv", filter="Impulse",
        )  # fmt: skip
        assert same(fake.picture(node, 1), source)


def test_what_the_fake_cannot_compute_exactly_it_refuses(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="Impulse"):
        bench("Reformat", type="scale", scale=2)
    with pytest.raises(RuntimeError, match="whites"):
        bench("Grade", white_clamp=True)
    with pytest.raises(RuntimeError, match="raw"):
        bench.fake.picture(bench.fake.nuke.nodes.Read(file="x.exr"), 1)


def test_parts_with_different_windows_are_misread(tmp_path: Path) -> None:
    import OpenImageIO as oiio  # noqa: N813

    specs = []
    for index, width in enumerate((16, 8)):
        spec = oiio.ImageSpec(width, 12, 1, oiio.HALF)
        spec.full_width, spec.full_height = 16, 12
        spec.channelnames = (f"layer{index}.red",)
        spec.attribute("oiio:subimagename", f"part{index}")
        specs.append(spec)
    path = str(tmp_path / "a.exr")
    out = oiio.ImageOutput.create(path)
    assert out is not None and out.open(path, tuple(specs))
    for index, spec in enumerate(specs):
        if index:
            out.open(path, spec, "AppendSubimage")
        out.write_image(np.zeros((12, spec.width, 1), np.float16))
    out.close()
    with pytest.raises(RuntimeError, match="misread by Nuke: parts differ in data window"):
        read_exr(path)
