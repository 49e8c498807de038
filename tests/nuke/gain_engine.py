"""The engine with an effect that needs no network and takes its time: a gain in a disc.

Run as a program it is the command line; imported, it tells what the effect says of itself.
"""

from __future__ import annotations

from typing import Any

from vfxswap import effects
from vfxswap.effects import outputs
from vfxswap.effects.outputs import RGBA, LayerSpec

_installed = effects.__getattr__


def install() -> None:
    """Makes the effect known as "slow", in this process."""
    effects.HELP["slow"] = "A gain in a disc."
    outputs.LAYERS["slow"] = (
        LayerSpec("gain_face", RGBA, "color", "The disc.", True),
        LayerSpec("gain_matte", ("red",), "matte", "Where it is."),
    )
    outputs.MATTES["slow"] = (outputs.HOLDOUT,)
    effects.__getattr__ = _with_slow


def row() -> dict[str, Any]:
    """What `describe` tells of it."""
    from slow_effect import SlowSettings

    from vfxswap.settings import describe

    return {
        "name": "slow",
        "help": "A gain in a disc.",
        "settings": describe(SlowSettings),
        "layers": [
            {"name": "gain_face", "channels": list(RGBA), "kind": "color", "help": "The disc.",
             "premultiplied": True},
            {"name": "gain_matte", "channels": ["red"], "kind": "matte", "help": "Where it is."},
        ],
        "mattes": [{"role": "holdout", "help": "Stays in front of the result."}],
        "pictures": [],
    }  # fmt: skip


def _with_slow(name: str) -> Any:
    table: Any = _installed(name)
    if name == "EFFECTS":
        from slow_effect import Slow

        table["slow"] = Slow
    elif name == "SETTINGS":
        from slow_effect import SlowSettings

        table["slow"] = SlowSettings
    return table


if __name__ == "__main__":
    from vfxswap.cli import main

    install()
    main()
