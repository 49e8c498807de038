"""Face landmarks from a crop by heatmaps, how sure they are, and where faces may be.

Points come from a soft-argmax over heatmaps, so they are sub-pixel and differentiable (Nibali et
al. 2018, DSNT). Regressing coordinates from one vector, tried first, stayed near the mean face.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.geometry import LANDMARK_COUNT
from vfxswap.nets.layers import Needs
from vfxswap.settings import Settings


class LandmarkSettings(Settings):
    """Shape of a landmark network; stored in its model card."""

    width: int = Field(
        default=24,
        ge=4,
        le=128,
        description="Channels at half resolution; deeper levels have more.",
    )
    likelihood: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=tuple(k / 10 for k in range(11)),
        min_length=2,
        description="How likely a landmark lies near its place, at confidences evenly from 0 to 1.",
    )


class Landmarks(NamedTuple):
    """What the net finds in each of B crops.

    `points` [B, 70, 2] in crop pixels (x, y; centres at +0.5; may lie up to a twelfth of the crop
    outside it); `confidence` [B, 70] and `score` [B] in 0…1; `spread` [B, 70] is each heatmap's
    standard deviation in crop widths.
    """

    points: Tensor
    confidence: Tensor
    score: Tensor
    spread: Tensor


class Candidates(NamedTuple):
    """The scanner's map over a picture: `logit` [B, h, w] of "a face is centred here" and `box`
    [B, 3, h, w]: offset x, y of its centre and log2 of its size, in scanned face sizes."""

    logit: Tensor
    box: Tensor


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Scanner(nn.Module):
    """Small convolutional net that sees faces of about `FACE` pixels; any picture size."""

    FACE: Final = 16
    """Size (larger side of the landmarks' box) of the faces it looks for, in picture pixels."""

    STRIDE: Final = 4
    """Picture pixels between neighbours on its map; cell i is centred at (i + 0.5) * STRIDE."""

    _WINDOW: Final = 25

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(3, 16, 2), _conv(16, 32, 2), _conv(32, 32), _conv(32, 32), _conv(32, 48)
        )
        self.head = nn.Conv2d(48, 4, 1)

    def forward(self, picture: Tensor) -> Candidates:
        """[B, 3, H, W] in net space, H and W multiples of 4 and at least 16."""
        out = self.head(self.body(self._local_contrast(picture))).float()
        return Candidates(out[:, 0], out[:, 1:])

    def _local_contrast(self, picture: Tensor) -> Tensor:
        # Standardised by the surrounding window, so that a dim face in a bright frame counts as
        # much as a face that fills the picture.
        mean = self._windowed(picture.mean(1, keepdim=True))
        variance = self._windowed((picture - mean).square().mean(1, keepdim=True))
        return (picture - mean) / (variance.sqrt() + _CONTRAST_FLOOR)

    def _windowed(self, plane: Tensor) -> Tensor:
        window = self._WINDOW
        rows = F.avg_pool2d(plane, (1, window), 1, (0, window // 2), count_include_pad=False)
        return F.avg_pool2d(rows, (window, 1), 1, (window // 2, 0), count_include_pad=False)


_CONTRAST_FLOOR: Final = 0.01


class LandmarkNet(nn.Module):
    """Seventy landmarks (iBUG-68 and pupils) and a face score from square crops.

    Wants the face's landmark box to be 0.57…0.87 of the crop's side and the roll within 30°.
    Works in float32 and, under autocast, bfloat16.
    """

    SIZE: Final = 96
    """Side of the crops, in pixels."""

    SHARE: Final = 1.45
    """Side of the crops over the face, as it was trained."""

    PAD: Final = 2
    """Heatmap cells on each side beyond the crop, so that points may lie outside."""

    STRIDE: Final = 4

    settings_type = LandmarkSettings

    def __init__(self, settings: LandmarkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or LandmarkSettings()
        w = self.settings.width
        self.stem = nn.Sequential(_conv(3, w, 2), _conv(w, 2 * w, 2), _Residual(2 * w))
        self.middle = nn.Sequential(_conv(2 * w, 4 * w, 2), _Residual(4 * w))
        self.deep = nn.Sequential(_conv(4 * w, 5 * w, 2), _Residual(5 * w), _Residual(5 * w))
        self.deep_to_middle = nn.Conv2d(5 * w, 4 * w, 1)
        self.up_middle = _conv(4 * w, 4 * w)
        self.middle_to_stem = nn.Conv2d(4 * w, 3 * w, 1)
        self.skip = nn.Conv2d(2 * w, 3 * w, 1)
        self.up_stem = nn.Sequential(_conv(3 * w, 3 * w), _conv(3 * w, 3 * w))
        self.heat = nn.Conv2d(3 * w, LANDMARK_COUNT, 1)
        self.face = nn.Linear(5 * w, 1)
        self.scanner = Scanner()
        cells = self.SIZE // self.STRIDE + 2 * self.PAD
        grid = (torch.arange(cells) + 0.5 - self.PAD) * self.STRIDE / self.SIZE
        self.register_buffer("grid", grid, persistent=False)
        self.register_buffer("typical_spread", torch.full((LANDMARK_COUNT,), 0.05))
        self.grid: Tensor
        self.typical_spread: Tensor

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        return Needs(size_px=self.SIZE, channels=3, multiple_of=self.SIZE, half=True)

    def forward(self, crop: Tensor) -> Landmarks:
        """[B, 3, 96, 96] in net space; no range needed, each crop is standardised."""
        log_heat, logit = self.heatmaps(crop)
        points, spread = self.moments(log_heat.exp())
        confidence = torch.sigmoid(6.0 - 3.0 * spread / self.typical_spread)
        return Landmarks(points * self.SIZE, confidence, torch.sigmoid(logit), spread)

    def heatmaps(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [B, 70, 28, 28] (float32, each map sums to 1) and face logit [B]."""
        size = self.SIZE
        if crop.ndim != 4 or crop.shape[1:] != (3, size, size):
            raise ValueError(f"crops of shape {tuple(crop.shape)}, wanted [B, 3, {size}, {size}]")
        centred = crop - crop.mean((1, 2, 3), keepdim=True)
        x = centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + _CONTRAST_FLOOR)
        stem = self.stem(x)
        middle = self.middle(stem)
        deep = self.deep(middle)
        up = self.up_middle(middle + _double(self.deep_to_middle(deep)))
        joined = self.skip(stem) + _double(self.middle_to_stem(up))
        heat = self.heat(self.up_stem(F.pad(joined, [self.PAD] * 4))).float()
        logit = self.face(deep.mean((2, 3))).float().squeeze(1)
        return F.log_softmax(heat.flatten(2), -1).view_as(heat), logit

    def moments(self, heat: Tensor) -> tuple[Tensor, Tensor]:
        """Means [B, 70, 2] and standard deviations [B, 70] of heatmaps, in crop widths."""
        column, row = heat.sum(2), heat.sum(3)
        x, y = column @ self.grid, row @ self.grid
        variance = column @ self.grid.square() - x**2 + row @ self.grid.square() - y**2
        return torch.stack([x, y], -1), (variance / 2).clamp_min(0.0).sqrt()

    def scan(self, picture: Tensor) -> Candidates:
        """Where faces of about `Scanner.FACE` pixels may be; [B, 3, H, W] in net space."""
        candidates: Candidates = self.scanner(picture)
        return candidates

    def likely(self, confidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """How likely landmarks lie within a tenth of the outer interocular distance from their
        places, by the confidence that localisation has in them: as measured on rendered faces."""
        known = np.array(self.settings.likelihood)
        said: NDArray[np.float64] = np.interp(confidence, np.linspace(0, 1, len(known)), known)
        return said

    def calibrate(self, typical_spread: Tensor) -> None:
        """Sets the heatmap spreads [70] at which a point's confidence is 0.95.

        Twice as wide means 0.5, three times 0.05: on held-out faces the error grows with that
        ratio, about threefold at two and fivefold at three.
        """
        self.typical_spread.copy_(typical_spread)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
