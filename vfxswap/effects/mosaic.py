"""Generative mosaic: patches of the plate, encoded, made anew by a theme, and pasted together.

Source: US 2019/0171908 A1 (see the README on patents), paragraphs 143–161.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap import color
from vfxswap.align.crop import outline
from vfxswap.effects.base import EffectResult, Frame, Models, Prepared
from vfxswap.effects.mosaic_motion import patches_at, prepared_patches
from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.effects.mosaic_shapes import shape_of
from vfxswap.effects.mosaic_themes import Themes
from vfxswap.effects.outputs import MOSAIC_ID, MOSAIC_IMAGE, MOSAIC_MATTE, MOSAIC_UV
from vfxswap.effects.patches import PatchSet, unit_hash
from vfxswap.errors import PlateError
from vfxswap.geometry import Array
from vfxswap.image import Pixels
from vfxswap.nets.mosaic import CODE_PX
from vfxswap.ops.convert import to_tensor
from vfxswap.ops.matte import grow, polygon_matte
from vfxswap.ops.patches import Pasted, pasted, sampled
from vfxswap.ops.warp import filled
from vfxswap.settings import Settings

__all__ = ["Mosaic", "MosaicSettings"]

UNTOUCHED = 1e-3
"""Mattes below this are 0: crumbs would mark plate pixels as changed."""
_DARK, _LIGHT = 0.1, 0.6
"""Net-space luminance of the darkest and the brightest theme, where that chooses."""
_ORDER, _THEME, _COLOR = 1, 2, 3
"""Salts of what is random about a patch."""


class Mosaic:
    """Effect `mosaic`. Layers: mosaic_image, mosaic_matte, mosaic_id, mosaic_uv."""

    name: ClassVar[str] = "mosaic"
    settings_type: ClassVar[type[Settings]] = MosaicSettings
    needs_faces: ClassVar[bool] = False

    def __init__(
        self, themes: Themes, settings: Sequence[MosaicSettings], device: torch.device
    ) -> None:
        """`settings` are the job's, at all its keys."""
        self._themes, self._settings, self._device = themes, tuple(settings), device

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        wanted = [cast(MosaicSettings, each) for each in settings]
        names = dict.fromkeys(name for each in wanted for name in each.all_themes())
        faces = any(each.area == "faces" or each.motion == "tracks" for each in wanted)
        kind = MosaicOnFaces if faces else cls
        return cast(Self, kind(Themes.load(names, models, device), wanted, device))

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        return ()

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        """The patch list, and what patches need of the whole shot: see `mosaic_motion`."""
        return prepared_patches(self._settings, frames)

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        mosaic = cast(MosaicSettings, settings)
        plate = _plate(frame, self._device)
        area = self._area(frame, mosaic)
        patches = patches_at(mosaic, prepared, frame)
        patches = _touching(patches, frame, area)
        notes = _notes(frame, mosaic, area, patches)
        made = self.paste(plate, patches, frame, mosaic)
        return _composed(frame, made, patches, area, mosaic, notes)

    def paste(
        self, plate: Tensor, patches: PatchSet, frame: Frame, mosaic: MosaicSettings
    ) -> Pasted:
        """The mosaic of a plate [1, 3, H, W] in net space: sampled, generated, assembled."""
        matrices = placed_matrices(patches, frame)
        seen = sampled(plate, matrices, CODE_PX)
        themes = _themes_of(patches, seen, frame, mosaic)
        tiles = self._themes.made(seen, themes, patches.ids, mosaic)
        return self.assemble(tiles, matrices, _order(patches, seen, frame, mosaic), frame, mosaic)

    def assemble(
        self,
        tiles: Tensor,
        matrices: Array,
        order: np.ndarray,
        frame: Frame,
        mosaic: MosaicSettings,
    ) -> Pasted:
        """Patches [N, 3, s, s] in net space over one another, at the plate's size."""
        height, width = frame.rgb.shape[:2]
        size = tuple(max(1, round(n * mosaic.work_scale)) for n in (height, width))
        scale = np.array([size[1] / width, size[0] / height])
        shape = shape_of(mosaic, frame.mattes.get("shape"), self._device)
        worked = pasted(
            tiles,
            matrices * scale[:, None],
            order,
            (size[0], size[1]),
            shape=shape,
            decode=color.from_net,
        )
        return worked if size == (height, width) else _resized(worked, (height, width))

    def _area(self, frame: Frame, mosaic: MosaicSettings) -> Pixels:
        """[H, W] 0…1: where patches may show."""
        size = frame.rgb.shape[:2]
        given = frame.mattes.get("area", np.ones(size, np.float32))
        if mosaic.area == "all":
            return given
        corner = np.array([frame.data_window.x, frame.data_window.y])
        whole = torch.zeros((1, 1, *size))
        for face in frame.faces:
            matte = polygon_matte(outline(face.points) - corner, (size[0], size[1]))
            whole = torch.maximum(whole, matte)
        faces: Pixels = grow(whole, mosaic.area_grow_px)[0, 0].numpy()
        return faces * given


