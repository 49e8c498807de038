"""`vfxswap worker`: one process that renders for a host, asked by lines of JSON on its stdin."""

from __future__ import annotations

from vfxswap.worker.engine import Options
from vfxswap.worker.server import EVENTS, PROTOCOL, serve

__all__ = ["EVENTS", "PROTOCOL", "Options", "serve"]
