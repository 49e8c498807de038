"""Pictures that mosaic networks learn from, and patches of random size and position from them."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vfxswap.color import ColorManager, to_net
from vfxswap.effects.mosaic_themes import from_quarters
from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.io.exr import read_image
from vfxswap.nets.mosaic import SPAN, as_input
from vfxswap.train.mosaic_draw import drawn

DRAWN = "drawn:"
"""Begins a source that is drawn: `drawn:flowers`."""
SKIMAGE = "skimage:"
"""Begins a source that comes with scikit-image: `skimage:coffee`."""
DRAWN_PX = 96
POOL_PX = 64
LONGEST_PX = 640
"""Photographs are reduced to this: their patches are small."""
_SRGB = "sRGB Encoded Rec.709 (sRGB)"

Stored = NDArray[np.float16]
"""[H, W, 3] net space; half precision is finer than any patch needs."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one domain or theme, as they are kept in memory."""

    pictures: tuple[Stored, ...]
    smallest: float
    """Shortest side of a patch as a share of its picture's shorter side."""
    largest: float = 1.0
    """The longest, likewise."""

    def patches(self, count: int, *, size: int, rng: np.random.Generator) -> Tensor:
        """[count, 3, size, size] as the networks take them: random picture, size and position."""
        batch = np.empty((count, size, size, 3), np.float32)
        for index in range(count):
            picture = self.pictures[rng.integers(len(self.pictures))]
            height, width = picture.shape[:2]
            side = min(height, width) * rng.uniform(self.smallest, self.largest)
            px = max(4, min(round(side), height, width))
            y, x = rng.integers(height - px + 1), rng.integers(width - px + 1)
            crop = picture[y : y + px, x : x + px].astype(np.float32)
            how = cv2.INTER_AREA if px >= size else cv2.INTER_CUBIC
            batch[index] = cv2.resize(crop, (size, size), interpolation=how)
        return as_input(torch.from_numpy(batch)).permute(0, 3, 1, 2).contiguous()


