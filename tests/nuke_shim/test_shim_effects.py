"""Every knob and input of every group that ships, as far as the job that the engine is given."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT
from fake_nuke import FakeNuke

from vfxswap.effects import SETTINGS
from vfxswap.effects.describe import description
from vfxswap.job import Job
from vfxswap.settings import settings_at

FRAMES = (1001, 1002, 1003)
ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in description()["effects"]}
SIZE = "48 32 0 0 48 32 1"
TEXTS = {"faces": "0,2", "themes": "eyes, gems=0.5"}
NUMBERS = {"matte_black": 0.25}
"""What settings of these names take; others take any string, and the middle of their range."""


@pytest.fixture(params=ROWS)
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ROWS[request.param]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeNuke]:
    for name in [n for n in sys.modules if n.partition(".")[0] == "vfxswap_nuke"]:
        del sys.modules[name]
    with FakeNuke() as made:
        made.load_plugin(ROOT / "plugins" / "nuke")
        root: Any = made.root_node
        root["first_frame"].setValue(FRAMES[0])
        root["last_frame"].setValue(FRAMES[-1])
        root["format"].setValue(f"{SIZE} small")
        made.frame_now = FRAMES[0]
        made.save(tmp_path / "shot.nk")
        yield made


def build(fake: FakeNuke, row: dict[str, Any], *, mattes: bool = False) -> Any:
    """The group of an effect on a plate, with every matte and picture connected if asked for."""
    node: Any = fake.create(f"Vfx{row['name'].capitalize()}")
    color = fake.nuke.nodes.Constant(channels="rgba", color=[0.25, 12.5, -0.5, 1], format=SIZE)
    node.setInput(0, color)
    for inner in node.nodes() if mattes else ():
        if inner.Class() == "Input" and inner.name() != "plate":
            node.setInput(int(inner["number"].value()), color)
    return node


def other_value(setting: dict[str, Any], folder: Path) -> Any:
    """Something that a setting may be, and is not by itself."""
    default = setting.get("default")
    if "enum" in setting:
        return next(o for o in reversed(setting["enum"]) if o != default)
    if setting.get("file"):
        return (folder / f"{setting['name']}.card.toml").as_posix()
    kind = setting["type"]
    if kind == "boolean":
        return not default
    if setting["name"] in NUMBERS:
        return NUMBERS[setting["name"]]
    if kind in ("integer", "number"):
        low, high = setting.get("minimum", 0), setting.get("maximum", 64)
        middle = (low + high) / 2
        middle = middle if middle != default else (low + 3 * high) / 4
        return round(middle) if kind == "integer" else middle
    if kind == "object":
        number = setting["additionalProperties"]["type"] == "number"
        return {"one": 0.25, "two": 0.5} if number else {"0": "basalt", "2": ""}
    return TEXTS.get(setting["name"], "somebody") if kind == "string" else []


def as_knob(value: Any) -> Any:
    """What an artist puts into the knob."""
    if isinstance(value, dict):
        return "\n".join(f"{name}={entry}" for name, entry in value.items())
    return value if value != [] else ""


def job_of(node: Any, row: dict[str, Any]) -> Job:
    from vfxswap_nuke.jobs import build_job
    from vfxswap_nuke.node import read_node

    job, warnings = build_job(read_node(node), row)
    assert warnings == []
    return Job.model_validate(json.loads(json.dumps(job)))


def test_every_knob_reaches_its_setting(
    row: dict[str, Any], fake: FakeNuke, tmp_path: Path
) -> None:
    node = build(fake, row)
    wanted = {s["name"]: other_value(s, tmp_path) for s in row["settings"]}
    for name, value in wanted.items():
        node["vfx_" + name].setValue(as_knob(value))
    stated = settings_at(job_of(node, row).effects[0].settings, SETTINGS[row["name"]], FRAMES[0])
    for name, value in wanted.items():
        found = getattr(stated, name)
        assert (list(found) if value == [] else found) == value, name


def test_every_knob_that_may_be_animated_is_on_each_frame_what_nuke_shows(
    row: dict[str, Any], fake: FakeNuke, tmp_path: Path
) -> None:
    node = build(fake, row)
    moved = [s for s in row["settings"] if s["keyframes"] and "enum" not in s]
    assert moved
    if row["name"] == "guided":
        node["vfx_area"].setValue("box")
    for setting in moved:
        knob = node["vfx_" + setting["name"]]
        low = setting.get("minimum", setting.get("exclusiveMinimum", 0))
        start = max(low, setting["default"]) or (1 if "box" in setting["name"] else 0)
        knob.setAnimated()
        knob.setValueAt(start, FRAMES[0])
        knob.setValueAt(other_value(setting, tmp_path), FRAMES[-1])
    settings = job_of(node, row).effects[0].settings
    for frame in FRAMES:
        stated = settings_at(settings, SETTINGS[row["name"]], frame)
        for setting in moved:
            shown = node["vfx_" + setting["name"]].getValueAt(frame)
            found = getattr(stated, setting["name"])
            if setting["type"] == "number":
                assert found == shown, setting["name"]
            elif setting["type"] == "integer":
                assert abs(found - shown) <= 0.5, setting["name"]
            else:
                assert found == bool(shown), setting["name"]


def test_every_input_is_written_and_in_the_job(
    row: dict[str, Any], fake: FakeNuke, tmp_path: Path
) -> None:
    from vfxswap_nuke.node import read_node, write_inputs

    node = build(fake, row, mattes=True)
    job = job_of(node, row)
    write_inputs(node, read_node(node))
    (spec,) = job.effects
    assert set(spec.mattes) == {matte["role"] for matte in row["mattes"]}
    pictures = {picture["setting"] for picture in row["pictures"]}
    assert set(spec.spaces) == pictures
    for source in spec.mattes.values():
        assert source.channel == "A"
        for frame in FRAMES:
            path = Path(source.pattern.replace("%V", "main").replace("%04d", str(frame)))
            assert path.is_file(), path
    for name in pictures:
        assert Path(str(spec.settings[name])).is_file(), name
    if row["name"] == "mosaic":
        assert {"drift_x", "drift_y", "disparity"} <= set(spec.mattes)
    if row["name"] == "style":
        assert {"style_a", "style_b", "style_c"} <= set(spec.mattes)
