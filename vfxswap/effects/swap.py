"""Persona swap: align, encode and decode with a comb network, blend back.

Source: US 2020/0372621 A1 (see the README on patents), paragraphs 52–58, Fig. 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from vfxswap import color
from vfxswap.align.crop import apply, crop_matrix, outline
from vfxswap.effects.base import EffectResult, Frame, LoadedNet, Models, Prepared
from vfxswap.effects.outputs import SWAP_CONF, SWAP_FACE, SWAP_ID, SWAP_MATTE, SWAP_UV
from vfxswap.effects.swap_settings import MAX_CROP, SwapSettings
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Pixels
from vfxswap.nets.parsing import CLASSES, ParsingNet
from vfxswap.nets.run import FastComb, accelerated
from vfxswap.ops.blend import multiband_blend
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.grain import grain_of, restore_highlights, without_highlights
from vfxswap.ops.guided import guided_matte
from vfxswap.ops.matte import feather_inwards, grow, levels, polygon_matte
from vfxswap.ops.normalise import denormalise, normalise
from vfxswap.ops.warp import between_windows, covered_window, inverted, warp_affine
from vfxswap.persona import ModelCard
from vfxswap.settings import Settings

__all__ = ["Swap", "SwapSettings"]

REACH_PX = 128
"""Plate pixels around the crop that its resampling may look at; whole steps of half of it keep
the grids on which the plate is decimated."""
FILTER_PX = 4
"""How far the resampling filter spreads a matte on the plate."""
BLACK = float(color.to_net(np.zeros(1, np.float32))[0])
"""Linear 0 in net space."""
RIM_SHARE = 64
"""Share of the crop over which the plate's own pixels hand over to the resampled blend, inside
the outline: there the blend is close to the plate, but not as sharp."""
EDGE_NOISE = 0.03
"""Standard deviation in net space that is grain, not an edge."""
UNTOUCHED = 1e-3
"""Mattes below this are 0: resampling leaves crumbs that would mark plate pixels as changed."""


@dataclass(frozen=True, eq=False)
class _Patch:
    """A swapped face on its piece of the plate: [h, w(, C)] over `box`, scene-linear.

    `rgb` is the comp, `face` the premultiplied patch with its alpha, which is the matte;
    `skin` is the outline without what is in front of it, `occluder` the part under the holdout or
    under what the parser sees before the face, `hair` the hair around and over it. `uv` covers
    the whole crop `square`.
    """

    box: Box
    rgb: Pixels
    face: Pixels
    skin: Pixels
    occluder: Pixels
    hair: Pixels
    square: Box
    uv: Pixels


class Swap:
    """Effect `swap`. Layers: swap_face, swap_matte, swap_conf, swap_id, swap_uv."""

    name: ClassVar[str] = "swap"
    settings_type: ClassVar[type[Settings]] = SwapSettings
    needs_faces: ClassVar[bool] = True

    def __init__(
        self, combs: Mapping[str, LoadedNet], parser: ParsingNet | None, device: torch.device
    ) -> None:
        """`combs` by persona; their networks are `FastComb`s on `device`."""
        self._combs = combs
        self._parser = parser
        self._device = device

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        wanted = {p for s in settings for p in cls.likenesses(s)}
        combs: dict[str, LoadedNet] = {}
        fast: dict[int, nn.Module] = {}
        for persona in sorted(wanted):
            loaded = models.for_persona(persona)
            net = fast.setdefault(id(loaded.net), accelerated(loaded.net))
            combs[persona] = LoadedNet(loaded.card, net)
        parser = None
        if any(s.occluders or s.hair for s in cast(Sequence[SwapSettings], settings)):
            parser = cast(ParsingNet, models.for_stage("parsing").net)
        return cls(combs, parser, device)

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        swap = cast(SwapSettings, settings)
        return tuple(sorted({swap.persona, *swap.faces.values()} - {""}))

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        return {}

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        swap = cast(SwapSettings, settings)
        canvas = _Canvas(frame)
        notes: list[str] = []
        for face in sorted(frame.faces, key=lambda f: f.id):
            persona = swap.persona_of(face.id)
            if not persona:
                notes.append(f"face {face.id} has no persona and is left alone")
            elif face.score < swap.min_score:
                notes.append(f"face {face.id} scores {face.score:.2f} and is left alone")
            elif (patch := self._swap_face(canvas.rgb, frame, face, persona, swap)) is not None:
                canvas.put(face, patch)
        if not frame.faces:
            notes.append("no face found: the plate goes through")
        return canvas.result(notes)

    def _swap_face(
        self, rgb: Pixels, frame: Frame, face: Face, persona: str, swap: SwapSettings
    ) -> _Patch | None:
        """One face of `rgb`, aligned, decoded as `persona` and blended in the crop; None when it
        lies off the plate."""
        loaded = self._combs[persona]
        comb = cast(FastComb, loaded.net)
        size = swap.crop_size or _fitting_size(face, comb.size, frame.pixel_aspect)
        matrix = crop_matrix(face.points, size=size, pixel_aspect=frame.pixel_aspect)
        square = covered_window(inverted(matrix), (size, size)).intersection(frame.data_window)
        if square.empty:
            return None
        reach = _reach(square, frame.data_window)
        linear = to_tensor(rgb[reach.slices_in(frame.data_window)], device=self._device)
        plate = color.to_net(linear)
        target = _to_crop(plate, matrix, size, reach)
        small, seen = matrix, target
        if size != comb.size:
            small = crop_matrix(face.points, size=comb.size, pixel_aspect=frame.pixel_aspect)
            seen = _to_crop(plate, small, comb.size, reach)

        edge = outline(face.points)
        polygon = self._polygon(edge, small, comb.size)
        normal, mean = normalise(seen, polygon)
        # Below 0 net space is steep: a few negative pixels would make the rest look like glints.
        level = normalise(seen.clamp_min(BLACK), polygon)[1]
        own = persona.rpartition("/")[2]  # a model may be named before the persona
        step = _color_step(loaded.card, own, mean, swap)
        source = denormalise(comb.swap(normal, own), mean + step)
        source = _resized(source, size)

        px = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        whole = self._polygon(edge, matrix, size)
        matte = grow(whole, px * swap.matte_grow_px)
        matte = feather_inwards(matte, px * swap.matte_feather_px)
        matte = levels(matte, black=swap.matte_black, white=swap.matte_white)

        matt = without_highlights(target, level)
        blended = multiband_blend(
            source, matt, matte, target_levels=swap.plate_levels, bands=swap.blend_bands or None
        )
        inner = feather_inwards(matte, size / RIM_SHARE)
        front = self._in_front(plate, face.points, reach, target, frame.pixel_aspect)
        back = torch.cat([blended, source, whole, matte, inner, front], 1)
        box = _touched(torch.maximum(whole, matte), matrix).intersection(frame.data_window)
        if box.empty:
            return None
        back = _to_plate(back, matrix, box)
        here = (..., *box.slices_in(reach))
        beneath, settled = plate[here], _settled(back[:, 6:8])
        # At the plate's own resolution: two resamplings would leave little of either.
        grain = swap.grain * grain_of(beneath, settled[:, 1:])
        blended, source = (
            restore_highlights(colour + grain, beneath, level, amount=swap.highlights)
            for colour in (back[:, :3], back[:, 3:6])
        )
        inner, front = back[:, 8:9].clamp(0, 1), _settled(back[:, 9:])
        blended = torch.where(inner == 1, blended, torch.lerp(beneath, blended, inner))
        holdout = self._matte_of(frame, "holdout", box)
        before = torch.maximum(holdout, swap.occluders * front[:, :1])
        keep = (1 - before) * (1 - swap.hair * front[:, 1:])
        keep = keep * (1 - self._matte_of(frame, "garbage", box))
        skin, matte = settled[:, :1], _settled(settled[:, 1:] * keep)
        comp = _mixed(linear[here], color.from_net(blended), swap.amount * keep)
        planes = [comp, color.from_net(source) * matte, matte, skin * keep]
        planes += [skin * torch.maximum(holdout, front[:, :1]), front[:, 1:]]
        patch = to_pixels(torch.cat(planes, 1))
        return _Patch(
            box,
            rgb=patch[..., :3],
            face=patch[..., 3:7],
            skin=patch[..., 7],
            occluder=patch[..., 8],
            hair=patch[..., 9],
            square=square,
            uv=_crop_uv(matrix, size, square),
        )

    def _in_front(
        self, plate: Tensor, points: Array, reach: Box, target: Tensor, pixel_aspect: float
    ) -> Tensor:
        """What is before a face and its hair, [1, 2, size, size] in the crop `target` [1, 3,
        size, size]; 0 without a parser. `plate` covers `reach` in net space."""
        size = target.shape[-1]
        if self._parser is None:
            return target.new_zeros(1, 2, size, size)
        small = self._parser.SIZE
        matrix = crop_matrix(points, size=small, pixel_aspect=pixel_aspect)
        parts = self._parser(_to_crop(plate, matrix, small, reach)).softmax(1)
        before = parts[:, [CLASSES.index("occluder"), CLASSES.index("glasses")]].sum(1)[:, None]
        planes = [before, parts[:, CLASSES.index("hair")][:, None]]
        guide = target.mean(1, keepdim=True)
        radius = max(1, round(size / small))
        refined = [
            guided_matte(_resized(plane, size), guide, radius_px=radius, noise=EDGE_NOISE)
            for plane in planes
        ]
        return levels(torch.cat(refined, 1), black=0.1, white=0.9)

    def _matte_of(self, frame: Frame, role: str, box: Box) -> Tensor:
        """An input matte over `box`, [1, 1, h, w] in 0…1; 0 where there is none."""
        matte = frame.mattes.get(role)
        if matte is None:
            return torch.zeros(1, 1, 1, 1, device=self._device)
        area = np.ascontiguousarray(matte[box.slices_in(frame.data_window)])
        return to_tensor(area, device=self._device).clamp(0, 1)

    def _polygon(self, edge: Array, matrix: Array, size: int) -> Tensor:
        return polygon_matte(torch.as_tensor(apply(matrix, edge)), (size, size)).to(self._device)


def _color_step(card: ModelCard, persona: str, mean: Tensor, swap: SwapSettings) -> Tensor:
    """Net-space step from the performer's skin to the persona's, [1, 3, 1, 1]."""
    own = _mean_of(card, persona, mean)
    if card.persona(swap.performer) is not None:
        step = own - _mean_of(card, swap.performer, mean)
    else:
        # Exposure of an unknown performer is unknown: only the hue may change.
        step = (own - mean) - (own - mean).mean(1, keepdim=True)
    return (1 - swap.color_match) * step


class _Canvas:
    """A frame's pixels and layers while faces are put on it one after the other."""

    def __init__(self, frame: Frame) -> None:
        height, width = frame.rgb.shape[:2]
        self._window = frame.data_window
        self.rgb = frame.rgb.copy()
        self._matte = np.zeros((height, width), np.float32)
        self._face = np.zeros((height, width, 4), np.float32)
        self._mattes = np.zeros((height, width, 4), np.float32)
        self._conf = np.zeros((height, width, 1), np.float32)
        self._id = np.zeros((height, width, 1), np.float32)
        self._uv = np.zeros((height, width, 2), np.float32)

    def put(self, face: Face, patch: _Patch) -> None:
        """Adds a face over those before it."""
        area = patch.box.slices_in(self._window)
        alpha = patch.face[..., 3]
        inside = (alpha > 0)[..., None]
        np.copyto(self.rgb[area], patch.rgb, where=inside)
        below = self._face[area]
        below *= 1 - alpha[..., None]
        below += patch.face
        for plane, value in (
            (self._matte[area], alpha),
            (self._mattes[area][..., 0], alpha),
            (self._mattes[area][..., 1], patch.skin),
            (self._mattes[area][..., 2], patch.occluder),
            (self._mattes[area][..., 3], patch.hair),
        ):
            np.maximum(plane, value, out=plane)
        np.copyto(self._conf[area], np.float32(face.confidence.mean()), where=inside)
        np.copyto(self._id[area], np.float32(face.id + 1), where=inside)
        area = patch.square.slices_in(self._window)
        np.copyto(self._uv[area], patch.uv, where=patch.uv[..., :1] >= 0)

    def result(self, notes: list[str]) -> EffectResult:
        layers = (
            SWAP_FACE.of(self._face),
            SWAP_MATTE.of(self._mattes),
            SWAP_CONF.of(self._conf),
            SWAP_ID.of(self._id),
            SWAP_UV.of(self._uv),
        )
        return EffectResult(self.rgb, self._matte, layers, tuple(notes))


