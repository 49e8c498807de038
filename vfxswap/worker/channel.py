"""The worker's two pipes: requests come in on stdin, events leave on stdout, nothing else does."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self

LIMIT_BYTES = 4 << 20
"""Longest line that is read."""

_CHUNK = 1 << 16


class Channel:
    """Lines in and events out. Sending is safe from every thread."""

    def __init__(self, source: int, sink: int) -> None:
        """`source` and `sink` are file descriptors of this channel's own."""
        self._source, self._sink = source, sink
        self._lock = threading.Lock()
        self._broken = False

    @classmethod
    def of_process(cls) -> Self:
        """Takes stdin and stdout of this process for the protocol alone: what anything else
        prints, also below Python, goes to stderr, and nothing else reads or inherits the pipes."""
        sys.stdout.flush()
        source, sink = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
        return cls(source, sink)

    def lines(self) -> Iterator[bytes | None]:
        """Lines without their end until the pipe is closed; None for one that is too long. What
        follows the last end of line is not a line."""
        held, skipping = b"", False
        while True:
            try:
                chunk = os.read(self._source, _CHUNK)
            except OSError:
                return
            if not chunk:
                return
            *whole, held = (held + chunk).split(b"\n")
            for line in whole:
                yield None if skipping or len(line) > LIMIT_BYTES else line
                skipping = False
            if len(held) > LIMIT_BYTES:
                held, skipping = b"", True

    def send(self, message: dict[str, Any]) -> bool:
        """Writes one event as one line; False when nobody listens any more."""
        data = memoryview((json.dumps(message, separators=(",", ":")) + "\n").encode("ascii"))
        with self._lock:
            while data and not self._broken:
                try:
                    data = data[os.write(self._sink, data) :]
                except OSError:
                    self._broken = True
            return not self._broken
