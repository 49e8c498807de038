"""Which pictures a search looks at: those of a folder, or the frames of a shot."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vfxswap.errors import JobError
from vfxswap.io.sequence import PlateSequence, parse_frames

SUFFIXES = frozenset(
    (".exr", ".dpx", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga", ".hdr")
)


@dataclass(frozen=True)
class Place:
    """A picture's file, and its frame where it is one of a shot."""

    path: Path
    frame: int | None = None

    @property
    def label(self) -> str:
        """A short name for tables and sheets."""
        return self.path.name


def places_of(text: str, *, frames: str = "") -> tuple[Place, ...]:
    """The pictures of a folder and the folders in it, by name, or the frames of a shot's pattern.

    Names that begin with a dot are left out. Raises JobError when there is none, for frames of a
    folder, and for what is neither folder nor pattern.
    """
    folder = Path(text)
    if folder.is_dir():
        if frames:
            raise JobError("a folder has no frames", got=frames, wanted="a pattern: shot.#.exr")
        found = sorted(_below(folder))
        if not found:
            raise JobError("no pictures in the folder", wanted="EXR, PNG, JPEG …", file=folder)
        return tuple(Place(path) for path in found)
    shot = PlateSequence(text)
    if shot.still:
        if not folder.is_file():
            raise JobError("neither a folder nor a shot", got=text, wanted="stills/ or shot.#.exr")
        return (Place(folder),)
    numbers = parse_frames(frames) if frames else shot.frames_on_disk()
    if not numbers:
        raise JobError("no frame of the shot is found", file=text)
    return tuple(Place(shot.path(number), number) for number in numbers)


def default_index(text: str, model: str) -> Path:
    """Where the index of a folder or a shot lies unless it is named: in the folder."""
    folder = Path(text)
    return (folder if folder.is_dir() else folder.parent) / f".vfxswap-{model}.safetensors"


def _below(folder: Path) -> list[Path]:
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(root) / name
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return found
