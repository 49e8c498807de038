"""Light put on a face: gain and offset at crop size, for the plate at its own resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from vfxswap.align.head import HeadPose, face_points, surface_normals
from vfxswap.characteristics import HEAD_M, LIGHTS
from vfxswap.effects.aligned import in_primaries
from vfxswap.geometry import BROWS, JAW, Array
from vfxswap.nets.guided import GuidedPair
from vfxswap.nets.guided_vector import NEAREST_HEAD, vectors
from vfxswap.ops.matte import feather_inwards, polygon_matte

EDGE_SHARE: Final = 0.1
"""Over this share of the crop, inside its edge, relighting fades."""
_FADE_SHARE: Final = 0.09
_ROOT, _BASE = 27, 33


def lit(values: Mapping[str, float]) -> bool:
    """Whether any light is on."""
    return any(values[f"{light}_intensity"] > 0 for light in LIGHTS)


def by_network(
    pair: GuidedPair,
    crop: Tensor,
    values: Mapping[str, float],
    *,
    matrix: Array,
    primaries: Array | None = None,
) -> tuple[Tensor, Tensor]:
    """Gain and offset [1, 3, S, S], scene-linear, of the lights alone on a crop [1, 3, S, S] in
    net space; `matrix` [2, 3] maps plate pixels to it, `primaries` as in `LoadedNet`. The gain is
    one of light, which is stated in the crop's own primaries; the offset comes back to them."""
    only = {name: value for name, value in values.items() if name.startswith("light")}
    # Lights stand as one sees the plate, networks see an upright face.
    turn = np.arctan2(-matrix[0, 1], matrix[1, 1])
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    for light in LIGHTS:
        x, down = values[f"{light}_x"], -values[f"{light}_y"]
        only[f"{light}_x"] = cos * x - sin * down
        only[f"{light}_y"] = -(sin * x + cos * down)
    area = torch.ones(1, 1, *crop.shape[-2:], device=crop.device)
    seen = in_primaries(crop, primaries)
    guided = pair.add(seen, vectors([only]).to(crop.device), area)
    if primaries is None:
        return guided.gain, guided.offset
    back = torch.as_tensor(np.linalg.inv(primaries), dtype=torch.float32, device=crop.device)
    return guided.gain, torch.einsum("ij,bjhw->bihw", back, guided.offset)


def by_surface(pose: HeadPose, pixels: Array, values: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """Gain and offset [1, 3, S, S] of lights on the mean head's surface (Lambert, no shadows)
    under plate `pixels` [S, S, 2]: the plain reference of the network."""
    at = face_points(pose, pixels)
    normals = surface_normals(at)
    total = np.zeros((*pixels.shape[:-1], 3))
    for light in LIGHTS:
        level = values[f"{light}_intensity"]
        if not level:
            continue
        place = np.array([values[f"{light}_x"], -values[f"{light}_y"], values[f"{light}_z"]])
        toward = place @ pose.rotation * HEAD_M * 1000 - at
        far = np.linalg.norm(toward, axis=-1)
        facing = np.clip((normals * toward).sum(-1) / np.maximum(far, 1e-6), 0, None)
        near = np.maximum(far / (HEAD_M * 1000), NEAREST_HEAD)
        color = np.array([values[f"{light}_{c}"] for c in ("red", "green", "blue")])
        total += (level * facing / near**2)[..., None] * color
    planes = torch.from_numpy(total.astype(np.float32).transpose(2, 0, 1))[None]
    return 1 + planes, torch.zeros_like(planes)


def face_fade(points: Array, size: int) -> Tensor:
    """[1, 1, S, S] where the mean head stands for the face: within jaw and forehead of `points`
    [70, 2] in crop pixels, fading inwards."""
    up = points[_ROOT] - points[_BASE]
    top = points[BROWS] + 0.9 * up
    outline = np.concatenate([points[JAW], points[16:17] + 0.8 * up, top[::-1],
                              points[0:1] + 0.8 * up])  # fmt: skip
    matte = polygon_matte(outline, (size, size))
    return feather_inwards(matte, _FADE_SHARE * size)


def edge_ramp(size: int) -> Tensor:
    """[1, 1, S, S]: 1 inside the crop, falling to 0 at its edge."""
    inset = (torch.arange(size) + 0.5) / size
    near = torch.minimum(inset, 1 - inset) / EDGE_SHARE
    ramp = near.clamp(0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return (ramp[:, None] * ramp)[None, None]
