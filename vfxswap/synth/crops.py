"""Face crops for training: framed on the face, with background, occluders and all truth."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vfxswap.synth.background import random_background
from vfxswap.synth.camera import Camera, portrait_camera
from vfxswap.synth.head import Floats, head_asset
from vfxswap.synth.identity import Identity, persona
from vfxswap.synth.light import LightRig, random_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.occlude import occlude
from vfxswap.synth.performance import State, random_expression
from vfxswap.synth.render import Truth, render
from vfxswap.synth.variety import glancing, varied, with_other_teeth

CropSample = Truth
"""A rendered crop; its landmarks are crop pixels, and `mattes["occluder"]` is among its parts."""


@dataclass(frozen=True)
class CropRecipe:
    """How crops vary. Angles are the largest in radians (drawn normal, clipped).

    `tightness` is the range of crop side over face-box side; `jitter` moves the crop by that
    share of its side (standard deviation); the chances are of an occluder, of glasses and of a
    random background (a flat dark one otherwise). `mild_light` keeps the key in front; `varied`
    widens performers and their gaze (see `variety`).
    """

    yaw_rad: float = 0.85
    pitch_rad: float = 0.5
    roll_rad: float = 0.3
    tightness: tuple[float, float] = (1.15, 1.75)
    jitter: float = 0.04
    occluder_chance: float = 0.25
    glasses_chance: float = 0.18
    background_chance: float = 1.0
    mild_light: bool = False
    samples: int = 2
    varied: bool = False


LANDMARK_CROPS = CropRecipe()
"""For the landmark net: wide poses, backgrounds, occluders, glasses."""
COMB_CROPS = CropRecipe(
    yaw_rad=0.7, pitch_rad=0.35, roll_rad=0.25, tightness=(1.5, 1.5), jitter=0.0,
    occluder_chance=0.0, glasses_chance=0.0, background_chance=0.0, mild_light=True,
)  # fmt: skip
"""For combs: the clean head alone, steady framing."""


def random_state(rng: np.random.Generator, recipe: CropRecipe = LANDMARK_CROPS) -> State:
    """Random expression, gaze and head pose within the recipe's limits."""

    def angle(limit: float) -> float:
        return float(np.clip(rng.normal(0, 0.5 * limit), -limit, limit))

    state = random_expression(rng)
    return state.posed(angle(recipe.yaw_rad), angle(recipe.pitch_rad), angle(recipe.roll_rad))


def face_camera(
    identity: Identity,
    state: State,
    size: int,
    *,
    tightness: float = 1.5,
    distance_m: float = 1.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    """A square camera around the posed face: its side is `tightness` times the landmarks' box."""
    points = pose(identity, state).landmarks
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2
    side = float(max(high[0] - low[0], high[2] - low[2])) * tightness
    return portrait_camera(
        centre, size=(size, size), height_m=side, distance_m=distance_m, offset=offset
    )


def crop_sample(
    identity: Identity,
    rng: np.random.Generator,
    size: int,
    *,
    state: State | None = None,
    rig: LightRig | None = None,
    camera: Camera | None = None,
    recipe: CropRecipe = LANDMARK_CROPS,
    device: str = "cpu",
) -> Truth:
    """One crop of `size`² pixels; what is not given is drawn from `rng`.

    `rgb` is scene-linear Rec.709 and may exceed 1. For paired truth call it twice with the same
    `state`, `rig` and `camera` and a fresh `rng` of the same seed, for two identities.
    """
    if state is None:
        state = random_state(rng, recipe)
        state = glancing(state, rng) if recipe.varied else state
    rig = random_rig(rng, mild=recipe.mild_light) if rig is None else rig
    if camera is None:
        camera = face_camera(
            identity,
            state,
            size,
            tightness=float(rng.uniform(*recipe.tightness)),
            distance_m=float(rng.uniform(0.5, 2.0)),
            offset=(float(rng.normal(0, recipe.jitter)), float(rng.normal(0, recipe.jitter))),
        )
    window = camera.window
    if rng.random() < recipe.background_chance:
        background = random_background(rng, window.height, window.width)
    else:
        background = np.zeros((window.height, window.width, 3), np.float32)
    glasses = rng.random() < recipe.glasses_chance
    occluded = rng.random() < recipe.occluder_chance
    truth = render(
        identity, state, camera, rig, samples=recipe.samples, background=background, device=device
    )
    if recipe.varied:
        truth = with_other_teeth(truth, rng)
    return occlude(rng, truth, camera, rig, glasses=glasses, occluder=occluded)


@dataclass(frozen=True, eq=False)
class CropBatch:
    """`rgb` [N, S, S, 3] float16 scene-linear Rec.709, `landmarks` [N, 70, 2] crop pixels,
    `visible` [N, 70], `face_matte` [N, S, S] and `mattes` [N, S, S, P] (parts by `parts`),
    uint8 where 255 is 1; `seeds` [N] the performers' seeds."""

    rgb: np.ndarray[tuple[int, ...], np.dtype[np.float16]]
    landmarks: Floats
    visible: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    face_matte: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    mattes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    parts: tuple[str, ...]
    seeds: np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True)