def _fitting_size(face: Face, least: int, pixel_aspect: float) -> int:
    """Smallest crop, a power of two times `least`, that loses no plate resolution."""
    matrix = crop_matrix(face.points, size=least, pixel_aspect=pixel_aspect)
    # Rows of the linear part are crop pixels a plate pixel; on a squeezed plate x counts most.
    scale = float(np.linalg.norm(matrix[:, :2], axis=0).min())
    size = least
    while scale < 1 and size < MAX_CROP:
        size, scale = 2 * size, 2 * scale
    return size


def _reach(square: Box, window: Box) -> Box:
    """What of the plate is looked at: `square` with room for filters, on a coarse grid."""
    step = REACH_PX // 2
    wide = square.grown(REACH_PX)
    x = window.x + (wide.x - window.x) // step * step
    y = window.y + (wide.y - window.y) // step * step
    return Box(x, y, wide.right - x, wide.bottom - y).intersection(window)


def _touched(matte: Tensor, matrix: Array) -> Box:
    """Plate pixels that the part of a crop's matte [1, 1, s, s] above 0 may reach."""
    rows, columns = (matte[0, 0] > 0).any(1).nonzero(), (matte[0, 0] > 0).any(0).nonzero()
    if len(rows) == 0:
        return Box(0, 0, 0, 0)
    x, y = int(columns[0]), int(rows[0])
    size = (int(rows[-1]) + 1 - y, int(columns[-1]) + 1 - x)
    back = between_windows(inverted(matrix), output=(x, y))
    return covered_window(back, size, margin_px=FILTER_PX)


