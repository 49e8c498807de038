"""Renders what guided networks learn from: performers with and without glasses, under lights."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfxswap.align.crop import crop_matrix
from vfxswap.align.spectacles import SHAPES
from vfxswap.characteristics import CHARACTERISTICS, HEAD_M, NEUTRAL
from vfxswap.errors import CancelledError
from vfxswap.geometry import Box
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import Camera, portrait_camera
from vfxswap.synth.glasses import Glasses, lens_field, seat, wearing
from vfxswap.synth.head import Floats, head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.lens import Prescription
from vfxswap.synth.light import point_rig, random_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import Array, State, random_expression
from vfxswap.synth.render import Truth, render
from vfxswap.train.guided_data import shard_file, write_shard

SIZE = 128
FIELDS = 3
LIGHTS = 2
CROPS_EACH = 4
TEXTURE_ROWS = 256
STANDARD = Glasses()
"""The frames that the generator draws."""
STANDARD_SHARE = 0.5
BRIGHT = 50.0
"""Lights are rendered this bright and scaled back: the renderer never lets a sky be black."""

Rng = np.random.Generator


class _Order(NamedTuple):
    folder: Path
    shard: int
    samples: int
    seed: int


def render_guided(
    folder: Path,
    *,
    shards: int,
    per_shard: int = 40,
    seed: int = 801,
    processes: int = 2,
    one: Callable[[tuple[Path, int, int, int]], int] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Renders the shards that `folder` does not have yet, in `processes` processes, each by `one`
    (`render_shard`).

    A shard depends on `seed`, its number and `per_shard` alone; a performer has `CROPS_EACH`
    samples. `progress` hears shards done and wanted. Raises JobError without the synthetic
    performers' extra, CancelledError when `stop()` turns true; whole shards are kept.
    """
    missing = [k for k in range(shards) if not shard_file(folder, k).exists()]
    if not missing:
        return
    head_asset()
    orders = [_Order(folder, k, per_shard, seed) for k in missing]
    done = shards - len(missing)
    # Spawned, not forked: torch and warp keep threads that a fork would lose.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=_single_thread) as pool:
        for _ in pool.imap_unordered(one or render_shard, orders):
            done += 1
            progress(done, shards)
            if stop():
                raise CancelledError(f"rendering stopped after {done} of {shards} shards")


def _single_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2

    cv2.setNumThreads(1)


def render_shard(order: tuple[Path, int, int, int]) -> int:
    """Renders and writes one shard: folder, number, samples, seed."""
    folder, shard, samples, seed = order
    rows: list[dict[str, Any]] = []
    identity: Identity | None = None
    for i in range(samples):
        performer = 2_000_000 + seed * 10_000 + (shard * samples + i) // CROPS_EACH
        if identity is None or identity.seed != performer:
            identity = Identity.from_seed(performer, texture_rows=TEXTURE_ROWS)
        rows.append(sample(identity, np.random.default_rng([seed, shard, i])))
    write_shard(folder, shard, {name: np.stack([row[name] for row in rows]) for name in rows[0]})
    return shard


def sample(identity: Identity, rng: Rng, *, size: int = SIZE) -> dict[str, NDArray[Any]]:
    """One performer's aligned crop in all its versions; keys as in `train.guided_data`."""
    angle = rng.normal(0, [0.26, 0.13]).clip(-0.75, 0.75)
    state = random_expression(rng).posed(float(angle[0]), float(angle[1]), 0.0)
    state, camera = aligned(identity, state, size, rng)
    rig = random_rig(rng, mild=bool(rng.random() < 0.6))
    background = random_background(rng, size, size)
    plain = render(identity, state, camera, rig, background=background)
    glasses = random_glasses(rng)
    worn = wearing(identity, state, camera, rig, glasses, plain=plain, background=background)
    posed = pose(identity, state)
    fields = [worn.field]
    lenses = [glasses.prescription]
    while len(fields) < FIELDS:
        lenses.append(random_prescription(rng))
        fields.append(lens_field(posed, camera, lenses[-1]))
    origin = seat(posed).origin
    places = [random_place(rng) for _ in range(LIGHTS)]
    level = light_on_face(plain, identity)
    lights = []
    for x, y, z in places:
        rig_of = point_rig(origin + HEAD_M * np.array([x, -z, y]), origin, np.full(3, BRIGHT))
        lights.append(render(identity, state, camera, rig_of).rgb * (level / BRIGHT))
    shape = -1 if glasses.rimless else list(SHAPES).index(glasses.shape)
    return {
        "plain": as_halves(plain.rgb),
        "worn": as_halves(worn.rgb),
        "light": as_halves(np.stack(lights)),
        "frames": as_halves(worn.frames),
        "shade": as_halves(worn.shade.mean(-1)),
        "lenses": as_bytes(worn.lenses),
        "face": as_bytes(plain.face_matte),
        "field": as_halves(np.stack([f.displacement for f in fields])),
        "known": as_bytes(np.stack([f.known for f in fields]).astype(np.float32)),
        "glasses": np.stack([characteristics(replace(glasses, prescription=p)) for p in lenses]),
        "lights": np.stack(places).astype(np.float32),
        "angles": np.array([state.yaw, state.pitch, state.roll], np.float32),
        "identity": np.array(identity.seed, np.int64),
        "shape": np.array(shape, np.int64),
    }


