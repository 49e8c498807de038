"""The conformance test of clients: those that keep the protocol pass, each that does not is named
by the fact that it misses. It is a program of its own: a client may be in any language."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from worker_lines import ROOT

from vfxswap.worker.conformance import SCENES, Trial, try_client
from vfxswap.worker.scripted import SCENES as PLAYED

HERE = Path(__file__).parent
OWN = [sys.executable, str(HERE / "own_client.py")]
FACTS = {scene.name: scene for scene in SCENES}


def faults(client: list[str], *names: str, hang_s: float = 3.0) -> dict[str, list[str]]:
    """What a client misses, by scene."""
    trials = try_client(client, hang_s=hang_s, scenes=[FACTS[name] for name in names])
    return {trial.scene.name: trial.faults for trial in trials if trial.faults}


def test_every_scene_is_played_and_judged() -> None:
    assert set(FACTS) == set(PLAYED) and len(FACTS) == len(SCENES)


def test_the_plug_ins_client_keeps_the_protocol() -> None:
    assert faults(OWN, *FACTS, hang_s=2.0) == {}


@pytest.mark.slow
def test_a_client_in_another_language_can_be_tried_as_a_program() -> None:
    perl = shutil.which("perl")
    if perl is None or subprocess.run([perl, "-MJSON::PP", "-e", "1"]).returncode:
        pytest.skip("no Perl with JSON::PP is here: NO CLIENT OF ANOTHER LANGUAGE IS TRIED")
    command = [sys.executable, "-m", "vfxswap.worker.conformance", "--hang-s", "3"]
    done = subprocess.run(
        [*command, perl, str(HERE / "bare_client.pl")], capture_output=True, text=True, cwd=ROOT,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == len(SCENES) and "0 of" in done.stdout


SINS = {
    "its engine gets the host's environment": (
        "renders", 'env=clean_environment()', "env=dict(os.environ)", "the host's PYTHONPATH",
    ),
    "any protocol is spoken": (
        "speaks_another_protocol", 'event.get("protocol") != PROTOCOL', "False", "outcome is",
    ),
    "a hang is waited for": (
        "hangs", "self._silent_s > limits.hang_s", "False", "did not come to an end",
    ),
    "heartbeats are no sign of life": (
        "takes_its_time", "self._silent_s = 0.0\n                self._hear(line)",
        'if b"heartbeat" not in line:\n                    self._silent_s = 0.0\n'
        "                self._hear(line)",
        "outcome is",
    ),
    "a death goes unseen": (
        "dies", "for task in tasks:\n            self._bury(task, death)",
        "self._over.set()", "did not come to an end",
    ),
    "the log is not read": (
        "chatters", "self._logger.start()", "pass", "did not come to an end",
    ),
    "cancel names nothing": (
        "is_cancelled", '{"target": self.id}', '{"target": "7"}', "exit_code is",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sin", SINS)
def test_a_client_is_caught_of_which(
    sin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, good, bad, says = SINS[sin]
    broken = tmp_path / "plugins" / "client"
    shutil.copytree(ROOT / "plugins" / "client", broken)
    adapter = tmp_path / "tests" / "worker" / "own_client.py"
    adapter.parent.mkdir(parents=True)
    shutil.copy(HERE / "own_client.py", adapter)
    changed = 0
    for path in broken.glob("*.py"):
        text = path.read_text()
        changed += text.count(good)
        path.write_text(text.replace(good, bad))
    assert changed, "the client is written otherwise now"
    monkeypatch.setattr("vfxswap.worker.conformance._PATIENCE_S", 15.0)
    found = faults([sys.executable, str(adapter)], scene, hang_s=2.0)
    assert says in " ".join(found[scene]), found


def test_what_is_no_client_is_told(tmp_path: Path) -> None:
    def told(code: str) -> str:
        (trial,) = try_client([sys.executable, "-c", code], scenes=[FACTS["renders"]])
        assert isinstance(trial, Trial)
        return " / ".join(trial.faults)

    assert "the client ended with 3" in told("raise SystemExit(3)")
    assert "printed no answer" in told("print('hello')")
    assert "the engine was not started" in told("print('{}')")
