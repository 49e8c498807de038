"""What a shot tells of glasses that are worn on it: once for each face, from all its frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

import numpy as np
import torch

from vfxswap.align.crop import apply
from vfxswap.align.head import head_pose
from vfxswap.characteristics import CHARACTERISTICS, NEUTRAL
from vfxswap.effects.aligned import Alignment, in_primaries
from vfxswap.effects.base import Frame
from vfxswap.effects.guided_settings import GuidedPlacement
from vfxswap.geometry import Array
from vfxswap.nets.guided_estimator import FACE_SIZE, Estimate, GuidedEstimator
from vfxswap.ops.warp import inverted

WORN: Final = 0.5
"""From this probability on a face wears glasses."""
LEAST_PX: Final = 24
"""Faces whose crops cover fewer plate pixels across are too small to tell anything."""
_MANY: Final = 64
"""Frames of a face that are looked at; of more, as many evenly spread ones."""


@dataclass(frozen=True)
class FaceEstimate:
    """What is seen of one face, and how sure that is (0…1).

    Sphere and cylinder (negative) in dioptres, axis and angles in degrees, `pd_mm` as
    `characteristics`; `area` x, y, width, height in plate pixels of what is seen through lenses on
    the first frame, zeros when nothing is; yaw, pitch and roll as `HeadPose.angles_deg`.
    """

    frames: int
    worn: float
    sphere: float
    cylinder: float
    axis_deg: float
    pd_mm: float
    area: tuple[float, float, float, float]
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    sphere_confidence: float
    cylinder_confidence: float
    pd_confidence: float
    area_confidence: float
    angle_confidence: float

    @property
    def glasses(self) -> bool:
        """Whether glasses are worn."""
        return self.worn >= WORN

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "area": list(self.area)}

    @classmethod
    def of(cls, plain: Mapping[str, Any] | None) -> Self | None:
        """The estimate from JSON values; None for None."""
        if plain is None:
            return None
        known = {field.name: plain[field.name] for field in fields(cls)}
        return cls(**{**known, "area": tuple(known["area"])})


def estimates_of(
    estimator: GuidedEstimator,
    frames: Iterable[Frame],
    *,
    device: torch.device,
    primaries: Array | None = None,
) -> dict[int, FaceEstimate]:
    """An estimate for each face id of a shot, from crops of its frames taken together; none for
    a face that is smaller than `LEAST_PX` on all of them. `primaries` as in `LoadedNet`."""
    seen: dict[int, list[tuple[Estimate, tuple[float, float, float, float]]]] = {}
    angles: dict[int, list[tuple[float, float, float]]] = {}
    for frame in frames:
        for face in frame.faces:
            crop = Alignment.of(face, frame.rgb, frame, size=estimator.SIZE, device=device)
            if crop is None or crop.size / crop.px < LEAST_PX:
                continue
            found = estimator(in_primaries(crop.target, primaries))
            box = _seen_through(found, inverted(crop.matrix_of(FACE_SIZE)))
            seen.setdefault(face.id, []).append((found, box))
            pose = head_pose(face.points, pixel_aspect=frame.pixel_aspect)
            angles.setdefault(face.id, []).append(pose.angles_deg)
    return {face: _together(each, angles[face]) for face, each in seen.items()}


def estimated(chosen: GuidedPlacement, lens: Mapping[str, float]) -> dict[str, float]:
    """The characteristics of settings with an estimated `lens` in place of the stated one, kept
    within what they may be."""
    limits = {each.name: (each.low, each.high) for each in CHARACTERISTICS}
    held = {name: float(np.clip(value, *limits[name])) for name, value in lens.items()}
    held = {**held, **{name: chosen.amount * held[name] for name in ("sphere", "cylinder")}}
    return {**chosen.values, "prism": NEUTRAL["prism"], **held}


def _seen_through(found: Estimate, back: Array) -> tuple[float, float, float, float]:
    """x, y, width, height on the plate around what is seen through lenses; zeros for nothing."""
    inside = (found.area[0, 0] > 0.5).nonzero().cpu().numpy()
    if len(inside) == 0:
        return (0.0, 0.0, 0.0, 0.0)
    points = apply(back, inside[:, ::-1].astype(np.float64) + 0.5)
    low, high = points.min(0), points.max(0)
    return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def _together(
    seen: list[tuple[Estimate, tuple[float, float, float, float]]],
    angles: list[tuple[float, float, float]],
) -> FaceEstimate:
    """Medians over frames: of power vectors, since axes are no numbers that could be averaged."""
    picked = np.unique(np.linspace(0, len(seen) - 1, min(_MANY, len(seen))).round().astype(int))
    chosen = [seen[i][0] for i in picked]

    def middle(values: list[float]) -> float:
        return float(np.median(values))

    def number(name: str) -> list[float]:
        return [float(getattr(each, name)[0]) for each in chosen]

    def sure(name: str) -> float:
        return middle([float(getattr(each.confidence, name)[0]) for each in chosen])

    cylinder, axis = np.array(number("cylinder")), np.radians(number("axis_deg"))
    straight = middle(list(-cylinder / 2 * np.cos(2 * axis)))
    oblique = middle(list(-cylinder / 2 * np.sin(2 * axis)))
    mean = middle(list(np.array(number("sphere")) + cylinder / 2))
    power = -2 * float(np.hypot(straight, oblique))
    yaw, pitch, roll = (middle([each[i] for each in angles]) for i in range(3))
    return FaceEstimate(
        frames=len(seen),
        worn=middle(number("worn")),
        sphere=mean - power / 2,
        cylinder=power,
        axis_deg=float(np.degrees(0.5 * np.arctan2(oblique, straight)) % 180.0),
        pd_mm=middle(number("pd_mm")),
        area=seen[0][1],
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        sphere_confidence=sure("sphere"),
        cylinder_confidence=sure("cylinder"),
        pd_confidence=sure("pd"),
        area_confidence=sure("area"),
        angle_confidence=sure("angle"),
    )
