"""Which device a render runs on, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vfxswap.errors import JobError

_WANTED = "auto, cpu, cuda, cuda:<n> or mps"


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes the first of CUDA, MPS and CPU that is there.

    Raises JobError for an unknown name or a device that this machine lacks.
    """
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise JobError("unknown device", got=name, wanted=_WANTED)
    there = {"cpu": True, "cuda": cuda, "mps": mps}[kind]
    if not there or (index and int(index) >= torch.cuda.device_count()):
        raise JobError("this machine has no such device", got=name, wanted=pick_device().type)
    return torch.device(name)


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Torch's thread count for a while (None leaves it); gives the count in force."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield threads or before
    finally:
        torch.set_num_threads(before)