class Pool:
    """Patches of a picture set, cut once and drawn from many times."""

    def __init__(
        self,
        pictures: PictureSet,
        count: int,
        *,
        rng: np.random.Generator,
        age: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.age = age
        """Which pool of a training this is."""
        self.whole = pictures.patches(count, size=POOL_PX, rng=rng).to(device)
        self._thumbs = thumbs(self.whole)

    def patches(
        self,
        count: int,
        *,
        size: int,
        rng: np.random.Generator,
        exposure: float = 0.0,
        tint: float = 0.0,
        mirror: bool = False,
    ) -> Tensor:
        """[count, 3, size, size]; `exposure` and `tint` are the spread of random net-space
        offsets, common and of each channel; with `mirror` every other patch is mirrored."""
        index = torch.from_numpy(rng.integers(len(self.whole), size=count))
        drawn = self.whole[index.to(self.whole.device)]
        if mirror:
            mirrored = torch.from_numpy(rng.random((count, 1, 1, 1)) < 0.5).to(drawn.device)
            drawn = torch.where(mirrored, drawn.flip(3), drawn)
        offset = rng.normal(0, 1, (count, 1, 1, 1)) * exposure
        offset = offset + rng.normal(0, 1, (count, 3, 1, 1)) * tint
        drawn = drawn + torch.from_numpy(offset).to(drawn) / SPAN
        if size != POOL_PX:
            drawn = F.avg_pool2d(drawn, POOL_PX // size)
        return drawn.contiguous(memory_format=torch.channels_last)

    def nearest(self, patches: Tensor) -> Tensor:
        """For each of some patches [B, 3, s, s] the one here that is nearest in colour and
        structure, [B, 3, s, s]."""
        distance = torch.cdist(thumbs(patches), self._thumbs)
        found = self.whole[distance.argmin(1)]
        factor = POOL_PX // patches.shape[-1]
        return F.avg_pool2d(found, factor) if factor > 1 else found


def relit(patches: Tensor, light: Tensor, strength: Tensor) -> Tensor:
    """Patches [B, 3, s, s] under the light of others [B, 3, s, s]: their means of a quarter of the
    side, smoothly joined and without their mean, times a strength [B, 1, 1, 1]."""
    soft = from_quarters(light, patches.shape[-1])
    return patches + strength * (soft - light.mean((2, 3), keepdim=True))


def thumbs(patches: Tensor) -> Tensor:
    """[B, n]: what two patches are compared by: 6×6 pixels without their mean colour, by their
    contrast, and beside them that mean at a lower weight."""
    small = F.adaptive_avg_pool2d(patches.float(), 6)
    mean = small.mean((2, 3))
    shape = (small - mean[..., None, None]).flatten(1)
    shape = shape / shape.norm(dim=1, keepdim=True).clamp_min(0.5)
    return torch.cat([shape, 0.25 * mean], 1)


def read_pictures(
    sources: Sequence[str],
    *,
    smallest: float,
    largest: float = 1.0,
    least: int,
    what: str,
    drawn_count: int,
    seed: int,
    folder: Path,
) -> PictureSet:
    """The pictures of some sources: drawn ones, scikit-image's, or file patterns (relative to
    `folder`). `drawn_count` pictures are drawn of each drawn theme, from `seed` on.

    Raises JobError when a source gives nothing, or when fewer than `least` come together;
    PlateError for a file that cannot be read.
    """
    manager = ColorManager()
    pictures: list[Stored] = []
    for source in sources:
        if source.startswith(DRAWN):
            theme = source.removeprefix(DRAWN)
            found = drawn(theme, drawn_count, size=DRAWN_PX, seed=seed)
            pictures += [_from_display(p.astype(np.float32) / 255, manager) for p in found]
        elif source.startswith(SKIMAGE):
            pictures.append(_from_display(_of_skimage(source.removeprefix(SKIMAGE)), manager))
        else:
            pictures += _of_files(source, folder, manager)
    if len(pictures) < least:
        raise JobError(f"too few pictures of {what}", got=len(pictures), wanted=f"at least {least}")
    return PictureSet(tuple(pictures), smallest, largest)


def _of_files(pattern: str, folder: Path, manager: ColorManager) -> list[Stored]:
    paths = sorted(glob.glob(str(folder / pattern), recursive=True))  # noqa: PTH207
    if not paths:
        raise JobError("no picture is found", got=pattern, wanted="a pattern of files")
    pictures = []
    for path in paths:
        image = read_image(path)
        space = manager.resolve(image, Path(path), None).space
        pictures.append(_stored(manager.to_working(image.rgb(), space)))
    return pictures


def _of_skimage(name: str) -> Pixels:
    """A picture that comes with scikit-image, display sRGB 0…1."""
    try:
        import skimage
        from skimage.io import imread
    except ImportError:
        raise JobError("the recipe's pictures need scikit-image", wanted="vfxswap[test]") from None
    folder = Path(skimage.__file__).parent / "data"
    found = sorted(folder.glob(f"{name}.*"))
    if not found:
        raise JobError("scikit-image ships no such picture", got=name)
    pixels = np.asarray(imread(found[0]))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, -1)
    scaled: Pixels = pixels[..., :3].astype(np.float32) / np.float32(255)
    return scaled


def _from_display(rgb: Pixels, manager: ColorManager) -> Stored:
    return _stored(manager.to_working(rgb, manager.canonical(_SRGB)))


def _stored(linear: Pixels) -> Stored:
    height, width = linear.shape[:2]
    if max(height, width) > LONGEST_PX:
        scale = LONGEST_PX / max(height, width)
        size = (round(width * scale), round(height * scale))
        linear = cv2.resize(linear, size, interpolation=cv2.INTER_AREA)
    return to_net(np.nan_to_num(linear)).astype(np.float16)
