"""Renders beside the host and in the background, with real engines that die, hang and go on."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from shim_shots import FRAMES, ROW, Node
from small_shot import plate_image
from vfxswap_nuke import background
from vfxswap_nuke.engine_client import Engine
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.exr_content import picture_hash
from vfxswap_nuke.foreground import Foreground
from vfxswap_nuke.jobs import build_job
from vfxswap_nuke.layout import file_of
from vfxswap_nuke.results import frame_keys, models_mark
from vfxswap_nuke.runs import Run, duration, frames_text
from vfxswap_nuke.snapshot import KnobState
from vfxswap_nuke.store import Store
from worker_lines import PATIENCE_S, Shot

from vfxswap.io.exr import read_image, write_image


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return Shot(tmp_path_factory.mktemp("shim"))


@pytest.fixture(autouse=True)
def _environment(shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("VFXSWAP"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VFXSWAP_MODELS", str(shot.models))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def engine(shot: Shot) -> Iterator[Engine]:
    """An engine that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VFXSWAP_MODELS", str(shot.models))
        patch.setenv("OMP_NUM_THREADS", "1")
        with Engine(str(shot.engine), options=("--device", "cpu", "--heartbeat", "0.1")) as engine:
            engine.start()
            yield engine


@pytest.fixture
def node(shot: Shot, tmp_path: Path) -> Node:
    return Node(shot, tmp_path)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def pixels(path: Path) -> bytes:
    return np.ascontiguousarray(read_image(path).rgb()).tobytes()


# What is rendered and what is kept ------------------------------------------------------------


def test_going_back_to_earlier_settings_costs_no_frame(node: Node, engine: Engine) -> None:
    assert node.render(engine, gain=2.0).message == "4 rendered"
    first = pixels(node.result(1002))
    assert node.render(engine, gain=3.0).message == "4 rendered"
    assert pixels(node.result(1002)) != first
    run = node.render(engine, gain=2.0)
    assert (run.state, run.message, run.percent) == ("done", "0 rendered, 4 from the cache", 100)
    assert pixels(node.result(1002)) == first
    assert json.loads(node.result(1002).with_suffix(".vfxswap.json").read_text())["frame"] == 1002


def test_what_is_kept_waits_for_the_engine_and_can_be_cancelled(
    node: Node, shot: Shot, engine: Engine
) -> None:
    """Whether it may be shown is asked of an engine that is at another render."""
    node.render(engine)
    other = engine.render(shot.slow("other", frames="1001-1010", wait_s=0.5))
    run = Run("VfxSlow1", "slow", 4)
    failed: list[str] = []

    def want() -> None:
        try:
            node.wanted(run, engine)
        except NodeError as error:
            failed.append(str(error))

    thread = threading.Thread(target=want)
    thread.start()
    thread.join(1.0)
    assert thread.is_alive() and not other.finished
    run.cancel()
    thread.join(PATIENCE_S)
    assert failed == ["cancelled"] and not other.finished
    other.cancel()
    other.wait(PATIENCE_S)
    assert node.render(engine).message == "0 rendered, 4 from the cache"


def test_a_plate_written_anew_with_the_same_picture_changes_nothing(
    node: Node, engine: Engine
) -> None:
    node.render(engine)
    plate = Path(file_of(node.layout.plate, 1001, ""))
    before = plate.stat().st_mtime_ns
    os.utime(plate, (1, 1))
    assert node.render(engine).message == "0 rendered, 4 from the cache"
    assert plate.stat().st_mtime_ns == before


def test_another_plate_renders_the_whole_shot_anew(node: Node, engine: Engine) -> None:
    node.render(engine)
    write_image(file_of(node.layout.plate, 1001, ""), plate_image(7))
    assert node.render(engine).message == "4 rendered"


def test_a_result_that_somebody_changed_comes_back_from_the_store(
    node: Node, engine: Engine
) -> None:
    node.render(engine)
    good = node.result(1003).read_bytes()
    node.result(1003).unlink()
    node.result(1003).write_bytes(b"not a frame")
    assert node.render(engine).message == "0 rendered, 4 from the cache"
    assert node.result(1003).read_bytes() == good


