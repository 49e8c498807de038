"""Keyframes keep their promises; wrong settings are named in one sentence."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from vfxswap.errors import JobError, ModelError
from vfxswap.settings import (
    Keyframes,
    Settings,
    describe,
    is_keyframed,
    settings_at,
    settings_at_keys,
    validated,
)


class Inner(Settings):
    radius_px: float = Field(default=1.0, ge=0.0)


class Blend(Settings):
    mix: float = Field(default=1.0, ge=0.0, le=1.0)
    gain: float | None = None
    bands: int = Field(default=5, ge=1, le=8)
    grain: bool = True
    persona: str = ""
    faces: dict[str, str] = Field(default_factory=dict)
    inner: Inner = Inner()


INTERPOLATIONS = st.sampled_from(["linear", "smooth", "step"])
NUMBERS = st.floats(-1e6, 1e6)
KEYS = st.dictionaries(st.integers(-2000, 5000), NUMBERS, min_size=1, max_size=6)


@given(KEYS, INTERPOLATIONS)
def test_keyframes_are_exact_at_their_keys(keys: dict[int, float], interpolation: Any) -> None:
    curve = Keyframes(keys=keys, interpolation=interpolation)
    assert {frame: curve.at(frame) for frame in keys} == keys


@given(KEYS, INTERPOLATIONS, st.integers(-2500, 5500))
def test_between_keys_values_stay_between_those_of_the_neighbours(
    keys: dict[int, float], interpolation: Any, frame: int
) -> None:
    before = [f for f in keys if f <= frame]
    after = [f for f in keys if f >= frame]
    ends = [keys[max(before)]] if before else []
    ends += [keys[min(after)]] if after else []
    value = Keyframes(keys=keys, interpolation=interpolation).at(frame)
    assert min(ends) <= value <= max(ends)


@given(KEYS, INTERPOLATIONS, st.integers(1, 10_000))
def test_beyond_the_keys_the_last_value_is_held(
    keys: dict[int, float], interpolation: Any, far: int
) -> None:
    curve = Keyframes(keys=keys, interpolation=interpolation)
    assert curve.at(min(keys) - far) == keys[min(keys)]
    assert curve.at(max(keys) + far) == keys[max(keys)]


@given(NUMBERS, INTERPOLATIONS)
def test_between_two_equal_keys_the_value_is_exactly_theirs(
    number: float, interpolation: Any
) -> None:
    curve = Keyframes(keys={0: number, 97: number}, interpolation=interpolation)
    assert {curve.at(frame) for frame in range(98)} == {number}


@pytest.mark.parametrize(
    ("interpolation", "quarter"), [("linear", 0.25), ("smooth", 0.15625), ("step", 0.0)]
)
def test_a_quarter_of_the_way_each_interpolation_has_its_value(
    interpolation: Any, quarter: float
) -> None:
    curve = Keyframes(keys={1000: 0.0, 1100: 1.0}, interpolation=interpolation)
    assert curve.at(1025) == pytest.approx(quarter)
    assert curve.at(1075) == pytest.approx({"step": 0.0}.get(interpolation, 1.0 - quarter))


def test_keyframed_and_plain_settings_meet_in_one_frame() -> None:
    spec = {
        "mix": {"keys": {"1001": 0.0, "1005": 1.0}},
        "gain": {"keys": {"1001": 2.0}},
        "bands": {"keys": {"1001": 1, "1004": 3}},
        "grain": {"keys": {"1001": True, "1003": False}},
        "persona": "amber",
    }
    at = settings_at(spec, Blend, 1002)
    assert at == Blend(mix=0.25, gain=2.0, bands=2, grain=True, persona="amber")
    assert [settings_at(spec, Blend, f).bands for f in range(1001, 1005)] == [1, 2, 2, 3]
    assert [settings_at(spec, Blend, f).grain for f in range(1001, 1005)] == [1, 1, 0, 0]


def test_settings_at_keys_are_those_of_every_key_of_every_setting() -> None:
    spec = {"mix": {"keys": {"10": 0.5, "1": 0.0}}, "bands": {"keys": {"5": 2}}, "gain": 1.0}
    assert settings_at_keys(spec, Blend) == tuple(settings_at(spec, Blend, f) for f in (1, 5, 10))
    assert settings_at_keys({"gain": 1.0}, Blend) == (Blend(gain=1.0),)


def test_a_value_out_of_range_at_any_key_is_found_before_its_frame() -> None:
    spec = {"mix": {"keys": {"1001": 0.0, "1100": 1.5}}}
    assert settings_at(spec, Blend, 1001).mix == 0.0
    with pytest.raises(JobError, match=r"mix.*got 1.5; wanted 0 to 1"):
        settings_at_keys(spec, Blend)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"mixx": 0.5}, r"mixx is unknown \(wanted perhaps mix\)"),
        ({"mixx": {"keys": {"1": 0.5}}}, r"mixx is unknown \(wanted perhaps mix\)"),
        ({"inner": {"radius": 2.0}}, r"inner\.radius is unknown \(wanted perhaps radius_px\)"),
        ({"zzz": 1}, r"zzz is unknown \(wanted one of bands, faces, gain"),
        ({"mix": "much"}, r"mix is wrong \(got 'much'"),
        ({"mix": 2, "bands": 0}, r"mix is wrong \(and 1 more\) \(got 2"),
        ({"persona": {"keys": {"1": 0.0}}}, r"persona cannot be keyframed"),
        ({"faces": {"keys": {"1": "amber"}}}, r"faces cannot be keyframed"),
        ({"mix": {"keys": {}}}, r"mix\.keys is wrong"),
        ({"mix": {"keys": {"first": 0.0}}}, r"mix\.keys"),
        ({"mix": {"keys": {"1": 0.0}, "interpolation": "cubic"}}, r"mix\.interpolation.*'cubic'"),
        ({"mix": {"keys": {"1": True}}}, r"mix at key 1 \(got True; wanted a number\)"),
        ({"grain": {"keys": {"1": 0.5}}}, r"grain at key 1 \(got 0.5; wanted true or false\)"),
        ({"mix": {"keys": {"1": math.inf}}}, r"mix: key 1 is inf, wanted a finite number"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobError, match=sentence) as raised:
        settings_at_keys(spec, Blend)
    assert "\n" not in str(raised.value)


def test_a_description_says_which_settings_may_be_keyframed() -> None:
    rows = {row["name"]: row["keyframes"] for row in describe(Blend)}
    assert [name for name, may in rows.items() if may] == ["mix", "gain", "bands", "grain"]
    for name in set(Blend.model_fields) - {"mix", "gain", "bands", "grain"}:
        with pytest.raises(JobError, match="cannot be keyframed"):
            settings_at({name: {"keys": {"1": 1.0}}}, Blend, 1)


def test_validated_raises_the_error_asked_for_with_the_file() -> None:
    with pytest.raises(ModelError, match=r"^card\.toml: radius_px is wrong"):
        validated(Inner, {"radius_px": -1}, error_type=ModelError, file="card.toml")


@pytest.mark.parametrize(
    "value", [1.0, "keys", ["keys"], {"interpolation": "step"}, {"keys": {}, "amber": 1}]
)
def test_other_values_are_no_keyframes(value: Any) -> None:
    assert not is_keyframed(value)
    assert is_keyframed({"keys": {"1": value}})
