"""Renders what the prescription is read from: both eyes' strips of aligned crops, large enough for
a dioptre to show, without glasses and with them, and the fields that give them other lenses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfxswap.align.spectacles import SHAPES
from vfxswap.geometry import Box
from vfxswap.nets.guided_lenses import STRIP
from vfxswap.synth.background import random_background
from vfxswap.synth.glasses import GLASS, lens_field, wearing
from vfxswap.synth.guided_pictures import (
    CROPS_EACH,
    Rng,
    aligned,
    as_bytes,
    as_halves,
    characteristics,
    random_glasses,
)
from vfxswap.synth.identity import Identity
from vfxswap.synth.lens import Prescription
from vfxswap.synth.light import random_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import random_expression
from vfxswap.synth.render import render
from vfxswap.train.guided_data import write_shard

TEXTURE_ROWS = 640
BASIS = (
    Prescription(sphere_dpt=-5.0),
    Prescription(sphere_dpt=4.0),
    Prescription(sphere_dpt=2.0, cylinder_dpt=-4.0),
    Prescription(sphere_dpt=2.0, cylinder_dpt=-4.0, axis_deg=45.0),
)
"""Lenses whose fields are kept: of a minus and a plus power, and of each cross cylinder alone.
Fields of all others are their sums but for a few per cent."""


def render_lens_shard(order: tuple[Path, int, int, int]) -> int:
    """Renders and writes one shard: folder, number, samples, seed."""
    folder, shard, samples, seed = order
    rows: list[dict[str, NDArray[Any]]] = []
    identity: Identity | None = None
    for i in range(samples):
        performer = 2_000_000 + seed * 10_000 + (shard * samples + i) // CROPS_EACH
        if identity is None or identity.seed != performer:
            identity = Identity.from_seed(performer, texture_rows=TEXTURE_ROWS)
        rows.append(lens_sample(identity, np.random.default_rng([seed, shard, i])))
    write_shard(folder, shard, {name: np.stack([row[name] for row in rows]) for name in rows[0]})
    return shard


def lens_sample(identity: Identity, rng: Rng) -> dict[str, NDArray[Any]]:
    """One performer's strip in all its versions; keys as in `train.guided_data`."""
    angle = rng.normal(0, [0.26, 0.13]).clip(-0.75, 0.75)
    state = random_expression(rng).posed(float(angle[0]), float(angle[1]), 0.0)
    state, camera = aligned(identity, state, STRIP.crop, rng)
    camera = replace(camera, window=Box(STRIP.x, STRIP.y, STRIP.width, STRIP.height))
    rig = random_rig(rng, mild=bool(rng.random() < 0.6))
    background = random_background(rng, STRIP.height, STRIP.width)
    plain = render(identity, state, camera, rig, background=background)
    glasses = random_glasses(rng)
    worn = wearing(identity, state, camera, rig, glasses, plain=plain, background=background)
    posed = pose(identity, state)
    pd_mm = glasses.prescription.pd_mm
    fields = [lens_field(posed, camera, replace(lens, pd_mm=pd_mm)) for lens in BASIS]
    sky = 0.5 * (1 - GLASS) * np.maximum(rig.ambient[0] + 0.5 * rig.ambient[3], 0)
    return {
        "plain": as_halves(plain.rgb),
        "worn": as_halves(worn.rgb),
        "frames": as_halves(worn.frames),
        "shade": as_halves(worn.shade.mean(-1)),
        "lenses": as_bytes(worn.lenses),
        "field": as_halves(np.stack([f.displacement for f in fields])),
        "known": as_bytes(np.all([f.known for f in fields], 0).astype(np.float32)),
        "glasses": characteristics(glasses),
        "sky": np.asarray(sky, np.float32),
        "angles": np.array([state.yaw, state.pitch, state.roll], np.float32),
        "identity": np.array(identity.seed, np.int64),
        "shape": np.array(-1 if glasses.rimless else list(SHAPES).index(glasses.shape), np.int64),
    }
