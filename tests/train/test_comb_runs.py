"""Trainings in processes of their own: killed, shared among ranks, on a disk that runs full, and
how `train --status` sees them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import comb_process
import cv2
import numpy as np
import pytest
import torch
from made_up_crops import PERSONAS, made_up, tiny
from typer.testing import CliRunner

from vfxswap.cli.app import application
from vfxswap.errors import CancelledError, JobError
from vfxswap.train.comb import CombTrainer
from vfxswap.train.comb_loop import train
from vfxswap.train.curves import curves_png
from vfxswap.train.parallel import ALONE, Ranks
from vfxswap.train.run_log import RunLog, read_log
from vfxswap.train.run_status import run_status, span

HERE = Path(__file__).parent
SCRIPT = HERE / "comb_process.py"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def straight(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a run that nobody disturbed."""
    return train(comb_process.trainer(ALONE), folder).state_dict()


def finished(run: Path) -> dict[str, torch.Tensor]:
    """The weights of a run in its folder, trained to its end."""
    return train(comb_process.trainer(ALONE), run).state_dict()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_when_a_run_is_killed_then_it_loses_the_interval_at_most_and_ends_as_unbroken(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path), "--seconds", "0.03"], env=environment()
    )
    try:
        deadline = time.monotonic() + 120
        while not (rows := read_log(run)) or rows[-1]["iteration"] < 23:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        seen = run_status(run)
        assert seen.state == "running"
        assert seen.left_s is not None and seen.left_s > 0
        assert seen.checkpoint_iteration is not None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    dead = run_status(run)
    assert dead.state == "dead"
    assert "dead" in dead.lines()[0]
    assert dead.checkpoint_iteration is not None
    assert dead.iteration - dead.checkpoint_iteration <= comb_process.EVERY
    unbroken, parts = straight(tmp_path / "straight"), finished(run)
    for name, value in unbroken.items():
        assert torch.equal(value, parts[name]), name
    assert [row["iteration"] for row in read_log(run)] == sorted(
        {row["iteration"] for row in read_log(run)}
    )
    assert run_status(run).state == "done"


@pytest.mark.slow
def test_when_one_of_two_ranks_is_killed_then_both_resume_and_end_as_one_process_does(
    tmp_path: Path,
) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2",
        "--master-addr", "127.0.0.1", "--master-port", str(free_port()), "--max-restarts", "1",
        str(SCRIPT), str(tmp_path), "--die-at", "23",
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "died").exists()
    status = run_status(tmp_path / "run")
    assert (status.state, status.iteration) == ("done", 60)
    unbroken, shared = straight(tmp_path / "straight"), finished(tmp_path / "run")
    for name, value in unbroken.items():
        # Sums over ranks are added in another order.
        torch.testing.assert_close(shared[name], value, atol=2e-3, rtol=2e-2)


def test_shares_of_ranks_make_the_gradient_of_the_whole_batch() -> None:
    """Adds the gradients of two ranks by hand: what gloo does between processes."""
    trainers = [comb_process.trainer(ALONE)]
    trainers += [comb_process.trainer(HalfRank(rank, 2)) for rank in range(2)]
    gradients = []
    for trainer in trainers:
        now = trainer.moment(0)
        torch.autograd.backward(trainer._own_loss("amber", 0, now))
        gradients.append([p.grad for p in trainer.comb.parameters() if p.grad is not None])
    for whole, one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one + other, whole, atol=1e-6, rtol=1e-4)


class HalfRank(Ranks):
    """A rank whose peers are not there."""

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def add_gradients(self, parameters: object) -> None:
        """Nobody to add to."""


def test_shares_of_a_batch_are_whole_and_apart() -> None:
    for count in (1, 2, 3, 5):
        shares = [list(range(7))[Ranks(rank, count).share(7)] for rank in range(count)]
        assert [crop for share in shares for crop in share] == list(range(7))
        assert all(shares)
    with pytest.raises(JobError, match="smaller than the number of processes"):
        Ranks(0, 3).share(2)


@pytest.mark.fault
def test_when_the_disk_is_full_then_the_checkpoint_stays_and_the_run_goes_on_from_it(
    tmp_path: Path,
) -> None:
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are off: a full disk is NOT tried in a training")
    size = checkpoint_bytes(tmp_path / "measured")
    command = ["unshare", "-rm", sys.executable, str(SCRIPT), str(tmp_path), "--small-disk",
               str(int(1.6 * size))]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "No space left" in seen["said"]
    (left,) = seen["left"]
    assert left.startswith("checkpoint-")
    assert seen["resumed"] and seen["from"] == int(left.removeprefix("checkpoint-"))
    assert seen["to"] == 60


def checkpoint_bytes(folder: Path) -> int:
    running = comb_process.trainer(ALONE)
    while running.iteration < 60:
        running.step()
    saved = running.save(folder)
    return sum(file.stat().st_size for file in saved.iterdir())


