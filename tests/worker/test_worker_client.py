"""The client of host applications, against real engines and against programs that are none."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import (
    Engine,
    EngineDiedError,
    EngineError,
    EngineNotFoundError,
    EngineTimeoutError,
    Event,
    RequestFailedError,
    clean_environment,
    find_engine,
    process,
)
from small_shot import SYNTHETIC
from worker_lines import PATIENCE_S, ROOT, Shot, executable, written

SOURCES = sorted((ROOT / "plugins" / "client").glob("*.py"))
GONE = {"asynchat", "asyncore", "cgi", "crypt", "distutils", "imp", "pipes", "telnetlib", "uu"}
"""Modules of 3.7 that a plug-in might use and that Python 3.12 and 3.13 have no more."""
SOON_S = 10.0
"""For what takes a moment, on a machine under load."""
HELLO = (
    'import json, sys, time\nprint(json.dumps({"event": "hello", "protocol": %d}), flush=True)\n'
)


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    return Shot(tmp_path_factory.mktemp("client"))


@pytest.fixture(autouse=True)
def _environment(shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("VFXSWAP"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VFXSWAP_MODELS", str(shot.models))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def warm(shot: Shot) -> Iterator[Engine]:
    """An engine that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VFXSWAP_MODELS", str(shot.models))
        with Engine(str(shot.engine), options=("--device", "cpu", "--heartbeat", "0.1")) as engine:
            engine.start()
            yield engine


# The source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_source_is_python_3_7_of_the_standard_library(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 7))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        else:
            continue
        assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names) - GONE


def interpreters() -> list[str]:
    """Every Python from 3.7 on that is found, by its version."""
    places = os.environ.get("PATH", "").split(os.pathsep)
    places += [str(p) for p in Path("~/.pyenv/versions").expanduser().glob("*/bin")]
    found = {"{}.{}".format(*sys.version_info): sys.executable}
    for place in places:
        for path in Path(place).glob("python3.*") if Path(place).is_dir() else ():
            match = re.fullmatch(r"python3\.(\d+)", path.name)
            if match and int(match[1]) >= 7 and _runs(path):
                found.setdefault(f"3.{match[1]}", str(path))
    return sorted(found.values())


def _runs(path: Path) -> bool:
    done = subprocess.run([path, "-c", "import json, threading"], capture_output=True)
    return done.returncode == 0


def test_every_python_there_is_drives_the_engine(shot: Shot) -> None:
    code = (
        "import sys, client\n"
        f"with client.Engine({str(shot.engine)!r}) as engine:\n"
        "    assert engine.ping() == {'running': None, 'queued': []}\n"
        "    try: engine.describe('swop')\n"
        "    except client.RequestFailedError as error: assert error.exit_code == 2, error\n"
        "    assert 'torch' not in sys.modules and 'vfxswap' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    runs = [
        subprocess.Popen([python, "-B", "-c", code], env=environment, stderr=subprocess.PIPE)
        for python in interpreters()
    ]
    for run in runs:
        _, errors = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, f"{run.args!r}: {errors.decode()}"


# Finding and starting -------------------------------------------------------------------------


def test_the_setting_comes_before_the_variable_before_the_path(tmp_path: Path) -> None:
    for name in ("a", "b", "c/bin"):
        (tmp_path / name).mkdir(parents=True)
    one = executable(tmp_path / "a" / "wrapper", "")
    two = executable(tmp_path / "b" / "vfxswap", "")
    three = executable(tmp_path / "c" / "bin" / "vfxswap", "")
    both = {"VFXSWAP_ENGINE": str(tmp_path / "c"), "PATH": str(tmp_path / "b")}
    assert find_engine(str(one), environment=both) == str(one)
    assert find_engine(environment=both) == str(three)
    assert find_engine(environment={"PATH": str(tmp_path / "b")}) == str(two)


def test_a_named_engine_that_is_not_there_is_never_passed_over(tmp_path: Path) -> None:
    executable(tmp_path / "vfxswap", "")
    path = {"PATH": str(tmp_path)}
    with pytest.raises(EngineNotFoundError, match="the setting names no vfxswap engine: /no/where"):
        find_engine("/no/where", environment=path)
    with pytest.raises(EngineNotFoundError, match=r"\$VFXSWAP_ENGINE names no"):
        find_engine(environment={**path, "VFXSWAP_ENGINE": str(tmp_path / "empty")})
    with pytest.raises(EngineNotFoundError, match="on the PATH"):
        find_engine(environment={"PATH": str(tmp_path / "empty")})


