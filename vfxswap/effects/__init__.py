"""Effects by name: what they do, their settings, and the effects themselves.

The tables are filled on first use: the effects' networks load torch, which takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfxswap.effects.base import Effect
    from vfxswap.settings import Settings

HELP = {"swap": "Swap a persona onto the faces of a shot."}
"""What each effect does."""

SETTINGS: dict[str, type[Settings]]
"""What an artist may set, by effect."""

EFFECTS: dict[str, type[Effect]]
"""The effects, by name."""


def __getattr__(name: str) -> object:
    if name == "SETTINGS":
        from vfxswap.effects.swap_settings import SwapSettings

        return globals().setdefault(name, {"swap": SwapSettings})
    if name == "EFFECTS":
        from vfxswap.effects.swap import Swap

        return globals().setdefault(name, {"swap": Swap})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
