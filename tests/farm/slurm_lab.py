"""A real Slurm of two nodes on this machine, as any user, with nothing installed.

Debian's packages are unpacked into a cache folder ($VFXSWAP_TEST_CACHE, else ~/.cache), once.
Authentication is off (auth/none): for tests alone. Nodes have one CPU each.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

_PACKAGES: Final = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins")
_NO = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
NODES: Final = ("n1", "n2")


class SlurmLab:
    """The daemons and the clients of one Slurm."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self._root = folder, root
        libraries = root / "usr/lib/x86_64-linux-gnu"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "VFXSWAP"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "LD_LIBRARY_PATH": f"{libraries}:{libraries}/slurm-wlm",
            "PATH": f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}",
        }
        for name in ("state", "log"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(_conf(folder, libraries / "slurm-wlm"))

    def start(self) -> None:
        """Controller and both nodes; returns when they are idle."""
        self.start_controller(clean=True)
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.ask("sinfo", "-h", "-o", "%T").split() == ["idle"], "two nodes")

    def start_controller(self, *, clean: bool = False) -> None:
        self.ask("slurmctld-wlm", *(["-c"] if clean else []))
        self._wait(lambda: "UP" in self.ask("scontrol", "ping", check=False), "a controller")

    def start_node(self, node: str) -> None:
        self.ask("slurmd-wlm", "-N", node, "-d", str(self._root / "usr/sbin/slurmstepd-wlm"))

    def kill_controller(self) -> None:
        os.kill(self._pid("ctld.pid"), signal.SIGKILL)

    def kill_node(self, node: str) -> None:
        """As when its power fails: the daemon, and whatever ran on it, at once."""
        jobs = self.processes_of(node)
        # The parent of a batch shell is slurmstepd, which would tell the controller of its death.
        shepherds = [_parent(pid) for pid in jobs if _parent(pid) not in jobs]
        _kill([self._pid(f"d.{node}.pid"), *shepherds, *jobs])

    def processes_of(self, node: str = "") -> list[int]:
        """Processes of jobs, on one node or on all."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    own = dict(
                        word.partition(b"=")[::2]
                        for word in (entry / "environ").read_bytes().split(b"\0")
                    )
                    mine = own.get(b"SLURM_CONF") == str(self.folder / "slurm.conf").encode()
                    here = own.get(b"SLURMD_NODENAME", b"").decode()
                    if mine and here and node in ("", here):
                        found.append(int(entry.name))
        return found

    def ask(self, *command: str, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def states(self, job: str) -> dict[str, str]:
        """State by job or array task, of those that Slurm still lists."""
        lines = self.ask("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i %T", check=False)
        return dict(line.split() for line in lines.splitlines() if line.strip())

    def stop(self) -> None:
        """Ends every process that was started."""
        for name in (*(f"d.{node}.pid" for node in NODES), "ctld.pid"):
            with contextlib.suppress(OSError, ValueError):
                _kill([self._pid(name)])
        _kill(self.processes_of())

    def _pid(self, name: str) -> int:
        return int((self.folder / name).read_text())

    @staticmethod
    def _wait(true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline, f"Slurm has no {what} after a minute"
            time.sleep(0.2)


@contextlib.contextmanager
def running_lab(folder: Path) -> Iterator[SlurmLab]:
    """A Slurm that is up; skips, and says why, where it cannot be had."""
    lab = SlurmLab(_unpacked(), folder)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


def _parent(pid: int) -> int:
    """0 for a process that is gone."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text()
        parent = int(status.rpartition(")")[2].split()[1])
        return parent if parent > 1 else 0
    return 0


def _kill(pids: list[int]) -> None:
    for pid in filter(None, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _unpacked() -> Path:
    """The folder that holds Slurm's packages."""
    for tool in ("apt-get", "apt-cache", "dpkg", "dpkg-query"):
        if shutil.which(tool) is None:
            pytest.skip(f"no Slurm: {tool} is not here; Debian 12 or a relative is needed")
    cache = Path(os.environ.get("VFXSWAP_TEST_CACHE") or Path.home() / ".cache/vfxswap-tests")
    root = cache / "slurm"
    if (root / "usr/sbin/slurmctld-wlm").exists():
        return root
    half, debs = cache / "slurm.half", cache / "slurm.debs"
    for folder in (half, debs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    download = subprocess.run(
        ["apt-get", "download", *_missing()], cwd=debs, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    if download.returncode:
        pytest.skip(f"no Slurm: apt-get download failed: {download.stderr.strip()[-300:]}")
    for deb in debs.glob("*.deb"):
        subprocess.run(["dpkg", "-x", deb, half], check=True)
    half.rename(root)
    shutil.rmtree(debs)
    return root


def _missing() -> list[str]:
    """Slurm's packages, and those they need that are not installed."""
    command = ["apt-cache", "depends", "--recurse", *(f"--no-{kind}" for kind in _NO), *_PACKAGES]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    names = {line for line in listed.stdout.splitlines() if line[:1].isalnum()}
    if not names >= set(_PACKAGES):
        pytest.skip("no Slurm: apt knows no slurmctld (apt-get update?)")
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"]
    installed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    return sorted(names - {line.split()[1] for line in installed.splitlines() if line[0] == "i"})


def _conf(folder: Path, plugins: Path) -> str:
    host, user = socket.gethostname(), getpass.getuser()
    port, first, second = _free_ports()
    return f"""\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
# The wait of a job that is queued again is this lifetime: 5 s at least, two minutes by default.
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.%n.pid
SlurmctldLogFile={folder}/log/ctld.log
SlurmdLogFile={folder}/log/d.%n.log
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=50000,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=10
KillWait=20
MinJobAge=600
JobRequeue=1
NodeName=DEFAULT CPUs=1 RealMemory=1000 State=UNKNOWN
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second}
PartitionName=farm Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def _free_ports() -> list[int]:
    held = [socket.socket() for _ in range(3)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
