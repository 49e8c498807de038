"""Guided change: glasses, lenses and light by named numbers, put on the plate at its resolution.

Source: *Image and/or Video Transformation Using Interpretable Transformation Parameters*, Technical
Disclosure Commons 4703, 2021 (a defensive publication). Where only geometry or light changes the
plate's own pixels are moved and multiplied, so its detail stays; frames are new and come as a layer
of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.align.crop import apply, outline
from vfxswap.align.head import head_pose
from vfxswap.effects.aligned import Alignment, matte_of, mixed, settled
from vfxswap.effects.base import EffectResult, Frame, LoadedNet, Models, Prepared
from vfxswap.effects.guided_estimate import FaceEstimate, estimated, estimates_of
from vfxswap.effects.guided_glasses import (
    Glasses,
    drawn,
    field,
    glasses_box,
    held_inside,
    lens_of,
    light_on,
    pictured,
    shaded,
    shadow,
)
from vfxswap.effects.guided_light import by_network, by_surface, edge_ramp, face_fade, lit
from vfxswap.effects.guided_settings import GuidedPlacement, GuidedSettings, tinted
from vfxswap.effects.outputs import (
    GUIDED_DISPLACEMENT,
    GUIDED_FACE,
    GUIDED_FRAMES,
    GUIDED_GAIN,
    GUIDED_MATTE,
)
from vfxswap.errors import ConsentError, JobError
from vfxswap.geometry import Box, Face
from vfxswap.image import Pixels
from vfxswap.nets.guided import GuidedPair
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.nets.guided_vector import tint_transmission, vectors
from vfxswap.ops.convert import to_pixels, to_tensor
from vfxswap.ops.matte import polygon_matte
from vfxswap.ops.warp import inverted, warp_field
from vfxswap.settings import Settings

__all__ = ["Guided", "GuidedSettings"]

ESTIMATES = "guided_estimator"
"""The stage of models that estimate."""
LIGHT_CROP = 256
"""Side of the crop in which light falls on the mean head."""


@dataclass(frozen=True, eq=False)
class _Change:
    """A changed face on its piece of the plate, [h, w, C] over `box`: `rgb` the comp, `planes`
    changed, lens, frames, light; `frames` premultiplied; `moved` plate pixels; `gain`."""

    box: Box
    rgb: Pixels
    planes: Pixels
    frames: Pixels
    moved: Pixels
    gain: Pixels


class Guided:
    """Effect `guided`. Layers: guided_face, guided_frames, guided_matte, guided_displacement,
    guided_gain."""

    name: ClassVar[str] = "guided"
    settings_type: ClassVar[type[Settings]] = GuidedSettings
    needs_faces: ClassVar[bool] = True

    def __init__(
        self,
        pairs: Mapping[str, LoadedNet],
        estimator: LoadedNet | None,
        pictures: Mapping[str, Pixels],
        device: torch.device,
    ) -> None:
        """`pairs` by model; `pictures` [H, W, 4] by file, frames and clean plates."""
        self._pairs = pairs
        self._estimator = estimator
        self._pictures = pictures
        self._device = device

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        """Raises JobError for a model of something else; ModelError, PlateError, ColorError."""
        pairs: dict[str, LoadedNet] = {}
        pictures: dict[str, Pixels] = {}
        estimator: LoadedNet | None = None
        for chosen in cast(Sequence[GuidedPlacement], settings):
            # Whatever the degree, which may be keyframed by itself.
            networked = chosen.light_model == "network" and lit(chosen.model_dump())
            if networked and chosen.model not in pairs:
                loaded = models.by_name(chosen.model)
                if not isinstance(loaded.net, GuidedPair):
                    raise JobError("not a model of guided changes", got=chosen.model)
                pairs[chosen.model] = loaded
            for file in filter(None, (chosen.frames_picture, chosen.clean_plate)):
                pictures.setdefault(file, models.picture(file))
            if chosen.estimates and estimator is None:
                estimator = models.for_stage(ESTIMATES)
        return cls(pairs, estimator, pictures, device)

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        """Who is on the plate, where something of them is measured. Raises ConsentError when
        nobody is named."""
        chosen = cast(GuidedPlacement, settings)
        if not chosen.estimates:
            return ()
        if not chosen.consent_card:
            raise ConsentError(
                "an estimate asks for the consent of who is on the plate",
                wanted="consent_card = NAME.card.toml",
            )
        return (chosen.consent_card,)

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        """What is estimated of each face over the whole shot, so that nothing flickers."""
        if self._estimator is None:
            return {}
        found = estimates_of(
            cast(GuidedEstimator, self._estimator.net),
            frames,
            device=self._device,
            primaries=self._estimator.primaries,
        )
        return {"faces": {str(face): each.plain() for face, each in found.items()}}

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        chosen = cast(GuidedPlacement, settings)
        _check_area(frame, chosen)
        canvas = _Canvas(frame)
        notes: list[str] = []
        for face in sorted(frame.faces, key=lambda f: f.id):
            if chosen.face in (-1, face.id):
                values, note = self._wanted(face, chosen, prepared)
                notes += [note] if note else []
                if values is not None:
                    canvas.put(self._changed(canvas.rgb, frame, face, chosen, values))
        if not frame.faces:
            notes.append("no face found: the plate goes through")
        return canvas.result(notes)

    def _wanted(
        self, face: Face, chosen: GuidedPlacement, prepared: Prepared
    ) -> tuple[dict[str, float] | None, str]:
        """The characteristics for a face, None to leave it alone; and what to say of it."""
        if not chosen.estimates:
            return chosen.values, ""
        known = FaceEstimate.of(prepared.get("faces", {}).get(str(face.id)))
        if known is None:
            return None, f"face {face.id} was not estimated and is left alone"
        if chosen.only_glasses and not known.glasses:
            return None, f"face {face.id} wears no glasses ({known.worn:.2f}) and is left alone"
        if chosen.remove_refraction and chosen.prescription == "estimated":
            lens = {"sphere": known.sphere, "cylinder": known.cylinder, "axis_deg": known.axis_deg,
                    "pd_mm": known.pd_mm}  # fmt: skip
            said = (
                f"face {face.id}: {known.sphere:+.2f} {known.cylinder:+.2f} x {known.axis_deg:.0f}"
            )
            return estimated(chosen, lens), said
        return chosen.values, ""

    def _changed(
        self,
        rgb: Pixels,
        frame: Frame,
        face: Face,
        chosen: GuidedPlacement,
        values: Mapping[str, float],
    ) -> _Change | None:
        """One face of `rgb`; None when nothing is asked for, or it lies off the plate."""
        lens = lens_of(values)
        optics = lens.bends or tinted(values)
        glassy = optics or values["frames"] > 0
        if not (glassy or lit(values)):
            return None
        pair = (
            self._pairs[chosen.model] if chosen.light_model == "network" and lit(values) else None
        )
        size = cast(GuidedPair, pair.net).size if pair is not None else LIGHT_CROP
        crop = Alignment.of(face, rgb, frame, size=size, device=self._device)
        if crop is None:
            return None
        box = crop.square
        linear, _ = crop.beneath(box)
        gain, offset = linear.new_ones(1, 3, 1, 1), linear.new_zeros(1, 3, 1, 1)
        light = linear.new_zeros(1, 1, box.height, box.width)
        if lit(values):
            gain, offset, light = _lit(pair, crop, box, values)
        before = linear * gain + offset
        after = before
        glasses = self._worn(face, frame, box, chosen, values) if glassy else None
        moved = linear.new_zeros(1, 2, box.height, box.width)
        frames = linear.new_zeros(1, 4, box.height, box.width)
        lenses = light.new_zeros(light.shape)
        if glasses is not None:
            inner = glasses.box.slices_in(box)
            here = (..., *inner)
            degree = values["frames"]
            shade = degree * chosen.frames_shadow * shadow(glasses)
            gain = gain.expand(1, 3, box.height, box.width).clone()
            gain[here] *= 1 - shade
            under = before[here] * (1 - shade)
            if optics:
                under, moved[here], passed = self._seen(under, glasses, chosen, values, frame)
                gain[here] *= passed
                lenses[here] = glasses.lens
            face_light = light_on(linear, _face_matte(face, box))
            relit = gain[here].mean(1, keepdim=True) if lit(values) else 1.0
            bars = shaded(glasses, face_light) * degree
            bars = torch.cat([bars[:, :3] * relit, bars[:, 3:]], 1)
            frames[here] = bars
            after = before.clone()
            after[here] = bars[:, :3] + (1 - bars[:, 3:]) * under
            light[here] = torch.maximum(light[here], shade)
        support = torch.cat([lenses, frames[:, 3:], light], 1).amax(1, keepdim=True)
        keep = self._kept(frame, chosen, crop, box)
        changed = torch.where(settled(support) > 0, keep, 0)
        comp = mixed(linear, after, changed)
        planes = torch.cat([changed, lenses * keep, frames[:, 3:] * keep, light * keep], 1)
        gain = 1 + (gain - 1).expand_as(linear) * changed
        return _Change(
            box,
            to_pixels(comp),
            to_pixels(planes),
            to_pixels(frames * keep),
            to_pixels(moved * changed),
            to_pixels(gain),
        )

    def _worn(
        self,
        face: Face,
        frame: Frame,
        box: Box,
        chosen: GuidedPlacement,
        values: Mapping[str, float],
    ) -> Glasses | None:
        """The glasses on a face, as far as they lie in `box`."""
        pose = head_pose(face.points, pixel_aspect=frame.pixel_aspect)
        shape, scale = chosen.frames_shape, chosen.frames_scale
        place = glasses_box(pose, shape, scale).intersection(box)
        if place.empty:
            return None
        if chosen.frames_picture:
            picture = self._pictures[chosen.frames_picture]
            glasses = pictured(picture, pose, place, shape=shape, scale=scale, device=self._device)
        else:
            glasses = drawn(
                pose,
                place,
                shape=shape,
                scale=scale,
                color=(values["frames_red"], values["frames_green"], values["frames_blue"]),
                pattern=chosen.frames_pattern,
                device=self._device,
            )
        if "lenses" not in frame.mattes:
            return glasses
        stated = matte_of(frame, "lenses", place, self._device)
        middle = pose.project(np.zeros(3))[0] - place.x
        right = torch.arange(place.width, device=self._device) + 0.5 < middle
        return Glasses(
            place, pose, torch.cat([stated * right, stated * ~right], 1), glasses.frames,
            glasses.down, glasses.px,
        )  # fmt: skip

    def _seen(
        self,
        under: Tensor,
        glasses: Glasses,
        chosen: GuidedPlacement,
        values: Mapping[str, float],
        frame: Frame,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is seen with lenses before `under` [1, 3, h, w] (or without worn ones), the field
        that moves it, and the share of light that the lenses pass."""
        lens, cover = lens_of(values), glasses.lens
        moved = under.new_zeros(1, 2, *under.shape[-2:])
        through = under
        if lens.bends:
            moved = field(glasses, lens, removed=chosen.remove_refraction)
            wanted = moved
            if chosen.remove_refraction:
                moved = held_inside(glasses, moved)
            through = color.from_net(warp_field(color.to_net(under), moved))
            if chosen.remove_refraction and chosen.clean_plate:
                clean = self._clean(chosen.clean_plate, frame, glasses.box)
                lost = (wanted - moved).norm(dim=1, keepdim=True).clamp(0, 1)
                through = torch.lerp(through, clean, lost)
        passed = torch.ones_like(under)
        if tinted(values):
            tint = tint_transmission(vectors([values]).to(under.device), glasses.down[:, 0])
            passed = torch.lerp(passed, tint.expand_as(under), cover)
        seen = torch.lerp(under, through, cover)
        return torch.where(cover > 0, seen * passed, under), moved, passed

    def _clean(self, file: str, frame: Frame, box: Box) -> Tensor:
        picture, window = self._pictures[file], frame.display_window
        if picture.shape[:2] != (window.height, window.width):
            raise JobError(
                "clean plate of another size than the plate",
                got=f"{picture.shape[1]}x{picture.shape[0]}",
                wanted=f"{window.width}x{window.height}",
                file=file,
            )
        rows = np.clip(np.arange(box.y, box.bottom) - window.y, 0, window.height - 1)
        columns = np.clip(np.arange(box.x, box.right) - window.x, 0, window.width - 1)
        return to_tensor(picture[rows][:, columns, :3], device=self._device)

    def _kept(self, frame: Frame, chosen: GuidedPlacement, crop: Alignment, box: Box) -> Tensor:
        """Where the change may be, [1, 1, h, w]: the area without holdout and garbage."""
        keep = _area(chosen, crop, box).to(self._device)
        if "area" in frame.mattes:
            keep = keep * matte_of(frame, "area", box, self._device)
        for role in ("holdout", "garbage"):
            keep = keep * (1 - matte_of(frame, role, box, self._device))
        return keep


