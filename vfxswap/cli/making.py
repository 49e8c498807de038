"""Commands that make things: demo, synth, train, bench."""

from __future__ import annotations

import typer


def add_commands(app: typer.Typer) -> None:
    """Adds demo, synth, train and bench."""
