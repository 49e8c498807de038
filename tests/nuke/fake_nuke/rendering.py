"""The part of the module `nuke` that renders: frame ranges, execution, progress."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fake_nuke.guard import on_main, session
from fake_nuke.nodes import Node


class FrameRange:
    def __init__(self, first: int, last: int, increment: int = 1) -> None:
        self._first, self._last, self._increment = int(first), int(last), int(increment)

    def first(self) -> int:
        return self._first

    def last(self) -> int:
        return self._last

    def increment(self) -> int:
        return self._increment

    def frames(self) -> int:
        return len(list(self))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._first, self._last + 1, self._increment))


class FrameRanges:
    def __init__(self, ranges: Any = ()) -> None:
        self._ranges: list[FrameRange] = []
        for item in ranges.split() if isinstance(ranges, str) else ranges:
            self.add(item if isinstance(item, FrameRange) else _range(str(item)))

    def add(self, r: FrameRange) -> None:
        self._ranges.append(r)

    def size(self) -> int:
        return len(self._ranges)

    def toFrameList(self) -> list[int]:
        return sorted({frame for r in self._ranges for frame in r})

    def __iter__(self) -> Iterator[FrameRange]:
        return iter(self._ranges)


def _range(text: str) -> FrameRange:
    match = re.fullmatch(r"(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?", text)
    if match is None:
        raise ValueError(f"{text!r} is no frame range")
    first, last, step = match.groups()
    return FrameRange(int(first), int(last or first), int(step or 1))


@on_main
def execute(
    nameOrNode: Node | str,
    start: int | FrameRanges,
    end: int | None = None,
    incr: int = 1,
    views: list[str] | None = None,
    continueOnError: bool = False,
) -> None:
    node = session().find(nameOrNode) if isinstance(nameOrNode, str) else nameOrNode
    if node is None:
        raise RuntimeError(f"there is no node {nameOrNode}")
    node._check()
    if isinstance(start, FrameRanges):
        for r in start:
            session().execute(node, r.first(), r.last(), r.increment(), views)
    else:
        last = int(start if end is None else end)
        session().execute(node, int(start), last, int(incr), views)


@on_main
def executeMultiple(
    nodes: Any, ranges: Any, views: Any = None, continueOnError: bool = False
) -> None:
    for first, last, step in ranges:
        for node in nodes:
            session().execute(node, int(first), int(last), int(step), views)


class ProgressTask:
    """A bar in the GUI; may be used on every thread."""

    def __init__(self, name: str = "") -> None:
        self._name, self._progress, self._message, self._cancelled = name, 0, "", False
        session().tasks.append(self)

    def setProgress(self, i: int) -> None:
        if not isinstance(i, int):
            raise TypeError(f"integer argument expected, got {type(i).__name__}")
        self._progress = i

    def setMessage(self, s: str) -> None:
        if not isinstance(s, str):
            raise TypeError("a string was expected")
        self._message = s

    def isCancelled(self) -> bool:
        return self._cancelled
