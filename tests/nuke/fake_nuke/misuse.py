"""What in Nuke would crash, hang or go wrong unseen, raised instead."""

from __future__ import annotations


class Misuse(Exception):  # noqa: N818
    """A rule of Nuke's Python that was broken; every one counts, caught or not."""
