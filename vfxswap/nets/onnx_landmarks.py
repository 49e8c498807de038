"""Landmarks by a network of somebody else's, given as ONNX; faces are still found by our own.

The contract: one input [B, 3, S, S] float32, a square crop around an upright face; one output with
N points [B, N, 2] or [B, 2 N] (x before y, x right, y down), and optionally one with a confidence
[B, N] in 0…1. The settings say the crop's size, framing, colours and normalisation, and which of
the N points each of our 70 is; those that it lacks come from our own network. The ONNX file
travels as bytes in the model's safetensors, so it is hashed and listed like any other.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from vfxswap.color import from_net
from vfxswap.errors import ModelError
from vfxswap.geometry import LANDMARK_COUNT
from vfxswap.nets.landmark import Candidates, LandmarkNet, Landmarks, LandmarkSettings
from vfxswap.nets.layers import Needs
from vfxswap.settings import Settings

OWN: Final = -1


class OnnxLandmarkSettings(Settings):
    """How the network wants its crops and what its points mean; stored in its model card."""

    file_bytes: int = Field(ge=1, description="Length of the ONNX file.")
    input_px: int = Field(ge=8, le=1024, description="Width and height of its crops.")
    share: float = Field(
        default=1.45, ge=1.0, le=3.0, description="Side of its crops over the face's box."
    )
    space: Literal["srgb", "net"] = Field(
        default="srgb", description="Its colours: display sRGB clipped to 0…1, or net space."
    )
    order: Literal["rgb", "bgr"] = Field(default="rgb", description="Order of its channels.")
    scale: float = Field(default=1.0, gt=0, description="Colours are multiplied by this first …")
    mean: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0), description="… then this is taken off each channel …"
    )
    std: tuple[float, float, float] = Field(
        default=(1.0, 1.0, 1.0), description="… then each is divided by this."
    )
    unit: Literal["pixels", "share"] = Field(
        default="pixels", description="Its points in pixels of the crop, or in shares of its side."
    )
    points: tuple[int, ...] = Field(
        default=(*range(68), OWN, OWN),
        min_length=LANDMARK_COUNT,
        max_length=LANDMARK_COUNT,
        description="Which of its points each of our 70 is (iBUG-68, right and left pupil); -1 "
        "where it has none.",
    )
    points_output: str = Field(default="", description="Name of the output; empty takes the first.")
    confidence_output: str = Field(default="", description="Name of the output; empty for none.")
    own: LandmarkSettings = Field(
        default=LandmarkSettings(), description="Shape of our own network beside it."
    )


class OnnxLandmarks(nn.Module):
    """The network and our own: same use as `LandmarkNet`. Runs on the CPU by onnxruntime (the
    extra `onnx`), which is loaded with the first crop; ModelError when it is missing or refuses.
    """

    settings_type = OnnxLandmarkSettings

    def __init__(self, settings: OnnxLandmarkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.own = LandmarkNet(settings.own)
        self.register_buffer("file", torch.zeros(settings.file_bytes, dtype=torch.uint8))
        self.file: Tensor
        self._session: Any = None

    @property
    def SHARE(self) -> float:  # noqa: N802
        """Side of the crops over the face: room for both networks."""
        return max(self.settings.share, LandmarkNet.SHARE)

    @property
    def SIZE(self) -> int:  # noqa: N802
        """Side of the crops, in pixels: none of the two is enlarged."""
        wanted = self.settings.input_px * self.SHARE / self.settings.share
        return math.ceil(max(wanted, LandmarkNet.SIZE * self.SHARE / LandmarkNet.SHARE))

    @property
    def needs(self) -> Needs:
        """What the network asks of its crops."""
        return Needs(size_px=self.SIZE, channels=3, multiple_of=self.SIZE, half=False)

    def forward(self, crop: Tensor) -> Landmarks:
        """[B, 3, SIZE, SIZE] in net space. The score, and what the other lacks, is our own."""
        own = self.own(self._middle(crop, LandmarkNet.SHARE, LandmarkNet.SIZE))
        points = self._back(own.points, LandmarkNet.SHARE, LandmarkNet.SIZE)
        confidence = own.confidence.clone()
        found, sure = self._asked(self._prepared(crop))
        found = found * (self.settings.input_px if self.settings.unit == "share" else 1)
        there = [i for i, source in enumerate(self.settings.points) if source != OWN]
        source = [self.settings.points[i] for i in there]
        theirs = torch.from_numpy(found[:, source]).to(points)
        points[:, there] = self._back(theirs, self.settings.share, self.settings.input_px)
        if sure is not None:
            confidence[:, there] = torch.from_numpy(sure[:, source]).to(confidence).clamp(0, 1)
        return Landmarks(points, confidence, own.score, own.spread)

    def scan(self, picture: Tensor) -> Candidates:
        """Where faces may be, by our own network."""
        return self.own.scan(picture)

    def likely(self, confidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Confidence as it is: what it means is the studio's network's."""
        return confidence

    def _middle(self, crop: Tensor, share: float, size: int) -> Tensor:
        """The middle of the crops that is `share` faces wide, at `size` pixels."""
        part = share / self.SHARE
        theta = crop.new_tensor([[part, 0, 0], [0, part, 0]]).expand(len(crop), 2, 3)
        grid = F.affine_grid(theta, [len(crop), 3, size, size], align_corners=False)
        return F.grid_sample(crop, grid, padding_mode="border", align_corners=False)

    def _back(self, points: Tensor, share: float, size: int) -> Tensor:
        """Points in pixels of `_middle` to pixels of the crop."""
        step = share / self.SHARE * self.SIZE / size
        return (points - size / 2) * step + self.SIZE / 2

    def _prepared(self, crop: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        s = self.settings
        picture = self._middle(crop.float(), s.share, s.input_px)
        if s.space == "srgb":
            linear = from_net(picture).clamp(0, 1)
            # IEC 61966-2-1.
            power = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
            picture = torch.where(linear <= 0.0031308, 12.92 * linear, power)
        if s.order == "bgr":
            picture = picture.flip(1)
        mean, std = (picture.new_tensor(v)[None, :, None, None] for v in (s.mean, s.std))
        return ((picture * s.scale - mean) / std).cpu().contiguous().numpy()

    def _asked(self, crops: Any) -> tuple[Any, Any]:
        """Points [B, N, 2] and confidence [B, N] or None, as the network gives them."""
        session = self._loaded()
        names = [output.name for output in session.get_outputs()]
        wanted = [self.settings.points_output or names[0]]
        if self.settings.confidence_output:
            wanted.append(self.settings.confidence_output)
        for name in wanted:
            if name not in names:
                raise ModelError("the ONNX network has no such output", got=name, wanted=names)
        try:
            given = session.run(wanted, {session.get_inputs()[0].name: crops})
        except Exception as error:  # onnxruntime raises types of its own that share no base
            raise ModelError(f"the ONNX network failed: {error}") from None
        points = np.asarray(given[0], np.float32).reshape(len(crops), -1, 2)
        highest = max(self.settings.points)
        if points.shape[1] <= highest:
            raise ModelError(
                "the ONNX network gives too few points",
                got=points.shape[1],
                wanted=f"{highest + 1} or more",
            )
        sure = np.asarray(given[1], np.float32).reshape(len(crops), -1) if given[1:] else None
        return points, sure

    def _loaded(self) -> Any:
        if self._session is None:
            try:
                import onnxruntime
            except ImportError:
                raise ModelError(
                    "landmarks by ONNX need onnxruntime", wanted="pip install 'vfxswap[onnx]'"
                ) from None
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            try:
                self._session = onnxruntime.InferenceSession(
                    self.file.cpu().numpy().tobytes(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # as above
                raise ModelError(f"the ONNX file cannot be loaded: {error}") from None
        return self._session
