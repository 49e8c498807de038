"""`submit` and `farm` on the command line: what is refused, and what a dry run shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from command_line import Shot, one_sentence

from vfxswap.farm.identity import objection
from vfxswap.farm.security import TlsSettings, checked_address, is_loopback

CODE = "vfxswap code 0.1.0 abc"
COMB = "vfxswap model comb-starter 123"


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    shot = Shot(tmp_path)
    done = shot.swap("--save-job", "job.json", "--dry-run")
    assert done.returncode == 0, done.stderr
    return shot


def test_a_dry_run_shows_the_tasks_and_submits_nothing(shot: Shot) -> None:
    done = shot.run("submit", "job.json", "--to", "dask", "--chunk", "2", "--dry-run")
    assert done.returncode == 0 and done.stdout.splitlines() == [
        "task 1 of 2 to tcp://127.0.0.1:8786: 1001-1002",
        "task 2 of 2 to tcp://127.0.0.1:8786: 1003",
    ]
    assert shot.written() == []


def test_a_bad_job_is_not_submitted(shot: Shot) -> None:
    path = shot.folder / "job.json"
    path.write_text(path.read_text().replace('"alder"', '"alde"'))
    done = shot.run("submit", "job.json", "--to", "dask", "--dry-run")
    assert done.returncode == 2 and "alder" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--to", "daks"), 2, "dask"),
        (("--to", "dask", "--frames", "1009"), 2, "1009"),
        (("--to", "dask", "--scheduler", "tcp://farm.studio:8786"), 2, "TLS"),
        (("--to", "dask", "--scheduler", "10.0.0.7:8786"), 2, "TLS"),
        (("--to", "dask", "--scheduler", "tls://10.0.0.7:8786"), 2, "--tls-ca"),
        (("--to", "dask", "--scheduler", "10.0.0.7"), 2, "address"),
        (("--to", "dask", "--scheduler", "tcp://127.0.0.1:1", "--wait-s", "0.2"), 1, "scheduler"),
    ],
)
def test_what_cannot_be_submitted_is_said_in_one_sentence(
    shot: Shot, options: tuple[str, ...], code: int, says: str
) -> None:
    one_sentence(shot.run("submit", "job.json", *options), code, says)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("scheduler", "--host", "0.0.0.0", "--port", "0"), "TLS"),
        (("worker", "tcp://10.0.0.7:8786"), "TLS"),
        (("worker", "tcp://127.0.0.1:8786", "--host", "0.0.0.0"), "TLS"),
        (("scheduler", "--port", "0", "--tls-ca", "missing.pem"), "three files"),
    ],
)
def test_nothing_listens_beyond_loopback_without_tls(
    shot: Shot, command: tuple[str, ...], says: str
) -> None:
    one_sentence(shot.run("farm", *command), 2, says)


def test_without_the_extra_one_sentence_says_what_to_install(
    shot: Shot, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str, *given: Any) -> Any:
        return None if name == "distributed" else find_spec(name, *given)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    for command in (
        ("render", "job.json", "--workers", "2"),
        ("submit", "job.json", "--to", "dask"),
        ("farm", "scheduler"),
        ("farm", "worker", "tcp://127.0.0.1:8786"),
    ):
        one_sentence(shot.run(*command), 2, "vfxswap[farm]")


def test_memory_without_workers_is_refused(shot: Shot) -> None:
    one_sentence(shot.run("render", "job.json", "--memory", "4"), 2, "--workers")


def test_options_of_a_scheduler_show_beside_its_name(shot: Shot) -> None:
    assert "--tls-ca" in shot.run("submit", "job.json", "--to", "dask", "--help").stdout
    assert "--tls-ca" in shot.run("submit", "--to=dask", "--help").stdout
    assert "--tls-ca" not in shot.run("submit", "--help").stdout


def test_loopback_has_several_names() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.0.3", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.7", "farm.studio", "localhost.evil", "")))
    secured = TlsSettings(tls_ca="ca", tls_cert="cert", tls_key="key")
    assert checked_address("farm.studio:8786", secured) == "tls://farm.studio:8786"
    assert checked_address("127.0.0.1:8786", TlsSettings()) == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({CODE, COMB}, ""),
        ({CODE, COMB, "vfxswap model more 5", "GPU"}, ""),
        ({"GPU"}, "no vfxswap worker"),
        ({"vfxswap code 0.1.0 def", COMB}, "other code (got vfxswap 0.1.0 def; wanted 0.1.0 abc)"),
        ({"vfxswap code 0.0.9 abc", COMB}, "other code"),
        ({CODE}, "comb-starter is another (got none; wanted 123)"),
        ({CODE, "vfxswap model comb-starter 456"}, "got 456; wanted 123"),
    ],
)
def test_a_worker_must_have_the_code_and_the_models(tags: set[str], says: str) -> None:
    found = objection(tags, wanted=(CODE, COMB))
    assert says in found and bool(found) == bool(says)
