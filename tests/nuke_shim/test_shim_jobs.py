"""From knobs to jobs: what the engine sees on a frame is what Nuke shows there."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vfxswap_nuke.curves import keyframed
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.jobs import build_job, build_settings, named_files
from vfxswap_nuke.layout import Layout, default_cache, file_of
from vfxswap_nuke.settings import VARIABLE, load_settings
from vfxswap_nuke.snapshot import KnobState, NodeState, Scalar

from vfxswap.effects import SETTINGS
from vfxswap.effects.describe import description
from vfxswap.job import Job
from vfxswap.settings import Keyframes, settings_at

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
LAYOUT = Layout("/shots/a/cache", "/shots/a/cache/v2", per_view=True)


def values_at(stated: Any, frames: range) -> list[float | bool]:
    """A job's value on frames, by the engine's own code, after its way through JSON."""
    stated = json.loads(json.dumps(stated))
    if not isinstance(stated, dict):
        return [stated] * len(frames)
    keyframes = Keyframes.model_validate(stated)
    return [keyframes.at(frame) for frame in frames]


@given(st.lists(FINITE, min_size=1, max_size=30), st.integers(-5, 2000))
def test_any_curve_comes_through_bit_for_bit(values: list[float], first: int) -> None:
    frames = range(first, first + len(values))
    samples = dict(zip(frames, values, strict=True))
    assert values_at(keyframed(samples), frames) == values


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_switch_comes_through_and_holds_between_its_keys(values: list[bool]) -> None:
    frames = range(10, 10 + len(values))
    stated = keyframed(dict(zip(frames, values, strict=True)))
    assert values_at(stated, frames) == values
    if isinstance(stated, dict):
        assert stated["interpolation"] == "step"


@given(FINITE, FINITE, st.integers(2, 1200))
def test_a_ramp_of_the_engines_own_arithmetic_needs_two_keys(
    low: float, high: float, count: int
) -> None:
    ramp = Keyframes(keys={1: low, count: high})
    stated = keyframed({frame: ramp.at(frame) for frame in range(1, count + 1)})
    if isinstance(stated, dict):
        keys = stated["keys"]
        assert isinstance(keys, dict) and len(keys) == 2


def test_a_smooth_curve_is_sampled_where_it_is_not_linear() -> None:
    smooth = {f: (0.5 - math.cos(f / 10) / 2 if f < 30 else 1.0) for f in range(1, 60)}
    stated = keyframed(smooth)
    assert isinstance(stated, dict) and isinstance(stated["keys"], dict)
    assert 25 <= len(stated["keys"]) <= 33


def node(effect: str, knobs: dict[str, KnobState], **given: Any) -> NodeState:
    return NodeState(
        "VfxNode1", effect, layout=LAYOUT, frames=range(1001, 1011), views=["left", "right"],
        knobs=knobs, **given,
    )  # fmt: skip


def default_knob(row: dict[str, Any]) -> KnobState:
    """The knob as a group has it: no scalar is text."""
    default = row.get("default", "")
    if isinstance(default, dict):
        default = "\n".join(f"{name}={value}" for name, value in default.items())
    if isinstance(default, list):
        default = "\n".join(map(str, default))
    return KnobState("" if default is None else default)


@pytest.mark.parametrize("effect", sorted(SETTINGS))
def test_a_node_at_its_defaults_gives_the_engines_defaults(effect: str) -> None:
    row = description(effect)["effects"][0]
    knobs = {setting["name"]: default_knob(setting) for setting in row["settings"]}
    roles = [matte["role"] for matte in row["mattes"]]
    job, warnings = build_job(node(effect, knobs, roles=roles, seed=7, proxy=2), row)
    assert warnings == []
    read = Job.model_validate(json.loads(json.dumps(job)))
    assert read.views == ("left", "right") and read.proxy == 2 and read.seed == 7
    assert read.plate.pattern == "/shots/a/cache/v2/plate.%V.%04d.exr"
    assert read.output.pattern == "/shots/a/cache/v2/result_proxy2.%V.%04d.exr"
    assert set(read.effects[0].mattes) == set(roles)
    stated = settings_at(read.effects[0].settings, SETTINGS[effect], 1001)
    assert stated == SETTINGS[effect].model_validate(
        {} if not _required(row) else stated.model_dump()
    )


def _required(row: dict[str, Any]) -> bool:
    return any("default" not in setting for setting in row["settings"])


@pytest.mark.parametrize(
    ("effect", "setting"),
    [(e["name"], p["setting"]) for e in description()["effects"] for p in e["pictures"]],
)
def test_a_picture_at_an_input_is_the_setting_that_names_it_in_the_files_space(
    effect: str, setting: str
) -> None:
    row = description(effect)["effects"][0]
    knobs = {each["name"]: default_knob(each) for each in row["settings"]}
    given = {"pictures": [setting], "space": "ACEScg"}
    job, _ = build_job(node(effect, knobs, **given), row)
    read = Job.model_validate(json.loads(json.dumps(job)))
    assert read.effects[0].settings[setting] == f"/shots/a/cache/v2/{setting}.exr"
    assert read.effects[0].spaces == {setting: "ACEScg"}
    assert named_files(job, row) == {setting: f"/shots/a/cache/v2/{setting}.exr"}


FILES = [
    (e["name"], s["name"]) for e in description()["effects"] for s in e["settings"] if "file" in s
]


@pytest.mark.parametrize(("effect", "setting"), FILES)
def test_a_file_that_a_knob_names_is_in_the_job_and_must_be_absolute(
    effect: str, setting: str
) -> None:
    row = description(effect)["effects"][0]
    knobs = {each["name"]: default_knob(each) for each in row["settings"]}
    job, warnings = build_job(node(effect, {**knobs, setting: KnobState("/refs/a.exr")}), row)
    assert job["effects"][0]["settings"][setting] == "/refs/a.exr" and not warnings
    assert job["effects"][0]["spaces"] == {}, "the file says its own"
    assert named_files(job, row) == {setting: "/refs/a.exr"}
    with pytest.raises(NodeError, match=f"{setting}: the path refs/a.exr is not absolute"):
        build_job(node(effect, {**knobs, setting: KnobState("refs/a.exr")}), row)


@pytest.mark.parametrize(("effect", "setting"), [("style", "style"), ("features", "feature")])
def test_numbers_by_name_are_animated_one_by_one(effect: str, setting: str) -> None:
    row = description(effect)["effects"][0]
    knobs = {each["name"]: default_knob(each) for each in row["settings"]}
    knobs[setting] = KnobState("first=0.25")
    samples: dict[int, Scalar] = {frame: (frame - 1001) / 8 for frame in range(1001, 1011)}
    knobs |= {f"{setting}__second": KnobState(0.0, samples), f"{setting}__third": KnobState(0.5)}
    job, warnings = build_job(node(effect, knobs), row)
    assert warnings == []
    read = Job.model_validate(json.loads(json.dumps(job)))
    for frame in (1001, 1004, 1010):
        stated = settings_at(read.effects[0].settings, SETTINGS[effect], frame)
        wanted = {"first": 0.25, "second": samples[frame], "third": 0.5}
        assert getattr(stated, setting) == wanted


def test_the_knob_of_an_entry_that_no_setting_holds_is_told() -> None:
    knobs = {"amount": KnobState(0.5), "amount__x": KnobState(1.0), "gone__x": KnobState(1.0)}
    stated, warnings = build_settings(knobs, ROWS[:1])
    assert stated == {"amount": 0.5}
    assert [warning.partition(":")[0] for warning in warnings] == [
        "the engine knows no setting amount__x", "the engine knows no setting gone__x",
    ]  # fmt: skip


ROWS: list[dict[str, Any]] = [
    {"name": "amount", "type": "number", "minimum": 0, "maximum": 1, "keyframes": True},
    {"name": "count", "type": "integer", "minimum": 0, "maximum": 9, "keyframes": True},
    {"name": "on", "type": "boolean", "keyframes": True},
    {"name": "mode", "type": "string", "enum": ["soft", "hard"], "keyframes": False},
    {"name": "faces", "type": "object", "additionalProperties": {"type": "string"}},
    {"name": "points", "type": "array", "items": {"type": "number"}},
    {"name": "style", "type": "object", "additionalProperties": {"type": "number"}},
    {"name": "patches", "type": "array", "items": {"$ref": "#/$defs/Patch"}},
    {"name": "size", "anyOf": [{"type": "integer"}, {"type": "null"}], "keyframes": True},
]


def settings(**knobs: Scalar | KnobState) -> tuple[dict[str, Any], list[str]]:
    rows = [row for row in ROWS if row["name"] in knobs]
    states = {k: v if isinstance(v, KnobState) else KnobState(v) for k, v in knobs.items()}
    return build_settings(states, rows)


def test_text_knobs_are_read_by_the_type_of_their_setting() -> None:
    stated, warnings = settings(
        faces="0 = basalt\n\n2=amber", points="0.5\n 2 \n", size="", mode="hard"
    )
    assert stated == {"faces": {"0": "basalt", "2": "amber"}, "points": [0.5, 2.0], "mode": "hard"}
    assert warnings == []
    assert settings(size="64")[0] == {"size": 64}
    for text in ("ink=0.7 neon=0.3", "ink=0.7\nneon=0.3", "ink = 0.7\nneon = 0.3"):
        assert settings(style=text)[0] == {"style": {"ink": 0.7, "neon": 0.3}}
    assert settings(style="ink")[0] == {"style": {"ink": 1.0}}
    assert settings(patches='{"x": 1}\n{"x": 2}')[0] == {"patches": [{"x": 1}, {"x": 2}]}
    for bad, says in (
        ("basalt", "faces: 'basalt' is not of the form name=value"),
        ("0=a\n0=b", "faces: 0 appears twice"),
    ):
        with pytest.raises(NodeError, match=says):
            settings(faces=bad)
    with pytest.raises(NodeError, match="style: could not convert"):
        settings(style="ink=much")
    with pytest.raises(NodeError, match="patches: "):
        settings(patches="{x")


def test_whole_numbers_round_as_the_engine_rounds_them() -> None:
    samples: dict[int, Scalar] = {1: 0.5, 2: 1.49, 3: 1.5, 4: 2.5}
    stated, _ = settings(count=KnobState(0, samples))
    assert values_at(stated["count"], range(1, 5)) == [1, 1, 2, 3]


def test_a_curve_that_swings_past_its_limit_is_held_there_and_said_once() -> None:
    samples: dict[int, Scalar] = {1: 0.0, 2: 1.02, 3: 1.01, 4: 1.0}
    stated, warnings = settings(amount=KnobState(0.0, samples))
    assert values_at(stated["amount"], range(1, 5)) == [0.0, 1.0, 1.0, 1.0]
    assert warnings == ["amount goes beyond its limit on frame 2: 1 is taken for 1.02"]


def test_what_cannot_be_keyed_may_be_animated_if_it_does_not_change() -> None:
    stated, _ = settings(mode=KnobState("soft", {1: "soft", 2: "soft"}))
    assert stated == {"mode": "soft"}
    with pytest.raises(NodeError, match="mode is animated, which it cannot be"):
        settings(mode=KnobState("soft", {1: "soft", 2: "hard"}))


def test_a_node_of_another_version_is_told_of_and_still_renders() -> None:
    knobs = {"amount": KnobState(0.5), "gone": KnobState(1)}
    stated, warnings = build_settings(knobs, ROWS[:2])
    assert stated == {"amount": 0.5}
    assert warnings == [
        "the engine knows no setting gone: it is left out",
        "the node has no count: its default is taken",
    ]


def test_files_are_named_by_frame_and_view() -> None:
    assert file_of(LAYOUT.plate, 12, "left") == "/shots/a/cache/v2/plate.left.0012.exr"
    mono = Layout("/c", "/c/v1", per_view=False)
    assert file_of(mono.matte("holdout"), -3, "") == "/c/v1/holdout.-003.exr"


def test_a_cache_lies_beside_the_script_which_must_be_saved() -> None:
    folder = default_cache("/shots/a/comp.nk", "Group1.VfxSwap1")
    assert folder == "/shots/a/vfxswap/Group1_VfxSwap1"
    with pytest.raises(NodeError, match="save the script first"):
        default_cache("", "VfxSwap1")


def test_settings_of_a_studio_are_read_and_a_wrong_one_is_named(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vfxswap.json"
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(NodeError, match="cannot be read"):
        load_settings()
    file.write_text('{"device": "cuda:1", "threads": 4, "stall_s": null}')
    read = load_settings()
    assert read.options() == ["--device", "cuda:1", "--precision", "half", "--threads", "4"]
    assert read.stall_s is None and read.hang_s == 60
    for wrong, says in (
        ('{"devise": "cpu"}', "no setting devise; there are engine, device"),
        ('{"threads": "4"}', "threads is '4', which it cannot be"),
        ('{"hang_s": true}', "hang_s is True"),
        ("[]", "holds no settings"),
    ):
        file.write_text(wrong)
        with pytest.raises(NodeError, match=says):
            load_settings()