def _to_crop(plate: Tensor, matrix: Array, size: int, window: Box) -> Tensor:
    to_plate = between_windows(inverted(matrix), input=(window.x, window.y))
    return warp_affine(plate, to_plate, (size, size), border="clamp")


def _to_plate(crop: Tensor, matrix: Array, box: Box) -> Tensor:
    to_crop = between_windows(matrix, output=(box.x, box.y))
    return warp_affine(crop, to_crop, (box.height, box.width))


def _resized(image: Tensor, size: int) -> Tensor:
    """[B, C, s, s] to the crop's size, by the same filter as every other resampling."""
    ratio = image.shape[-1] / size
    if ratio == 1:
        return image
    matrix = np.array([[ratio, 0, 0], [0, ratio, 0]], np.float64)
    return warp_affine(image, matrix, (size, size), border="clamp")


def _crop_uv(matrix: Array, size: int, box: Box) -> Pixels:
    """ST map [h, w, 2] of the crop over `box`: (0, 0) bottom left; -1 outside the crop."""
    x, y = np.arange(box.width) + box.x + 0.5, np.arange(box.height) + box.y + 0.5
    (a, b, c), (d, e, f) = matrix / size
    uv = np.empty((box.height, box.width, 2), np.float32)
    np.add.outer(b * y + c, a * x, out=uv[..., 0], casting="same_kind")
    np.add.outer(1 - f - e * y, -d * x, out=uv[..., 1], casting="same_kind")
    np.copyto(uv, np.float32(-1), where=((uv < 0) | (uv > 1)).any(-1, keepdims=True))
    return uv


def _mixed(plate: Tensor, swap: Tensor, share: Tensor) -> Tensor:
    """Linear mix [1, 3, h, w]; a share of 1 gives the swap also where the plate is not finite."""
    return torch.where(share == 1, swap, plate + share * (swap - plate))


def _settled(matte: Tensor) -> Tensor:
    """Clipped to 0…1, with resampling crumbs set to exactly 0."""
    clipped = matte.clamp(0, 1)
    return torch.where(clipped < UNTOUCHED, 0, clipped)


def _mean_of(card: ModelCard, persona: str, otherwise: Tensor) -> Tensor:
    """A persona's mean colour [1, 3, 1, 1] in net space; `otherwise` where the card has none."""
    found = card.persona(persona)
    if found is None or found.net_mean is None:
        return otherwise
    mean = torch.tensor(found.net_mean, dtype=otherwise.dtype, device=otherwise.device)
    return mean.view(1, 3, 1, 1)
