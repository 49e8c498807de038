"""Frame ranges of fileseq (`1-10x3`) in the words of OpenJD (`1-10:3`), and back.

Both write 1-10 and 1,3,5. They differ in the step (`x` and `:`; fileseq's `:` is a stagger), in
descending ranges (OpenJD wants a negative step), and in order: fileseq keeps it, an OpenJD range
is a set whose parts must not reach into one another. Open Job Description, *How Jobs Are
Constructed*, "Int Range Expressions" (https://github.com/OpenJobDescription/openjd-specifications).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from vfxswap.errors import JobError
from vfxswap.shot import format_frames, parse_frames

_NUMBER = r"(-?\s*\d+)"
_ELEMENT = re.compile(rf"\s*{_NUMBER}\s*(?:-\s*{_NUMBER}\s*(?::\s*{_NUMBER}\s*)?)?", re.ASCII)
_MAX_FRAMES = 1_000_000
_WANTED = "a range such as 1001-1100, 1001-1100:2, 5-1:-1 or 1001,1005-1010"


def to_openjd(frames: str | Iterable[int]) -> str:
    """Frames, or a range of fileseq, as the OpenJD range of the same frames, ascending.

    Raises JobError for what is no range of whole frames, and for fileseq's stagger and fill
    (`1-10:3`, `1-10y3`): their order has no words in OpenJD.
    """
    if isinstance(frames, str):
        _refuse_orders(frames)
        frames = parse_frames(frames)
    numbers = sorted(set(frames))
    if not numbers:
        raise JobError("no frames for an OpenJD range", wanted="one or more")
    return ",".join(_parts(numbers))


def from_openjd(text: str) -> str:
    """An OpenJD range as the range of fileseq that holds the same frames, ascending.

    Raises JobError for what OpenJD refuses: a descent without a negative step, parts that reach
    into one another.
    """
    parts = sorted((_frames_of(element, text) for element in text.split(",")), key=_ends)
    for before, after in pairwise(parts):
        if before[-1] >= after[0]:
            got = f"{_words(before)} and {_words(after)}"
            raise JobError(f"parts of the OpenJD range {text} overlap", got=got)
    return format_frames(frame for part in parts for frame in part)


def _refuse_orders(text: str) -> None:
    for sign, name in ((":", "a stagger"), ("y", "a fill")):
        if sign in text:
            got = f"{name} ({sign}) in {text}"
            raise JobError("frame range cannot be put in OpenJD", got=got, wanted="a step (x)")


def _parts(numbers: list[int]) -> Iterable[str]:
    """Runs of one step, taken from the front, so that none reaches into the next."""
    start = 0
    while start < len(numbers):
        end = start + 1
        step = numbers[end] - numbers[start] if end < len(numbers) else 1
        while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
            end += 1
        if end - start == 2 and step > 1:
            end = start + 1
        first, last = numbers[start], numbers[end - 1]
        yield f"{first}" if first == last else f"{first}-{last}{f':{step}' if step > 1 else ''}"
        start = end


def _frames_of(element: str, text: str) -> range:
    match = _ELEMENT.fullmatch(element)
    if match is None:
        raise JobError("not an OpenJD range", got=repr(text), wanted=_WANTED)
    first, last, step = ("".join(group.split()) if group else "" for group in match.groups())
    begin, end, stride = int(first), int(last or first), int(step or 1)
    if stride == 0 or (end - begin) * stride < 0:
        wanted = "a step that leads from the first to the last frame, as in 5-1:-1"
        raise JobError("not an OpenJD range", got=repr(text), wanted=wanted)
    if abs(end - begin) > _MAX_FRAMES:
        raise JobError("frame range is too long", got=text, wanted=f"up to {_MAX_FRAMES}")
    found = range(begin, end + (1 if stride > 0 else -1), stride)
    return found if stride > 0 else found[::-1]


def _ends(part: range) -> tuple[int, int]:
    return part[0], part[-1]


def _words(part: range) -> str:
    return f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0])
