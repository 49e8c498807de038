"""Results by hash: what a key depends on, links, pruning; without bpy."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vfxswap_blender.jobs import States, Wish, frame_key, job_of, mistimed, shot_state
from vfxswap_blender.report import Report
from vfxswap_blender.sequences import Clip, filled, number_of, pattern_of, ranges
from vfxswap_blender.spaces import engine_space
from vfxswap_blender.store import Store, file_state, key_of

from vfxswap.color import ColorManager
from vfxswap.io.sequence import PlateSequence
from vfxswap.job import Job
from vfxswap.settings import validated
from vfxswap.shot import parse_frames

IDENTITY = {"version": "1", "models": "m"}
SETTINGS = {"persona": "amber", "amount": 1.0}


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    for number in range(1001, 1004):
        (tmp_path / f"p.{number}.exr").write_bytes(b"x" * number)
    return Wish("swap", Clip(str(tmp_path / "p.####.exr"), "ACEScg", 1, 1000, 3))


def key(wish: Wish, settings: Any = SETTINGS, identity: Any = IDENTITY, number: int = 1002) -> str:
    states = States()
    shot = shot_state(wish, states)
    return frame_key(wish, number, settings, shot=shot, states=states, identity=identity)


# Keys -----------------------------------------------------------------------------------------


def test_a_key_changes_with_all_that_pixels_depend_on_and_nothing_else(wish: Wish) -> None:
    same = key(wish)
    assert key(wish, dict(reversed(SETTINGS.items()))) == same
    matte = {"holdout": (Clip(wish.clip.path(1001), "", 1, 0, 1, still=True), "A")}
    others = [
        key(wish, number=1003),
        key(wish, {**SETTINGS, "amount": 0.5}),
        key(wish, identity={**IDENTITY, "models": "n"}),
        key(wish, identity={**IDENTITY, "version": "2"}),
        key(replace(wish, seed=1)),
        key(replace(wish, show="kestrel")),
        key(replace(wish, effect="style")),
        key(replace(wish, tracks=wish.clip.path(1001))),
        key(replace(wish, mattes=matte)),
        key(replace(wish, mattes={"holdout": (matte["holdout"][0], "R")})),
        key(replace(wish, clip=replace(wish.clip, color_space="ACES2065-1"))),
        key(replace(wish, clip=replace(wish.clip, layer="beauty"))),
    ]
    # Tracks depend on the whole shot, so a frame does on every other.
    os.utime(wish.clip.path(1001), ns=(1, 1))
    others.append(key(wish))
    Path(wish.clip.path(1001)).unlink()
    others.append(key(wish))
    assert len({same, *others}) == len(others) + 1


def test_with_a_memory_content_counts_and_is_read_once(
    wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, file = str(tmp_path / "m.json"), wish.clip.path(1001)
    states = States(memory)
    first = states.of(file)
    states.write()
    os.utime(file, ns=(5, 5))
    again = States(memory)
    assert again.of(file) == first
    again.write()
    monkeypatch.setattr("vfxswap_blender.jobs.content", lambda path: "read again")
    assert States(memory).of(file) == first
    Path(file).write_bytes(b"other")
    assert States(memory).of(file) == "read again"
    assert States(memory).of(str(tmp_path / "nothing")) == "missing"
    (tmp_path / "m.json").write_text("rubbish")
    assert States(memory).of(wish.clip.path(1002)) == "read again"


def test_a_key_is_of_values_not_of_their_order() -> None:
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    assert key_of({"a": [1, 2]}) != key_of({"a": [2, 1]})
    with pytest.raises(ValueError, match="JSON compliant"):
        key_of({"a": float("nan")})


# Store ----------------------------------------------------------------------------------------


def adopted(store: Store, folder: Path, name: str, size: int) -> str:
    """A result of `size` bytes, as the engine would have written it; its key."""
    file = folder / f"{name}.exr"
    file.write_bytes(name[:1].encode() * size)
    file.with_suffix(".vfxswap.json").write_text("{}")
    store.adopt(str(file), key_of(name))
    assert not file.exists()
    return key_of(name)


def test_a_result_is_shown_once_and_replaced_whole(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"), 10**9)
    a, b = adopted(store, tmp_path, "a", 3), adopted(store, tmp_path, "b", 4)
    target = tmp_path / "cache" / "results" / "node" / "result.0001.exr"
    assert store.has(a) and not store.has(key_of("c"))
    assert store.show(a, str(target)) and not store.show(a, str(target))
    assert target.read_bytes() == b"aaa"
    assert target.with_suffix(".vfxswap.json").exists(), "provenance goes with the frame"
    assert store.show(b, str(target)) and target.read_bytes() == b"bbbb"
    assert store.hide(str(target)) and not store.hide(str(target))
    assert store.has(a) and store.has(b)
    left = [p.name for p in (tmp_path / "cache").rglob("*.tmp")]
    assert left == []


def test_where_links_are_impossible_results_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    store = Store(str(tmp_path / "cache"), 10**9)
    a = adopted(store, tmp_path, "a", 3)
    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "r.exr"
    assert store.show(a, str(target)) and target.read_bytes() == b"aaa"


def test_pruning_takes_the_longest_unused_and_leaves_what_is_shown(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"), 250)
    keys = [adopted(store, tmp_path, name, 100) for name in "abcd"]
    for age, name in enumerate(keys):
        os.utime(store.path(name), (age, age))
    store.show(keys[0], str(tmp_path / "cache" / "results" / "n" / "r.exr"))
    assert store.has(keys[1]), "used just now"
    assert store.prune() == 200
    assert [store.has(name) for name in keys] == [True, True, False, False]
    assert store.size() <= 250
    assert store.prune() == 0


def test_what_a_crash_left_goes_after_a_day(tmp_path: Path) -> None:
    store = Store(str(tmp_path), 10**9)
    for name, age_s in (("old", 2 * 86400), ("new", 60)):
        (tmp_path / "work" / name).mkdir(parents=True)
        then = time.time() - age_s
        os.utime(tmp_path / "work" / name, (then, then))
    store.prune()
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["new"]


# Clips ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(-50, 200), st.integers(-20, 60), st.integers(0, 2000), st.integers(1, 40))
def test_a_clip_is_held_or_begins_again(frame: int, start: int, offset: int, duration: int) -> None:
    held = Clip("p.####.exr", "", start, offset, duration)
    again = replace(held, cyclic=True)
    assert again.number(frame) in held.frames
    assert (held.number(frame) in held.frames) == (frame >= start)
    if start <= frame < start + duration:
        assert held.number(frame) == again.number(frame) == frame - start + 1 + offset
    assert again.number(frame + duration) == again.number(frame)
    assert held.number(start - 5) == offset and held.number(start + 99) == offset + duration


@settings(deadline=None)
@given(st.integers(0, 99999), st.integers(1, 6), st.sampled_from(["p.", "sh010_v2.", "a-"]))
def test_a_file_and_its_pattern_agree_with_the_engine(number: int, width: int, head: str) -> None:
    name = f"/plates/{head}{number:0{width}d}.exr"
    pattern = pattern_of(name)
    assert number_of(name) == number
    assert filled(pattern, number) == name
    assert str(PlateSequence(pattern).path(number)) == name
    assert filled(pattern, number + 1) == str(PlateSequence(pattern).path(number + 1))


def test_a_name_without_a_number_is_a_still() -> None:
    assert pattern_of("/a1/still.exr") == filled("/a1/still.exr", 7) == "/a1/still.exr"
    assert Clip("/a1/still.exr", "", 1, 0, 1, still=True).frames == (1,)
    with pytest.raises(ValueError, match="no number"):
        number_of("/a1/still.exr")


@settings(deadline=None)
@given(st.sets(st.integers(0, 300), min_size=1))
def test_ranges_are_read_by_the_engine(frames: set[int]) -> None:
    assert sorted(parse_frames(ranges(frames))) == sorted(frames)


# Jobs -----------------------------------------------------------------------------------------


def test_a_wish_is_a_job_that_the_engine_takes(wish: Wish) -> None:
    matte = (Clip("/roto/r.####.exr", "", 1, 1000, 3), "matte.V")
    wanted = replace(wish, mattes={"holdout": matte}, show="kestrel", seed=7)
    stated = job_of(wanted, {1001: SETTINGS, 1002: {**SETTINGS, "amount": 0.0}}, tracks="/t.json")
    job = validated(Job, {**stated, "output": {"pattern": "/o.####.exr", "single_part": True}})
    assert job.frames == "1001-1003" and job.plate.color_space == "ACEScg"
    assert job.tracks == "/t.json" and job.seed == 7 and job.show == "kestrel"
    assert job.effects[0].mattes["holdout"].channel == "matte.V"
    own = job_of(replace(wanted, tracks="/mine.json"), {1001: SETTINGS}, tracks="/t.json")
    assert own["tracks"] == "/mine.json"


def test_a_matte_that_is_timed_otherwise_is_noticed(wish: Wish) -> None:
    alike = (replace(wish.clip, pattern="/m.####.exr"), "")
    still = (Clip("/m.exr", "", 1, 0, 1, still=True), "")
    assert mistimed(replace(wish, mattes={"holdout": alike, "garbage": still}), range(1, 4)) == ""
    late = (replace(wish.clip, start=2), "")
    assert mistimed(replace(wish, mattes={"garbage": late}), range(1, 4)) == "garbage"


def test_the_colour_spaces_of_blender_are_known_to_the_engine() -> None:
    manager = ColorManager()
    for name in ("Linear Rec.709", "Linear Rec.2020", "ACEScg", "ACES2065-1", "sRGB", "Rec.1886"):
        assert manager.canonical(engine_space(name, own_config=False))
    assert engine_space("Studio Log", own_config=True) == "Studio Log"
    with pytest.raises(ValueError, match="give the image one"):
        engine_space("Non-Color", own_config=True)
    with pytest.raises(ValueError, match="no colour space Filmic Log"):
        engine_space("Filmic Log", own_config=False)


def test_a_report_says_each_thing_once_and_never_fails(tmp_path: Path) -> None:
    report = Report(str(tmp_path / "report.json"))
    entry = report.add("ERROR", "Swap", 3, "no such file")
    assert entry is not None and entry.line() == "VFXSwap: Swap, frame 3: no such file"
    assert report.add("ERROR", "Swap", 3, "no such file") is None
    assert report.add("INFO", "Swap", None, "hm") is not None
    report.write()
    assert (tmp_path / "report.json").read_text().count("no such file") == 1
    (tmp_path / "file").write_text("")
    Report(str(tmp_path / "file" / "report.json"), report.entries).write()


def test_a_state_is_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "f"
    assert file_state(str(file)) == "missing"
    file.write_bytes(b"ab")
    os.utime(file, ns=(7, 7))
    assert file_state(str(file)) == "2 7"
