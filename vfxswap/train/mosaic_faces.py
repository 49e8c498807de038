"""Losses for faces as domain: what the project's networks find in a patch, in what G made of it.

Source: US 2019/0171908 A1, paragraph 140 (landmarks, bounding box, confidence and segmentation of
the input patch compared with those of the output patch). They count where the input patch shows a
face; the networks stay as they are.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vfxswap.errors import JobError
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.nets.mosaic import as_net
from vfxswap.nets.parsing import ParsingNet
from vfxswap.settings import Settings

SURE = 0.5
"""Face score of an input patch from which it counts as a face."""


class FaceWeights(Settings):
    """How much the losses of faces count; 0 leaves one out."""

    landmarks: float = Field(default=0.0, ge=0, description="Of landmarks, in shares of a patch.")
    box: float = Field(default=0.0, ge=0, description="Of the box around them, likewise.")
    confidence: float = Field(default=0.0, ge=0, description="Of the score of being a face.")
    parts: float = Field(default=0.0, ge=0, description="Of the segmentation into parts.")
    patches: int = Field(default=8, ge=1, description="Patches of a batch that are looked at.")
    landmark_model: str = Field(default="landmarks-synthetic", description="Finds landmarks.")
    parsing_model: str = Field(default="parsing-synthetic", description="Finds parts.")

    @property
    def any(self) -> bool:
        """Whether any of them counts."""
        return any((self.landmarks, self.box, self.confidence, self.parts))


class FaceLosses:
    """The frozen networks, and what they say of patches."""

    def __init__(self, landmarks: LandmarkNet, parsing: ParsingNet, weights: FaceWeights) -> None:
        self._landmarks, self._parsing, self._weights = landmarks, parsing, weights

    @classmethod
    def load(cls, weights: FaceWeights, device: torch.device | str = "cpu") -> Self:
        """Raises ModelError, and JobError for a model of another kind."""
        landmarks = _net(weights.landmark_model, device)
        parsing = _net(weights.parsing_model, device)
        if not isinstance(landmarks, LandmarkNet):
            raise JobError("model finds no landmarks", got=weights.landmark_model)
        if not isinstance(parsing, ParsingNet):
            raise JobError("model finds no parts of faces", got=weights.parsing_model)
        return cls(landmarks, parsing, weights)

    def __call__(self, made: Tensor, plate: Tensor) -> Tensor:
        """Their weighted sum for patches [B, 3, s, s] made of others [B, 3, t, t], both as mosaic
        networks take them; 0 where none of the looked-at patches shows a face."""
        parts = self.parts(made, plate)
        weights = self._weights.model_dump()
        total = made.new_zeros((), dtype=torch.float32)
        for name, value in parts.items():
            total = total + weights[name] * value
        return total

    def parts(self, made: Tensor, plate: Tensor) -> dict[str, Tensor]:
        """Each loss by its name, 0 for equal patches; {} where no face is seen."""
        count = self._weights.patches
        made, plate = as_net(made[:count].float()), as_net(plate[:count].float())
        with torch.no_grad():
            heat, score = self._landmarks.heatmaps(_sized(plate, LandmarkNet.SIZE))
            face = torch.sigmoid(score) > SURE
        if not bool(face.any()):
            return {}
        made, plate, heat, score = made[face], plate[face], heat[face], score[face]
        wanted, _ = self._landmarks.moments(heat.exp())
        found_heat, found_score = self._landmarks.heatmaps(_sized(made, LandmarkNet.SIZE))
        found, _ = self._landmarks.moments(found_heat.exp())
        with torch.no_grad():
            classes = self._parsing(_sized(plate, ParsingNet.SIZE)).log_softmax(1)
        found_classes = self._parsing(_sized(made, ParsingNet.SIZE)).log_softmax(1)
        divergence = F.kl_div(found_classes, classes, reduction="none", log_target=True)
        return {
            "landmarks": (found - wanted).norm(dim=2).mean(),
            "box": (_box(found) - _box(wanted)).abs().mean(),
            "confidence": F.relu(score - found_score).mean(),
            "parts": divergence.sum(1).mean(),
        }


def _net(name: str, device: torch.device | str) -> nn.Module:
    model = find_model(name)
    net = load_net(model.card, model.folder, device=str(device))
    return net.eval().requires_grad_(False)


def _sized(patches: Tensor, size: int) -> Tensor:
    return F.interpolate(patches, size=size, mode="bicubic", align_corners=False)


def _box(points: Tensor) -> Tensor:
    """[B, 4]: left, top, right, bottom of landmarks [B, 70, 2]."""
    return torch.cat([points.amin(1), points.amax(1)], 1)
