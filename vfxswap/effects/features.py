"""Feature transfer: one feature of a performer moved towards that of a reference picture.

Source: US 2022/0374625 A1 (see the README on patents). The generator says how the crop would
change; that change alone is applied to the plate, at the plate's resolution and inside the
feature's region, so that detail, grain and highlights stay the plate's own.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.align.smooth import steady
from vfxswap.effects.aligned import (
    Alignment,
    Canvas,
    Patch,
    fitting_size,
    in_front,
    matte_of,
    mixed,
    resized,
    settled,
)
from vfxswap.effects.base import EffectResult, Frame, Models, Prepared
from vfxswap.effects.feature_edit import (
    HAIR,
    ChannelVectors,
    Seen,
    border,
    edit,
    seen,
    vectors_of_pair,
)
from vfxswap.effects.features_settings import POSE, FeaturesSettings
from vfxswap.effects.outputs import FEATURE_FACE, FEATURE_MATTE, FEATURE_UV
from vfxswap.errors import JobError
from vfxswap.geometry import Array, Face
from vfxswap.image import Pixels
from vfxswap.nets.feature_refine import refined
from vfxswap.nets.features import FeatureNet
from vfxswap.nets.parsing import ParsingNet
from vfxswap.ops.blend import multiband_blend
from vfxswap.ops.convert import to_pixels
from vfxswap.ops.matte import feather_inwards, grow
from vfxswap.ops.normalise import GAIN, denormalise
from vfxswap.settings import Settings

__all__ = ["Features", "FeaturesSettings"]

SMOOTH_PX = 1.0
"""No inward fade on the blend's levels: on coarse ones nothing of an eye would be left, and the
region is soft already."""
GROWN_PX = 1.0
"""Pixels of the network by which a region reaches out, so that its ramp, one of them wide, lies
around the feature."""


class Features:
    """Effect `features`. Layers: feature_face, feature_matte, feature_uv."""

    name: ClassVar[str] = "features"
    settings_type: ClassVar[type[Settings]] = FeaturesSettings
    needs_faces: ClassVar[bool] = True

    def __init__(
        self,
        net: FeatureNet,
        reference: Seen,
        parser: ParsingNet | None,
        settings: Sequence[FeaturesSettings],
        device: torch.device,
    ) -> None:
        """`settings` are the job's, at all its keys; they have one model and one reference."""
        self._net, self._reference, self._parser = net, reference, parser
        self._settings, self._device = tuple(settings), device
        self._steps = max((each.refine_steps for each in settings), default=0)

    @classmethod
    def load(cls, settings: Sequence[Settings], models: Models, device: torch.device) -> Self:
        """Raises JobError for an unknown feature, or when none or no reference is named;
        ModelError; PlateError for a reference that cannot be read."""
        wanted = [cast(FeaturesSettings, each) for each in settings]
        first = wanted[0]  # Words are not keyframed: model and reference are those of all.
        net = models.by_name(first.model).net
        if not isinstance(net, FeatureNet):
            raise JobError("not a model of features", got=first.model)
        known = (*net.feature_names, POSE)
        if not first.feature:
            raise JobError("no feature is named", wanted=f"one of {', '.join(known)}")
        for name in first.feature:
            if name not in known:
                raise JobError(
                    f"model {first.model} has no such feature", got=name, wanted=", ".join(known)
                )
        if not first.reference:
            raise JobError("no reference is named", wanted="reference=ref.exr")
        parser = None
        if any(each.occluders or each.hair for each in wanted):
            parser = cast(ParsingNet, models.for_stage("parsing").net)
        picture = models.reference(first.reference)
        steps = max(each.refine_steps for each in wanted)
        if steps:
            with torch.inference_mode(False):  # No gradient passes through what that made.
                net = copy.deepcopy(net)
        sigma = _encoded(net, picture, picture.faces[0], device, steps=steps)
        if sigma is None:
            raise JobError("the face lies off the reference", file=first.reference)
        return cls(net, seen(net, sigma), parser, wanted, device)

    @classmethod
    def likenesses(cls, settings: Settings) -> tuple[str, ...]:
        """The reference picture."""
        named = cast(FeaturesSettings, settings).reference
        return (named,) if named else ()

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        """Coefficients of every face on every frame, steadied: {view: {face id: {"frames":
        numbers, "sigma": base64 of float16, little-endian, one row a frame}}}."""
        if not any(each.steady for each in self._settings):
            return {}
        found: dict[str, dict[int, dict[int, tuple[Array, float]]]] = {}
        for frame in frames:
            for face in frame.faces:
                if not any(each.chooses(face.id) for each in self._settings):
                    continue
                sigma = _encoded(self._net, frame, face, self._device, steps=self._steps)
                if sigma is not None:
                    value = sigma[0].double().cpu().numpy(), float(face.confidence.mean())
                    found.setdefault(frame.view, {}).setdefault(face.id, {})[frame.number] = value
        return {
            view: {str(face): _stored(track) for face, track in faces.items()}
            for view, faces in found.items()
        }

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        wanted = cast(FeaturesSettings, settings)
        canvas = Canvas(frame, mattes=3)
        notes: list[str] = []
        for face in sorted(frame.faces, key=lambda f: f.id):
            if not wanted.chooses(face.id):
                notes.append(f"face {face.id} is not named and is left alone")
            elif face.score < wanted.min_score:
                notes.append(f"face {face.id} scores {face.score:.2f} and is left alone")
            elif wanted.amounts:
                sigma = None
                if wanted.steady:
                    sigma = _steadied(prepared, frame, face.id, self._device)
                patch = self._changed(canvas.rgb, frame, face, sigma, wanted)
                if patch is not None:
                    canvas.put(patch)
        if not frame.faces:
            notes.append("no face found: the plate goes through")
        elif not wanted.amounts:
            notes.append("all amounts are 0: the plate goes through")
        layers = (
            FEATURE_FACE.of(canvas.face),
            FEATURE_MATTE.of(canvas.mattes),
            FEATURE_UV.of(canvas.uv),
        )
        return EffectResult(canvas.rgb, canvas.matte, layers, tuple(notes))

    def step(
        self, crop: Alignment, source: Seen, wanted: FeaturesSettings
    ) -> tuple[Tensor, Tensor]:
        """What is added to a crop in net space, [1, 3, s, s], before it is confined to the
        features; and the regions [1, F, s, s] of `wanted.amounts`."""
        vectors = self.vectors(wanted)
        made = edit(self._net, source, self._reference, wanted.amounts, vectors=vectors)
        step = (made.after - made.before) / GAIN
        if bool((made.new > 0).any()):
            # Where there was background a difference would add the face to it.
            _, mean, _ = crop.seen(self._net.size)
            whole = denormalise(made.after, mean) - crop.crop(self._net.size)
            step = torch.lerp(step, whole, made.new)
        # What is behind a face nobody knows, and another feature is not asked for.
        step = resized(step * (1 - made.kept), crop.size)
        return step, resized(made.regions, crop.size).clamp(0, 1)

    def vectors(self, wanted: FeaturesSettings) -> ChannelVectors:
        """How channels are given to features: from the two pictures at hand."""
        return vectors_of_pair(self._net, wanted.temperature)

    def _changed(
        self,
        rgb: Pixels,
        frame: Frame,
        face: Face,
        sigma: Tensor | None,
        wanted: FeaturesSettings,
    ) -> Patch | None:
        """One face of `rgb` with its features moved; None when it lies off the plate."""
        size = wanted.crop_size or fitting_size(face, self._net.size, frame.pixel_aspect)
        crop = Alignment.of(face, rgb, frame, size=size, device=self._device)
        if crop is None:
            return None
        if sigma is None:
            sigma = _sigma(self._net, crop, steps=self._steps)
        step, regions = self.step(crop, seen(self._net, sigma), wanted)
        front = in_front(self._parser, crop)
        before, hair = wanted.occluders * front[:, :1], wanted.hair * front[:, 1:]
        reach = GROWN_PX * size / self._net.size + crop.px * wanted.matte_grow_px
        grown = grow(regions, reach)
        # Only now: a region would grow together again over a strand of hair.
        own = [
            grown[:, k : k + 1] * (1 if name in (HAIR, POSE) else 1 - hair)
            for k, name in enumerate(wanted.amounts)
        ]
        matte = torch.cat(own, 1).amax(1, keepdim=True) * border(size, regions)
        matte = settled(feather_inwards(matte, crop.px * wanted.matte_feather_px) * (1 - before))
        change = multiband_blend(
            step,
            torch.zeros_like(step),
            matte,
            target_levels=wanted.plate_levels,
            bands=wanted.blend_bands or None,
            smooth_px=SMOOTH_PX,
        )
        box = crop.touched(matte)
        if box.empty:
            return None
        region = regions.amax(1, keepdim=True)
        back = crop.back(torch.cat([change, step, matte, region, front], 1), box)
        linear, beneath = crop.beneath(box)
        keep = 1 - matte_of(frame, "holdout", box, self._device)
        keep = keep * (1 - matte_of(frame, "garbage", box, self._device))
        matte = settled(settled(back[:, 6:7]) * keep)
        comp = mixed(linear, color.from_net(beneath + back[:, :3]), wanted.amount * keep)
        shown = color.from_net(beneath + back[:, 3:6])
        shown = torch.where(matte > 0, shown * matte, 0)
        patch = to_pixels(torch.cat([comp, shown, matte, settled(back[:, 7:])], 1))
        return Patch(
            box,
            rgb=patch[..., :3],
            face=patch[..., 3:7],
            mattes=patch[..., 7:],
            square=crop.square,
            uv=crop.uv(),
        )


