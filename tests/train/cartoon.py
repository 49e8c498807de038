"""Drawn faces with exact landmarks: quick stand-ins for rendered ones."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.align.crop import template
from vfxswap.nets.parsing import CLASSES
from vfxswap.train.landmark_data import write_shard


class Cartoon(NamedTuple):
    picture: NDArray[np.float32]
    points: NDArray[np.float64]
    identity: int
    labels: NDArray[np.uint8]


def drawn_face(points: NDArray[np.float64], linear: NDArray[np.float32], skin: float) -> None:
    """Draws a face with landmarks [70, 2] on a scene-linear picture [H, W, 3]."""

    def fill(chosen: NDArray[np.float64], colour: tuple[float, float, float]) -> None:
        corners = np.rint(chosen * 16 - 8).astype(np.int32)
        cv2.fillPoly(linear, [corners], colour, cv2.LINE_AA, 4)

    brow = points[17:27][::-1]
    up = points[27] - points[33]
    fill(np.concatenate([points[:17], brow + 0.8 * up]), (skin, 0.7 * skin, 0.55 * skin))
    for a, b in ((17, 22), (22, 27)):
        fill(np.concatenate([points[a:b], points[a:b][::-1] - 0.12 * up]), (0.03, 0.02, 0.02))
    fill(points[[27, 31, 33, 35]], (0.8 * skin, 0.55 * skin, 0.4 * skin))
    fill(points[36:42], (0.8, 0.8, 0.8))
    fill(points[42:48], (0.8, 0.8, 0.8))
    radius = 0.16 * np.linalg.norm(points[36] - points[39])
    for pupil in points[68:]:
        x, y = np.rint(pupil * 16 - 8).astype(int).tolist()
        cv2.circle(linear, (x, y), int(radius * 16), (0.01, 0.01, 0.01), -1, cv2.LINE_AA, 4)
    fill(points[48:60], (0.8 * skin, 0.3 * skin, 0.25 * skin))
    fill(points[60:68], (0.1, 0.02, 0.02))


def cartoon(number: int) -> Cartoon:
    """Picture `number`, 96², of performer `number // 4`."""
    rng = np.random.default_rng([7, number])
    points = template(90) + np.array([3.0, 0.0])
    points += rng.normal(0.0, 0.5, points.shape)
    points[48:68, 1] += rng.uniform(-2, 2)
    linear = np.full((96, 96, 3), rng.uniform(0.02, 0.6), np.float32)
    drawn_face(points, linear, float(rng.uniform(0.1, 0.6)))
    labels = np.full((96, 96), CLASSES.index("skin"), np.uint8)
    for part, chosen in (("eyes", slice(36, 42)), ("eyes", slice(42, 48)), ("lips", slice(48, 60))):
        corners = np.rint(points[chosen] - 0.5).astype(np.int32)
        cv2.fillPoly(labels, [corners], CLASSES.index(part))
    return Cartoon(linear, points, number // 4, labels)


def cartoon_shard(folder: Path, shard: int, count: int) -> None:
    """Writes `count` cartoons as a shard to train on."""
    faces = [cartoon(number) for number in range(shard * count, (shard + 1) * count)]
    write_shard(
        folder,
        shard,
        pictures=np.stack([f.picture for f in faces]).astype(np.float16),
        points=np.stack([f.points for f in faces]),
        identity=np.array([f.identity for f in faces]),
        labels=np.stack([f.labels for f in faces]),
    )
