"""Posing: one performer's rest shape, acting and head pose to vertices, landmarks and eyes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vfxswap.geometry import BROWS
from vfxswap.synth.head import (
    EYE_LEFT,
    EYE_RIGHT,
    HAIR,
    LASHES,
    SHELL,
    SKIN,
    Floats,
    Ints,
    head_asset,
)
from vfxswap.synth.identity import Identity
from vfxswap.synth.paint import hairline, smoothstep
from vfxswap.synth.performance import Array, State, rotation, with_gaze

SHELL_LAYERS = 4
NECK = np.array([0.0, -0.02, 0.65])
"""Where the head turns, metres."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Triangles that are drawn, with attributes of the split vertices; same for all performers.

    The first `base_count` split vertices are the asset's, then the scalp's in `SHELL_LAYERS`
    copies. `source` maps split vertices to the asset's vertices.
    """

    triangles: Ints
    part: Ints
    uv: Floats
    rest: Floats
    source: Ints
    layer: Floats
    face: Floats
    base_count: int
    smooth_triangles: Ints
    ring_starts: Ints
    ring: Ints
    head_weight: Floats


@lru_cache(maxsize=1)
def topology() -> Topology:
    """The drawn mesh, built once from the asset."""
    asset = head_asset()
    rest = asset.template[asset.seam_vertex]
    middle = rest[asset.triangles].mean(1)
    # Hair helper geometry hangs into the face in front; only the back and the sides are hair.
    keep = ~((asset.part == HAIR) & (middle[:, 1] < -0.068))
    triangles, part = asset.triangles[keep], asset.part[keep]
    corners = rest[asset.triangles]
    line = hairline(rest, 0.0, 0.0)
    ear = (np.abs(corners[:, :, 0]).max(1) > 0.0735) & (middle[:, 1] < -0.02)
    ear &= middle[:, 2] < 0.75
    scalp = (asset.part == SKIN) & (line[asset.triangles].max(1) > -0.02) & ~ear
    scalp &= corners[:, :, 2].min(1) > 0.64
    chosen, index = np.unique(asset.triangles[scalp], return_inverse=True)
    index = index.reshape(-1, 3)
    count = len(rest)
    shells = [index + count + k * len(chosen) for k in range(SHELL_LAYERS)]
    source = np.concatenate([asset.seam_vertex, *[asset.seam_vertex[chosen]] * SHELL_LAYERS])
    all_rest = asset.template[source]
    layer = np.zeros(len(source), np.float32)
    for k in range(SHELL_LAYERS):
        layer[count + k * len(chosen) : count + (k + 1) * len(chosen)] = (k + 1) / SHELL_LAYERS
    layer[np.unique(asset.triangles[asset.part == HAIR])] = 1.0
    smooth = asset.seam_vertex[asset.triangles].astype(np.int32)
    flat = smooth.reshape(-1)
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(len(asset.template) + 1))
    x, y, z = np.abs(all_rest[:, 0]), all_rest[:, 1], all_rest[:, 2]
    face = smoothstep(-y, 0.045, 0.065) * smoothstep(z, 0.612, 0.620)
    face *= smoothstep(-z, -0.803, -0.793) * smoothstep(-x, -0.075, -0.069)
    skin = np.zeros(len(source), bool)
    skin[np.unique(asset.triangles[asset.part == SKIN])] = True
    t = asset.template
    high = t[:, 2] - 0.35 * (t[:, 1] + 0.03)
    return Topology(
        triangles=np.concatenate([triangles, *shells]).astype(np.int32),
        part=np.concatenate([part, np.full(len(index) * SHELL_LAYERS, SHELL)]).astype(np.int32),
        uv=np.concatenate([asset.uv, *[asset.uv[chosen]] * SHELL_LAYERS]).astype(np.float32),
        rest=all_rest.astype(np.float32),
        source=source.astype(np.int32),
        layer=layer,
        face=(face * skin).astype(np.float32),
        base_count=count,
        smooth_triangles=smooth,
        ring_starts=starts.astype(np.int32),
        ring=(order // 3).astype(np.int32),
        head_weight=smoothstep(high.astype(np.float32), 0.54, 0.635),
    )


@dataclass(frozen=True, eq=False)
class Skirt:
    """A curtain that hangs from the cut edge of the bust, so that no shot shows it.

    `source` are the asset's vertices it repeats, `drop_m` how far each copy hangs down;
    `triangles` index these copies.
    """

    triangles: Ints
    source: Ints
    drop_m: Floats


SKIRT_M = 0.8


@lru_cache(maxsize=1)
def skirt() -> Skirt:
    """The curtain, built once from the asset."""
    asset = head_asset()
    corners = asset.seam_vertex[asset.triangles[asset.part == SKIN]]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    _, index, times = np.unique(
        np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True
    )
    cut = edges[index[times == 1]]
    cut = cut[(asset.template[cut][:, :, 2] < 0.58).all(1)]
    source = np.unique(cut)
    upper = np.searchsorted(source, cut)
    lower = upper + len(source)
    # An edge is run through the other way by its neighbour, so that fronts stay fronts.
    triangles = np.concatenate(
        [
            np.stack([upper[:, 1], upper[:, 0], lower[:, 0]], 1),
            np.stack([upper[:, 1], lower[:, 0], lower[:, 1]], 1),
        ]
    )
    drop = np.zeros(2 * len(source), np.float32)
    drop[len(source) :] = SKIRT_M
    return Skirt(triangles.astype(np.int32), np.tile(source, 2).astype(np.int32), drop)


@dataclass(frozen=True, eq=False)
class Posed:
    """`points` [N, 3] of the asset's vertices in metres, `landmarks` [70, 3], eyes and gaze."""

    points: Floats
    landmarks: Array
    eye_centres: tuple[Array, Array]
    gazes: tuple[Array, Array]
    rotation: Array


