"""A sheet of held-out faces with the landmarks found on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vfxswap.color import from_net
from vfxswap.files import write_atomically
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.train.landmark_data import FaceSet, draw, plain

_COLUMNS = 10
_ZOOM = 2


def write_preview(
    file: Path,
    net: LandmarkNet,
    faces: FaceSet,
    indices: NDArray[np.int64],
    seed: int,
    device: torch.device | str,
) -> None:
    """Writes a PNG: rows of faces as a detector hands them over, then rows as training dresses
    them. Green dots are found, red ones true."""
    tiles = []
    training = net.training
    net.eval()
    for dressed in (False, True):
        for index in indices:
            rng = np.random.default_rng([seed, 3, int(index)])
            if dressed:
                sample = draw(faces, int(index), rng, size=net.SIZE, scan_size=48)
                crop, points = sample.crop, sample.points * net.SIZE
            else:
                crop, points = plain(faces, int(index), rng, size=net.SIZE)
            batch = torch.from_numpy(crop).permute(2, 0, 1)[None].to(device)
            with torch.inference_mode():
                found = net(batch).points[0].cpu().numpy()
            tiles.append(_tile(crop, points, found))
    net.train(training)
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % _COLUMNS)
    rows = [np.hstack(tiles[i : i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)]
    _, png = cv2.imencode(".png", np.vstack(rows))
    write_atomically(file, png.tobytes())


def _tile(
    crop: NDArray[np.float32], truth: NDArray[np.floating], found: NDArray[np.floating]
) -> NDArray[np.uint8]:
    linear = from_net(crop)
    linear = linear * (0.25 / max(float(np.median(linear)), 1e-4))
    shown = np.rint(np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)[..., ::-1]
    tile = cv2.resize(shown, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC)
    for points, colour in ((truth, (60, 60, 255)), (found, (60, 255, 60))):
        for x, y in points * _ZOOM * 16 - 8:
            cv2.circle(tile, (int(x), int(y)), 16, colour, -1, cv2.LINE_AA, shift=4)
    return np.asarray(tile, np.uint8)
