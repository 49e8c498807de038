"""Disks that fail mid-shot, on real file systems: the frame is named, nothing half-written stays,
and going on completes the shot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT
from small_shot import write_shot

HERE = Path(__file__).parent


def own_disk() -> bool:
    """Whether this system lets anybody mount a disk in a namespace of their own."""
    try:
        command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def disks() -> None:
    if not own_disk():
        pytest.skip("user namespaces are off: full and read-only disks are NOT tried mid-shot")


def broken_disk(folder: Path, fault: str) -> dict[str, Any]:
    write_shot(folder, range(1001, 1031))
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE))),
        "OMP_NUM_THREADS": "1",
    }
    command = ["unshare", "-rm", sys.executable, "-m", "on_small_disk", str(folder), fault]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.fault
@pytest.mark.parametrize(
    ("fault", "says"), [("full", "No space left"), ("readonly", "Read-only file system")]
)
def test_when_the_disk_fails_mid_shot_then_the_frame_is_named_and_going_on_completes(
    tmp_path: Path, disks: None, fault: str, says: str
) -> None:
    seen = broken_disk(tmp_path, fault)
    first, rest = seen["first"], seen["rest"]
    assert first["exit_code"] == 1 and first["written"] and first["not_reached"]
    assert all(says in sentence for sentence in first["failed"].values()) and first["failed"]
    assert all(f"comp.{frame}" in said for frame, said in first["failed"].items())
    frames = {*first["written"], *map(int, first["failed"]), *first["not_reached"]}
    assert frames == set(range(1001, 1031))
    assert not [name for name in first["files"] if ".tmp" in name]
    there = {int(frame) for frame, state in seen["states"].items() if state == "whole"}
    assert there == set(first["written"])
    assert {s for f, s in seen["states"].items() if int(f) not in there} <= {"missing", "broken"}
    assert rest["exit_code"] == 0 and set(rest["written"]) == frames - there
    assert rest["files"] == sorted(
        f"comp.{frame}{suffix}" for frame in frames for suffix in (".exr", ".vfxswap.json")
    )
    assert seen["report"] == 0
