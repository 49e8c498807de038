"""Schedulers by name. A scheduler's module is imported when it is asked for: each needs its own
libraries or programs."""

from __future__ import annotations

import importlib
from typing import Any

from vfxswap.errors import JobError
from vfxswap.farm.submission import Target
from vfxswap.settings import nearest

TARGETS = {
    "dask": "vfxswap.farm.dask",
    "slurm": "vfxswap.farm.slurm",
    "openjd": "vfxswap.farm.openjd",
    "opencue": "vfxswap.farm.opencue",
}
"""Modules by scheduler; each has its `TARGET`."""


def target(name: str) -> Target:
    """The scheduler of that name. Raises JobError for an unknown one, with the nearest names."""
    if name not in TARGETS:
        raise JobError("no such scheduler", got=name, wanted=nearest(name, TARGETS))
    module: Any = importlib.import_module(TARGETS[name])
    found = module.TARGET
    assert isinstance(found, Target)
    return found
