"""Run by Nuke when it starts with a GUI: toolbar, menu and panel."""

import os

import nuke

try:
    from vfxswap_nuke import menus

    menus.install(os.path.dirname(os.path.abspath(__file__)))
except Exception as _error:
    # Whatever is broken here must not keep Nuke from starting.
    nuke.tprint(f"vfxswap: the menu is not there: {_error!r}")
