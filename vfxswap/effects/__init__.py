"""Effects by name. The table is filled on first use: networks load torch, which takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfxswap.effects.base import Effect

EFFECTS: dict[str, type[Effect]]


def __getattr__(name: str) -> object:
    if name != "EFFECTS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vfxswap.effects.swap import Swap

    table = globals()["EFFECTS"] = {"swap": Swap}
    return table
