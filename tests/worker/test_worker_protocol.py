"""What docs/worker-protocol.md promises, asked of a real process by bare lines."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_shot import CONSENTED, SYNTHETIC
from worker_lines import ROOT, Lines, Shot, written

import vfxswap
from vfxswap.effects import HELP
from vfxswap.io.exr import verify_image
from vfxswap.io.tracks import read_tracks
from vfxswap.worker import EVENTS, PROTOCOL
from vfxswap.worker.channel import LIMIT_BYTES
from vfxswap.worker.requests import REQUESTS, Request, parse


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return Shot(tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="module")
def worker(shot: Shot) -> Iterator[Lines]:
    with Lines(shot) as lines:
        assert lines.next()["event"] == "hello"
        yield lines


# Beginning ------------------------------------------------------------------------------------


def test_hello_comes_first_and_before_torch(shot: Shot) -> None:
    with Lines(shot, "--device", "cpu") as lines:
        hello = lines.next()
        maps = Path(f"/proc/{lines.process.pid}/maps")
        assert not sys.platform.startswith("linux") or "libtorch" not in maps.read_text()
    assert hello["event"] == "hello" and hello["protocol"] == PROTOCOL
    assert hello["version"] == vfxswap.__version__ and hello["pid"] == lines.process.pid
    assert hello["device"] == "cpu" and hello["effects"] == list(HELP)
    assert set(hello["requests"]) == set(REQUESTS) and hello["heartbeat_s"] == 0.1


# Bad lines ------------------------------------------------------------------------------------

ODD = st.characters(exclude_categories=())
"""Lone surrogates too: JSON can spell them."""
WITHOUT_ID = [
    b"rubbish",
    b"[]",
    b"3",
    b"{",
    b"\xff\xfe",
    b'{"request": "ping"}',
    b'{"id": true, "request": "ping"}',
    b'{"id": "", "request": "ping"}',
    b'{"id": {"a": 1}, "request": "ping"}',
    b'{"id": 1, "request": "ping", "x": NaN}',
    b"[" * 200_000,
    b'{"id": 1, "request": "ping", "x": "' + b"x" * LIMIT_BYTES + b'"}',
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(ODD), inner, max_size=3),
)
REQUEST_LIKE = st.fixed_dictionaries(
    {"id": st.integers() | st.text(ODD), "request": st.sampled_from(sorted(REQUESTS))},
    optional=dict.fromkeys(("job", "frames", "target", "effect", "overwrite", "x"), VALUES),
)
WITH_ID: dict[str, dict[str, Any]] = {
    "no such request": {"request": "rendr"},
    "none": {},
    "an unknown field": {"request": "render", "job": {}, "skip_exsting": True},
    "a missing field": {"request": "render"},
    "a wrong type": {"request": "render", "job": {}, "skip_existing": "yes"},
}


@pytest.mark.parametrize("line", WITHOUT_ID, ids=lambda line: repr(line[:30]))
def test_a_line_that_is_no_request_is_answered_and_the_worker_lives(
    worker: Lines, line: bytes
) -> None:
    worker.write(line + b"\n")
    error = worker.next()
    assert error["event"] == "error" and error["id"] is None
    assert error["kind"] == "request" and error["exit_code"] == 2 and error["message"]
    assert worker.result("ping")["exit_code"] == 0


@given(st.binary() | st.builds(lambda v: json.dumps(v).encode(), REQUEST_LIKE))
def test_every_line_is_a_request_or_refused(line: bytes) -> None:
    parsed = parse(line)
    assert isinstance(parsed, Request) or str(parsed.error)


@pytest.mark.parametrize("name", WITH_ID)
def test_a_wrong_request_is_done_with_an_error(worker: Lines, name: str) -> None:
    worker.write(json.dumps({"id": 7, **WITH_ID[name]}).encode() + b"\n")
    error = worker.next()
    assert (error["event"], error["id"], error["kind"]) == ("error", 7, "request")
    assert error["fatal"] is True and "\n" not in error["message"]
    done = worker.next()
    assert (done["event"], done["id"], done["exit_code"]) == ("done", 7, 2)


def test_an_unknown_request_is_told_the_nearest_one(worker: Lines) -> None:
    worker.result("rendr")
    assert "perhaps render" in worker.seen[-2]["message"]


def test_empty_lines_and_carriage_returns_do_no_harm(worker: Lines) -> None:
    worker.write(b'\n\r\n  \n{"id": "cr", "request": "ping"}\r\n')
    assert worker.next()["id"] == "cr"


# Questions ------------------------------------------------------------------------------------


def test_describe_and_models_are_those_of_the_command_line(worker: Lines) -> None:
    described = worker.result("describe")["report"]
    assert [e["name"] for e in described["effects"]] == list(HELP)
    assert described["effects"][0]["settings"] and described["job_schema"]["required"]
    report = worker.result("models")["report"]
    assert {"tinycomb", "blind"} <= {m["name"] for m in report["models"]}
    assert report["broken"] == []


def test_a_job_is_checked(worker: Lines, shot: Shot) -> None:
    done = worker.result("check", job=shot.swap("checked", persona="nobody"))
    assert done["exit_code"] == 2
    assert any("nobody" in f["message"] for f in done["report"]["findings"])
    assert worker.result("check", job=shot.swap("checked"))["exit_code"] == 0


# Rendering ------------------------------------------------------------------------------------


def test_two_jobs_read_their_network_once_and_give_the_same_files(
    worker: Lines, shot: Shot
) -> None:
    first, second = (worker.ask("render", job=shot.swap(out)) for out in ("one", "two"))
    done = worker.done(first)
    assert done["exit_code"] == 0 and done["seconds"] > 0
    kinds = [event["event"] for event in worker.of(first)]
    assert kinds[:3] == ["accepted", "started", "progress"] and kinds[-1] == "done"
    assert set(kinds) <= set(EVENTS) and kinds.count("done") == 1
    frames = [event for event in worker.of(first) if event["event"] == "frame_done"]
    assert [event["frame"] for event in frames] == [1001, 1002]
    assert [event["path"] for event in frames] == done["report"]["written"]
    assert [event["percent"] for event in frames] == [50.0, 100.0]
    assert all(verify_image(Path(event["path"])) for event in frames)

    assert worker.done(second)["exit_code"] == 0
    assert worker.errors.count("reads network tinycomb") == 1
    names = written(shot.folder / "one")
    assert names == written(shot.folder / "two") and len(names) == 2
    for name in names:
        one, two = (shot.folder / out / name for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_a_job_may_be_a_file_and_frames_a_part_of_it(worker: Lines, shot: Shot) -> None:
    file = shot.folder / "job.json"
    file.write_text(json.dumps({"version": 1, **shot.slow("part")}))
    done = worker.result("render", job=str(file), frames="1003-1004")
    assert done["exit_code"] == 0
    assert written(shot.folder / "part") == ["comp.1003.exr", "comp.1004.exr"]
    again = worker.result("render", job=str(file), frames="1003-1005", skip_existing=True)
    assert len(again["report"]["skipped"]) == 2 and len(again["report"]["written"]) == 1


def test_what_is_printed_below_and_above_goes_to_stderr(worker: Lines, shot: Shot) -> None:
    assert worker.result("render", job=shot.slow("prints", frames="1001"))["exit_code"] == 0
    assert "python prints on frame 1001\n" in worker.errors
    assert "a library prints\n" in worker.errors


def test_questions_are_answered_while_a_job_renders(worker: Lines, shot: Shot) -> None:
    render = worker.ask("render", job=shot.slow("pinged", frames="1001-1002", wait_s=0.6))
    queued = worker.ask("render", job=shot.slow("after", frames="1001"))
    worker.next("started", of=render)
    beat = worker.next("heartbeat")
    later = worker.next("heartbeat")
    assert beat["id"] == later["id"] == render
    assert 0 <= beat["busy_s"] < later["busy_s"] and later["quiet_s"] <= later["busy_s"]
    ping, models = worker.ask("ping"), worker.ask("models")
    state = worker.done(ping)["report"]
    assert state == {"running": render, "queued": [queued]}
    worker.done(models)
    assert not any(e["event"] == "done" for e in worker.of(render))
    assert worker.done(render)["exit_code"] == 0 and worker.done(queued)["exit_code"] == 0


def test_tracks_are_made(worker: Lines, shot: Shot) -> None:
    path = shot.folder / "made.tracks.json"
    done = worker.result("track", job=shot.slow("tracked", frames="1001-1002"), tracks=str(path))
    assert done["exit_code"] == 0
    assert done["report"] == {"tracks": str(path), "faces": [], "frames": [1001, 1002]}
    assert read_tracks(path).covers(1002, "")
    no_file = worker.result("track", job=shot.slow("tracked"))
    assert no_file["exit_code"] == 2


# Errors ---------------------------------------------------------------------------------------


def test_a_bad_job_ends_with_one_structured_error(worker: Lines, shot: Shot) -> None:
    job = shot.slow("bad")
    cases = {
        "job": {**job, "effects": [{"effect": "swop"}]},
        "plate": {**job, "plate": {"pattern": str(shot.folder / "none.#.exr")}, "frames": ""},
        "model": shot.swap("bad", persona="nobody"),
        "consent": shot.swap("bad", persona=CONSENTED),
    }
    for kind, bad in cases.items():
        request = worker.ask("render", job=bad)
        code = worker.done(request)["exit_code"]
        errors = [e for e in worker.of(request) if e["event"] == "error"]
        assert [e["kind"] for e in errors] == [kind]
        assert errors[0]["fatal"] is True and errors[0]["exit_code"] == code
        assert code == (1 if kind == "plate" else 2)
    assert not (shot.folder / "bad").exists()


def test_a_broken_frame_is_told_and_the_others_render(worker: Lines, shot: Shot) -> None:
    job = shot.slow("holes", frames="1001,1999,1002")
    request = worker.ask("render", job=job)
    done = worker.done(request)
    error = next(e for e in worker.of(request) if e["event"] == "error")
    assert error["frame"] == 1999 and error["kind"] == "plate" and "fatal" not in error
    assert error["file"].endswith("plate.1999.exr") and error["stage"] == "render"
    assert done["exit_code"] == 1 and done["report"]["failed"][0]["frame"] == 1999
    assert len(done["report"]["written"]) == 2


def test_what_nobody_foresaw_is_internal_and_the_worker_lives(worker: Lines, shot: Shot) -> None:
    request = worker.ask("render", job=shot.slow("broken", frames="1001", breaks=True))
    assert worker.done(request)["exit_code"] == 1
    error = next(e for e in worker.of(request) if e["event"] == "error")
    assert error["kind"] == "internal" and "ZeroDivisionError" in error["message"]
    assert "Traceback" in worker.errors
    assert worker.result("ping")["exit_code"] == 0


def test_an_id_in_use_is_refused_and_its_owner_goes_on(worker: Lines, shot: Shot) -> None:
    request = worker.ask("render", job=shot.slow("ids", frames="1001", wait_s=0.3))
    worker.ask("describe", id=request)
    worker.ask("no such request", id=request)
    for _ in range(2):
        assert worker.next("error")["id"] is None
    assert worker.done(request)["exit_code"] == 0


# Cancelling -----------------------------------------------------------------------------------


def test_cancel_finishes_the_frame_in_hand(worker: Lines, shot: Shot) -> None:
    request = worker.ask("render", job=shot.slow("cut", wait_s=0.1))
    waiting = worker.ask("render", job=shot.slow("never"))
    worker.next("frame_done", of=request)
    assert worker.result("cancel", target=waiting)["report"] == {"target": "queued"}
    assert worker.result("cancel", target=request)["report"] == {"target": "running"}
    done = worker.done(request)
    report = done["report"]
    assert done["exit_code"] == 143 and report["cancelled"] and report["not_reached"]
    files = written(shot.folder / "cut")
    assert len(files) == len(report["written"]) == 20 - len(report["not_reached"])
    assert all(verify_image(shot.folder / "cut" / name) for name in files)
    ended = worker.of(waiting)
    assert [e["event"] for e in ended] == ["accepted", "error", "done"]
    assert ended[1]["kind"] == "cancelled" and ended[2]["exit_code"] == 143
    assert not (shot.folder / "never").exists()
    assert worker.result("cancel", target=request)["report"] == {"target": "unknown"}


# Ending ---------------------------------------------------------------------------------------


def test_closing_stdin_finishes_the_frame_in_hand_and_ends_the_process(shot: Shot) -> None:
    with Lines(shot) as lines:
        request = lines.ask("render", job=shot.slow("closed", wait_s=0.1))
        waiting = lines.ask("render", job=shot.slow("closed_too"))
        lines.next("frame_done", of=request)
        lines.write(b'{"id": "cut off", "request": "ping"}')
        assert lines.end() == 0
        ends = {e["id"]: e for e in lines.rest() if e["event"] == "done"}
    assert set(ends) == {request, waiting}
    assert [e["exit_code"] for e in ends.values()] == [143, 143]
    files = written(shot.folder / "closed", suffixes=(".exr", ".tmp"))
    assert 0 < len(files) < 20
    assert files == [Path(p).name for p in ends[request]["report"]["written"]]
    assert not [p for p in (shot.folder / "closed").iterdir() if "tmp" in p.name]


def test_shutdown_is_answered_last(shot: Shot) -> None:
    with Lines(shot) as lines:
        models, shutdown = lines.ask("models"), lines.ask("shutdown")
        assert [e["id"] for e in lines.rest() if e["event"] == "done"] == [models, shutdown]
        assert lines.process.wait(10) == 0


def test_sigterm_ends_an_idle_worker(shot: Shot) -> None:
    with Lines(shot) as lines:
        lines.result("ping")
        lines.process.send_signal(signal.SIGTERM)
        assert lines.process.wait(10) == 143


# Specification --------------------------------------------------------------------------------


def test_the_specification_names_every_request_and_event_and_its_examples_parse() -> None:
    text = (ROOT / "docs" / "worker-protocol.md").read_text()
    assert f"Protocol {PROTOCOL}" in text
    assert set(re.findall(r"^\| `(\w+)` →", text, re.M)) == set(REQUESTS)
    assert set(re.findall(r"^\| ← `(\w+)`", text, re.M)) == set(EVENTS)
    asked = re.findall(r"^→ (.*)$", text, re.M)
    heard = [json.loads(line) for line in re.findall(r"^← (.*)$", text, re.M)]
    assert asked and all(isinstance(parse(line.encode()), Request) for line in asked)
    assert heard and {event["event"] for event in heard} <= set(EVENTS)
    assert SYNTHETIC not in text
