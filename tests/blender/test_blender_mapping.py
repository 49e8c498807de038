"""Descriptions as properties and sockets, and properties as settings of a job; without bpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vfxswap_blender.description import Description, Effect, Layer, Setting, parse, read, snapshot
from vfxswap_blender.mapping import (
    at_frames,
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
from vfxswap.settings import settings_at

DESCRIPTION: Description = parse(description())


def setting(kind: str = "number", **row: Any) -> Setting:
    """A setting as the engine would describe it."""
    row = {"name": "x", "type": kind, "help": "What it is.", "default": 0, "keyframes": True, **row}
    effect = {"name": "e", "settings": [row], "layers": [], "mattes": []}
    return parse({"version": "1", "effects": [effect]}).effects[0].settings[0]


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
    assert title("matte_grow_px") == "Matte grow"


def rows(kind: str) -> dict[str, Any]:
    """A dictionary of values of this kind, as the engine describes it."""
    return {"kind": "object", "additionalProperties": {"type": kind}}


@pytest.mark.parametrize(
    ("row", "value", "wanted"),
    [
        (rows("string"), [("1", "a")], {"1": "a"}),
        (rows("number"), [(" a ", " 0.5 ")], {"a": 0.5}),
        (rows("integer"), [("a", "3")], {"a": 3}),
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
    with pytest.raises(ValueError, match="x: a=b is no number"):
        value_of(numbers, [("a", "b")])
    assert rows_of(numbers, [("", "nameless"), ("a", "1")]) == {"a": 1.0}


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


def test_a_snapshot_reads_back_and_rubbish_is_refused(tmp_path: Path) -> None:
    models = [{"name": "comb", "personas": ["amber"]}]
    path = tmp_path / "description.json"
    path.write_text(json.dumps(snapshot(description(), models)))
    kept = read(str(path))
    assert kept.effects == DESCRIPTION.effects and kept.names == ("amber", "comb")
    assert isinstance(kept.effect("swap"), Effect) and kept.effect("nothing") is None
    for rubbish in ({}, {"version": "1", "effects": [{}]}, {"version": "1", "effects": 3}):
        with pytest.raises(ValueError, match="not a description"):
            parse(rubbish)
