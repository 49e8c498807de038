"""The other way: are glasses worn, which prescription, where do they distort, how is the head."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap.nets.guided_lenses import POWERS, STRIP, LensReader, contrasted, step
from vfxswap.nets.guided_vector import prescription
from vfxswap.nets.layers import Needs, conv, doubled, leaky
from vfxswap.settings import Settings

VALUES: Final = ("mean", "straight", "oblique", "pd", "yaw", "pitch", "roll")
"""What is estimated: power vector M, J0, J45 (1 at 8 dpt), pupil distance (0 at 63 mm, 1 at 76) and
the head's angles in radians. The lens reader sees the first three, the face the others."""
FACE_VALUES: Final = VALUES[POWERS:]
FACE_SIZE: Final = 128
"""Side of the crop in which the face is looked at as a whole."""


class GuidedEstimatorSettings(Settings):
    """Shape of an estimator; stored in its model card."""

    width: int = Field(default=16, ge=4, le=128, description="Channels at half resolution.")
    lens_width: int = Field(default=16, ge=4, le=128, description="The same of the lens reader.")


class Confidences(NamedTuple):
    """[B] each, 0…1. Of numbers the probability that they are right to 1 dpt (sphere, cylinder),
    3 mm and 5°, times that of glasses; of the area how clear its edge is."""

    worn: Tensor
    sphere: Tensor
    cylinder: Tensor
    pd: Tensor
    area: Tensor
    angle: Tensor


class Estimate(NamedTuple):
    """What is seen in B crops.

    `worn` [B] is the probability of glasses; `sphere`, `cylinder` (negative) [B] in dpt, `axis_deg`
    [B] 0…180 (TABO) and `pd_mm` [B] are those of the lenses, if any; `area` [B, 1, 128, 128] the
    probability that a place of the crop is seen through a lens; `yaw`, `pitch`, `roll` [B] in
    radians turn the head to the picture's right, down and clockwise. `error` [B, 7] is the mean
    absolute error that the network expects of `VALUES`, in their units.
    """

    worn: Tensor
    sphere: Tensor
    cylinder: Tensor
    axis_deg: Tensor
    pd_mm: Tensor
    area: Tensor
    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    error: Tensor
    confidence: Confidences


class Raw(NamedTuple):
    """What is seen of the face, as it is trained: `worn` [B] logit, `area` [B, 1, 128, 128]
    logits, `values` and `log_error` [B, 4] of `FACE_VALUES` (natural log of the expected error)."""

    worn: Tensor
    area: Tensor
    values: Tensor
    log_error: Tensor


class GuidedEstimator(nn.Module):
    """A U-shaped network over the whole face with a regression at its narrowest place, and a lens
    reader over both eyes at full size; expected errors after Kendall & Gal 2017. Crops are those
    of `align.crop.crop_matrix`, in net space."""

    SIZE: Final = STRIP.crop
    """Side of the crops, in pixels."""

    settings_type = GuidedEstimatorSettings

    def __init__(self, settings: GuidedEstimatorSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or GuidedEstimatorSettings()
        w = self.settings.width
        self.to_half = nn.Sequential(step(3, w, 2), step(w, w))
        self.to_quarter = nn.Sequential(step(w, 2 * w, 2), step(2 * w, 2 * w))
        self.to_eighth = nn.Sequential(step(2 * w, 4 * w, 2), step(4 * w, 4 * w))
        self.deep = nn.Sequential(step(4 * w, 6 * w, 2), step(6 * w, 6 * w))
        self.up_eighth = step(10 * w, 3 * w)
        self.up_quarter = step(5 * w, 2 * w)
        self.area = conv(2 * w, 1, 3, gain=0.1)
        # The face fills the crop, so where a feature lies tells as much as what it is.
        self.narrow = step(6 * w, w)
        self.spread = nn.Linear(w * (FACE_SIZE // 16) ** 2, 128)
        self.read = nn.Linear(128, 1 + 2 * len(FACE_VALUES))
        self.lenses = LensReader(self.settings.lens_width)

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        return Needs(size_px=self.SIZE, channels=3, multiple_of=self.SIZE, half=True)

    def raw(self, face: Tensor) -> Raw:
        """What is seen of whole faces [B, 3, 128, 128], float32. Raises ValueError for crops of
        another size."""
        _check(face, FACE_SIZE)
        half = self.to_half(contrasted(face))
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        deep = self.deep(eighth)
        up = self.up_eighth(torch.cat([eighth, doubled(deep)], 1))
        up = self.up_quarter(torch.cat([quarter, doubled(up)], 1))
        area = doubled(doubled(self.area(up).float()))
        numbers = self.read(leaky(self.spread(self.narrow(deep).flatten(1)))).float()
        values, log_error = numbers[:, 1:].split(len(FACE_VALUES), 1)
        return Raw(numbers[:, 0], area, values, log_error.clamp(-5, 2))

    def forward(self, crop: Tensor) -> Estimate:
        """`Estimate` of crops [B, 3, 512, 512] in net space. Raises ValueError for crops of
        another size."""
        _check(crop, self.SIZE)
        raw = self.raw(F.avg_pool2d(crop, self.SIZE // FACE_SIZE))
        powers = self.lenses(strip_of(crop))
        sphere, cylinder, axis = prescription(powers.values)
        error = torch.cat([powers.log_error, raw.log_error], 1).exp()
        worn, area = torch.sigmoid(raw.worn), torch.sigmoid(raw.area)
        # The clearness of the mask where it says anything at all.
        sure = (2 * area - 1).abs()
        there = (area > 0.1).float()
        clear = (sure * there).sum((1, 2, 3)) / there.sum((1, 2, 3)).clamp_min(1.0)
        confidence = Confidences(
            worn=torch.maximum(worn, 1 - worn),
            sphere=_likely(error[:, 0] * 8, 1.0) * worn,
            cylinder=_likely(error[:, 1:3].norm(dim=1) * 16, 1.0) * worn,
            pd=_likely(error[:, 3] * 13, 3.0) * worn,
            area=clear * worn,
            angle=_likely(error[:, 4:].amax(1), 0.087),
        )
        pd_mm = 63.0 + 13.0 * raw.values[:, 0]
        yaw, pitch, roll = raw.values[:, 1:].unbind(1)
        return Estimate(
            worn, sphere, cylinder, axis, pd_mm, area, yaw, pitch, roll, error, confidence
        )


def strip_of(crop: Tensor) -> Tensor:
    """What of crops [B, 3, 512, 512] the lens reader looks at."""
    rows = slice(STRIP.y, STRIP.y + STRIP.height)
    return crop[..., rows, STRIP.x : STRIP.x + STRIP.width]


def _check(crop: Tensor, size: int) -> None:
    if crop.ndim != 4 or tuple(crop.shape[1:]) != (3, size, size):
        raise ValueError(f"crops of shape {tuple(crop.shape)}, wanted [B, 3, {size}, {size}]")


def _likely(error: Tensor, scale: float) -> Tensor:
    """Probability that a normal error of this mean absolute value is below `scale`."""
    return torch.erf(scale / (error * math.sqrt(math.pi)))
