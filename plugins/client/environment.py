"""Where the engine is, and what of a host's environment it is given."""

from __future__ import annotations

import os
import shutil
from typing import Mapping

from .errors import EngineNotFoundError

ENGINE_VARIABLE = "VFXSWAP_ENGINE"

_HOST_PREFIXES = (
    "PYTHON", "__PYVENV", "QT_", "QTDIR", "QML", "PYSIDE", "NUKE", "FOUNDRY", "FN_", "OFX_",
    "HIERO", "BLENDER", "BPY",
)  # fmt: skip
"""Variables that begin so steer a host's own Python, Qt or plug-ins, never the engine."""


def find_engine(setting: str = "", *, environment: Mapping[str, str] | None = None) -> str:
    """The engine's executable: `setting`, else $VFXSWAP_ENGINE, else `vfxswap` on the PATH.

    The first two name the executable, or the folder of the environment that it is installed in.
    Raises EngineNotFoundError; a name that is given and wrong is never passed over.
    """
    given = os.environ if environment is None else environment
    variable = given.get(ENGINE_VARIABLE, "")
    for source, named in (("the setting", setting), ("$" + ENGINE_VARIABLE, variable)):
        if not named:
            continue
        path = os.path.expanduser(named)
        inside = ("bin/vfxswap", "Scripts/vfxswap.exe")
        candidates = (
            [os.path.join(path, name) for name in inside] if os.path.isdir(path) else [path]
        )
        for candidate in candidates:
            if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                return os.path.abspath(candidate)
        raise EngineNotFoundError(f"{source} names no vfxswap engine: {named}")
    found = shutil.which("vfxswap", path=given.get("PATH"))
    if found is None:
        raise EngineNotFoundError(
            f"no vfxswap engine is on the PATH; install one, or name it in ${ENGINE_VARIABLE}"
        )
    return found


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """A host's environment (by default this process's) without what would lead the engine's
    Python, Qt or plug-ins astray. PATH, LD_LIBRARY_PATH, OCIO and VFXSWAP_* stay."""
    given = os.environ if environment is None else environment
    kept = {k: v for k, v in given.items() if not k.upper().startswith(_HOST_PREFIXES)}
    kept["PYTHONNOUSERSITE"] = "1"
    return kept
