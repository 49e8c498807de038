"""The command line. Heavy modules are imported inside the commands that need them."""

from __future__ import annotations

from vfxswap.cli.app import main

__all__ = ["main"]
