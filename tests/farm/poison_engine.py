"""The command line with effect `poison`. Processes that it starts import this file again, and so
know the effect too."""

from __future__ import annotations

import os
from typing import Any

from vfxswap import effects
from vfxswap.cli import main
from vfxswap.farm import identity

_installed = effects.__getattr__


def _with_poison(name: str) -> Any:
    table: Any = _installed(name)
    if name == "EFFECTS":
        from poison_effect import Poison

        table["poison"] = Poison
    return table


effects.__getattr__ = _with_poison
if "OTHER_CODE" in os.environ:
    identity.code_tag = lambda: "vfxswap code 0.0.9 0123456789ab"  # type: ignore[assignment]

if __name__ == "__main__":
    main()
