"""Dask with things going wrong: real schedulers and workers, killed while they work."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from dask_processes import Farm, Shot, done, end, farm, on_frame_done
from small_shot import write_models

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1500)]

COUNT = 50
CHUNK = 5


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    return Shot(tmp_path, COUNT)


@pytest.fixture
def running(shot: Shot) -> Iterator[Farm]:
    with farm(shot) as running:
        yield running


def test_when_a_workers_host_dies_at_frame_12_then_all_frames_are_there(
    shot: Shot, running: Farm
) -> None:
    job = shot.poison("out", wait_s=0.2)
    kill = on_frame_done(12, lambda _: end(running.processes[1]))
    code, events, errors = running.submit(job, "--chunk", str(CHUNK), listen=kill)
    assert code == 0, errors
    assert shot.written("out") == list(shot.frames) and shot.leftovers("out") == []
    assert sorted(done(events)) == list(shot.frames)
    twice = sorted(frame for frame, calls in shot.calls().items() if calls > 1)
    assert len({(frame - 1001) // CHUNK for frame in twice}) <= 1, twice
    assert events[-1]["event"] == "done" and events[-1]["failed"] == []


def test_when_only_the_process_dies_then_it_is_started_again(shot: Shot, running: Farm) -> None:
    job = shot.poison("out", wait_s=0.2)
    killed: list[int] = []

    def kill(_: object) -> None:
        pid = int(shot.log.read_text().split()[-1])
        killed.append(pid)
        os.kill(pid, signal.SIGKILL)

    code, _, errors = running.submit(
        job, "--chunk", str(CHUNK), listen=on_frame_done(12, kill)
    )  # fmt: skip
    assert code == 0, errors
    assert shot.written("out") == list(shot.frames) and shot.leftovers("out") == []
    assert len({line.split()[1] for line in shot.log.read_text().splitlines()}) >= 2
    assert all(process.poll() is None for process in running.processes)


def test_when_the_scheduler_dies_then_the_job_submitted_again_renders_what_is_missing(
    shot: Shot, running: Farm
) -> None:
    job = shot.poison("out", wait_s=0.3)
    kill = on_frame_done(12, lambda _: end(running.processes[0]))
    code, events, errors = running.submit(
        job, "--chunk", str(CHUNK), "--wait-s", "3", listen=kill
    )  # fmt: skip
    assert code == 1, errors
    assert any("submit again" in e["message"] for e in events if e["event"] == "warning")
    assert 12 <= len(done(events)) < COUNT
    assert len(done(events)) + len(events[-1]["not_reached"]) == COUNT
    for worker in running.processes[1:]:
        end(worker)
    there = shot.written("out")
    before = shot.calls()
    running.scheduler()
    running.worker()
    code, events, errors = running.submit(job, "--chunk", str(CHUNK))
    assert code == 0, errors
    again = shot.calls() - before
    assert sorted(again) == [frame for frame in shot.frames if frame not in there]
    assert set(again.values()) == {1} and sorted(done(events)) == sorted(again)
    assert len(events[-1]["skipped"]) == len(there)
    assert shot.written("out") == list(shot.frames) and shot.leftovers("out") == []


def test_when_the_scheduler_comes_back_in_time_then_the_frames_go_on(
    shot: Shot, running: Farm
) -> None:
    job = shot.poison("out", wait_s=0.2)

    def restart(_: object) -> None:
        end(running.processes[0])
        running.scheduler()

    code, _, errors = running.submit(
        job, "--chunk", str(CHUNK), "--wait-s", "180", listen=on_frame_done(12, restart)
    )  # fmt: skip
    assert code == 0, errors
    assert shot.written("out") == list(shot.frames) and shot.leftovers("out") == []
    assert all(worker.poll() is None for worker in running.processes[1:3])


@pytest.mark.parametrize("how", ["kills", "raises"])
def test_when_a_frame_is_poison_then_it_alone_is_lost_and_named(shot: Shot, how: str) -> None:
    job = shot.poison("out", **{how: 1020})
    code, events, errors = shot.run("render", str(job), "--workers", "2", "--threads", "1")
    assert code == 1, errors
    assert shot.written("out") == [frame for frame in shot.frames if frame != 1020]
    assert shot.leftovers("out") == []
    said = [line for line in errors.splitlines() if "1020" in line]
    assert len(said) == 1 and "plate.1020.exr" in said[0], errors
    assert ("processes died" if how == "kills" else "nobody foresaw this") in said[0]
    assert [failure["frame"] for failure in events[-1]["failed"]] == [1020]
    assert (shot.folder / "out" / "comp.1020.failed.json").is_file()
    assert [e["frame"] for e in events if e["event"] == "error"] == [1020]


def test_when_a_frame_is_poison_on_a_farm_then_its_workers_live_on(
    shot: Shot, running: Farm
) -> None:
    job = shot.poison("out", kills=1020)
    code, events, errors = running.submit(job, "--chunk", str(CHUNK), "--retries", "1")
    assert code == 1 and [f["frame"] for f in events[-1]["failed"]] == [1020], errors
    assert shot.written("out") == [frame for frame in shot.frames if frame != 1020]
    assert all(process.poll() is None for process in running.processes)
    code, events, _ = running.submit(shot.poison("more"), "--frames", "1001-1004")
    assert code == 0 and len(done(events)) == 4


def test_frames_that_may_be_tried_again_are_and_then_are_listed(shot: Shot, running: Farm) -> None:
    job = shot.poison("out", raises=1003)
    (shot.folder / "plate.1007.exr").unlink()
    code, events, errors = running.submit(job, "--frames", "1001-1010", "--retries", "2")
    assert code == 1 and [f["frame"] for f in events[-1]["failed"]] == [1003, 1007], errors
    assert shot.calls()[1003] == 1 + 3  # with its chunk, then alone and twice again
    assert len(done(events)) == 8


def test_one_process_and_dask_give_the_same_bytes_at_every_chunk_size(
    shot: Shot, running: Farm
) -> None:
    code, _, errors = shot.run("render", str(shot.swap("one")), "--threads", "1")
    assert code == 0, errors
    for chunk in (1, 3, 50):
        out = f"chunk{chunk}"
        code, events, errors = running.submit(shot.swap(out), "--chunk", str(chunk))
        assert code == 0 and len(done(events)) == COUNT, errors
        for frame in shot.frames:
            name = f"comp.{frame}.exr"
            one, many = (shot.folder / folder / name for folder in ("one", out))
            assert one.read_bytes() == many.read_bytes()


def test_when_cancelled_then_the_frames_in_hand_are_finished(shot: Shot, running: Farm) -> None:
    job = shot.poison("out", wait_s=0.3)
    cancel = on_frame_done(8, lambda process: process.send_signal(signal.SIGTERM))
    code, events, errors = running.submit(job, "--chunk", "25", listen=cancel)
    assert code == 143 and events[-1]["cancelled"], errors
    assert 8 <= len(done(events)) <= 20
    assert shot.written("out") == sorted(done(events)) and shot.leftovers("out") == []
    assert sorted(events[-1]["not_reached"] + done(events)) == list(shot.frames)
    code, _, errors = running.submit(job)
    assert code == 0 and shot.written("out") == list(shot.frames), errors


def test_when_the_submitter_is_killed_then_no_process_of_its_own_stays(shot: Shot) -> None:
    job = shot.poison("out", wait_s=0.2)
    mine: list[psutil.Process] = []

    def kill(process: subprocess.Popen[str]) -> None:
        mine.extend(psutil.Process(process.pid).children(recursive=True))
        process.kill()

    code, _, _ = shot.run("render", str(job), "--workers", "2", listen=on_frame_done(4, kill))
    assert code == -signal.SIGKILL and len(mine) >= 2
    _, alive = psutil.wait_procs(mine, timeout=30)
    assert alive == []


def test_workers_with_other_code_or_weights_get_no_frame(shot: Shot) -> None:
    others = write_models(shot.folder / "others" / "models")
    changed = others / "tinycomb" / "card.toml"
    assert changed.is_file()
    exchange_weights(others)
    with farm(shot, workers=0) as running:
        running.worker(OTHER_CODE="1")
        running.worker(VFXSWAP_MODELS=str(others))
        job = shot.swap("out")
        code, events, errors = running.submit(job, "--wait-s", "2", "--frames", "1001-1004")
        assert code == 2 and "no worker fits" in errors, errors
        assert not (shot.folder / "out").exists()
        running.worker()
        code, events, errors = running.submit(job, "--frames", "1001-1004", "--chunk", "1")
        assert code == 0 and sorted(done(events)) == [1001, 1002, 1003, 1004], errors
        notes = [e["message"] for e in events if e["event"] == "warning"]
        assert any("other code (got vfxswap 0.0.9 0123456789ab" in note for note in notes)
        assert any("model tinycomb is another" in note for note in notes)
        assert len(notes) == 2


def exchange_weights(models: Path) -> None:
    from vfxswap.io.weights import StoredModel, load_tensors, read_card, save_model

    folder = models / "tinycomb"
    stored = StoredModel(read_card(folder), folder)
    tensors: dict[str, Any] = load_tensors(folder, stored.card)
    save_model(folder, stored.card, {name: value * 1.5 for name, value in tensors.items()})


def test_with_tls_only_who_holds_a_certificate_takes_part(shot: Shot) -> None:
    options = certificates(shot.folder)
    with farm(shot, *options, workers=1, protocol="tls") as running:
        code, events, errors = running.submit(shot.swap("out"), "--frames", "1001-1003")
        assert code == 0 and len(done(events)) == 3, errors
        plain = running.address.replace("tls", "tcp")
        arguments = ("submit", str(shot.swap("no")), "--to", "dask", "--wait-s", "3")
        code, _, errors = shot.run(*arguments, "--scheduler", plain)
        assert code == 1 and "no scheduler answers" in errors, errors
        stranger = certificates(shot.folder / "stranger")
        code, _, errors = shot.run(*arguments, "--scheduler", running.address, *stranger)
        assert code == 1 and "no scheduler answers" in errors, errors
    assert not (shot.folder / "no").exists()


def certificates(folder: Path) -> tuple[str, ...]:
    """An authority and a certificate of it, by openssl: the three options."""
    folder.mkdir(exist_ok=True)
    ca, ca_key, cert, key, asked = (
        str(folder / name) for name in ("ca.pem", "ca.key", "cert.pem", "key.pem", "asked.csr")
    )
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj")
    for command in (
        (*new, "/CN=authority", "-x509", "-days", "2", "-keyout", ca_key, "-out", ca),
        (*new, "/CN=farm", "-keyout", key, "-out", asked),
        ("openssl", "x509", "-req", "-in", asked, "-CA", ca, "-CAkey", ca_key,
         "-CAcreateserial", "-days", "2", "-out", cert),
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    return ("--tls-ca", ca, "--tls-cert", cert, "--tls-key", key)
