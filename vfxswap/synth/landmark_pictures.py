"""Rendered faces as the shards that landmark training reads."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vfxswap.errors import CancelledError
from vfxswap.geometry import NOSE
from vfxswap.nets.parsing import CLASSES
from vfxswap.synth.crops import LANDMARK_CROPS, CropBatch, CropRecipe, render_crops
from vfxswap.synth.head import head_asset
from vfxswap.train.landmark_data import shard_file, write_shard

LOOSE_CROPS = replace(LANDMARK_CROPS, tightness=(1.75, 2.15), jitter=0.03)
"""Framing with room around the face, for training to shift, turn and scale in."""

VARIED_CROPS = replace(
    LOOSE_CROPS, yaw_rad=1.1, pitch_rad=0.6, roll_rad=0.4, glasses_chance=0.35,
    occluder_chance=0.35, varied=True,
)  # fmt: skip
"""The same with wider poses, performers and gaze; more glasses and objects in front."""


PER_SHARD = 240
ORDINARY_SEED, WIDER_SEED, CALIBRATION_SEED = 501, 701, 1701
AGED_EACH = 12
"""Ordinary pictures of a performer, half of them at another age."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


def ordinary(
    work: Path, *, shards: int, processes: int, progress: Progress, stop: Callable[[], bool]
) -> Path:
    """The folder of pictures that all networks of faces learn from: 20 performers a shard, at two
    ages each. Renders what it lacks; raises as `render_pictures` does."""
    render_pictures(
        work / "pictures",
        shards=shards,
        per_shard=PER_SHARD,
        seed=ORDINARY_SEED,
        crops_each=AGED_EACH,
        aged=True,
        processes=processes,
        progress=lambda done, total: progress("render pictures", done, total),
        stop=stop,
    )
    return work / "pictures"


def wider(
    work: Path, *, shards: int, processes: int, progress: Progress, stop: Callable[[], bool]
) -> Path:
    """The folder of wider pictures (`VARIED_CROPS`), 40 performers a shard; as `ordinary`."""
    render_pictures(
        work / "varied",
        shards=shards,
        per_shard=PER_SHARD,
        seed=WIDER_SEED,
        recipe=VARIED_CROPS,
        processes=processes,
        progress=lambda done, total: progress("render wider pictures", done, total),
        stop=stop,
    )
    return work / "varied"


def calibration(
    work: Path, *, processes: int, progress: Progress, stop: Callable[[], bool]
) -> Path:
    """The folder of 480 wider pictures of 120 further performers, by whom confidence is set: the
    few that training holds out would not do, since landmarks of a face err together."""
    render_pictures(
        work / "calibration",
        shards=2,
        per_shard=PER_SHARD,
        seed=CALIBRATION_SEED,
        crops_each=4,
        recipe=VARIED_CROPS,
        processes=processes,
        progress=lambda done, total: progress("render pictures to calibrate by", done, total),
        stop=stop,
    )
    return work / "calibration"


class _Order(NamedTuple):
    folder: Path
    shard: int
    pictures: int
    size: int
    seed: int
    crops_each: int
    aged: bool
    recipe: CropRecipe


def render_pictures(
    folder: Path,
    *,
    shards: int,
    per_shard: int = 300,
    size: int = 128,
    seed: int = 1,
    crops_each: int = 6,
    aged: bool = False,
    recipe: CropRecipe = LOOSE_CROPS,
    processes: int = 2,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Renders the shards that `folder` does not have yet, in `processes` processes.

    A shard depends on `seed`, its number, `per_shard`, `size`, `recipe` and how performers change
    (see `render_crops`) alone. `progress` hears shards done and wanted. Raises JobError without the
    synthetic performers' extra, CancelledError when `stop()` turns true; whole shards are kept.
    """
    missing = [k for k in range(shards) if not shard_file(folder, k).exists()]
    orders = [
        _Order(folder, k, per_shard, size, seed + k, crops_each, aged, recipe) for k in missing
    ]
    if not orders:
        return
    head_asset()
    done = shards - len(missing)
    # Spawned, not forked: torch and warp keep threads that a fork would lose.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=_single_thread) as pool:
        for _ in pool.imap_unordered(_render_shard, orders):
            done += 1
            progress(done, shards)
            if stop():
                raise CancelledError(f"rendering stopped after {done} of {shards} shards")


def _single_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2

    cv2.setNumThreads(1)


def _render_shard(order: _Order) -> int:
    batches = list(
        render_crops(
            order.pictures, order.size, seed=order.seed, recipe=order.recipe,
            crops_each=order.crops_each, aged=order.aged, processes=0,
        )
    )  # fmt: skip
    write_shard(
        order.folder,
        order.shard,
        pictures=np.concatenate([b.rgb for b in batches]),
        points=np.concatenate([b.landmarks for b in batches]),
        identity=np.concatenate([b.seeds for b in batches]),
        labels=np.concatenate([labels(b) for b in batches]),
    )
    return order.shard


def labels(batch: CropBatch) -> NDArray[np.uint8]:
    """[N, S, S] the class that most of a pixel shows. The nose is skin within its landmarks."""
    truth = dict(zip(batch.parts, np.moveaxis(batch.mattes, -1, 0).astype(np.float32) / 255))
    for i, points in enumerate(batch.landmarks):
        nose = np.zeros(truth["skin"].shape[1:], np.float32)
        hull = cv2.convexHull(points[NOSE].astype(np.float32))[:, 0]
        middle = hull.mean(0)
        grown = np.rint((middle + 1.15 * (hull - middle)) * 16 - 8).astype(np.int32)
        cv2.fillConvexPoly(nose, grown, 1.0, cv2.LINE_AA, 4)
        skin = truth["skin"][i]
        truth.setdefault("nose", np.zeros_like(truth["skin"]))[i] = np.minimum(nose, skin)
        skin -= truth["nose"][i]
    planes = np.stack([truth[name] for name in CLASSES[1:]])
    behind = 1 - planes.sum(0, keepdims=True)
    shown: NDArray[np.uint8] = np.concatenate([behind, planes]).argmax(0).astype(np.uint8)
    return shown
