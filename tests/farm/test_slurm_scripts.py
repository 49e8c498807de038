"""Slurm's batch scripts, run by bash with programs in Slurm's place that note what they hear."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from vfxswap.errors import CancelledError, JobError, OutputError, VfxSwapError
from vfxswap.farm.slurm import SlurmSettings, scripts, submit
from vfxswap.farm.submission import Submission
from vfxswap.job import EffectSpec, Job, Output, Plate
from vfxswap.shot import parse_frames

NASTY = 'it\'s a "shot" $HOME `id` 100% ü'


class Cluster:
    """A folder on PATH with stand-ins that note their arguments, and an engine that ends as it is
    told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / NASTY
        self.notes = folder / "notes"
        bin = folder / "bin"
        bin.mkdir()
        self.folder.mkdir()
        for name, code in {
            "sbatch": "print(len(notes.read_text().splitlines())); "
            "sys.exit(os.environ.get('REFUSES', '?') in sys.argv[-1] and 'sbatch: error: no')",
            "scontrol": "",
            "scancel": "",
            "engine": "signal.signal(15, lambda *_: sys.exit(143)); sys.stdout.flush(); "
            "print('up', flush=True); time.sleep(float(os.environ.get('TAKES', 0))); "
            "code = int(os.environ.get('CODE', 0)); "
            "os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)",
        }.items():
            program = bin / name
            program.write_text(
                f"#!{sys.executable} -IS\nimport json, os, pathlib, signal, sys, time\n"
                f"notes = pathlib.Path({str(self.notes)!r})\n"
                "with notes.open('a') as note: print(json.dumps(sys.argv), file=note)\n" + code
            )
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
        self.engine = str(bin / "engine")

    def submission(self, *, frames: str = "1001-1012x2,1020", chunk: int = 3) -> Submission:
        job = Job(
            plate=Plate(pattern="plate.#.exr"),
            frames=frames,
            show="kestrel",
            effects=(EffectSpec(effect="gain"),),
            output=Output(pattern="out.#.exr"),
        )
        return Submission(
            job=job,
            job_file=self.folder / "sh 010.job.json",
            frames=parse_frames(frames),
            chunk=chunk,
        )

    def settings(self, **more: object) -> SlurmSettings:
        return SlurmSettings.model_validate({"command": self.engine, **more})

    def write(self, **more: object) -> dict[str, Path]:
        """The scripts on disk, by name."""
        submission = replace(self.submission(), dry_run=True)
        assert submit(submission, self.settings(**more)) == 0
        return {p.stem: p for p in (self.folder / "sh 010.job.slurm").glob("*.sh")}

    def start(self, script: Path, **environment: str) -> subprocess.Popen[str]:
        """The script as Slurm starts it."""
        slurm = {"SLURM_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "4"}
        if script.stem == "frames":
            slurm |= {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1"}
        return subprocess.Popen(
            ["bash", str(script)], env={**os.environ, **slurm, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, script: Path, **environment: str) -> int:
        process = self.start(script, **environment)
        process.communicate(timeout=60)
        return process.returncode

    def heard(self) -> list[list[str]]:
        """What the stand-ins were called with, in order, without their folder."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        calls: list[list[str]] = [json.loads(line) for line in lines]
        return [[Path(name).name, *words] for name, *words in calls]

    def queued_again(self) -> bool:
        """Whether the task was, and no other of its array."""
        requeues = [call[2] for call in self.heard() if call[:2] == ["scontrol", "requeue"]]
        assert set(requeues) <= {"77_1"}
        return bool(requeues)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def test_scripts_are_bash_whatever_the_paths_are(cluster: Cluster) -> None:
    for script in cluster.write(setup="a 'b'.sh", directives="--qos=high").values():
        subprocess.run(["bash", "-n", script], check=True)


def test_frames_task_renders_its_chunk_with_the_threads_of_its_cpus(cluster: Cluster) -> None:
    assert cluster.run(cluster.write()["frames"]) == 0
    job = str(cluster.folder / "sh 010.job.json")
    assert cluster.heard() == [
        ["engine", "render", job, "--skip-existing", "--show", "kestrel", "--frames",
         "1007-1011x2", "--threads", "4", "--progress", "plain"],
    ]  # fmt: skip


def test_prepare_and_report_are_told_the_job_alone(cluster: Cluster) -> None:
    written = cluster.write()
    assert cluster.run(written["prepare"]) == cluster.run(written["report"]) == 0
    job = str(cluster.folder / "sh 010.job.json")
    prepare, report = cluster.heard()
    assert prepare == ["engine", "prepare", job, "--show", "kestrel", "--threads", "4",
                       "--progress", "plain"]  # fmt: skip
    assert report == ["engine", "report", job, "--show", "kestrel", "--threads", "4",
                      "--progress", "plain"]  # fmt: skip


def test_every_frame_is_in_one_chunk_and_tasks_are_as_many_as_chunks(cluster: Cluster) -> None:
    _, frames, _ = scripts(cluster.submission(chunk=2), cluster.settings(limit=3))
    listed = frames.text.partition("chunks=(")[2].partition(")")[0].split()
    assert sorted(f for chunk in listed for f in parse_frames(chunk)) == [
        1001, 1003, 1005, 1007, 1009, 1011, 1020,
    ]  # fmt: skip
    assert f"--array=0-{len(listed) - 1}%3\n" in frames.text


@pytest.mark.parametrize(
    ("code", "left", "again"),
    [("0", 0, False), ("1", 1, True), ("2", 2, False), ("-9", 137, True), ("-11", 139, True)],
)
def test_what_may_go_well_elsewhere_is_queued_again_and_a_bad_job_is_not(
    cluster: Cluster, code: str, left: int, again: bool
) -> None:
    assert cluster.run(cluster.write()["frames"], CODE=code) == left
    assert cluster.queued_again() is again


def test_a_preparation_is_queued_again_by_its_own_number(cluster: Cluster) -> None:
    assert cluster.run(cluster.write()["prepare"], CODE="1") == 1
    assert cluster.heard()[-1] == ["scontrol", "requeue", "77"]


def test_when_retries_are_used_up_then_nothing_is_queued_again(cluster: Cluster) -> None:
    script = cluster.write()["frames"]
    cluster.run(script, CODE="1", SLURM_RESTART_COUNT="2")
    assert not cluster.queued_again()
    cluster.run(script, CODE="1", SLURM_RESTART_COUNT="1")
    assert cluster.queued_again()


def test_report_is_never_queued_again(cluster: Cluster) -> None:
    assert cluster.run(cluster.write()["report"], CODE="1") == 1
    assert not cluster.queued_again()


def test_when_the_time_is_nearly_up_then_the_engine_ends_and_the_task_goes_on_later(
    cluster: Cluster,
) -> None:
    process = _when_up(cluster)
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=60) and process.returncode == 143
    assert cluster.queued_again()


def test_when_a_task_is_cancelled_then_the_engine_hears_one_signal_and_it_stays_cancelled(
    cluster: Cluster,
) -> None:
    process = _when_up(cluster)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=60) and process.returncode == 143
    assert not cluster.queued_again()


def _when_up(cluster: Cluster) -> subprocess.Popen[str]:
    process = cluster.start(cluster.write()["frames"], TAKES="60")
    assert process.stdout is not None
    for line in process.stdout:
        if line == "up\n":
            return process
    raise AssertionError("the engine did not start")


def test_submitting_queues_prepare_then_frames_then_report(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(cluster.submission(), cluster.settings()) == 0
    folder = cluster.folder / "sh 010.job.slurm"
    assert cluster.heard() == [
        ["sbatch", "--parsable", f"{folder}/prepare.sh"],
        ["sbatch", "--parsable", "--kill-on-invalid-dep=yes", "--dependency=afterok:1",
         f"{folder}/frames.sh"],
        ["sbatch", "--parsable", "--kill-on-invalid-dep=yes", "--dependency=afterany:2",
         f"{folder}/report.sh"],
    ]  # fmt: skip
    assert capsys.readouterr().out == "prepare: job 1\nframes: job 2\nreport: job 3\n"
    assert (folder / "logs").is_dir()


def test_what_a_dry_run_prints_queues_the_same_and_it_queues_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.write()
    assert cluster.heard() == []
    subprocess.run(["bash", "-euc", capsys.readouterr().out], check=True)
    printed = cluster.heard()
    cluster.notes.unlink()
    submit(cluster.submission(), cluster.settings())
    assert cluster.heard() == printed


def test_when_sbatch_refuses_the_frames_then_the_preparation_is_cancelled(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSES", "frames")
    with pytest.raises(VfxSwapError, match=r"sbatch refused the script .got sbatch: error: no"):
        submit(cluster.submission(), cluster.settings())
    assert cluster.heard()[-1] == ["scancel", "1"]


def test_when_cancelled_while_submitting_then_nothing_stays_queued(cluster: Cluster) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        submit(replace(cluster.submission(), cancel=cancel), cluster.settings())
    assert cluster.heard() == []


def test_settings_become_directives(cluster: Cluster) -> None:
    settings = cluster.settings(
        partition="gpu,farm", account="vfx", time_limit="1-02:00:00", memory="8G", cpus=6,
        grace_s=300, directives="--constraint=avx512 --gres=gpu:1,shard:2", logs="/l o%g/s",
    )  # fmt: skip
    prepare, frames, _ = scripts(cluster.submission(), settings)
    for line in (
        "--partition=gpu,farm", "--account=vfx", "--time=1-02:00:00", "--mem=8G",
        "--cpus-per-task=6", "--signal=B:USR1@300", "--requeue",
        "--constraint=avx512 --gres=gpu:1,shard:2", '--output="/l o%%g/s/frames.%A_%a.log"',
    ):  # fmt: skip
        assert f"#SBATCH {line}\n" in frames.text
    assert '--output="/l o%%g/s/prepare.%j.log"' in prepare.text


def test_threads_that_are_stated_are_the_cpus_and_the_engines(cluster: Cluster) -> None:
    submission = replace(cluster.submission(), threads=3)
    _, frames, _ = scripts(submission, cluster.settings())
    assert "--cpus-per-task=3\n" in frames.text and "--threads 3 " in frames.text


def test_when_an_array_would_be_too_long_then_the_job_is_refused(cluster: Cluster) -> None:
    with pytest.raises(JobError, match=r"too many chunks for an array .got 7; wanted up to 6"):
        scripts(cluster.submission(chunk=1), cluster.settings(array_limit=6))


@pytest.mark.parametrize(
    "wrong", [{"directives": "qos=high"}, {"directives": "--a\n--b"}, {"logs": "a\nb"}]
)
def test_when_a_setting_cannot_stand_in_a_script_then_it_is_refused(
    cluster: Cluster, wrong: dict[str, str]
) -> None:
    with pytest.raises(JobError):
        scripts(cluster.submission(), cluster.settings(**wrong))


def test_when_logs_cannot_be_made_then_one_sentence_says_so(cluster: Cluster) -> None:
    (cluster.folder / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        submit(cluster.submission(), cluster.settings(logs=str(cluster.folder / "file" / "logs")))
    assert cluster.heard() == []


def test_when_there_is_no_sbatch_then_one_sentence_says_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(JobError, match="sbatch is not on PATH"):
        submit(cluster.submission(), cluster.settings())
