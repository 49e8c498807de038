"""A shot: which plate, which frames, with what handles and views; and the one reading of frame
ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import fileseq

from vfxswap.errors import JobError

_MAX_FRAMES = 1_000_000
_WANTED_RANGE = "a range such as 1001-1100, 1001-1100x2 or 1001,1005-1010"


def parse_frames(text: str) -> tuple[int, ...]:
    """Frame numbers of a range, in its own order, each once.

    Raises JobError for anything that is no range of whole frames.
    """
    compact = "".join(text.split())
    for numbers in re.findall(r"(-?\d+)-(-?\d+)", compact):
        if abs(int(numbers[1]) - int(numbers[0])) > _MAX_FRAMES:
            raise JobError("frame range is too long", got=text, wanted=f"up to {_MAX_FRAMES}")
    try:
        frames = tuple(fileseq.FrameSet(compact)) if compact else ()
    except (fileseq.exceptions.FileSeqException, ValueError, ZeroDivisionError) as error:
        raise JobError("not a frame range", got=repr(text), wanted=_WANTED_RANGE) from error
    if not frames or any(not isinstance(f, int) for f in frames):
        raise JobError("not a frame range", got=repr(text), wanted=_WANTED_RANGE)
    return tuple(dict.fromkeys(frames))


def format_frames(frames: Iterable[int]) -> str:
    """The shortest range that `parse_frames` reads back as these frames, sorted; "" for none."""
    text: str = fileseq.FrameSet.from_iterable(sorted(set(frames)), sort=False).frange
    return text


@dataclass(frozen=True)
class Shot:
    """A plate over frames. `plate` is a file or a pattern with `#`, `@`, `%04d` or `$F4`.

    `frames` are those that are rendered, in render order; `handles` more before the first and
    after the last belong to the shot (tracking and smoothing see them) and are not rendered.
    `views` are empty for a plate of one view.
    """

    plate: str
    frames: tuple[int, ...]
    handles: int = 0
    views: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.handles < 0:
            raise JobError("handles are below 0", got=self.handles, wanted="0 or more frames")

    @property
    def frames_with_handles(self) -> tuple[int, ...]:
        """Rendered frames and handles, each once, ascending: every frame that preparing sees."""
        if not self.frames:
            return ()
        first, last = min(self.frames), max(self.frames)
        before = range(first - self.handles, first)
        after = range(last + 1, last + 1 + self.handles)
        return tuple(sorted({*before, *self.frames, *after}))