def test_an_animated_knob_reaches_each_frame(node: Node, engine: Engine) -> None:
    samples = {frame: 1.0 + (frame - 1001) ** 2 for frame in FRAMES}
    node.render(engine, gain=KnobState(0.0, samples))
    record = json.loads(node.result(1004).with_suffix(".vfxswap.json").read_text())
    assert record["effects"][0]["settings"]["gain"] == 10.0


def test_each_view_has_files_and_keys_of_its_own(
    shot: Shot, tmp_path: Path, engine: Engine
) -> None:
    node = Node(shot, tmp_path, range(1001, 1003), ("left", "right"))
    assert node.render(engine).message == "4 rendered"
    assert pixels(node.result(1001, "left")) != pixels(node.result(1001, "right"))
    node.result(1002, "right").unlink()
    assert node.render(engine).message == "0 rendered, 4 from the cache"
    assert pixels(node.result(1002, "right")) == pixels(node.result(1001, "left"))


def test_a_broken_plate_fails_its_frame_alone(node: Node, engine: Engine) -> None:
    Path(file_of(node.layout.plate, 1002, "")).write_bytes(b"broken")
    run = node.render(engine)
    assert run.state == "failed" and run.message.startswith("3 rendered, 1 failed: ")
    assert "1002" in run.message
    assert not node.result(1002).exists() and node.result(1004).exists()


def test_a_job_that_is_refused_says_why(node: Node, engine: Engine) -> None:
    run = node.render(engine, gain=1e9)
    assert run.state == "failed" and "gain" in run.message and "100" in run.message


# Keys -----------------------------------------------------------------------------------------


def test_a_key_follows_all_that_decides_pixels_and_no_more(node: Node) -> None:
    job, _ = build_job(node.state(), ROW)
    hashes = {(1001, ""): {"plate": "a"}, (1002, ""): {"plate": "b"}}
    made_by = {"version": "1", "models": "m"}
    keys = frame_keys(job, hashes, engine=made_by)
    assert len(set(keys.values())) == 2
    moved = dict(
        job, output={"pattern": "/else/where.#.exr"}, plate=dict(job["plate"], pattern="/x")
    )
    assert frame_keys(moved, hashes, engine=made_by) == keys
    changed = [
        frame_keys(dict(job, seed=1), hashes, engine=made_by),
        frame_keys(dict(job, proxy=2), hashes, engine=made_by),
        frame_keys(dict(job, show="kestrel"), hashes, engine=made_by),
        frame_keys(job, hashes, engine=dict(made_by, version="2")),
        frame_keys(job, hashes, engine=made_by, edits="e"),
        frame_keys(job, {**hashes, (1002, ""): {"plate": "c"}}, engine=made_by),
        frame_keys(job, {u: {**h, "matte": "m"} for u, h in hashes.items()}, engine=made_by),
    ]
    for other in changed:
        assert other[(1001, "")] != keys[(1001, "")]
    assert len({other[(1001, "")] for other in changed}) == len(changed)


def test_models_of_other_effects_do_not_matter_and_those_of_stages_do() -> None:
    def row(name: str, effect: str, sha: str = "s") -> dict[str, str]:
        return {"name": name, "effect": effect, "sha256": sha, "card_sha256": "c"}

    rows = [row("comb", "swap"), row("ink", "style"), row("points", "landmarks")]
    mark = models_mark(rows, "swap", ["swap", "style"])
    assert (
        models_mark([rows[0], row("ink", "style", "t"), rows[2]], "swap", ["swap", "style"]) == mark
    )
    assert (
        models_mark([*rows[:2], row("points", "landmarks", "t")], "swap", ["swap", "style"]) != mark
    )
    assert models_mark([row("comb", "swap", "t"), *rows[1:]], "swap", ["swap", "style"]) != mark