def test_when_a_checkpoint_cannot_be_written_then_the_run_goes_on_with_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vfxswap.train import checkpoint

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    running = CombTrainer(tiny(), made_up(), PERSONAS)
    write: Any = vars(checkpoint)["save_file"]
    tries = []

    def sometimes(*given: Any, **more: Any) -> None:
        tries.append(running.iteration)
        (full if running.iteration in (6, 9) else write)(*given, **more)

    monkeypatch.setattr(checkpoint, "save_file", sometimes)
    train(running, tmp_path, checkpoint_every=3)
    assert tries == [3, 6, 9, 12]
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-000000012"]
    assert not list(tmp_path.glob(".checkpoint*"))


def test_a_run_says_how_it_ended(tmp_path: Path) -> None:
    running = CombTrainer(tiny(), made_up(), PERSONAS)
    with pytest.raises(CancelledError):
        train(running, tmp_path / "stopped", log_every=1, stop=lambda: running.iteration >= 5)
    stopped = run_status(tmp_path / "stopped")
    assert (stopped.state, stopped.iteration, stopped.checkpoint_iteration) == ("stopped", 5, 5)
    assert stopped.level == 1
    with pytest.raises(ZeroDivisionError), RunLog(tmp_path / "failed", what="x", iterations=3):
        raise ZeroDivisionError("by nothing")
    failed = run_status(tmp_path / "failed")
    assert (failed.state, failed.error) == ("failed", "ZeroDivisionError: by nothing")
    train(CombTrainer(tiny(), made_up(), PERSONAS), tmp_path / "stopped", log_every=1)
    assert run_status(tmp_path / "stopped").state == "done"
    with pytest.raises(JobError, match="no training has run here"):
        run_status(tmp_path / "nowhere")


def test_the_command_line_tells_the_status_of_a_run_in_its_work_folder(tmp_path: Path) -> None:
    train(CombTrainer(tiny(), made_up(), PERSONAS), tmp_path / "training", log_every=1)
    given = ["train", "--status", str(tmp_path)]
    said = CliRunner().invoke(application(given), given)
    assert said.exit_code == 0, said.output
    assert "iteration 12 of 12 (100.0 %)" in said.output
    assert "checkpoint of iteration 12" in said.output
    as_json = CliRunner().invoke(application(given), [*given, "--json"])
    assert json.loads(as_json.output)["loss"].keys() == set(PERSONAS)


def test_a_run_on_another_machine_is_dead_when_it_falls_silent(tmp_path: Path) -> None:
    train(CombTrainer(tiny(), made_up(), PERSONAS), tmp_path, log_every=1)
    run = json.loads((tmp_path / "run.json").read_text())
    run.update(state="running", host="elsewhere", process=1)
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert run_status(tmp_path).state == "running"
    assert run_status(tmp_path, now=time.time() + 3600).state == "dead"


def test_a_half_written_line_of_the_log_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"iteration": 1, "loss": {"a": 1.0}}\n{"iterat')
    assert [row["iteration"] for row in read_log(tmp_path)] == [1]


def test_curves_and_previews_are_left_at_their_intervals(tmp_path: Path) -> None:
    running = CombTrainer(tiny(), made_up(), PERSONAS)
    train(running, tmp_path, log_every=1, preview_every=6)
    curves = cv2.imread(str(tmp_path / "curves.png"))
    assert curves is not None
    assert curves.shape == (260, 900, 3)
    assert len(np.unique(curves.reshape(-1, 3), axis=0)) > 10
    kept = sorted(p.name for p in (tmp_path / "previews").iterdir())
    assert kept == ["preview-000000006.png", "preview-000000012.png"]
    last = cv2.imread(str(tmp_path / "preview.png"))
    assert last is not None
    faces = 3 * len(PERSONAS), 1 + len(PERSONAS)
    assert last.shape[:2] == (faces[0] * 96, faces[1] * 96)
    assert curves_png([]) == b""


def test_tensorboard_has_the_losses_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip(
        "tensorboard", reason="tensorboard is not installed: its event files are NOT tested"
    )
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        EventAccumulator,
    )

    train(CombTrainer(tiny(), made_up(), PERSONAS), tmp_path, log_every=1)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    rows = read_log(tmp_path)
    scalars = events.Scalars("loss/amber")
    assert [e.step for e in scalars] == [row["iteration"] for row in rows]
    assert scalars[-1].value == pytest.approx(rows[-1]["loss"]["amber"], abs=1e-6)
    assert events.Images("preview")


def test_spans_are_said_as_people_do() -> None:
    assert [span(s) for s in (3, 600, 4 * 3600 + 60, 3 * 86400 + 7200, None)] == [
        "3 s", "10 min", "4 h 1 min", "3 d 2 h", "?",
    ]  # fmt: skip
