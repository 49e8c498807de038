"""A shot: which plate, which frames, with what handles and views; and the one reading of frame
ranges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fileseq import FrameSet, framesToFrameRange

from vfxswap.errors import JobError

_WANTED = "a range such as 1001-1100, 1001-1100x2 or 1001,1005-1010"


def parse_frames(text: str) -> tuple[int, ...]:
    """Frame numbers of a range in fileseq's words, in the order it gives, each once.

    `1-10x3` steps; `1-10:3` is fileseq's stagger and `1-10y3` its complement. Raises JobError
    for anything else, for frames that are no whole numbers and for more than ten million.
    """
    try:
        frames = tuple(FrameSet(text))
    except ValueError:
        raise JobError("frame range cannot be read", got=repr(text), wanted=_WANTED) from None
    if not frames:
        raise JobError("frame range is empty", got=repr(text), wanted=_WANTED)
    if any(frame != int(frame) for frame in frames):
        raise JobError("frame range has parts of frames", got=repr(text), wanted=_WANTED)
    return tuple(int(frame) for frame in frames)


def frames_text(frames: Iterable[int]) -> str:
    """Frame numbers as the range that `parse_frames` reads back, in the order given."""
    return str(framesToFrameRange(list(frames), sort=False))


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
