"""The other way: are glasses worn, which prescription, where do they distort, how is the head."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from vfxswap.nets.guided_vector import prescription
from vfxswap.nets.layers import Needs, conv, doubled, leaky
from vfxswap.settings import Settings

VALUES: Final = ("mean", "straight", "oblique", "pd", "yaw", "pitch", "roll")
"""What is regressed: power vector M, J0, J45 (1 at 8 dpt), pupil distance (0 at 63 mm, 1 at 76) and
the head's angles in radians."""
_CONTRAST_FLOOR: Final = 0.01


class GuidedEstimatorSettings(Settings):
    """Shape of an estimator; stored in its model card."""

    width: int = Field(default=16, ge=4, le=128, description="Channels at half resolution.")


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
    """What is seen in B crops of side S.

    `worn` [B] is the probability of glasses; `sphere`, `cylinder` (negative) [B] in dpt, `axis_deg`
    [B] 0…180 (TABO) and `pd_mm` [B] are those of the lenses, if any; `area` [B, 1, S, S] the
    probability that a pixel is seen through a lens; `yaw`, `pitch`, `roll` [B] in radians turn the
    head to the picture's right, down and clockwise. `error` [B, 7] is the standard deviation that
    the network expects of `VALUES`, in their units.
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
    """Outputs as they are trained: `worn` [B] logit, `area` [B, 1, S, S] logits, `values` and
    `log_error` [B, 7] (natural log of the expected standard deviation), and `power`
    [B, 3, S/4, S/4], what each place says of M, J0 and J45, whose weighted mean `values` have."""

    worn: Tensor
    area: Tensor
    values: Tensor
    log_error: Tensor
    power: Tensor


def _step(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class GuidedEstimator(nn.Module):
    """A U-shaped network with a regression at its narrowest place (its expected errors after
    Kendall & Gal 2017). Crops are those of `align.crop.crop_matrix`, in net space."""

    SIZE: Final = 128
    """Side of the crops, in pixels."""

    settings_type = GuidedEstimatorSettings

    def __init__(self, settings: GuidedEstimatorSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or GuidedEstimatorSettings()
        w = self.settings.width
        self.to_half = nn.Sequential(_step(3, w, 2), _step(w, w))
        self.to_quarter = nn.Sequential(_step(w, 2 * w, 2), _step(2 * w, 2 * w))
        self.to_eighth = nn.Sequential(_step(2 * w, 4 * w, 2), _step(4 * w, 4 * w))
        self.deep = nn.Sequential(_step(4 * w, 6 * w, 2), _step(6 * w, 6 * w))
        self.up_eighth = _step(10 * w, 3 * w)
        self.up_quarter = _step(5 * w, 2 * w)
        self.area = conv(2 * w, 1, 3, gain=0.1)
        # A lens shows its power where its rim breaks a contour: each place votes, some count more.
        self.power = nn.Sequential(_step(2 * w, 2 * w), conv(2 * w, 4, 3, gain=0.1))
        # The face fills the crop, so where a feature lies tells as much as what it is.
        self.narrow = _step(6 * w, w)
        self.spread = nn.Linear(w * (self.SIZE // 16) ** 2, 128)
        self.read = nn.Linear(128, 1 + 2 * len(VALUES))

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        return Needs(size_px=self.SIZE, channels=3, multiple_of=self.SIZE, half=True)

    def raw(self, crop: Tensor) -> Raw:
        """Outputs as they are trained, float32. Raises ValueError for crops of another size."""
        size = self.SIZE
        if crop.ndim != 4 or tuple(crop.shape[1:]) != (3, size, size):
            raise ValueError(f"crops of shape {tuple(crop.shape)}, wanted [B, 3, {size}, {size}]")
        centred = crop - crop.mean((1, 2, 3), keepdim=True)
        x = centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + _CONTRAST_FLOOR)
        half = self.to_half(x)
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        deep = self.deep(eighth)
        up = self.up_eighth(torch.cat([eighth, doubled(deep)], 1))
        up = self.up_quarter(torch.cat([quarter, doubled(up)], 1))
        area = doubled(doubled(self.area(up).float()))
        numbers = self.read(leaky(self.spread(self.narrow(deep).flatten(1)))).float()
        votes = self.power(up).float()
        power, weight = votes[:, :3], votes[:, 3:].flatten(2).softmax(-1)
        voted = (power.flatten(2) * weight).sum(-1)
        count = len(VALUES)
        values = torch.cat([voted, numbers[:, 4 : 1 + count]], 1)
        return Raw(numbers[:, 0], area, values, numbers[:, 1 + count :].clamp(-5, 2), power)

    def forward(self, crop: Tensor) -> Estimate:
        """`Estimate` of crops [B, 3, 128, 128] in net space; raises as `raw`."""
        raw = self.raw(crop)
        sphere, cylinder, axis = prescription(raw.values)
        error = raw.log_error.exp()
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
        pd_mm = 63.0 + 13.0 * raw.values[:, 3]
        yaw, pitch, roll = raw.values[:, 4:].unbind(1)
        return Estimate(
            worn, sphere, cylinder, axis, pd_mm, area, yaw, pitch, roll, error, confidence
        )


def _likely(error: Tensor, scale: float) -> Tensor:
    """Probability that a normal error of this standard deviation is below `scale`."""
    return torch.erf(scale / (error * 2**0.5))
