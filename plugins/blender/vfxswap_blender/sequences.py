# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered files as Blender plays them; without bpy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$")


@dataclass(frozen=True)
class Clip:
    """A plate on disk, its colour space, and when Blender shows which file.

    `pattern` has `#` for the digits, or none for a still, whose `frames` are (1,). `start`,
    `offset`, `duration` and `cyclic` are those of Blender's image users.
    """

    pattern: str
    color_space: str
    start: int
    offset: int
    duration: int
    cyclic: bool = False
    still: bool = False
    layer: str = ""

    @property
    def frames(self) -> tuple[int, ...]:
        """File numbers of the shot."""
        if self.still:
            return (1,)
        return tuple(range(self.offset + 1, self.offset + 1 + self.duration))

    def number(self, scene_frame: int) -> int:
        """The file shown on a frame of the scene: after the clip it is held, or begins again;
        before it Blender takes the number before the first, which is not of the clip
        (BKE_image_user_frame_get)."""
        if self.still:
            return 1
        shown = scene_frame - self.start + 1
        if self.cyclic:
            shown = shown % self.duration or self.duration
        return min(max(shown, 0), self.duration) + self.offset

    def path(self, number: int) -> str:
        """The file of a number."""
        return filled(self.pattern, number)


def pattern_of(path: str) -> str:
    """The pattern of a file in a sequence: the last number of its name becomes `#`, `@@` …

    A name without a number has none: it is a still.
    """
    folder, name = os.path.split(path)
    match = _NUMBER.match(name)
    if match is None:
        return path
    digits = len(match[2])
    token = "#" * 4 if digits == 4 else "@" * digits
    return os.path.join(folder, match[1] + token + match[3])


def number_of(path: str) -> int:
    """The last number in a file's name. Raises ValueError without one."""
    match = _NUMBER.match(os.path.basename(path))
    if match is None:
        raise ValueError(f"no number in the name of {path}")
    return int(match[2])


def filled(pattern: str, number: int) -> str:
    """The file of a pattern: `####` is four digits, `@` one each."""
    folder, name = os.path.split(pattern)
    match = re.search(r"#+|@+", name)
    if match is None:
        return pattern
    return os.path.join(
        folder, f"{name[: match.start()]}{number:0{len(match[0])}d}{name[match.end() :]}"
    )


def ranges(frames: Iterable[int]) -> str:
    """Frames as a range that the engine reads: 1-3,7."""
    parts: list[list[int]] = []
    for frame in sorted(set(frames)):
        if parts and frame == parts[-1][1] + 1:
            parts[-1][1] = frame
        else:
            parts.append([frame, frame])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in parts)
