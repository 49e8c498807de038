"""Frame ranges, frame patterns and files that appear whole or not at all.

Ranges are fileseq's: `1001-1100x2,1200` (a step is `x`, `:` staggers). In patterns `####` is four
digits as in every host (fileseq alone would make it sixteen), a lone `#` four too as in fileseq,
`@` one each; `%04d`, `$F4`, `%V` (a view's name) and `%v` (its first letter) work as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vfxswap.errors import JobError
from vfxswap.files import atomic_path as atomic_path
from vfxswap.shot import format_frames as format_frames
from vfxswap.shot import parse_frames as parse_frames

_VIEW = re.compile(r"\w[\w .-]{0,63}")
_FRAME_TOKEN = re.compile(r"%0?(\d*)d|\$F(\d*)|#+|@+")


@dataclass(frozen=True)
class PlateSequence:
    """Numbered files of a plate or a result, or one still, by pattern.

    A pattern without a frame token is a still: it stands for every frame it is asked for.
    """

    pattern: str

    def __post_init__(self) -> None:
        if not self.pattern or self.pattern.endswith(("/", os.sep)):
            raise JobError("no file pattern", got=repr(self.pattern), wanted="plate.####.exr")
        name = Path(self.pattern).name
        if len(_FRAME_TOKEN.findall(name)) > 1:
            raise JobError("more than one frame number", got=name, wanted="plate.####.exr")
        if _FRAME_TOKEN.search(str(Path(self.pattern).parent)):
            raise JobError(
                "frame number in a folder's name", got=self.pattern, wanted="it in the file's name"
            )

    @property
    def still(self) -> bool:
        """Whether the pattern names one file and no frame."""
        return _FRAME_TOKEN.search(Path(self.pattern).name) is None

    @property
    def has_views(self) -> bool:
        """Whether the pattern asks for a view (`%V` or `%v`)."""
        return "%V" in self.pattern or "%v" in self.pattern

    def path(self, frame: int, view: str | None = None) -> Path:
        """The file of a frame (of a view).

        Raises JobError when the pattern has `%V` and no view is given, or the other way round.
        """
        pattern = Path(self._of_view(view))
        token = _FRAME_TOKEN.search(pattern.name)
        if token is None:
            return pattern
        number = f"{frame:0{_digits(token)}d}"
        return pattern.with_name(
            pattern.name[: token.start()] + number + pattern.name[token.end() :]
        )

    def frames_on_disk(self, view: str | None = None) -> tuple[int, ...]:
        """Sorted frames whose files exist (finished or not); empty for none and for a still."""
        if self.still:
            return ()
        pattern = Path(self._of_view(view))
        token = _FRAME_TOKEN.search(pattern.name)
        if token is None or not pattern.parent.is_dir():
            return ()
        head, tail = pattern.name[: token.start()], pattern.name[token.end() :]
        numbered = re.compile(re.escape(head) + r"(-?\d+)" + re.escape(tail))
        names = (entry.name for entry in os.scandir(pattern.parent))
        found = {int(match[1]) for name in names if (match := numbered.fullmatch(name))}
        return tuple(f for f in sorted(found) if self.path(f, view).exists())

    def missing(self, frames: Sequence[int], view: str | None = None) -> tuple[int, ...]:
        """Those of `frames` without a file, in the order given."""
        return tuple(f for f in frames if not self.path(f, view).exists())

    def _of_view(self, view: str | None) -> str:
        if not self.has_views:
            return self.pattern
        if not view:
            raise JobError("pattern asks for a view", got="no view", file=self.pattern)
        if not _VIEW.fullmatch(view):
            # Views may come from a plate's header, and become part of a path.
            raise JobError("not a view", got=repr(view)[:80], wanted="letters and digits")
        return self.pattern.replace("%V", view).replace("%v", view[0])


def _digits(token: re.Match[str]) -> int:
    text = token[0]
    if text[0] in "%$":
        return int(token[1] or token[2] or 1)
    return 4 if text == "#" else len(text)
