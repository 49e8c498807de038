"""A Nuke for tests: loads real scripts, runs Python against Nuke's API, and computes pixels.

It holds no line of Nuke. What it knows is listed (classes, knobs, functions); everything else is an
error, and so is what would hang or crash the real one. `FakeNuke` is the way in; tests/nuke/ says
how it is held to Nuke's published interface.
"""

from __future__ import annotations

from fake_nuke.knobs import Knob
from fake_nuke.misuse import Misuse
from fake_nuke.nodes import Group, Node
from fake_nuke.pictures import Picture, read_exr, write_exr
from fake_nuke.session import FakeNuke

__all__ = ["FakeNuke", "Group", "Knob", "Misuse", "Node", "Picture", "read_exr", "write_exr"]
