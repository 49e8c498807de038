"""Style pictures and contents drawn in their styles, and what is held out of every training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from vfxswap.files import atomic_path
from vfxswap.image import Pixels
from vfxswap.io.exr import write_png
from vfxswap.nets.style import Place
from vfxswap.synth.style_pictures import HELD_OUT, as_net, performer, photograph, shown
from vfxswap.train.classifier import packed
from vfxswap.train.style import contents_of
from vfxswap.train.style_media import drawn
from vfxswap.train.style_preview import displayed

DRAWN_PX = 512
_SOURCE, _PLACE = 7001, 35


def place(number: int) -> Place:
    """Where content `number` lies in the plane of grain and screens."""
    rng = np.random.default_rng([_PLACE, number + 1000])
    return int(rng.integers(4096)), int(rng.integers(4096))


def counterparts(
    styles: Sequence[str], pictures: Tensor, work: Path, progress: Callable[[str, int, int], None]
) -> dict[str, NDArray[np.uint8]]:
    """Every content [N, 3, S, S] drawn in every style: [N, S, S, 3] packed bytes by style, kept in
    the work folder under a name that says of which contents."""
    digest = hashlib.sha256(pictures.numpy().tobytes()).hexdigest()[:12]
    made = {}
    for done, style in enumerate(styles):
        progress("draw", done, len(styles))
        file = work / "drawn" / f"{style}-{digest}.safetensors"
        if not file.is_file():
            drawings = [
                packed(as_net(drawn(style, displayed(p[None]), origin=place(k))))
                for k, p in enumerate(pictures)
            ]
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(file) as partial:
                save_file({"drawn": torch.from_numpy(np.stack(drawings))}, partial)
        made[style] = load_file(file)["drawn"].numpy()
    return made


def drawn_pictures(style: str, folder: Path | None = None) -> list[Pixels]:
    """A style drawn from two photographs and a performer, display-referred; PNGs in `folder`."""
    made = []
    for k, source in enumerate(_sources()):
        picture = drawn(style, source, origin=place(-1 - k))
        made.append(picture)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{style}_{k}.png", picture)
    return made


def held_out(size: int = 256) -> Tensor:
    """Contents that no training sees: two photographs and a performer, [3, 3, size, size]."""
    cat, astronaut = (photograph(name, size) for name in HELD_OUT)
    side = (cat.shape[1] - size) // 2
    pictures = [
        cat[:size, side : side + size],
        astronaut[:size, :size],
        shown(performer(7103, height=size, width=size) * np.float32(1.6)),
    ]
    return contents_of([as_net(np.ascontiguousarray(p)) for p in pictures])


def drawings_of(pictures: Tensor, style: str) -> Tensor:
    """Pictures [N, 3, S, S] in net space drawn in a style, with the screens from (0, 0) on."""
    return contents_of([as_net(drawn(style, displayed(p[None]))) for p in pictures])


def _sources() -> list[Pixels]:
    """What styles are drawn from, display-referred squares."""
    cuts = [photograph(name, DRAWN_PX)[:, 120 : 120 + DRAWN_PX]
            for name in ("coffee.png", "rocket.jpg")]  # fmt: skip
    face = shown(performer(_SOURCE, height=DRAWN_PX, width=DRAWN_PX) * np.float32(1.6))
    return [*(np.ascontiguousarray(cut) for cut in cuts), face]
