"""Glasses drawn on a face at the plate's resolution: frames, lenses, and what lenses show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.align.head import HeadPose
from vfxswap.align.spectacles import (
    LEFT,
    RIGHT,
    Lens,
    arm_outline,
    bridge_outline,
    in_lens_plane,
    on_lens_plane,
    rim_outline,
    rim_width,
    seen_through,
)
from vfxswap.geometry import Array, Box
from vfxswap.image import Pixels
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.matte import polygon_matte, smoothed
from vfxswap.ops.warp import between_windows, warp_affine

Pattern = Literal["plain", "tortoise", "stripes"]

SIDES: Final = (RIGHT, LEFT)
PICTURE_MM: Final = 138.0
"""How wide a picture's frames are on the mean head."""
_REACH_MM: Final = 14.0
"""Around the frames: shadow, and what strong lenses bring in from beside them."""
_SHADOW: Final = 0.45
_SKIN: Final = 0.35
"""Albedo of skin, roughly: tells the light on a face from its brightness."""


@dataclass(frozen=True, eq=False)
class Glasses:
    """Glasses on a piece of the plate, [1, C, h, w] over `box`.

    `lenses` covers of the subject's right and left lens; `frames` albedo times alpha, and alpha;
    `down` the height on a lens, 0 at its top and 1 at its bottom; `px` plate pixels a millimetre.
    """

    box: Box
    pose: HeadPose
    lenses: Tensor
    frames: Tensor
    down: Tensor
    px: float

    @property
    def lens(self) -> Tensor:
        """Both lenses, [1, 1, h, w]."""
        return self.lenses.amax(1, keepdim=True)


def glasses_box(pose: HeadPose, shape: str, scale: float) -> Box:
    """What of the plate glasses may touch."""
    corners = []
    for side in SIDES:
        rim = rim_outline(shape, side, scale=scale, grown_mm=rim_width(shape) + _REACH_MM)
        corners.append(pose.project(in_lens_plane(rim)))
        arm = arm_outline(shape, side, pose, scale=scale)
        corners += [] if arm is None else [arm]
    points = np.concatenate(corners)
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    return Box(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))


def drawn(
    pose: HeadPose,
    box: Box,
    *,
    shape: str,
    scale: float,
    color: tuple[float, float, float],
    pattern: Pattern,
    device: torch.device,
) -> Glasses:
    """Frames of the built-in set, antialiased at the plate's resolution."""
    lenses = torch.cat([_filled(rim_outline(shape, s, scale=scale), pose, box) for s in SIDES], 1)
    grown = rim_width(shape, scale=scale)
    solid = [_filled(bridge_outline(shape, scale=scale), pose, box)]
    for side in SIDES:
        solid.append(_filled(rim_outline(shape, side, scale=scale, grown_mm=grown), pose, box))
        arm = arm_outline(shape, side, pose, scale=scale)
        if arm is not None:
            solid.append(polygon_matte(arm - [box.x, box.y], (box.height, box.width)))
    alpha = torch.cat(solid, 1).amax(1, keepdim=True) * (1 - lenses.amax(1, keepdim=True))
    at = on_lens_plane(pose, _centres(box))
    paint = torch.tensor(color).view(1, 3, 1, 1) * _tone(at, pattern)
    return Glasses(
        box,
        pose,
        lenses.to(device),
        torch.cat([paint * alpha, alpha], 1).to(device),
        _down(at, rim_outline(shape, RIGHT, scale=scale)).to(device),
        pose.scale,
    )


