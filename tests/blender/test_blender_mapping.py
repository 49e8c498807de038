"""Descriptions as properties and sockets, and properties as settings of a job; without bpy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vfxswap_blender.description import Description, Effect, Layer, Setting, parse, read, snapshot
from vfxswap_blender.mapping import (
    at_frames,
    grouped,
    layer_sockets,
    property_of,
    rows_of,
    settings_of,
    tip,
    title,
    value_of,
)

from vfxswap.effects import SETTINGS
from vfxswap.effects.describe import description
from vfxswap.job import FILE_SETTINGS
from vfxswap.settings import settings_at

DESCRIPTION: Description = parse(description())


def setting(kind: str = "number", **row: Any) -> Setting:
    """A setting as the engine would describe it."""
    row = {"name": "x", "type": kind, "help": "What it is.", "default": 0, "keyframes": True, **row}
    return effect(settings=[row]).settings[0]


def effect(**more: Any) -> Effect:
    """An effect as the engine would describe it."""
    row = {"name": "e", "settings": [], "layers": [], "mattes": [], **more}
    return parse({"version": "1", "effects": [row], "names": {"e": ["a"]}}).effects[0]


def test_every_setting_of_every_effect_has_a_widget_and_its_default_is_the_engines() -> None:
    assert {effect.name for effect in DESCRIPTION.effects} == set(SETTINGS)
    for effect in DESCRIPTION.effects:
        own = SETTINGS[effect.name]
        assert {each.name for each in effect.settings} == set(own.model_fields)
        values = {each.name: _blender_default(each) for each in effect.settings}
        job = settings_of(effect, values)
        assert settings_at(job, own, 1) == own(), effect.name


def _blender_default(each: Setting) -> Any:
    function, arguments = property_of(each)
    if function == "CollectionProperty":
        return list((each.default or {}).items())
    return arguments["default"]


def test_ranges_units_and_help_reach_the_property() -> None:
    function, arguments = property_of(setting(minimum=-2, maximum=3, default=0.5, unit="px"))
    assert function == "FloatProperty"
    assert (arguments["min"], arguments["max"], arguments["default"]) == (-2.0, 3.0, 0.5)
    assert arguments["description"] == "What it is (plate pixels)"
    function, arguments = property_of(setting("integer", minimum=0, unit="px"))
    assert function == "IntProperty" and arguments["subtype"] == "PIXEL" and "max" not in arguments
    function, arguments = property_of(setting("integer", exclusiveMaximum=2**63))
    assert arguments["max"] == 2**31 - 1
    function, arguments = property_of(setting("string", enum=["a", "b_c"], default="b_c"))
    assert function == "EnumProperty" and [item[1] for item in arguments["items"]] == ["A", "B c"]
    function, arguments = property_of(setting("string", default="", keyframes=False))
    assert arguments["options"] == set(), "what no job may keyframe is not animated"
    assert property_of(setting("boolean", default=True))[0] == "BoolProperty"
    assert tip(setting(help="", unit="s")) == " (seconds)"
    assert title("matte_grow_px") == "Matte grow" and title("pd_mm") == "Pd"
    assert tip(setting(unit="pdpt")) == "What it is (prism dioptres)"


def test_a_bound_that_no_value_may_have_is_not_reached() -> None:
    open_ended = setting(exclusiveMinimum=0, maximum=10, default=0.1)
    assert property_of(open_ended)[1]["min"] == 1e-4
    assert value_of(open_ended, 0.0) == 1e-4 and value_of(open_ended, 11.0) == 10
    whole = setting("integer", minimum=0, exclusiveMaximum=4)
    assert property_of(whole)[1]["max"] == 3 and value_of(whole, 9) == 3


def test_a_setting_that_names_a_file_is_picked_and_a_picture_has_an_input() -> None:
    described = effect(
        settings=[{"name": "ref", "type": "string", "default": "", "help": "It.", "file": True}],
        pictures=[{"setting": "ref", "help": "Who.", "card": True}],
    )
    function, arguments = property_of(described.settings[0])
    assert function == "StringProperty" and arguments["subtype"] == "FILE_PATH"
    assert described.pictures[0].setting == "ref" and described.pictures[0].card
    assert value_of(described.settings[0], "//a.exr") == "//a.exr"


def test_every_setting_of_the_engine_that_names_a_file_is_picked() -> None:
    picked = {s.name for e in DESCRIPTION.effects for s in e.settings if s.kind == "file"}
    assert picked == set(FILE_SETTINGS)
    for known in DESCRIPTION.effects:
        files = {s.name for s in known.settings if s.kind == "file"}
        assert {picture.setting for picture in known.pictures} <= files


def test_many_settings_are_grouped_by_their_first_word_and_none_is_lost() -> None:
    for known in DESCRIPTION.effects:
        groups = grouped(known.settings)
        shown = [each.name for _, held in groups for each in held]
        assert sorted(shown) == sorted(each.name for each in known.settings)
        for word, held in groups:
            assert len(held) >= 3 if word else len(held) == 1
            assert not word or all(each.name.split("_")[0] == word for each in held)
        assert bool([word for word, _ in groups if word]) == (len(known.settings) > 24)


def rows(kind: str) -> dict[str, Any]:
    """A dictionary of values of this kind, as the engine describes it."""
    return {"kind": "object", "additionalProperties": {"type": kind}}


@pytest.mark.parametrize(
    ("row", "value", "wanted"),
    [
        (rows("string"), [("1", "a")], {"1": "a"}),
        (rows("string"), [(" a ", " b ")], {"a": "b"}),
        (rows("number"), [(" a ", 0.5)], {"a": 0.5}),
        (rows("integer"), [("a", 3)], {"a": 3}),
        (rows("number"), [("a", 0.10000000149011612), ("b", 2)], {"a": 0.1, "b": 2.0}),
        ({"kind": "array", "default": [1, 2]}, "[3, 4]", [3, 4]),
        ({"kind": "array", "default": [1, 2]}, " ", [1, 2]),
        ({"kind": "number", "default": None}, "2.5", 2.5),
        ({"kind": "number", "default": None}, "null", None),
    ],
)
def test_dictionaries_and_lists_have_widgets_of_their_own(
    row: dict[str, Any], value: Any, wanted: Any
) -> None:
    assert value_of(setting(**row), value) == wanted


def test_text_that_is_no_value_is_named() -> None:
    with pytest.raises(ValueError, match="x is no JSON"):
        value_of(setting("array", default=[]), "[1")
    numbers = setting("object", additionalProperties={"type": "number"})
    with pytest.raises(ValueError, match="x names a twice"):
        value_of(numbers, [("a", 1.0), ("a", 2.0)])
    assert rows_of(numbers, [("", 3.0), ("a", 1.0)]) == {"a": 1.0}


@settings(deadline=None)
@given(st.floats(-1e6, 1e6, width=32), st.floats(0, 1), st.floats(0, 1))
def test_a_float_reaches_the_engine_as_it_was_typed(value: float, low: float, high: float) -> None:
    import numpy as np

    typed = float(f"{value:.6g}")
    assert value_of(setting(), float(np.float32(typed))) == pytest.approx(typed, rel=1e-6)
    low, high = sorted((low, high))
    held = value_of(setting(minimum=low, maximum=high), value)
    assert low - 1e-6 <= held <= high + 1e-6, "a curve may run past its property's ends"


def test_a_tenth_is_a_tenth() -> None:
    import numpy as np

    for typed in (0.1, 0.3, 1e-3, 123.456, 0.7):
        assert value_of(setting(), float(np.float32(typed))) == typed


def test_mattes_are_single_channels_colours_and_maps_are_not() -> None:
    def sockets(kind: str, *channels: str, help: str = "") -> list[tuple[str, str]]:
        return layer_sockets(Layer("l", channels, kind, help))

    assert sockets("color", "red", "green", "blue", "alpha") == [("l", "color")]
    assert sockets("data", "red", "green") == [("l", "vector")]
    assert sockets("data", "red") == sockets("matte", "red") == [("l", "float")]
    named = sockets("matte", "red", "green", help="Swap, skin.")
    assert named == [("l swap", "float"), ("l skin", "float")]
    plain = sockets("matte", "red", "green", help="Two of them.")
    assert plain == [("l red", "float"), ("l green", "float")]
    for effect in DESCRIPTION.effects:
        names = [name for layer in effect.layers for name, _ in layer_sockets(layer)]
        assert len(set(names)) == len(names) and "Image" not in names


def test_settings_that_vary_are_keyed_exactly() -> None:
    frames = {1: {"a": 0.0, "b": "x"}, 3: {"a": 0.5, "b": "x"}}
    job = at_frames(frames)
    assert job == {"a": {"keys": {"1": 0.0, "3": 0.5}, "interpolation": "step"}, "b": "x"}
    swap = SETTINGS["swap"]
    keyed = at_frames({1: {"amount": 0.25, "crop_size": 8}, 2: {"amount": 1.0, "crop_size": 16}})
    for frame, wanted in ((1, (0.25, 8)), (2, (1.0, 16))):
        got = settings_at(keyed, swap, frame).model_dump()
        assert (got["amount"], got["crop_size"]) == wanted
    with pytest.raises(ValueError, match="b cannot be animated"):
        at_frames({1: {"b": "x"}, 2: {"b": "y"}})


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_numbers_by_name_are_keyed_one_by_one(name: str) -> None:
    known = DESCRIPTION.effect(name)
    assert known is not None
    for each in known.settings:
        if each.kind == "rows" and each.keyframes:
            frames = {1: {each.name: {"a": 0.0, "b": 1.0}}, 3: {each.name: {"a": 0.5, "b": 1.0}}}
            job = at_frames(frames)
            keys = {"keys": {"1": 0.0, "3": 0.5}, "interpolation": "step"}
            assert job == {each.name: {"a": keys, "b": 1.0}}
            for frame, wanted in frames.items():
                read = settings_at(job, SETTINGS[name], frame).model_dump()
                assert read[each.name] == wanted[each.name]
    with pytest.raises(ValueError, match="x cannot be animated"):
        at_frames({1: {"x": {"a": 1.0}}, 2: {"x": {"b": 1.0}}})


def test_a_snapshot_reads_back_and_rubbish_is_refused(tmp_path: Path) -> None:
    models = [
        {"name": "comb", "effect": "swap", "personas": ["amber"], "folder": "/x", "licence": "l"},
        {"name": "gems", "effect": "mosaic", "personas": [], "thumbs": {"gem": "/x/gem.jpg"}},
    ]
    path = tmp_path / "description.json"
    path.write_text(json.dumps(snapshot(description(), models)))
    kept = read(str(path))
    assert [replace(e, names=()) for e in kept.effects] == list(DESCRIPTION.effects)
    names = {e.name: e.names for e in kept.effects}
    assert names["swap"] == ("amber", "comb") and names["mosaic"] == ("gem", "gems")
    assert isinstance(kept.effect("swap"), Effect) and kept.effect("nothing") is None
    for rubbish in (
        {},
        {"version": "1", "effects": [{}], "names": []},
        {"version": "1", "effects": [{}]},
        {"version": "1", "effects": 3},
    ):
        with pytest.raises(ValueError, match="not a description"):
            parse(rubbish)