def aligned(identity: Identity, state: State, size: int, rng: Rng) -> tuple[State, Camera]:
    """The state and a camera whose picture is the aligned crop itself, as `crop_matrix` would cut
    it from landmarks that are a little off. The head's roll gives way."""
    distance = float(np.exp(rng.uniform(np.log(0.6), np.log(2.5))))
    roll, stretch = float(rng.normal(0, 0.025)), float(np.exp(rng.normal(0, 0.02)))
    shift = rng.normal(0, 0.01, 2) * size
    points = pose(identity, state).landmarks
    camera = portrait_camera(
        points[27:36].mean(0), size=(size, size), height_m=HEAD_M, distance_m=distance
    )
    for _ in range(4):
        seen = camera.project(pose(identity, state).landmarks)[:, :2]
        matrix = crop_matrix(seen, size=size)
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        # Clockwise on screen is positive both in the crop's turn and in the head's roll.
        turn = float(np.arctan2(matrix[1, 0], matrix[0, 0]))
        state = replace(state, roll=state.roll + turn)
        centre = np.array(camera.centre_px)
        moved = scale * (centre - seen[27:36].mean(0)) + (
            matrix[:, :2] @ seen[27:36].mean(0) + matrix[:, 2]
        )
        camera = replace(
            camera, focal_px=camera.focal_px * scale, centre_px=(float(moved[0]), float(moved[1]))
        )
    state = replace(state, roll=state.roll + roll)
    middle = np.array([size / 2, size / 2])
    at = middle + stretch * (np.array(camera.centre_px) - middle) + shift
    camera = replace(
        camera,
        focal_px=camera.focal_px * stretch,
        centre_px=(float(at[0]), float(at[1])),
        window=Box(0, 0, size, size),
    )
    return state, camera


def random_prescription(rng: Rng) -> Prescription:
    """A lens over the whole range; every seventh bends nothing."""
    pd = float(np.clip(rng.normal(63, 3.5), 50, 76))
    if rng.random() < 0.14:
        return Prescription(pd_mm=pd)
    cylinder = float(rng.uniform(-4, 0)) if rng.random() < 0.5 else 0.0
    prism = float(rng.uniform(0, 8)) if rng.random() < 0.2 else 0.0
    return Prescription(
        sphere_dpt=float(rng.uniform(-8, 6)),
        cylinder_dpt=cylinder,
        axis_deg=float(rng.uniform(0, 180)),
        prism_pdpt=prism,
        base_deg=float(rng.uniform(0, 360)),
        pd_mm=pd,
    )


def random_glasses(rng: Rng) -> Glasses:
    """Frames, lenses and tint; half of them the standard frames in any colour."""
    dark = rng.random() < 0.5
    color = rng.uniform(0.01, 0.06, 3) if dark else rng.uniform(0.02, 0.7, 3)
    tinted = rng.random() < 0.3
    look = Glasses(
        color=(float(color[0]), float(color[1]), float(color[2])),
        prescription=random_prescription(rng),
        tint_density=float(rng.uniform(0.1, 1.2)) if tinted else 0.0,
        tint_color=tuple(float(c) for c in rng.uniform(0.5, 1, 3)) if tinted else (1.0, 1.0, 1.0),  # type: ignore[arg-type]
        tint_gradient=float(rng.random()) if tinted else 0.0,
    )
    if rng.random() < STANDARD_SHARE:
        return look
    return replace(
        look,
        shape=str(rng.choice(list(SHAPES))),
        scale=float(rng.uniform(0.88, 1.12)),
        rimless=bool(rng.random() < 0.15),
        depth_mm=float(rng.uniform(1.0, 5.0)),
    )


def random_place(rng: Rng) -> Array:
    """A light's place in heads: right, up, to the camera; a quarter of them behind."""
    toward = rng.normal(size=3)
    toward[2] = abs(toward[2]) if rng.random() < 0.75 else -abs(toward[2])
    far = np.exp(rng.uniform(np.log(0.8), np.log(4.0)))
    return np.asarray(far * toward / np.linalg.norm(toward))


def light_on_face(plain: Truth, identity: Identity) -> Floats:
    """[3] what light is on the face: the mean of its skin over what its skin reflects."""
    weight = (plain.mattes["skin"] * plain.face_matte)[..., None]
    mean = (plain.rgb * weight).sum((0, 1)) / max(float(weight.sum()), 1e-6)
    return np.asarray(mean / identity.skin, np.float32)


def characteristics(glasses: Glasses) -> Floats:
    """The conditioning vector of what is worn, without lights."""
    lens = glasses.prescription
    values = dict(
        NEUTRAL,
        frames=1.0,
        sphere=lens.sphere_dpt,
        cylinder=lens.cylinder_dpt,
        axis_deg=lens.axis_deg,
        prism=lens.prism_pdpt,
        prism_base_deg=lens.base_deg,
        pd_mm=lens.pd_mm,
        tint_density=glasses.tint_density,
        tint_gradient=glasses.tint_gradient,
    )
    for i, channel in enumerate(("red", "green", "blue")):
        values[f"frames_{channel}"] = glasses.color[i]
        values[f"tint_{channel}"] = glasses.tint_color[i]
    return np.array([values[each.name] for each in CHARACTERISTICS], np.float32)


def as_halves(values: NDArray[Any]) -> NDArray[np.float16]:
    """In half precision, for a shard."""
    half: NDArray[np.float16] = np.clip(values, -60000, 60000).astype(np.float16)
    return half


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0…1 as bytes, for a shard."""
    byte: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return byte
