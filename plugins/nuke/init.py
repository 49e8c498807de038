"""Run by Nuke in every session, on the farm too: makes the nodes known."""

import os

import nuke


def _gizmos() -> str:
    """The nodes' folder: carried beside this file, or as vfxswap is laid out."""
    here = os.path.dirname(os.path.abspath(__file__))
    carried = os.path.join(here, "gizmos")
    if os.path.isdir(carried):
        return carried
    return os.path.join(os.path.dirname(os.path.dirname(here)), "gizmos")


try:
    nuke.pluginAddPath(_gizmos().replace(os.sep, "/"), addToSysPath=False)
except Exception as _error:
    # Whatever is broken here must not keep a session from starting.
    nuke.tprint(f"vfxswap: the nodes are not there: {_error}")
