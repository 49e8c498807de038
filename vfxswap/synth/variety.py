"""Wider variety than performers have by themselves, for networks that must find any face.

A performer's own shape and paint stay; brows, lips, teeth, lids and the hairline are moved well
beyond what `Identity.from_seed` draws, and landmarks follow.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from vfxswap.synth.head import FACIAL_ACTIONS, TEETH, Floats, Ints, head_asset
from vfxswap.synth.identity import Identity
from vfxswap.synth.paint import paint_skin
from vfxswap.synth.performance import State
from vfxswap.synth.render import Truth

LIP_SHAPES = (
    "mouth-upperlip-height", "mouth-lowerlip-height", "mouth-upperlip-volume",
    "mouth-lowerlip-volume", "mouth-upperlip-width", "mouth-lowerlip-width",
    "mouth-cupidsbow", "mouth-upperlip-middle", "mouth-lowerlip-middle",
)  # fmt: skip
"""Local shapes of the lips; each is a pair of opposites."""

BROW_LIFT_M = 0.0045
GAZE_RAD = (0.78, 0.45)
"""Largest gaze to a side and up or down, where an iris still shows."""


def varied(identity: Identity) -> Identity:
    """The performer with other brows, lips, teeth, lids, hairline and colour of hair. Depends on
    the performer's seed and age alone."""
    rng = np.random.default_rng([14, identity.seed, round(identity.age * 1000)])
    lift = float(rng.uniform(-1, 1)) * BROW_LIFT_M
    look = identity.look
    hair = look.hair
    if rng.random() < 0.1:
        hair = (rng.uniform(0.02, 0.6) * rng.dirichlet(np.ones(3)) * 2).astype(np.float32)
    fringe = float(rng.uniform(0.015, 0.04)) if rng.random() < 0.2 else 0.0
    look = replace(
        look,
        hair=hair,
        hairline_m=look.hairline_m - fringe,
        brow_lift_m=look.brow_lift_m + lift,
        brow_thickness_m=look.brow_thickness_m * float(np.exp(rng.normal(0.0, 0.35))),
        brow_density=float(rng.uniform(0.25, 1.0)),
        brow_arch=float(rng.uniform(-2.5, 3.5)),
    )
    resting = identity.resting.copy()
    lids = float(rng.uniform(0.0, 0.5))
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        resting[FACIAL_ACTIONS.index(name)] = np.clip(lids + rng.normal(0.0, 0.04), 0.0, 0.6)
    vertices = identity.vertices + _lips(rng)
    teeth = _teeth_vertices()
    # Further back: a dark mouth; up and down: more of one row, or gums.
    vertices[teeth] += [0.0, float(rng.choice([0.0, 0.004, 0.012], p=[0.7, 0.2, 0.1])), 0.0]
    vertices[teeth, 2] += float(rng.normal(0.0, 0.001))
    texture = paint_skin(
        np.random.default_rng([10, identity.seed]), look, identity.texture.shape[0]
    )
    return replace(
        identity,
        look=look,
        resting=resting,
        vertices=vertices.astype(np.float32),
        texture=texture,
        brows_m=lift,
        cache={},
    )


def glancing(state: State, rng: np.random.Generator) -> State:
    """The same acting; every third time the eyes look far to a side, up or down."""
    if rng.random() > 0.35:
        return state
    side, down = rng.uniform(-1, 1, 2) * GAZE_RAD
    return replace(state, gaze_yaw=float(side), gaze_pitch=float(down))


def with_other_teeth(truth: Truth, rng: np.random.Generator) -> Truth:
    """The picture with the inside of the mouth lighter, darker, yellower."""
    gain = np.exp(rng.normal(0.0, 0.45)) * np.array([1.0, 1.0, rng.uniform(0.6, 1.05)])
    inside = truth.mattes["mouth"][..., None]
    return replace(truth, rgb=(truth.rgb * (1 + inside * (gain - 1))).astype(np.float32))


def _lips(rng: np.random.Generator) -> Floats:
    asset, pairs = head_asset(), _lip_targets()
    shift = np.zeros_like(asset.template)
    for less, more in pairs:
        amount = float(np.clip(rng.normal(0.0, 0.75), -1.0, 1.0))
        shift += abs(amount) * asset.local[more if amount > 0 else less]
    return shift


@lru_cache(maxsize=1)
def _lip_targets() -> tuple[tuple[int, int], ...]:
    names = [str(name) for name in head_asset().local_names]
    pairs = [[i for i, name in enumerate(names) if name.startswith(f"{stem}-")
              and "width" not in name.removeprefix(stem)] for stem in LIP_SHAPES]  # fmt: skip
    return tuple((pair[0], pair[1]) for pair in pairs)


@lru_cache(maxsize=1)
def _teeth_vertices() -> Ints:
    asset = head_asset()
    corners = asset.seam_vertex[asset.triangles[asset.part == TEETH]]
    return np.unique(corners).astype(np.int32)
