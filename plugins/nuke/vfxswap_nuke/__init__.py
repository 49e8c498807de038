"""vfxswap in Nuke: what the buttons of its nodes call.

The networks run in an engine of their own (`vfxswap worker`); here is the standard library alone,
in the grammar of Python 3.7. Modules that import `nuke` say so in their first line; all others
work without it, and are tested so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nuke

__all__ = ["cancel", "entry_knobs", "render", "render_background", "render_frame"]


def render(node: nuke.Node) -> None:
    """Renders a node's frames: in the GUI beside the artist's work, else until it is done."""
    from vfxswap_nuke.actions import render as act

    act(node)


def render_frame(node: nuke.Node) -> None:
    """Renders the current frame at the node's proxy size."""
    from vfxswap_nuke.actions import render_frame as act

    act(node)


def render_background(node: nuke.Node) -> None:
    """Renders a node's frames by an engine of its own, which goes on when Nuke is closed."""
    from vfxswap_nuke.actions import render_background as act

    act(node)


def entry_knobs(node: nuke.Node, setting: str) -> None:
    """Makes a knob of each number that a setting of a node holds by name."""
    from vfxswap_nuke.actions import entry_knobs as act

    act(node, setting)


def cancel(node: nuke.Node) -> None:
    """Ends what a node renders, after the frame in hand."""
    from vfxswap_nuke.actions import cancel as act

    act(node)
