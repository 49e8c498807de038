# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong in a render, for the artist and for a file; without bpy."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field

from .store import write_whole


@dataclass(frozen=True)
class Entry:
    """One sentence about a node, on a frame or (None) on all of them."""

    level: str
    node: str
    frame: int | None
    message: str

    def line(self) -> str:
        """As Blender's info area shows it."""
        where = "" if self.frame is None else f", frame {self.frame}"
        return f"VFXSwap: {self.node}{where}: {self.message}"


@dataclass
class Report:
    """Entries of one render or bake, each once."""

    path: str = ""
    entries: list[Entry] = field(default_factory=list)

    def add(self, level: str, node: str, frame: int | None, message: str) -> Entry | None:
        """The new entry; None where the same was said before."""
        entry = Entry(level, node, frame, message)
        if entry in self.entries:
            return None
        self.entries.append(entry)
        return entry

    def write(self) -> None:
        """Writes the report as JSON; a render does not fail for want of it."""
        if self.path:
            text = json.dumps({"entries": [asdict(entry) for entry in self.entries]}, indent=1)
            with contextlib.suppress(OSError):
                write_whole(self.path, text.encode())
