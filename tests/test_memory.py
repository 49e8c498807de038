"""The allocator's thresholds, in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading
import numpy as np
from vfxswap.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    np.ones(1 << 24, np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(1 << 24, np.float32)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if sys.argv[2] == "main":
    work()
else:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator alone")
@pytest.mark.parametrize("thread", ["main", "other"])
def test_kept_memory_is_not_paid_for_page_by_page_again(thread: str) -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how, thread]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert faults("keep") < 0.2 * faults("leave")
