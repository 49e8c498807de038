"""What looks at pictures for a search: the networks, and how colours are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import cast

import torch

from vfxswap.align.pose import LandmarkFinder
from vfxswap.color import ColorManager
from vfxswap.errors import JobError
from vfxswap.nets.features import FeatureNet
from vfxswap.render.device import pick_device
from vfxswap.render.models import Shelf


@dataclass(frozen=True, eq=False)
class Reader:
    """`key` is a hash of everything that decides what a picture's faces are like."""

    net: FeatureNet
    finder: LandmarkFinder
    color: ColorManager
    device: torch.device
    key: str

    @classmethod
    def load(cls, model: str, *, device: str = "auto", ocio: str = "") -> Reader:
        """Raises ModelError, ColorError, JobError for a model of something else."""
        place = pick_device(device)
        shelf = Shelf(place)
        loaded, landmarks = shelf.by_name(model), shelf.for_stage("landmarks")
        if not isinstance(loaded.net, FeatureNet):
            raise JobError("not a model of features", got=model)
        color = ColorManager(ocio or None)
        decisive = (
            loaded.card.weights_sha256,
            *loaded.net.feature_names,
            landmarks.card.weights_sha256,
            color.fingerprint,
            color.working,
        )
        key = hashlib.sha256("\n".join(map(str, decisive)).encode()).hexdigest()
        return cls(loaded.net, cast(LandmarkFinder, landmarks.net), color, place, key)
