"""An example of a rez package of vfxswap for Nuke. Not run: no rez was at hand.

The engine's environment is a folder of its own (a virtual environment with vfxswap in it), which
Nuke only starts as a process; none of it comes into Nuke's Python.
"""

name = "vfxswap_nuke"
version = "0.1.0"
description = "vfxswap's nodes, panel and engine for Nuke"
requires = ["nuke-13+<18"]
build_command = False


def commands():  # type: ignore[no-untyped-def]
    """Where the engine's environment was installed: `{root}/engine`, by
    `python3.11 -m venv engine && engine/bin/pip install vfxswap`."""
    # rez supplies env.
    bundled = "{root}/engine/lib/python3.11/site-packages/vfxswap/_bundled"
    env.NUKE_PATH.append(bundled + "/plugins/nuke")  # type: ignore[name-defined]  # noqa: F821
    env.VFXSWAP_ENGINE = "{root}/engine"  # type: ignore[name-defined]  # noqa: F821