def _lit(
    pair: LoadedNet | None, crop: Alignment, box: Box, values: Mapping[str, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gain, offset [1, 3, h, w] and where light is made [1, 1, h, w] over `box`."""
    if pair is not None:
        gain, offset = by_network(
            cast(GuidedPair, pair.net),
            crop.target,
            values,
            matrix=crop.matrix,
            primaries=pair.primaries,
        )
    else:
        at = np.arange(crop.size) + 0.5
        pixels = apply(inverted(crop.matrix), np.stack(np.meshgrid(at, at), -1))
        pose = head_pose(crop.points, pixel_aspect=crop.pixel_aspect)
        gain, offset = (x.to(crop.linear) for x in by_surface(pose, pixels, values))
    ramp = edge_ramp(crop.size).to(gain)
    if pair is None:
        ramp = ramp * face_fade(apply(crop.matrix, crop.points), crop.size).to(gain)
    planes = torch.cat([(gain - 1) * ramp, offset * ramp, ramp], 1)
    back = crop.back(planes, box)
    return 1 + back[:, :3], back[:, 3:6], settled(back[:, 6:])


def _face_matte(face: Face, box: Box) -> Tensor:
    return polygon_matte(outline(face.points) - [box.x, box.y], (box.height, box.width))


def _check_area(frame: Frame, chosen: GuidedPlacement) -> None:
    if "area" in frame.mattes and chosen.area != "whole":
        raise JobError(
            f"area is {chosen.area}, and there is a matte area",
            wanted="one of them",
            frame=frame.number,
        )


def _area(chosen: GuidedPlacement, crop: Alignment, box: Box) -> Tensor:
    """The named area [1, 1, h, w] over `box`, antialiased."""
    x, y = np.arange(box.width) + box.x + 0.5, np.arange(box.height) + box.y + 0.5
    if chosen.area == "box":
        inside = [
            np.clip(np.minimum(at - start + 0.5, start + length - at + 0.5), 0, 1)
            for at, start, length in (
                (x, chosen.box_x_px, chosen.box_width_px),
                (y, chosen.box_y_px, chosen.box_height_px),
            )
        ]
        area = inside[1][:, None] * inside[0]
    elif chosen.area in ("left", "right"):
        at = apply(crop.matrix, np.stack(np.meshgrid(x, y), -1))[..., 0]
        area = np.clip((crop.size / 2 - at) / crop.px + 0.5, 0, 1)
        area = area if chosen.area == "left" else 1 - area
    else:
        area = np.ones((box.height, box.width))
    return torch.from_numpy(area.astype(np.float32))[None, None]


class _Canvas:
    """A frame's pixels and layers while faces are changed one after the other."""

    def __init__(self, frame: Frame) -> None:
        height, width = frame.rgb.shape[:2]
        self._window = frame.data_window
        self.rgb = frame.rgb.copy()
        self._face = np.zeros((height, width, 4), np.float32)
        self._frames = np.zeros((height, width, 4), np.float32)
        self._mattes = np.zeros((height, width, 4), np.float32)
        self._moved = np.zeros((height, width, 2), np.float32)
        self._gain = np.ones((height, width, 3), np.float32)

    def put(self, change: _Change | None) -> None:
        """Adds a face over those before it."""
        if change is None:
            return
        area = change.box.slices_in(self._window)
        matte = change.planes[..., :1]
        inside = matte > 0
        np.copyto(self.rgb[area], change.rgb, where=inside)
        face = np.concatenate([change.rgb * matte, matte], -1)
        np.copyto(self._face[area], face, where=inside)
        np.maximum(self._mattes[area], change.planes, out=self._mattes[area])
        below = self._frames[area]
        below *= 1 - change.frames[..., 3:]
        below += change.frames
        np.copyto(self._moved[area], change.moved, where=inside)
        np.multiply(self._gain[area], change.gain, out=self._gain[area])

    def result(self, notes: list[str]) -> EffectResult:
        layers = (
            GUIDED_FACE.of(self._face),
            GUIDED_FRAMES.of(self._frames),
            GUIDED_MATTE.of(self._mattes),
            GUIDED_DISPLACEMENT.of(self._moved),
            GUIDED_GAIN.of(self._gain),
        )
        return EffectResult(self.rgb, self._mattes[..., 0], layers, tuple(notes))