def test_a_picture_is_known_by_its_pixels_and_not_by_its_dates(tmp_path: Path) -> None:
    image = plate_image(3)
    a, b, c = (tmp_path / f"{name}.exr" for name in "abc")
    write_image(a, image, metadata={"nuke/node_hash": "1"})
    write_image(b, image, metadata={"nuke/node_hash": "2 and longer", "capDate": "2020:01:01"})
    write_image(c, plate_image(4), metadata={"nuke/node_hash": "1"})
    assert a.read_bytes() != b.read_bytes()
    assert picture_hash(str(a)) == picture_hash(str(b)) != picture_hash(str(c))
    part = dataclasses.replace(image.parts[0], pixel_aspect=2.0)
    write_image(b, dataclasses.replace(image, parts=(part,)))
    assert picture_hash(str(a)) != picture_hash(str(b))
    for data in (b"", b"P6 1 1", a.read_bytes()[:40], a.read_bytes()[:-1]):
        c.write_bytes(data)
        assert picture_hash(str(c)) != picture_hash(str(a))


def test_the_store_drops_what_was_unused_longest_and_keeps_to_its_limit(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), 250)
    for number, name in enumerate("abcd"):
        frame = tmp_path / f"{name}.exr"
        frame.write_bytes(bytes(100))
        frame.with_suffix(".vfxswap.json").write_text("{}")
        store.keep(name * 64, str(frame))
        kept = tmp_path / "store" / (name * 2) / f"{name * 64}.exr"
        os.utime(kept, (1000 + number, 1000))
        if name != "d":
            frame.unlink()
    assert "4 frames kept" in store.status()
    target = str(tmp_path / "out.exr")
    assert store.fetch("a" * 64, target)
    assert Path(target).with_suffix(".vfxswap.json").read_text() == "{}"
    Path(target).unlink()
    assert store.prune() == 2
    assert [store.fetch(n * 64, target) for n in "abcd"] == [True, False, False, True]
    assert (tmp_path / "d.exr").stat().st_size == 100
    assert not Store(str(tmp_path / "store"), 0).fetch("a" * 64, target)


# Engines that die -----------------------------------------------------------------------------


def rendering(node: Node, engine: Engine, **knobs: float) -> tuple[Run, threading.Thread]:
    run = Run("VfxSlow1", "slow", len(node.frames))
    perform = Foreground(run, node.wanted(run, engine, **knobs), engine).perform
    thread = threading.Thread(target=perform)
    thread.start()
    return run, thread


def test_a_killed_engine_is_replaced_and_its_frames_are_kept(node: Node, shot: Shot) -> None:
    with Engine(str(shot.engine)) as engine:
        run, thread = rendering(node, engine, wait_s=0.3)
        until(lambda: run.finished >= 1)
        killed = engine.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        thread.join(PATIENCE_S)
        assert (run.state, run.message) == ("done", "4 rendered")
        assert any("killed by SIGKILL" in line for line in run.log)
        assert engine.pid not in (None, killed)


@pytest.mark.slow
def test_an_engine_that_stops_answering_is_noticed_and_replaced(node: Node, shot: Shot) -> None:
    # A busy machine holds up the heartbeats of an engine that loads its libraries.
    with Engine(str(shot.engine), hang_s=30.0, options=("--heartbeat", "0.2")) as engine:
        run, thread = rendering(node, engine, wait_s=0.3)
        until(lambda: run.finished >= 1)
        stopped = engine.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        thread.join(30.0 + PATIENCE_S)
        assert (run.state, run.message) == ("done", "4 rendered")
        assert any("hung: nothing heard for 30 s" in line for line in run.log)


@pytest.mark.slow
def test_a_frame_that_kills_every_engine_ends_the_render(node: Node, shot: Shot) -> None:
    with Engine(str(shot.engine)) as engine:
        run, thread = rendering(node, engine, wait_s=100.0)
        killed: set[int] = set()
        while not run.over:
            started = any("rendering on" in line for line in list(run.log)[-1:])
            pid = engine.pid
            if started and pid is not None and pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        thread.join(PATIENCE_S)
        assert len(killed) == 2
        assert run.state == "failed" and "killed by SIGKILL" in run.message


def test_cancelling_finishes_the_frame_in_hand_and_the_rest_goes_on_later(
    node: Node, engine: Engine
) -> None:
    run, thread = rendering(node, engine, wait_s=0.3)
    until(lambda: run.finished >= 1)
    run.cancel()
    thread.join(PATIENCE_S)
    assert run.state == "cancelled" and "not reached" in run.message
    there = run.finished
    again = node.render(engine, wait_s=0.3)
    assert again.message == f"{4 - there} rendered, {there} from the cache"


