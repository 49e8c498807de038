"""A studio's or an artist's settings of this plug-in, in one JSON file.

`$VFXSWAP_NUKE_SETTINGS` names it, else it is `~/.nuke/vfxswap.json`; it need not be there.
"""

from __future__ import annotations

import json
import os
from typing import Any

from vfxswap_nuke.errors import NodeError

VARIABLE = "VFXSWAP_NUKE_SETTINGS"


class PluginSettings:
    """What the file says, or the defaults."""

    def __init__(
        self,
        engine: str = "",
        device: str = "auto",
        precision: str = "half",
        threads: int | None = None,
        store_gb: float = 20.0,
        hang_s: float = 60.0,
        stall_s: float | None = 1800.0,
        submit: str = "",
    ) -> None:
        self.engine = engine
        """Executable, or folder of its environment; else $VFXSWAP_ENGINE, else the PATH."""
        self.device = device
        self.precision = precision
        self.threads = threads
        self.store_gb = store_gb
        """Most that the store of results in one cache folder holds; 0 keeps none."""
        self.hang_s = hang_s
        """An engine that is silent for so long is ended and started anew."""
        self.stall_s = stall_s
        """So is one whose frame takes longer; None lets a frame take its time."""
        self.submit = submit
        """Further words for `vfxswap submit`, as a shell would read them."""

    def options(self) -> list[str]:
        """For the engine's command line."""
        words = ["--device", self.device, "--precision", self.precision]
        return words + (["--threads", str(self.threads)] if self.threads is not None else [])


_KINDS: dict[str, Any] = {
    "engine": str, "device": str, "precision": str, "threads": int, "store_gb": (int, float),
    "hang_s": (int, float), "stall_s": (int, float), "submit": str,
}  # fmt: skip
_OPTIONAL = ("threads", "stall_s")


def settings_file() -> str:
    """Where the settings lie."""
    return os.environ.get(VARIABLE) or os.path.expanduser("~/.nuke/vfxswap.json")


def load_settings() -> PluginSettings:
    """The settings. Raises NodeError for a file that is wrong, or named and not there."""
    path = settings_file()
    if not os.path.exists(path) and not os.environ.get(VARIABLE):
        return PluginSettings()
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError) as error:
        raise NodeError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise NodeError(f"{path} holds no settings")
    for name, value in values.items():
        if name not in _KINDS:
            raise NodeError("{}: no setting {}; there are {}".format(path, name, ", ".join(_KINDS)))
        unset = value is None and name in _OPTIONAL
        if not unset and (isinstance(value, bool) or not isinstance(value, _KINDS[name])):
            raise NodeError(f"{path}: {name} is {value!r}, which it cannot be")
    return PluginSettings(**values)
