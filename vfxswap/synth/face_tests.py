"""Rendered faces to measure with: performers that no training sees, from both renderers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vfxswap.synth import cycles
from vfxswap.synth.background import random_background
from vfxswap.synth.crops import CropBatch, CropRecipe, face_camera, random_state
from vfxswap.synth.cycles_export import Moment
from vfxswap.synth.identity import Identity
from vfxswap.synth.landmark_pictures import (
    LOOSE_CROPS,
    VARIED_CROPS,
    labels,
    render_pictures,
)
from vfxswap.synth.light import random_rig
from vfxswap.synth.render import Truth
from vfxswap.train.landmark_data import FaceSet, shard_file, write_shard

PER_SHARD = 240
SEED = 95001
"""Far from all seeds of training; performers are numbered by it."""

CYCLES_SIZE = 192
CYCLES_EACH = 2
"""Pictures of one performer: Cycles starts once for them."""

Progress = Callable[[str, int, int], None]


def ordinary(work: Path, *, shards: int, progress: Progress) -> FaceSet:
    """Performers as they are drawn, twelve pictures each at two ages: 240 pictures a shard."""
    return _warp(work / "ordinary", LOOSE_CROPS, SEED, shards, 12, progress)


def varied(work: Path, *, shards: int, progress: Progress) -> FaceSet:
    """The wider ones (`VARIED_CROPS`), four pictures each."""
    return _warp(work / "varied", VARIED_CROPS, SEED + 100, shards, 4, progress)


def _warp(
    folder: Path, recipe: CropRecipe, seed: int, shards: int, each: int, progress: Progress
) -> FaceSet:
    render_pictures(
        folder,
        shards=shards,
        per_shard=PER_SHARD,
        seed=seed,
        crops_each=each,
        aged=each > 4,
        recipe=recipe,
        processes=1,
        progress=lambda done, total: progress(f"render {folder.name} faces", done, total),
    )
    return FaceSet.open(folder)


def cycles_heads(work: Path, *, heads: int, settings: cycles.Cycles, progress: Progress) -> FaceSet:
    """Heads by Cycles, as `ordinary` poses, lights and frames them, without objects in front.

    Raises as `cycles.render_moments` does. One shard a performer, kept in `work`.
    """
    folder = work / "cycles"
    performers = -(-heads // CYCLES_EACH)
    for k in range(performers):
        if not shard_file(folder, k).exists():
            _render_performer(folder, k, settings)
        progress("render heads by Cycles", k + 1, performers)
    return FaceSet.open(folder)


def _render_performer(folder: Path, k: int, settings: cycles.Cycles) -> None:
    identity = Identity.from_seed(3_000_000 + SEED + k)
    rng = np.random.default_rng([SEED, k])
    moments = []
    for _ in range(CYCLES_EACH):
        state = random_state(rng, LOOSE_CROPS)
        camera = face_camera(
            identity,
            state,
            CYCLES_SIZE,
            tightness=float(rng.uniform(*LOOSE_CROPS.tightness)),
            distance_m=float(rng.uniform(0.7, 2.0)),
        )
        background = random_background(rng, CYCLES_SIZE, CYCLES_SIZE)
        moments.append(Moment(state, camera, random_rig(rng), background))
    truths = cycles.render_moments(identity, moments, settings)
    batch = _batch(truths, identity.seed)
    write_shard(
        folder,
        k,
        pictures=batch.rgb,
        points=batch.landmarks,
        identity=batch.seeds,
        labels=labels(batch),
    )


def _batch(truths: list[Truth], seed: int) -> CropBatch:
    blank = np.zeros_like(truths[0].alpha)
    for truth in truths:
        truth.mattes.setdefault("occluder", blank)
    parts = tuple(truths[0].mattes)
    mattes = np.stack([np.stack([t.mattes[p] for p in parts], -1) for t in truths])
    return CropBatch(
        rgb=np.stack([np.clip(t.rgb, 0, 60000) for t in truths]).astype(np.float16),
        landmarks=np.stack([t.landmarks for t in truths]).astype(np.float32),
        visible=np.stack([t.visible for t in truths]),
        face_matte=np.rint(np.stack([t.face_matte for t in truths]) * 255).astype(np.uint8),
        mattes=np.rint(np.clip(mattes, 0, 1) * 255).astype(np.uint8),
        parts=parts,
        seeds=np.full(len(truths), seed, np.int64),
    )