class MosaicOnFaces(Mosaic):
    """The effect where its area or its motion comes from the shot's tracks."""

    needs_faces: ClassVar[bool] = True


def placed_matrices(patches: PatchSet, frame: Frame) -> Array:
    """[N, 2, 3]: the unit square of each patch to pixels of the frame's array."""
    corner = np.array([frame.data_window.x, frame.data_window.y], np.float64)
    return patches.moved(patches.centre - corner).matrices(frame.pixel_aspect)


def _plate(frame: Frame, device: torch.device) -> Tensor:
    """The plate [1, 3, H, W] in net space, holes filled. Raises PlateError when all is a hole."""
    if not np.isfinite(frame.rgb).any():
        raise PlateError("the plate holds no finite pixel", frame=frame.number)
    return filled(color.to_net(to_tensor(frame.rgb, device=device)))


def _touching(patches: PatchSet, frame: Frame, area: Pixels) -> PatchSet:
    """Patches that lie on the picture and reach into the area."""
    height, width = area.shape
    corner = [frame.data_window.x, frame.data_window.y]
    boxes = patches.boxes(frame.pixel_aspect) - np.array([*corner, *corner])
    on = (boxes[:, 2:] > 0).all(1) & (boxes[:, :2] < [width, height]).all(1)
    if not (area > 0).all():
        table = np.zeros((height + 1, width + 1), np.int64)
        table[1:, 1:] = (area > 0).cumsum(0).cumsum(1)
        low = np.floor(boxes[:, :2]).astype(int).clip(0, [width, height])
        high = np.ceil(boxes[:, 2:]).astype(int).clip(0, [width, height])
        (left, top), (right, bottom) = low.T, high.T
        inside = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        on &= inside > 0
    return patches.chosen(on)


def _themes_of(
    patches: PatchSet, seen: Tensor, frame: Frame, mosaic: MosaicSettings
) -> tuple[str, ...]:
    """Theme of each patch: its own, or chosen as the settings say."""
    weights = mosaic.theme_weights
    names = list(weights)
    if mosaic.theme_by == "weights":
        value = patches.random(_THEME)
    elif mosaic.theme_by == "matte":
        value = _read(frame.mattes.get("theme"), patches, frame)
    else:
        level = seen.mean((1, 2, 3)).cpu().numpy()
        value = (level - _DARK) / (_LIGHT - _DARK)
    steps = np.cumsum(list(weights.values())) / sum(weights.values())
    chosen = np.searchsorted(steps[:-1], np.clip(value, 0, 1), side="right")
    own = patches.themes or ("",) * len(patches)
    return tuple(theme or names[k] for theme, k in zip(own, chosen.tolist()))


def _order(patches: PatchSet, seen: Tensor, frame: Frame, mosaic: MosaicSettings) -> np.ndarray:
    """Indices of the patches, lowest first; what is equal goes at random."""
    chance = patches.random(_ORDER)
    if mosaic.order == "luminance":
        key = seen.mean((1, 2, 3)).cpu().numpy().astype(np.float64)
    elif mosaic.order == "size":
        key = -patches.size.prod(1)
    elif mosaic.order == "back":
        depth = frame.mattes.get("depth")
        key = patches.centre[:, 1] if depth is None else _read(depth, patches, frame)
    else:
        key = np.zeros(len(patches))
    return np.lexsort((chance, key))


def _read(matte: Pixels | None, patches: PatchSet, frame: Frame) -> Array:
    """[N]: a matte under the patches' centres; 0 without one."""
    if matte is None:
        return np.zeros(len(patches))
    place = np.floor(patches.centre - [frame.data_window.x, frame.data_window.y]).astype(int)
    column = place[:, 0].clip(0, matte.shape[1] - 1)
    row = place[:, 1].clip(0, matte.shape[0] - 1)
    found: Array = matte[row, column].astype(np.float64)
    return found


