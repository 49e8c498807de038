"""Rendered transfers with truth: a performer, another one, and the first with one feature of the
other's (`feature_truth.with_feature`), as `train.features_edits` reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save

from vfxswap.files import write_atomically
from vfxswap.settings import Settings
from vfxswap.synth.crops import crop_sample, face_camera, random_state
from vfxswap.synth.feature_truth import with_feature
from vfxswap.synth.features_pictures import (
    FEATURE_CROPS,
    PARTS,
    Crop,
    aligned,
    alignment,
)
from vfxswap.synth.features_shards import Order, missing, render_missing
from vfxswap.synth.head import head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.light import random_rig
from vfxswap.synth.render import Truth
from vfxswap.train.features_edits import shard_file

TRANSFERRED = ("eyes", "brows", "nose", "mouth", "hair", "ears")
"""Features with truth. The skin's is left out: crops are normalised by its colour."""
REGION_PX = 5
"""Side of the square by which a part's labels are grown into the region that a transfer may
change, at 64 pixels."""


class FaceTransfers(Settings):
    """Which transfers are rendered."""

    seed: int = Field(default=5701, ge=0, description="Seed of performers, acting, light.")
    shards: int = Field(default=16, ge=1, description="Files of transfers.")
    pairs_per_shard: int = Field(default=60, ge=1, description="Pairs of performers in a file.")
    features_each: int = Field(
        default=3, ge=1, le=len(TRANSFERRED), description="Features of each pair, drawn."
    )
    render_px: int = Field(default=112, ge=32, description="Side of the rendered pictures.")
    texture_rows: int = Field(default=192, ge=64, description="Rows of the skin's textures.")
    crop_size: int = Field(default=64, ge=8, description="Side of the aligned crops.")


def render_transfers(
    folder: Path,
    transfers: FaceTransfers,
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Renders the shards that `folder` does not have yet.

    A shard depends on the settings and its number alone. Raises JobError without the synthetic
    performers' extra, CancelledError when `stop()` turns true; whole shards are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    orders = missing(folder, transfers, transfers.shards, shard_file)
    if not orders:
        return
    head_asset()
    render_missing(
        _render_shard,
        orders,
        total=transfers.shards,
        processes=processes,
        progress=progress,
        stop=stop,
    )


def _render_shard(order: Order) -> int:
    settings = order.settings
    assert isinstance(settings, FaceTransfers)
    rows: list[dict[str, NDArray[Any]]] = []
    for pair in range(settings.pairs_per_shard):
        rows += _pair(settings, order.shard, pair)
    # safetensors writes memory as it lies.
    tensors = {
        name: np.ascontiguousarray(np.stack([row[name] for row in rows])) for name in rows[0]
    }
    write_atomically(shard_file(order.folder, order.shard), save(tensors))
    return order.shard


def _pair(settings: FaceTransfers, shard: int, pair: int) -> list[dict[str, NDArray[Any]]]:
    """The transfers of one pair. The reference acts as the source does, in another pose and
    light: what of a mouth is its shape and what its acting no single picture says."""
    rng = np.random.default_rng([settings.seed, shard, pair])
    # Random performers stay clear of the starters' small seeds.
    number = 1_000_000 + (settings.seed + shard) * 100_000 + 2 * pair
    source, reference = (
        Identity.from_seed(number + k, texture_rows=settings.texture_rows) for k in (0, 1)
    )
    state = random_state(rng, FEATURE_CROPS)
    other = random_state(rng, FEATURE_CROPS)
    turned = state.posed(other.yaw, other.pitch, other.roll)
    rig, other_rig = random_rig(rng), random_rig(rng)
    size = settings.render_px
    camera = face_camera(source, state, size, tightness=2.0)
    behind = int(rng.integers(2**31))

    def shown(performer: Identity) -> Truth:
        fresh = np.random.default_rng(behind)
        return crop_sample(
            performer, fresh, size, state=state, rig=rig, camera=camera, recipe=FEATURE_CROPS
        )

    first = shown(source)
    matrix = alignment(first.landmarks, settings.crop_size)
    plate = aligned(first, matrix, settings.crop_size)
    theirs = crop_sample(
        reference, np.random.default_rng(behind + 1), size, state=turned, rig=other_rig,
        camera=face_camera(reference, turned, size, tightness=2.0), recipe=FEATURE_CROPS,
    )  # fmt: skip
    guide = aligned(theirs, alignment(theirs.landmarks, settings.crop_size), settings.crop_size)
    rows: list[dict[str, NDArray[Any]]] = []
    for feature in rng.permutation(TRANSFERRED)[: settings.features_each].tolist():
        mixed = aligned(shown(with_feature(source, reference, feature)), matrix, settings.crop_size)
        label = PARTS.index(feature)
        rows.append(
            {
                "source": plate.pixels.astype(np.float16),
                "truth": mixed.pixels.astype(np.float16),
                "reference": guide.pixels.astype(np.float16),
                "matte": plate.matte,
                "reference_matte": guide.matte,
                "labels": plate.labels,
                "truth_labels": mixed.labels,
                "reference_labels": guide.labels,
                "feature": np.array(label, np.int64),
                "region": _region(plate, mixed, label),
                "identity": np.array(source.seed, np.int64),
            }
        )
    return rows


def _region(source: Crop, truth: Crop, label: int) -> NDArray[np.uint8]:
    shown = (source.labels == label) | (truth.labels == label)
    side = max(1, round(REGION_PX * len(shown) / 64)) | 1
    grown: NDArray[np.uint8] = cv2.dilate(shown.astype(np.uint8), np.ones((side, side), np.uint8))
    return grown