def pictured(
    picture: Pixels, pose: HeadPose, box: Box, *, shape: str, scale: float, device: torch.device
) -> Glasses:
    """Frames of a picture [H, W, 4] (premultiplied, scene-linear), seen from the front: what is
    opaque in it is laid on the lens plane, `PICTURE_MM` wide. Its openings are the lenses, or,
    where it has none, those of the built-in `shape`."""
    rows, columns = (np.flatnonzero((picture[..., 3] > 0.1).any(axis)) for axis in (1, 0))
    if rows.size == 0:
        empty = torch.zeros(1, 4, box.height, box.width, device=device)
        return Glasses(box, pose, empty[:, :2], empty, empty[:, :1], pose.scale)
    step = PICTURE_MM * scale / (columns[-1] + 1 - columns[0])
    middle = np.array([(columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2])

    # Corners of a picture's pixel grid on the plate give its affine map.
    def place(x: float, y: float) -> Array:
        flat = np.array([(x - middle[0]) * step, (y - middle[1]) * step + 1.5 * scale])
        return pose.project(in_lens_plane(flat))

    origin = place(0, 0)
    forward = np.stack([place(1, 0) - origin, place(0, 1) - origin, origin], 1)
    inner = np.linalg.inv(forward[:, :2])
    back = np.concatenate([inner, -inner @ forward[:, 2:]], 1)
    opening = _openings(picture[..., 3])
    planes = to_tensor(np.concatenate([picture, opening], -1))
    size = (box.height, box.width)
    laid = warp_affine(planes, between_windows(back, output=(box.x, box.y)), size)
    alpha = laid[:, 3:4].clamp(0, 1)
    alpha = torch.where(alpha < 2e-3, 0, alpha)
    lenses = laid[:, 4:].clamp(0, 1)
    at = on_lens_plane(pose, _centres(box))
    outline = rim_outline(shape, RIGHT, scale=scale)
    if not opening.any():
        lenses = torch.cat(
            [_filled(rim_outline(shape, s, scale=scale), pose, box) for s in SIDES], 1
        )
    frames = torch.cat([laid[:, :3].clamp_min(0) * (alpha > 0), alpha], 1)
    return Glasses(
        box, pose, lenses.to(device), frames.to(device), _down(at, outline).to(device), pose.scale
    )


def field(glasses: Glasses, lens: Lens, *, removed: bool = False) -> Tensor:
    """[1, 2, h, w] plate pixels, float64: what a lens shows at p is what lies at p + field(p)
    without it; `removed`, the other way round. 0 outside the lenses."""
    box = glasses.box
    total = torch.zeros(1, 2, box.height, box.width, dtype=torch.float64)
    for index, side in enumerate(SIDES):
        cover = glasses.lenses[0, index].cpu() > 0
        rows, columns = cover.any(1).nonzero(), cover.any(0).nonzero()
        if len(rows) == 0:
            continue
        here = (
            slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        )  # fmt: skip
        centres = _centres(box)[here]
        moved = seen_through(centres, lens, side, glasses.pose, removed=removed) - centres
        planes = torch.from_numpy(np.ascontiguousarray(moved.transpose(2, 0, 1)))
        total[(0, slice(None), *here)] += planes * cover[here]
    return total.to(glasses.lenses.device, torch.float32)


def held_inside(glasses: Glasses, moved: Tensor) -> Tensor:
    """The field shortened where it leads out of the lenses: there is the rim, not the face."""
    kept = torch.zeros_like(moved)
    solid = (glasses.lens > 0.99).to(moved)
    for share in np.linspace(0, 1, 9):
        there = _looked_up(solid, moved * float(share))
        kept = torch.where(there > 0.5, moved * float(share), kept)
    return kept


def shaded(glasses: Glasses, light: float) -> Tensor:
    """The frames lit [1, 4, h, w], premultiplied: light from above on rounded bars, of `light`
    times what a white surface would throw back."""
    alpha = glasses.frames[:, 3:]
    round_px = max(1.0, 1.5 * glasses.px)
    soft = smoothed(alpha, round_px)
    up = F.pad(soft[..., 2:, :] - soft[..., :-2, :], (0, 0, 1, 1)) * round_px
    up = up.clamp(-1, 1)
    gloss = 0.04 * up.clamp_min(0) ** 2 * alpha
    return torch.cat([light * (glasses.frames[:, :3] * (0.85 + 0.45 * up) + gloss), alpha], 1)


def shadow(glasses: Glasses) -> Tensor:
    """Share of light [1, 1, h, w] that frames take from the face below them, at full degree."""
    alpha = glasses.frames[:, 3:]
    low = round(5.0 * glasses.px)
    moved = F.pad(alpha, (0, 0, low, 0))[..., : alpha.shape[-2], :]
    soft = _SHADOW * smoothed(moved, 5.0 * glasses.px)
    return torch.where(soft < 4e-3, 0, soft)


def light_on(linear: Tensor, face: Tensor) -> float:
    """The light on a face: its median luminance over that of skin, where `face` [1, 1, h, w] is
    1; 0.5 where nothing is."""
    inside = (face[0, 0] > 0.5) & torch.isfinite(linear[0]).all(0)
    if not bool(inside.any()):
        return 0.5
    return float(linear[0].mean(0)[inside].median().clamp_min(0)) / _SKIN


def lens_of(values: Mapping[str, float]) -> Lens:
    """The lens of characteristics by name."""
    names = ("sphere", "cylinder", "axis_deg", "prism", "prism_base_deg", "pd_mm")
    return Lens(*(values[name] for name in names))


def _centres(box: Box) -> Array:
    x = np.arange(box.width, dtype=np.float64) + box.x + 0.5
    y = np.arange(box.height, dtype=np.float64) + box.y + 0.5
    return np.stack(np.meshgrid(x, y), -1)


def _filled(outline: Array, pose: HeadPose, box: Box) -> Tensor:
    points = pose.project(in_lens_plane(outline)) - [box.x, box.y]
    return polygon_matte(points, (box.height, box.width))


def _down(at: Array, outline: Array) -> Tensor:
    top, bottom = outline[:, 1].min(), outline[:, 1].max()
    height = np.clip((at[..., 1] - top) / (bottom - top), 0, 1)
    return torch.from_numpy(height.astype(np.float32))[None, None]


def _tone(at: Array, pattern: Pattern) -> Tensor:
    """[1, 1, h, w] 0…1, painted in millimetres of the lens plane, so that it sticks to it."""
    x, y = at[..., 0], at[..., 1]
    if pattern == "plain":
        tone = np.ones_like(x)
    elif pattern == "stripes":
        tone = 0.25 + 0.75 / (1 + np.exp(-6 * np.sin(2 * np.pi * (x + 0.5 * y) / 5.0)))
    else:
        waves = (
            np.sin(0.55 * x + 1.3 * np.sin(0.31 * y))
            + np.sin(0.48 * y - 0.27 * x + 1.7)
            + np.sin(0.83 * x + 0.71 * y + 0.9 * np.sin(0.4 * x))
        )
        tone = 0.15 + 0.85 / (1 + np.exp(-3.0 * waves))
    return torch.from_numpy(tone.astype(np.float32))[None, None]


def _openings(alpha: Pixels) -> Pixels:
    """[H, W, 2] the two largest holes of a picture of frames, left one first."""
    clear = (alpha < 0.5).astype(np.uint8)
    _, labels, stats, centres = cv2.connectedComponentsWithStats(
        np.pad(clear, 1, constant_values=1)
    )
    outside = labels[0, 0]
    holes = [i for i in range(1, len(stats)) if i != outside]
    holes = sorted(holes, key=lambda i: -stats[i, cv2.CC_STAT_AREA])[:2]
    holes = [i for i in holes if stats[i, cv2.CC_STAT_AREA] > 0.01 * alpha.size]
    planes = np.zeros((*alpha.shape, 2), np.float32)
    for plane, hole in enumerate(sorted(holes, key=lambda i: float(centres[i][0]))):
        planes[..., plane] = labels[1:-1, 1:-1] == hole
    return planes


def _looked_up(planes: Tensor, moved: Tensor) -> Tensor:
    """Nearest values of [1, C, h, w] where a field leads; 0 beyond."""
    height, width = planes.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=planes.device),
        torch.arange(width, device=planes.device),
        indexing="ij",
    )
    u = 2 * (x + 0.5 + moved[:, 0]) / width - 1
    v = 2 * (y + 0.5 + moved[:, 1]) / height - 1
    grid = torch.stack([u, v], -1)
    return F.grid_sample(planes, grid, mode="nearest", padding_mode="zeros", align_corners=False)