def _encoded(
    net: FeatureNet, frame: Frame, face: Face, device: torch.device, *, steps: int
) -> Tensor | None:
    """σ [1, C] of a face, refined by `steps`; None when it lies off the picture."""
    crop = Alignment.of(face, frame.rgb, frame, size=net.size, device=device)
    return None if crop is None else _sigma(net, crop, steps=steps)


def _sigma(net: FeatureNet, crop: Alignment, *, steps: int) -> Tensor:
    normal = crop.seen(net.size)[0]
    sigma = net.encode(normal)
    return refined(net, normal, sigma, steps=steps) if steps else sigma


def _stored(track: Mapping[int, tuple[Array, float]]) -> dict[str, Any]:
    """A face's coefficients over its frames, steadied, as JSON values."""
    numbers = sorted(track)
    values = np.stack([track[number][0] for number in numbers])
    weights = np.array([max(0.05, track[number][1]) for number in numbers])
    if len(numbers) > 1:
        values = steady(values[..., None], np.array(numbers, float), weights)[..., 0]
    packed = base64.b64encode(values.astype("<f2").tobytes()).decode("ascii")
    return {"frames": numbers, "sigma": packed}


def _steadied(
    prepared: Prepared, frame: Frame, face_id: int, device: torch.device
) -> Tensor | None:
    """σ [1, C] of a face as it was prepared; None when it was not."""
    track = prepared.get(frame.view, {}).get(str(face_id))
    if track is None or frame.number not in track["frames"]:
        return None
    rows = np.frombuffer(base64.b64decode(track["sigma"]), "<f2")
    row = rows.reshape(len(track["frames"]), -1)[track["frames"].index(frame.number)]
    return torch.from_numpy(row.astype(np.float32))[None].to(device)
