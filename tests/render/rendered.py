"""A small shot that renders, and looks at what came out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from small_shot import Gain, write_shot

from vfxswap.image import Image
from vfxswap.io.exr import read_image

FRAMES = (1001, 1002, 1003, 1004)


@pytest.fixture
def shot(tmp_path: Path, gain_effect: type[Gain]) -> Path:
    """A folder with a plate, and the effect "gain"."""
    write_shot(tmp_path, FRAMES)
    return tmp_path


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the tracks, by name; of sidecars without what tells who rendered,
    when and where."""
    return {
        p.name: hashlib.sha256(_lasting(p)).hexdigest()
        for p in sorted(folder.iterdir())
        if not p.name.endswith(".tracks.json")
    }


def _lasting(path: Path) -> bytes:
    if not path.name.endswith(".vfxswap.json"):
        return path.read_bytes()
    content = json.loads(path.read_text())
    return json.dumps({k: v for k, v in content.items() if k not in ("run", "sha256")}).encode()


def comp(folder: Path, frame: int) -> Image:
    """A frame of `gain_job`'s output."""
    return read_image(folder / "out" / f"comp.{frame}.exr")


def matte_of(image: Image, name: str = "gain_matte.red") -> np.ndarray[tuple[int, ...], np.dtype]:
    """A channel of any part, by its full name."""
    part = next(p for p in image.parts if name in p.channels)
    return part.channels[name]
