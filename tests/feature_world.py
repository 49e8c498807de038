"""A small feature network of random weights, and pictures with faces, for tests of what uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vfxswap.align.crop import template
from vfxswap.effects.base import Frame, LoadedNet
from vfxswap.errors import ModelError
from vfxswap.geometry import LANDMARK_COUNT, Box, Face
from vfxswap.image import Pixels
from vfxswap.io.weights import save_model
from vfxswap.nets.features import FeatureNet, FeatureSettings
from vfxswap.persona import ModelCard

FEATURES = ("ears", "eyes", "hair", "mouth", "nose", "skin")
MODEL = "tiny-features"
CPU = torch.device("cpu")


def tiny_net() -> FeatureNet:
    """32 px crops, so that three layers are left beside the pose's; σ that varies with the crop,
    and clusters around activations of twelve places of one picture, spread over the features."""
    settings = FeatureSettings(
        crop_size=32,
        width=4,
        widest=12,
        widest_encoder=8,
        code=12,
        pose_code=3,
        clusters=12,
        features=FEATURES,
        assignment=tuple(k % len(FEATURES) for k in range(12)),
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        net = FeatureNet(settings)
        for layer in (net.encoder.of_pose, net.encoder.rest):
            layer.weight.mul_(4)
        for parameter in net.to_rgb.parameters():
            parameter.mul_(4)
        activations = net.generate(net.encode(torch.rand(1, 3, 32, 32))).activations
        clustered = activations[settings.cluster_layer][0]
        net.cluster_mean.copy_(clustered.mean((1, 2)))
        net.cluster_std.copy_(clustered.std((1, 2)))
        places = net.standardised(activations)[0].flatten(1).T
        chosen = torch.linspace(0, len(places) - 1, 14).long()[1:-1]
        net.cluster_centres.copy_(torch.nn.functional.normalize(places[chosen], dim=1))
    return net.eval().requires_grad_(False)


def card(name: str = MODEL) -> ModelCard:
    """A card for the tiny network."""
    return ModelCard(
        name=name,
        effect="features",
        network="features",
        network_settings=tiny_net().settings.model_dump(),
        crop_size=32,
        licence="Apache-2.0",
        synthetic=True,
        training_data="random numbers",
        training_licence="CC0-1.0",
        recipe="none: random weights",
    )


def write_model(folder: Path, name: str = MODEL) -> Path:
    """The tiny network as a model below `folder`, a root of models."""
    save_model(folder / name, card(name), tiny_net().state_dict())
    return folder


def face(
    frame_side: float = 60, *, x: float = 20, y: float = 10, id_: int = 0, aspect: float = 1.0
) -> Face:
    """An upright face whose crop is `frame_side` plate pixels high."""
    points = template(1) * [frame_side / aspect, frame_side] + [x, y]
    return Face(id_, points, np.full(LANDMARK_COUNT, 0.9), 0.95)


def picture(seed: int, *, height: int = 90, width: int = 120) -> Pixels:
    """Soft blobs with some grain, a highlight of 12 and a negative pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 12.0
    waves = np.stack([np.sin(x * a + b) * np.cos(y * c) for a, b, c in rng.random((3, 3)) + 0.4], 2)
    rgb = 0.25 + 0.2 * waves + 0.02 * rng.standard_normal((height, width, 3))
    rgb[40, 50], rgb[45, 52, 0] = 12.0, -0.01
    return np.ascontiguousarray(rgb, np.float32)


def frame(seed: int = 1, number: int = 1, *, faces: tuple[Face, ...] | None = None) -> Frame:
    """A frame with one face, unless others are given, and overscan."""
    rgb = picture(seed)
    window = Box(-4, -3, rgb.shape[1], rgb.shape[0])
    display = Box(0, 0, rgb.shape[1] - 8, rgb.shape[0] - 6)
    faces = (face(),) if faces is None else faces
    return Frame(number, rgb, window, display, seed=7, faces=faces)


class Shelf:
    """Gives the tiny network, and a picture with a face for every reference."""

    def __init__(self, net: torch.nn.Module | None = None) -> None:
        self.net = tiny_net() if net is None else net

    def for_persona(self, persona: str) -> LoadedNet:
        raise ModelError("no personas here", got=persona)

    def by_name(self, name: str) -> LoadedNet:
        return LoadedNet(card(), self.net)

    def for_stage(self, stage: str) -> LoadedNet:
        raise ModelError("no stages here", got=stage)

    def picture(self, file: str) -> Pixels:
        raise ModelError("no stills here", got=file)

    def reference(self, picture: str) -> Frame:
        return frame(seed=9)
