"""The command line with effect `slow`, telling on stderr which networks it reads. Torch stays out
until the engine itself asks for effects."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from vfxswap import effects
from vfxswap.cli import main

_installed = effects.__getattr__


def _with_slow(name: str) -> Any:
    table: Any = _installed(name)
    if name == "EFFECTS":
        from slow_effect import Slow

        table["slow"] = Slow
        _tell_loads()
    return table


def _tell_loads() -> None:
    models: Any = importlib.import_module("vfxswap.render.models")
    load = models.load_net

    def telling(card: Any, *given: Any, **named: Any) -> Any:
        print(f"reads network {card.name}", file=sys.stderr, flush=True)
        return load(card, *given, **named)

    models.load_net = telling


if __name__ == "__main__":
    effects.__getattr__ = _with_slow
    main()
