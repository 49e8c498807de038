"""What this plug-in complains of."""

from __future__ import annotations


class NodeError(Exception):
    """Something about a node or its settings, in one sentence for the artist."""
