"""Effects by name, and their settings. The effects themselves are imported on first use: their
networks load torch, which takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfxswap.effects.swap_settings import SwapSettings
from vfxswap.settings import Settings

if TYPE_CHECKING:
    from vfxswap.effects.base import Effect

SETTINGS: dict[str, type[Settings]] = {"swap": SwapSettings}
"""What an artist may set, by effect."""

EFFECTS: dict[str, type[Effect]]
"""The effects, by name."""


def __getattr__(name: str) -> object:
    if name != "EFFECTS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vfxswap.effects.swap import Swap

    table = globals()["EFFECTS"] = {"swap": Swap}
    return table
