"""The generated groups and scripts: as committed, as described, and as Nuke reads them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vfxswap_nuke
from draw_graph import sheet
from fake_nuke import FakeNuke, Group, Node
from fake_nuke.classes import CLASSES, COMMON, USER_KNOBS
from fake_nuke.knobs import Array_Knob, EvalString_Knob
from nuke_rules import nuke_name
from tcl_loader import Script, ScriptError, ScriptNode, UserKnob, load_file, load_text

from vfxswap.effects.describe import description
from vfxswap.errors import JobError
from vfxswap.gizmos import gizmo, gizmo_name, gizmos

FOLDER = Path(__file__).parent.parent.parent / "gizmos"
EFFECTS: list[dict[str, Any]] = description()["effects"]
FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".gizmo", ".nk"))
EXAMPLES = [path for path in FILES if path.suffix == ".nk"]
MADE_UP: dict[str, Any] = {
    "name": "made_up",
    "help": "Says [exec rm] {and} \"more\" for $9.\nIn two lines.",
    "settings": [
        {"name": "kind", "enum": ["a b", "c"], "default": "c", "type": "string", "help": "One.",
         "keyframes": False},
        {"name": "on", "type": "boolean", "default": True, "help": "Two.", "keyframes": True},
        {"name": "names", "type": "array", "default": ["x", "y"], "help": "Three.",
         "keyframes": False},
        {"name": "table", "type": "object", "default": {"a": 1}, "help": "Four.",
         "keyframes": False},
        {"name": "still", "type": "string", "default": "", "help": "Nine.", "file": True,
         "keyframes": False},
        {"name": "depth_m", "type": "number", "default": 0.25, "unit": "m", "help": "Five.",
         "keyframes": True},
    ],
    "layers": [
        {"name": "made_color", "channels": ["red", "green", "blue", "alpha"], "kind": "color",
         "help": "Six.", "premultiplied": True},
    ],
    "mattes": [{"role": "area", "help": "Seven."}],
    "pictures": [{"setting": "still", "help": "Eight.", "card": True}],
}  # fmt: skip


def group_of(text: str) -> ScriptNode:
    (group,) = load_text(text).root.children
    return group


def knobs_of(group: ScriptNode) -> dict[str, UserKnob]:
    return {knob.name: knob for knob in group.user}


@pytest.fixture(params=EFFECTS, ids=lambda e: str(e["name"]))
def effect(request: pytest.FixtureRequest) -> dict[str, Any]:
    row: dict[str, Any] = request.param
    return row


@pytest.fixture(params=FILES, ids=lambda p: p.name)
def path(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param
    return file


# As generated -------------------------------------------------------------------------------------


def test_what_is_committed_is_what_the_effects_say_of_themselves() -> None:
    made = gizmos(description())
    stored = {p.relative_to(FOLDER).as_posix(): p.read_text(encoding="utf-8") for p in FILES}
    again = "python -m vfxswap.gizmos gizmos"
    assert sorted(stored) == sorted(made), f"regenerate them: {again}"
    for name, text in made.items():
        assert stored[name] == text, f"{name} is stale: {again}"


def test_there_is_a_group_for_every_effect(effect: dict[str, Any]) -> None:
    text = (FOLDER / f"{gizmo_name(effect['name'])}.gizmo").read_text(encoding="utf-8")
    assert text.startswith("Group {\n")


def test_every_setting_is_a_knob_with_its_default_range_unit_and_help(
    effect: dict[str, Any],
) -> None:
    group = group_of(gizmo(effect, version="1"))
    knobs = knobs_of(group)
    kinds = {"number": 7, "integer": 3, "boolean": 6, "string": 1, "object": 43, "array": 43}
    for setting in effect["settings"]:
        knob = knobs["vfx_" + setting["name"]]
        wanted = 4 if "enum" in setting else kinds[setting["type"]]
        wanted = 2 if setting.get("file") else wanted
        assert knob.kind == wanted, setting
        assert knob.tip.startswith(setting["help"])
        if "unit" in setting:
            assert knob.label is not None and knob.label.endswith(f"({setting['unit']})")
        if knob.kind in (3, 7) and knob.limits is not None:
            low, high = knob.limits
            assert low == setting.get("minimum", low) and high == setting.get("maximum", high)
            assert low <= setting["default"] <= high
            assert knob.kind == 7 or high < 2**31, "Nuke's integers have 32 bits"
        elif knob.kind in (3, 7):
            assert not {"maximum", "exclusiveMaximum"} & setting.keys()
        if setting["keyframes"]:
            assert knob.kind in (3, 6, 7), "a knob that can be animated"
    with FakeNuke() as fake:
        (node,) = fake.load(gizmo(effect, version="1"))
        for setting in effect["settings"]:
            value = node["vfx_" + setting["name"]].value()  # type: ignore[attr-defined]
            default = setting.get("default", {"object": {}, "array": []}.get(setting["type"]))
            if setting["type"] == "object":
                assert value == "\n".join(f"{k}={v}" for k, v in default.items())
            elif setting["type"] == "array":
                assert value == "\n".join(map(str, default))
            else:
                assert value == default and type(value) is type(default), setting["name"]


def test_inputs_layers_and_writes_are_those_of_the_effect(effect: dict[str, Any]) -> None:
    script = load_text(gizmo(effect, version="1"))
    (group,) = script.root.children
    roles = [matte["role"] for matte in effect["mattes"]]
    inputs = {int(n.knobs.get("number", "0")): n.name for n in group.children if n.kind == "Input"}
    stills = [picture["setting"] for picture in effect["pictures"]]
    assert inputs == dict(enumerate(["plate", *roles, *stills]))
    writes = {n.name for n in group.children if n.kind == "Write"}
    mattes = {f"VfxMatteWrite_{role}" for role in roles}
    assert writes == {"VfxPlateWrite", *mattes, *(f"VfxPictureWrite_{s}" for s in stills)}
    said = str(knobs_of(group)["vfx_inputs"].text).splitlines()
    assert [line.partition(" ")[0].strip(":") for line in said] == list(inputs.values())
    helps = [row["help"] for row in (*effect["mattes"], *effect["pictures"])]
    assert all(line.endswith(text) for line, text in zip(said[1:], helps, strict=True))
    assert script.layers == {
        layer["name"]: tuple(f"{layer['name']}.{c}" for c in layer["channels"])
        for layer in effect["layers"]
    }


def test_layers_keep_their_names_and_are_no_built_in_ones_in_nuke(effect: dict[str, Any]) -> None:
    for layer in effect["layers"]:
        name, channels = layer["name"], layer["channels"]
        assert 1 <= len(channels) <= 4 and not name.isdigit()
        assert all(len(channel) > 1 for channel in channels), "r and R are red in Nuke"
        for channel in channels:
            assert nuke_name(f"{name}.{channel}", "", True) == f"{name}.{channel}"
        assert name not in (
            "rgba",
            "rgb",
            "alpha",
            "depth",
            "forward",
            "backward",
            "motion",
            "mask",
        )


def test_tabs_come_in_the_order_in_which_an_artist_needs_them(effect: dict[str, Any]) -> None:
    group = group_of(gizmo(effect, version="1"))
    tabs = [knob.label for knob in group.user if knob.kind == 20 and not knob.group]
    title = effect["name"].replace("_", " ").capitalize()
    assert tabs == [title, "Render", "About"]
    assert group.user[0].kind == 20, "no knob stands before the first tab"


def test_many_settings_lie_in_closed_groups_by_their_first_word(effect: dict[str, Any]) -> None:
    group = group_of(gizmo(effect, version="1"))
    names, at = [s["name"] for s in effect["settings"]], ""
    inside: dict[str, list[str]] = {}
    for knob in group.user:
        if knob.group == 1:
            assert not at, "no group in a group"
            assert group.knobs[knob.name] == "0", "closed"
            at = str(knob.label)
        elif knob.group == -1:
            assert at
            at = ""
        elif knob.name[4:] in names:
            inside.setdefault(at, []).append(knob.name[4:])
    assert not at and sorted(n for of in inside.values() for n in of) == sorted(names)
    folded = {word for word in inside if word}
    assert all(n.partition("_")[0] == word for word in folded for n in inside[word])
    if len(names) <= 24:
        assert not folded
    else:
        rest = [name.partition("_")[0] for name in inside[""]]
        assert not {word for word in rest if rest.count(word) > 2}
    if effect["name"] == "guided":
        assert folded == {"box", "frames", "tint", "light1", "light2", "light3"}


def test_every_knob_that_an_artist_sees_says_what_it_does(effect: dict[str, Any]) -> None:
    for knob in group_of(gizmo(effect, version="1")).user:
        if knob.kind not in (20, 26) and "+INVISIBLE" not in knob.flags:
            assert len(knob.tip) > 5 and knob.tip[-1] in ".!)", knob.name


def test_about_speaks_of_consent_and_patents(effect: dict[str, Any]) -> None:
    knobs = knobs_of(group_of(gizmo(effect, version="1")))
    assert "informed consent of both" in str(knobs["vfx_consent"].text)
    assert "patent" in str(knobs["vfx_patents"].text)


def test_a_made_up_effect_has_every_kind_of_knob_and_a_picture() -> None:
    text = gizmo(MADE_UP, version='1 "[x]"')
    with FakeNuke() as fake:
        (node,) = fake.load(text)
        assert isinstance(node, Group)
        values = {name: k.value() for name, k in node.knobs().items() if hasattr(k, "value")}
        assert values["vfx_kind"] == "c"
        assert values["vfx_on"] is True
        assert values["vfx_names"] == "x\ny"
        assert values["vfx_table"] == "a=1"
        assert values["vfx_depth_m"] == 0.25
        assert values["vfx_help"] == MADE_UP["help"], "nothing in a text is run or lost"
        assert node["vfx_depth_m"].label() == "depth (m)"
        assert values["vfx_describe_version"] == '1 "[x]"'
        inputs = [n.name() for n in node.nodes() if n.Class() == "Input"]
        assert inputs == ["plate", "area", "still"]
        write: Any = node.node("VfxPictureWrite_still")
        node["vfx_cache"].setValue("/c")  # type: ignore[attr-defined]
        assert write["file"].evaluate(1001) == "/c/v1/still.exr"
        assert node["vfx_still"].Class() == node["vfx_still_card"].Class() == "File_Knob"
        assert node.node("VfxFromWorking_made_color") is not None
        assert fake.layers == {"made_color": tuple(f"made_color.{c}" for c in
                                                   ("red", "green", "blue", "alpha"))}  # fmt: skip


def test_a_setting_that_is_named_as_a_knob_of_all_groups_is_refused() -> None:
    setting = {"name": "cache", "type": "string", "default": "", "help": "x", "keyframes": False}
    with pytest.raises(JobError, match="cache"):
        gizmo({**MADE_UP, "settings": [setting]}, version="1")
    for name in ("light_group", "style_entries", "a__b"):
        with pytest.raises(JobError, match=f"{name} is named as knobs that go with settings"):
            gizmo({**MADE_UP, "settings": [{**setting, "name": name}]}, version="1")


def test_a_setting_that_no_knob_can_hold_is_refused_by_name() -> None:
    setting: dict[str, Any] = {
        "name": "odd",
        "anyOf": [],
        "default": None,
        "help": "x",
        "keyframes": False,
    }
    with pytest.raises(JobError, match="setting odd has no knob"):
        gizmo({**MADE_UP, "settings": [setting]}, version="1")


# As Nuke reads them -------------------------------------------------------------------------------


def scopes(script: Script) -> Iterator[ScriptNode]:
    yield script.root
    yield from (node for node in script.nodes() if node.children)


def test_names_are_unique_in_every_group(path: Path) -> None:
    for scope in scopes(load_file(path)):
        names = [node.name for node in scope.children]
        assert all(names) and len(names) == len(set(names)), names


def test_only_known_classes_and_knobs_are_used(path: Path) -> None:
    for node in load_file(path).nodes():
        assert node.kind in CLASSES, node.kind
        user = {knob.name for knob in node.user}
        for name in node.knobs:
            assert name in CLASSES[node.kind].knobs or name in COMMON or name in user, (
                f"{node.kind} {node.name}: {name}"
            )
        assert {knob.kind for knob in node.user} <= USER_KNOBS.keys()
        assert len(user) == len(node.user), "a knob twice"


def test_own_nodes_and_knobs_have_the_prefix(path: Path) -> None:
    for node in load_file(path).nodes():
        if node.user:
            assert node.name.startswith("Vfx")
            assert all(knob.name.startswith("vfx_") for knob in node.user)
            inner = {n.name for n in node.children if n.kind not in ("Input", "Output")}
            assert all(name.startswith("Vfx") for name in inner), inner


def test_links_have_their_targets(path: Path) -> None:
    links = 0
    for node in load_file(path).nodes():
        for knob in node.user:
            if knob.kind == 41:
                target, _, name = str(knob.text).rpartition(".")
                child = node.child(target)
                assert name in CLASSES[child.kind].knobs
                links += 1
    assert links


def test_buttons_hold_python_that_the_oldest_nuke_can_compile(path: Path) -> None:
    buttons = [k for n in load_file(path).nodes() for k in n.user if k.kind == 22]
    assert buttons
    for knob in buttons:
        ast.parse(str(knob.text), feature_version=(3, 7))
        function = {"background": "render_background"}.get(knob.name[4:], knob.name[4:])
        call = f"vfxswap_nuke.{function}(nuke.thisNode())"
        if knob.name.endswith("_entries"):
            call = f"vfxswap_nuke.entry_knobs(nuke.thisNode(), '{knob.name[4:-8]}')"
        assert f"import vfxswap_nuke; {call}" in str(knob.text)
        assert hasattr(vfxswap_nuke, call.split(".")[1].partition("(")[0])


def test_inputs_are_wired_to_nodes_that_come_before_them(path: Path) -> None:
    for scope in scopes(load_file(path)):
        seen: list[ScriptNode] = []
        for node in scope.children:
            known = CLASSES[node.kind]
            most = sum(c.kind == "Input" for c in node.children) or known.most
            # A gizmo on its own takes the node that is selected, which is not in the file.
            lonely = scope.kind == "Root" and len(scope.children) == 1
            fewest = 0 if node.kind in ("Group", "Input", "Viewer") or lonely else known.fewest
            connected = [source for source in node.inputs if source is not None]
            assert fewest <= len(node.inputs) <= most, f"{node.kind} {node.name}"
            assert all(source in seen for source in connected), node.name
            assert len(connected) >= fewest, f"{node.name} is not wired"
            seen.append(node)


def test_each_group_has_one_output_and_inputs_without_gaps(path: Path) -> None:
    for group in (n for n in load_file(path).nodes() if n.kind == "Group"):
        assert [n.kind for n in group.children].count("Output") == 1
        numbers = [int(n.knobs.get("number", "0")) for n in group.children if n.kind == "Input"]
        assert sorted(numbers) == list(range(len(numbers)))


def test_nothing_but_buttons_holds_python(path: Path) -> None:
    callbacks = re.compile(r"\b(onCreate|knobChanged|updateUI|autolabel|beforeRender|python)\b")
    for node in load_file(path).nodes():
        assert not [name for name in node.knobs if callbacks.search(name)]
        texts = [v for n, v in node.knobs.items() if n != "label"]
        assert not [value for value in texts if callbacks.search(value)]


def test_every_expression_and_file_name_can_be_computed(path: Path) -> None:
    with FakeNuke() as fake:
        fake.open(path)
        nodes: list[Node] = fake.root_node._walk()
        for node in nodes:
            for knob in node.knobs().values():
                if isinstance(knob, Array_Knob):
                    knob._number(1001)
                elif isinstance(knob, EvalString_Knob):
                    assert "[" not in knob._file_on(1001)


def test_a_render_of_all_writes_leaves_those_in_our_groups_alone(path: Path) -> None:
    with FakeNuke(gui=False) as fake:
        fake.open(path)
        inside = [
            n for n in fake.root_node._walk() if n._kind == "Write" and n._name != "CompWrite"
        ]
        assert inside and all(n["disable"].value() for n in inside)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: str(p.name))
def test_examples_can_be_drawn(path: Path) -> None:
    """As in docs/nuke-graph.png."""
    picture = sheet(path)
    tile = (0x3A, 0x7D, 0x6F)
    colors = picture.getcolors(1 << 20)
    assert colors is not None and tile in [color for _, color in colors], "a group is in it"


# The loader ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NoOp {\n name\n}", "a knob without a value"),
        ("NoOp { name {a }", "missing close-brace"),
        ("[exec touch x]", "no node"),
        ("exec touch x", "no node"),
        ("push $nothing", "can't read"),
        ("push N99", "unknown node"),
        ("Group { name a }\nNoOp { inputs 0 name b }", "no end_group"),
        ("end_group", "without a group"),
        ("NoOp { addUserKnob {x y} }", "not a user knob"),
        ("NoOp { addUserKnob {7 y Q 1} }", "not understood"),
        (
            "NoOp { inputs 0 name a }\nset N1 [stack 0]\nGroup { inputs 0 name g }\n"
            "NoOp { inputs 0 name b }\nset N1 [stack 0]\nend_group\npush $N1",
            "outside its group",
        ),
    ],
)
def test_a_script_that_nuke_could_not_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(ScriptError, match=re.escape(says)):
        load_text(text)


def test_wires_follow_the_stack() -> None:
    script = load_text(
        "NoOp { inputs 0 name a }\nset N1 [stack 0]\nNoOp { inputs 0 name b }\n"
        "push $N1\npush 0\nMerge2 { inputs 2+1 name c }\n"
    )
    c = script.root.child("c")
    assert [n.name if n else None for n in c.inputs] == [None, "a", "b"]