class _Order:
    first: int
    count: int
    size: int
    seed: int
    recipe: CropRecipe
    personas: tuple[str, ...]
    crops_each: int
    aged: bool
    texture_rows: int
    device: str


def render_crops(
    count: int,
    size: int,
    *,
    seed: int,
    recipe: CropRecipe = LANDMARK_CROPS,
    personas: Sequence[str] = (),
    crops_each: int = 6,
    aged: bool = False,
    processes: int = 2,
    batch: int = 60,
    texture_rows: int = 384,
    device: str = "cpu",
) -> Iterator[CropBatch]:
    """Batches of `batch` crops, `count` in all, in order; deterministic by `seed`.

    Performers are `personas` in turn (names or numbers), or, when empty, a new random one every
    `crops_each` crops, whose second half shows them at another age if `aged`. Rendering runs in
    `processes` processes (warp is single-threaded on CPU); 0 renders in this one. Crop i depends
    on seed and i alone, whatever the processes.
    """
    orders = [
        _Order(first, min(batch, count - first), size, seed, recipe, tuple(personas), crops_each,
               aged, texture_rows, device)
        for first in range(0, count, batch)
    ]  # fmt: skip
    head_asset()
    if processes == 0:
        yield from map(_render_order, orders)
        return
    # Spawned, not forked: torch and warp keep threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_single_thread) as pool:
        yield from pool.imap(_render_order, orders)


def _single_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2

    cv2.setNumThreads(1)


def _render_order(order: _Order) -> CropBatch:
    truths: list[Truth] = []
    seeds: list[int] = []
    identity: Identity | None = None
    asked: float | None = None
    for i in range(order.first, order.first + order.count):
        rng = np.random.default_rng([order.seed, i])
        if order.personas:
            name = order.personas[i % len(order.personas)]
            identity = persona(name, texture_rows=order.texture_rows)
        else:
            # Starters have small seeds; random performers stay clear of them.
            wanted = 1_000_000 + order.seed * 100_000 + i // order.crops_each
            age = None
            if order.aged and i % order.crops_each >= order.crops_each // 2:
                age = float(np.random.default_rng([order.seed, wanted]).random())
            if identity is None or (identity.seed, asked) != (wanted, age):
                identity = Identity.from_seed(wanted, age=age, texture_rows=order.texture_rows)
                identity = varied(identity) if order.recipe.varied else identity
                asked = age
        truths.append(
            crop_sample(identity, rng, order.size, recipe=order.recipe, device=order.device)
        )
        seeds.append(identity.seed)
    parts = tuple(truths[0].mattes)

    def byte(matte: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return np.rint(np.clip(matte, 0, 1) * 255).astype(np.uint8)

    return CropBatch(
        rgb=np.stack([np.clip(t.rgb, 0, 60000) for t in truths]).astype(np.float16),
        landmarks=np.stack([t.landmarks for t in truths]).astype(np.float32),
        visible=np.stack([t.visible for t in truths]),
        face_matte=byte(np.stack([t.face_matte for t in truths])),
        mattes=byte(np.stack([np.stack([t.mattes[p] for p in parts], -1) for t in truths])),
        parts=parts,
        seeds=np.array(seeds, np.int64),
    )


def steady(state: State) -> State:
    """The same acting with the head straight (for expression-only tests)."""
    return replace(state, yaw=0.0, pitch=0.0, roll=0.0, shift_m=(0.0, 0.0, 0.0))