# In the background ----------------------------------------------------------------------------


def begin(node: Node, engine: Engine, **knobs: float) -> background.BackgroundRun:
    run = Run("VfxSlow1", "slow", len(node.frames))
    wanted = node.wanted(run, engine, **knobs)
    return background.start(node.state(**knobs), wanted, settings=node.settings)


def follow(run: background.BackgroundRun) -> None:
    def over() -> bool:
        run.poll()
        return run.over

    until(over)


def pid_of(node: Node) -> int:
    record = json.loads((Path(node.layout.background(1)) / "run.json").read_text())
    return int(record["pid"])


def test_a_background_render_is_followed_and_its_frames_are_kept(
    node: Node, engine: Engine
) -> None:
    run = begin(node, engine)
    follow(run)
    assert (run.state, run.message, run.finished) == ("done", "4 rendered", 4)
    assert node.render(engine).message == "0 rendered, 4 from the cache"
    again = begin(node, engine)
    assert again.over and again.message == "0 rendered, 4 from the cache"


@pytest.mark.slow
def test_a_later_session_finds_a_background_render_again(node: Node, engine: Engine) -> None:
    first = begin(node, engine, wait_s=0.2)
    found = background.attach(node.state(), settings=node.settings)
    assert found is not None
    follow(found)
    assert (found.state, found.message) == ("done", "4 rendered")
    assert background.attach(node.state(), settings=node.settings) is None
    follow(first)


@pytest.mark.slow
def test_a_background_render_is_cancelled_after_the_frame_in_hand(
    node: Node, engine: Engine
) -> None:
    run = begin(node, engine, wait_s=0.4)
    until(lambda: node.result(1001).exists())
    run.cancel()
    follow(run)
    assert run.state == "cancelled" and run.finished < 4


@pytest.mark.slow
def test_a_background_engine_that_is_killed_is_started_again(node: Node, engine: Engine) -> None:
    run = begin(node, engine, wait_s=0.3)
    until(lambda: node.result(1001).exists())
    first = pid_of(node)
    os.kill(first, signal.SIGKILL)
    follow(run)
    assert (run.state, run.finished) == ("done", 4) and pid_of(node) != first
    assert any("ended unexpectedly" in line for line in run.log)


@pytest.mark.slow
def test_a_render_that_ended_unseen_or_runs_elsewhere_is_never_started_again(
    node: Node, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(node, engine, wait_s=100.0)
    killed = pid_of(node)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.node", lambda: "another-machine")
        assert background.attach(node.state(), settings=node.settings) is None
    os.kill(killed, signal.SIGKILL)
    assert first._process is not None
    first._process.wait(PATIENCE_S)
    found = background.attach(node.state(), settings=node.settings)
    assert found is not None
    found.poll()
    assert found.state == "failed" and "ended unexpectedly" in found.message
    assert pid_of(node) == killed
    assert background.attach(node.state(), settings=node.settings) is None


@pytest.mark.slow
def test_a_background_job_that_is_refused_is_not_tried_again(node: Node, engine: Engine) -> None:
    run = begin(node, engine, gain=1e9)
    first = pid_of(node)
    follow(run)
    assert run.state == "failed" and "gain" in run.message and pid_of(node) == first


def test_a_process_of_the_same_number_is_not_taken_for_the_render() -> None:
    mark = background._mark(os.getpid())
    assert mark and background.alive(os.getpid(), mark)
    assert not background.alive(os.getpid(), str(int(mark) - 1))
    assert not background.alive(0, "")


# Words ----------------------------------------------------------------------------------------


def test_ranges_and_times_are_said_shortly() -> None:
    units = [(f, v) for f in (1001, 1002, 1003, 1005, -2) for v in ("left", "right")]
    assert frames_text(units) == "-2,1001-1003,1005"
    assert [duration(s) for s in (0.4, 42, 99.4, 180, 7500)] == [
        "0 s",
        "42 s",
        "99 s",
        "3 min",
        "2 h 5 min",
    ]