@lru_cache(maxsize=1)
def _eye_vertices() -> tuple[Ints, Ints]:
    return head_asset().eyes


def pose(identity: Identity, state: State) -> Posed:
    """Applies acting, then gaze, then the head's pose (the neck follows, shoulders stay)."""
    asset = head_asset()
    weights = np.clip(identity.resting + with_gaze(state), 0.0, 1.0).astype(np.float32)
    active = np.flatnonzero(weights)
    flat = asset.actions.reshape(len(weights), -1)
    points = identity.vertices + (weights[active] @ flat[active]).reshape(-1, 3)
    turn = rotation(state.gaze_yaw, state.gaze_pitch, 0.0)
    head = state.rotation
    shift, stand = np.asarray(state.shift_m), np.asarray(state.stand_m)

    def move(local: Array) -> Array:
        return np.asarray((local - NECK) @ head.T + NECK + shift + stand)

    centres, gazes, pupils = [], [], []
    for vertices in _eye_vertices():
        eye = points[vertices].astype(np.float64)
        centre = eye.mean(0)
        points[vertices] = (eye - centre) @ turn.T + centre
        forward = turn @ np.array([0.0, -1.0, 0.0])
        radius = float(np.linalg.norm(eye - centre, axis=1).max())
        centres.append(move(centre))
        gazes.append(head @ forward)
        pupils.append(move(centre + forward * radius))
    moved = (points - NECK) @ head.T + NECK
    weight = _topology_weight()[:, None]
    world = weight * moved + (1 - weight) * points + shift * weight + stand
    landmarks = np.concatenate([world[asset.landmarks], pupils[1][None], pupils[0][None]])
    landmarks[BROWS] += head @ np.array([0.0, 0.0, identity.brows_m])
    return Posed(
        world.astype(np.float32),
        landmarks,
        (centres[0], centres[1]),
        (gazes[0], gazes[1]),
        head,
    )


@lru_cache(maxsize=1)
def _topology_weight() -> Floats:
    weight = topology().head_weight.copy()
    asset = head_asset()
    corners = asset.seam_vertex[asset.triangles]
    for part in (EYE_LEFT, EYE_RIGHT, LASHES, 3, 5):
        weight[np.unique(corners[asset.part == part])] = 1.0
    return weight


@lru_cache(maxsize=1)
def _lash_tips() -> tuple[Ints, Floats]:
    """Lash vertices, and 0 at their roots on the lids to 1 at their tips."""
    mesh, asset = topology(), head_asset()
    lashes = np.unique(asset.triangles[asset.part == LASHES])
    skin = np.unique(asset.seam_vertex[asset.triangles[asset.part == SKIN]])
    skin = skin[asset.template[skin, 1] < -0.09]
    gap = mesh.rest[lashes][:, None] - asset.template[skin][None]
    distance = np.sqrt((gap**2).sum(-1)).min(1)
    return lashes.astype(np.int32), np.clip(distance / 0.006, 0, 1).astype(np.float32)


def hair_cover(identity: Identity) -> tuple[Floats, Floats]:
    """Opacity of cut-out vertices and lift of the shells [metres], per split vertex."""
    mesh, asset = topology(), head_asset()
    style = identity.hair
    cover, lift = np.ones(len(mesh.rest), np.float32), np.zeros(len(mesh.rest), np.float32)
    lashes, tips = _lash_tips()
    lower = mesh.rest[lashes, 2] < asset.template[asset.landmarks[36:48], 2].mean() - 0.002
    cover[lashes] = (0.62 - 0.5 * tips) * np.where(lower, 0.45, 1.0)
    line = hairline(mesh.rest, identity.look.hairline_m, identity.look.hairline_side_m)
    shell = slice(mesh.base_count, None)
    cover[shell] = (smoothstep(line, -0.005, 0.010) * style.cover)[shell]
    rng = np.random.default_rng([11, identity.seed])
    waves = rng.standard_normal((3, 3)) * 28
    phase = rng.uniform(0, 6.28, 3)
    lumps = np.sin(mesh.rest @ waves.T.astype(np.float32) + phase).mean(1)
    body = 1.0 + 0.6 * smoothstep(mesh.rest[:, 2], 0.78, 0.85) * (style.name in ("short", "long"))
    height = style.height_m * (0.3 + 0.7 * smoothstep(line, -0.002, 0.03)) * (1 + 0.25 * lumps)
    lift[shell] = (height * body * mesh.layer + 0.0005)[shell]
    hanging = np.unique(asset.triangles[asset.part == HAIR])
    if style.name == "long":
        z = mesh.rest[hanging, 2]
        # The helper's front edge would be a row of triangles over the ears: it thins out there.
        thin = smoothstep(mesh.rest[hanging, 1], -0.066, -0.040)
        cover[hanging] = smoothstep(z, style.cut_m, style.cut_m + 0.06) * 1.2 * thin
    else:
        cover[hanging] = 0.0
    return cover, lift