def test_the_environment_is_stripped_of_the_host() -> None:
    host = {
        "PYTHONPATH": "x", "PYTHONHOME": "x", "PYTHONSTARTUP": "x", "QT_PLUGIN_PATH": "x",
        "QML2_IMPORT_PATH": "x", "NUKE_PATH": "x", "BLENDER_USER_SCRIPTS": "x",
        "OFX_PLUGIN_PATH": "x",
    }  # fmt: skip
    kept = {"PATH": "p", "LD_LIBRARY_PATH": "l", "OCIO": "o", "VFXSWAP_SHOW": "s", "HOME": "h"}
    assert clean_environment({**host, **kept}) == {**kept, "PYTHONNOUSERSITE": "1"}


def test_a_polluted_environment_does_not_reach_the_engine(
    shot: Shot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("json", "typer", "pydantic", "sitecustomize"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('the host leaked in')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/no/where")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    monkeypatch.setenv("QT_PLUGIN_PATH", str(tmp_path))
    with Engine(str(shot.engine)) as engine:
        assert engine.start()["protocol"] == 1


def test_what_is_no_engine_is_named(tmp_path: Path) -> None:
    cases = {
        "is no vfxswap engine": "print('Usage: something else')",
        "speaks protocol 99, this plug-in speaks 1": HELLO % 99 + "sys.stdin.read()",
        "did not start within 0.3 s": "import time; time.sleep(100)",
        "exit code 3: no licence": "import sys; print('no licence', file=sys.stderr); sys.exit(3)",
    }
    for says, code in cases.items():
        program = executable(tmp_path / "program", code)
        # A loaded machine may not even get Python up in 0.3 s.
        start_s = 0.3 if "0.3" in says else PATIENCE_S
        with Engine(str(program), start_s=start_s) as engine:
            with pytest.raises(EngineDiedError, match=re.escape(says)):
                engine.start()
            assert engine.pid is None
    (tmp_path / "program").write_text("#!/no/such/interpreter\n")
    with Engine(str(tmp_path / "program")) as engine, pytest.raises(EngineNotFoundError):
        engine.ping()


# Rendering ------------------------------------------------------------------------------------


def test_a_render_is_heard_and_its_report_returned(warm: Engine, shot: Shot) -> None:
    heard: list[Event] = []
    task = warm.render(shot.swap("rendered"), on_event=heard.append)
    report = task.result(PATIENCE_S)
    assert [Path(p).name for p in report["written"]] == written(shot.folder / "rendered")
    assert [e["event"] for e in heard][-1] == "done" and heard[-1] == task.done
    assert [e["frame"] for e in task.frames] == [1001, 1002]
    assert any(m["name"] == "tinycomb" and SYNTHETIC in m["personas"] for m in warm.models())


def test_pings_are_answered_while_rendering_and_cancel_ends_it(warm: Engine, shot: Shot) -> None:
    first = threading.Event()
    task = warm.render(
        shot.slow("cancelled", wait_s=0.1),
        on_event=lambda e: first.set() if e["event"] == "frame_done" else None,
    )
    assert first.wait(PATIENCE_S)
    assert warm.ping()["running"] == task.id
    with pytest.raises(EngineTimeoutError):
        task.wait(0.01)
    task.cancel()
    with pytest.raises(RequestFailedError, match="render: cancelled") as failed:
        task.result(PATIENCE_S)
    assert failed.value.exit_code == 143 and failed.value.report["not_reached"]
    assert len(task.frames) == len(written(shot.folder / "cancelled"))


def test_a_callback_that_fails_or_waits_harms_nobody(warm: Engine, shot: Shot) -> None:
    refused: list[str] = []

    def wait(event: Event) -> None:
        try:
            ping.wait(1)
        except EngineError as error:
            refused.append(str(error))
        raise RuntimeError("a fault in the plug-in")

    ping = warm.send("ping", on_event=wait)
    assert ping.wait(PATIENCE_S)["exit_code"] == 0
    assert refused == ["ping: a callback cannot wait"]
    assert warm.ping()


def test_after_an_internal_error_the_next_request_meets_a_new_engine(
    warm: Engine, shot: Shot
) -> None:
    before = warm.start()["pid"]
    with pytest.raises(RequestFailedError, match="ZeroDivisionError"):
        warm.render(shot.slow("fault", frames="1001", breaks=True)).result(PATIENCE_S)
    assert warm.start()["pid"] != before
    assert warm.ping()


# Dying and hanging ----------------------------------------------------------------------------


def test_a_killed_engine_is_noticed_reported_and_replaced(shot: Shot) -> None:
    heard: list[Event] = []
    begun = threading.Event()

    def listen(event: Event) -> None:
        heard.append(event)
        if event["event"] == "frame_done":
            begun.set()

    with Engine(str(shot.engine)) as engine:
        task = engine.render(shot.slow("killed", wait_s=0.2), on_event=listen)
        assert begun.wait(PATIENCE_S)
        killed = engine.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(EngineDiedError, match="killed by SIGKILL") as died:
            task.wait(SOON_S)
        assert died.value.exit_code == -signal.SIGKILL and died.value.log
        assert [(e["event"], e.get("kind")) for e in heard[-2:]] == [
            ("error", "engine"), ("done", None)
        ]  # fmt: skip
        assert engine.ping() and engine.pid not in (None, killed)
        complete = len(written(shot.folder / "killed"))
        job = shot.slow("killed")
        report = engine.render(job, skip_existing=True).result(PATIENCE_S)
        assert len(report["skipped"]) == complete and len(report["written"]) == 20 - complete


def test_a_stopped_engine_is_noticed_and_replaced(shot: Shot) -> None:
    with Engine(str(shot.engine), hang_s=1.0) as engine:
        stopped = engine.start()["pid"]
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(EngineDiedError, match="hung: nothing heard for 1 s"):
            engine.ping(timeout_s=SOON_S)
        assert not _lives(stopped)
        assert engine.start()["pid"] != stopped


def test_heartbeats_without_progress_are_a_hang_where_a_limit_is_set(tmp_path: Path) -> None:
    beats = HELLO % 1 + (
        "request = json.loads(input())\n"
        "for quiet_s in (0.5, 99.0, 100.5):\n"
        '    beat = {"event": "heartbeat", "id": request["id"], "quiet_s": quiet_s}\n'
        "    print(json.dumps(beat), flush=True)\n"
        "time.sleep(0.5)\n"
        'print(json.dumps({"event": "done", "id": request["id"], "exit_code": 0, "report": {}}),'
        " flush=True)\n"
        "sys.stdin.read()\n"
    )
    program = str(executable(tmp_path / "engine", beats))
    with Engine(program, stall_s=101.0) as engine:
        assert engine.ping(timeout_s=PATIENCE_S) == {}
    with Engine(program, stall_s=100.0) as engine:
        task = engine.send("render")
        with pytest.raises(EngineDiedError, match="hung: no progress for 100 s"):
            task.wait(PATIENCE_S)


def test_a_host_that_stood_still_does_not_take_the_engine_for_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = HELLO % 1 + (
        "request = json.loads(input())\ntime.sleep(1)\n"
        'print(json.dumps({"event": "done", "id": request["id"], "exit_code": 0, "report": {}}),'
        " flush=True)\n"
    )

    class Jumping:
        """A clock of a host that sleeps an hour between two looks."""

        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            cls.now += 3600.0
            return cls.now

    with Engine(str(executable(tmp_path / "engine", answer)), hang_s=30.0) as engine:
        engine.start()
        monkeypatch.setattr(process, "time", Jumping)
        assert engine.ping(timeout_s=PATIENCE_S) == {}


# Ending ---------------------------------------------------------------------------------------


def test_close_ends_after_the_frame_in_hand_and_for_good(shot: Shot) -> None:
    begun = threading.Event()
    engine = Engine(str(shot.engine))
    task = engine.render(
        shot.slow("closing", wait_s=0.2),
        on_event=lambda e: begun.set() if e["event"] == "frame_done" else None,
    )
    assert begun.wait(PATIENCE_S)
    pid = engine.pid
    assert pid is not None
    engine.close(grace_s=PATIENCE_S)
    done = task.wait(SOON_S)
    assert done["exit_code"] == 143 and done["report"]["not_reached"]
    assert not _lives(pid) and engine.pid is None
    assert 0 < len(written(shot.folder / "closing")) == len(done["report"]["written"]) < 20
    with pytest.raises(EngineError, match="was closed"):
        engine.ping()


def test_a_wrapper_before_the_engine_is_ended_with_it(shot: Shot, tmp_path: Path) -> None:
    if shutil.which("sh") is None:
        pytest.skip("needs a shell")
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n"{shot.engine}" "$@"\ntrue\n')
    wrapper.chmod(0o755)
    with Engine(str(wrapper), hang_s=1.0) as engine:
        real = engine.start()["pid"]
        assert engine.pid != real
        os.kill(real, signal.SIGSTOP)
        with pytest.raises(EngineDiedError, match="hung"):
            engine.ping(timeout_s=SOON_S)
        assert not _lives(real)


def _lives(pid: int) -> bool:
    """Whether a process is there and no mere entry of one that ended; looks for a moment."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True