def _notes(
    frame: Frame, mosaic: MosaicSettings, area: Pixels, patches: PatchSet
) -> tuple[str, ...]:
    if mosaic.area == "faces" and not frame.faces:
        return ("no face found: the plate goes through",)
    if not area.any():
        return ("the area is empty: the plate goes through",)
    missing = [role for role in _wanted_mattes(mosaic) if role not in frame.mattes]
    notes = [f"no {role} matte is given: it counts as black" for role in missing]
    if not len(patches):
        notes.append("no patch lies on the plate: it goes through")
    return (*notes, *_still(frame, mosaic))


def _wanted_mattes(mosaic: MosaicSettings) -> list[str]:
    asked = (("theme", mosaic.theme_by == "matte"), ("shape", mosaic.shape == "picture"))
    return [role for role, wanted in asked if wanted]


def _still(frame: Frame, mosaic: MosaicSettings) -> tuple[str, ...]:
    """A note where patches were to follow vectors of which there are none."""
    given = any(f"drift_{axis}" in frame.mattes for axis in "xy")
    missing = mosaic.motion == "vectors" and not given
    return ("no drift matte is given: patches stay",) if missing else ()


def _resized(made: Pasted, size: tuple[int, int]) -> Pasted:
    """At another size; ids and ST maps keep whole values."""
    planes = torch.cat([made.rgb, made.alpha[..., None], made.edge[..., None]], 2)
    image = planes.permute(2, 0, 1)[None]
    larger = image.shape[-1] < size[1]
    mode = "bilinear" if larger else "area"
    soft = F.interpolate(image, size=size, mode=mode)[0].permute(1, 2, 0)
    data = torch.cat([made.index[..., None].float(), made.uv], 2).permute(2, 0, 1)[None]
    hard = F.interpolate(data, size=size, mode="nearest-exact")[0].permute(1, 2, 0)
    return Pasted(
        soft[..., :3], soft[..., 3], hard[..., 0].to(torch.int32), hard[..., 1:], soft[..., 4]
    )


def _composed(
    frame: Frame,
    made: Pasted,
    patches: PatchSet,
    area: Pixels,
    mosaic: MosaicSettings,
    notes: tuple[str, ...],
) -> EffectResult:
    """The mosaic over the plate, by its alpha within area, holdout and garbage."""
    alpha = made.alpha.cpu().numpy()
    held = frame.mattes.get("holdout", np.zeros_like(area))
    shown = area * (1 - held) * (1 - frame.mattes.get("garbage", np.zeros_like(area)))
    share = np.where(alpha >= 1 - UNTOUCHED, 1, alpha) * shown * np.float32(mosaic.amount)
    matte = np.where(share < UNTOUCHED, 0, share).astype(np.float32)
    straight = made.rgb.cpu().numpy() / np.maximum(alpha, UNTOUCHED)[..., None]
    there = (matte > 0)[..., None]
    with np.errstate(invalid="ignore"):
        mixed = frame.rgb + matte[..., None] * (straight - frame.rgb)
    rgb = np.where(matte[..., None] == 1, straight, mixed)
    image = np.where(there, straight * matte[..., None], np.float32(0))
    edge = made.edge.cpu().numpy()
    mattes = np.stack([matte, area, edge * (matte > 0), held], -1).astype(np.float32)
    index = np.where(matte > 0, made.index.cpu().numpy(), -1)
    uv = np.where(index[..., None] >= 0, made.uv.cpu().numpy(), np.float32(-1))
    layers = (
        MOSAIC_IMAGE.of(np.concatenate([image, matte[..., None]], -1)),
        MOSAIC_MATTE.of(mattes),
        MOSAIC_ID.of(_identified(patches, index)),
        MOSAIC_UV.of(uv),
    )
    return EffectResult(np.where(there, rgb, frame.rgb), matte, layers, notes)


def _identified(patches: PatchSet, index: np.ndarray) -> Pixels:
    """[H, W, 4]: each patch's colour and id + 1; the last row of the table stands for none."""
    table = np.zeros((len(patches) + 1, 4), np.float32)
    for channel in range(3):
        table[:-1, channel] = unit_hash(patches.ids, _COLOR + channel)
    table[:-1, 3] = patches.ids + 1
    found: Pixels = table[index]
    return found
