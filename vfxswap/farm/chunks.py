"""Frames cut into chunks, alike for every scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from vfxswap.errors import JobError


def chunks(frames: Iterable[int], size: int) -> tuple[tuple[int, ...], ...]:
    """`frames` in pieces of `size` (the last may be shorter): each frame once, in the order in
    which it comes first. No frames, no chunks.

    Raises JobError for a size below 1.
    """
    if size < 1:
        raise JobError("frames of a chunk are too few", got=size, wanted="1 or more")
    once = tuple(dict.fromkeys(frames))
    return tuple(once[start : start + size] for start in range(0, len(once), size))
