"""Networks by name: plain modules, each with `settings_type` and `needs`."""

from __future__ import annotations

from torch import nn

from vfxswap.nets.comb import Comb
from vfxswap.nets.features import FeatureNet
from vfxswap.nets.guided import GuidedPair
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.nets.identity import IdentityNet
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.nets.mosaic import MosaicEncoder, MosaicGenerator
from vfxswap.nets.onnx_landmarks import OnnxLandmarks
from vfxswap.nets.parsing import ParsingNet
from vfxswap.nets.perceptual import Perceptual
from vfxswap.nets.style import StyleNet

NETS: dict[str, type[nn.Module]] = {
    "comb": Comb,
    "features": FeatureNet,
    "guided": GuidedPair,
    "guided_estimator": GuidedEstimator,
    "identity": IdentityNet,
    "landmark": LandmarkNet,
    "mosaic_encoder": MosaicEncoder,
    "mosaic_generator": MosaicGenerator,
    "onnx_landmarks": OnnxLandmarks,
    "parsing": ParsingNet,
    "perceptual": Perceptual,
    "style": StyleNet,
}
