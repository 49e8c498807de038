"""Losses of faces: what the landmark and parsing networks say of patches, in and out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage
import torch
import torch.nn.functional as F
from torch import Tensor

from vfxswap.color import ColorManager, to_net
from vfxswap.errors import JobError
from vfxswap.nets.mosaic import as_input
from vfxswap.train.mosaic_faces import FaceLosses, FaceWeights

ALL = FaceWeights(landmarks=1, box=1, confidence=1, parts=1)


@pytest.fixture(scope="module")
def losses() -> FaceLosses:
    return FaceLosses.load(ALL)


@pytest.fixture(scope="module")
def face() -> Tensor:
    """[1, 3, 64, 64]: the portrait that scikit-image ships, cut to the head."""
    head = skimage.data.astronaut()[30:210, 135:315].astype(np.float32) / 255
    small = cv2.resize(head, (64, 64), interpolation=cv2.INTER_AREA)
    manager = ColorManager()
    linear = manager.to_working(small, manager.canonical("sRGB Encoded Rec.709 (sRGB)"))
    return as_input(torch.from_numpy(to_net(linear))).permute(2, 0, 1)[None].contiguous()


def test_equal_patches_lose_nothing(losses: FaceLosses, face: Tensor) -> None:
    parts = losses.parts(face, face)
    assert set(parts) == {"landmarks", "box", "confidence", "parts"}
    assert all(float(value) == pytest.approx(0, abs=1e-5) for value in parts.values())


def test_a_face_that_moved_or_went_loses_in_all(losses: FaceLosses, face: Tensor) -> None:
    moved = losses.parts(torch.roll(face, 6, 3), face)
    assert float(moved["landmarks"]) > 0.04 and float(moved["box"]) > 0.02
    assert float(moved["parts"]) > 0.2
    gone = losses.parts(face.mean((2, 3), keepdim=True).expand_as(face), face)
    assert float(gone["confidence"]) > 1
    assert float(gone["parts"]) > float(moved["parts"]) > 0


def test_a_patch_without_a_face_counts_for_nothing(losses: FaceLosses) -> None:
    flat = torch.zeros(2, 3, 32, 32)
    assert losses.parts(flat + 1, flat) == {}
    assert float(losses(flat + 1, flat)) == 0


def test_following_them_brings_the_face_back(losses: FaceLosses, face: Tensor) -> None:
    blurred = F.interpolate(F.avg_pool2d(face, 16), size=64, mode="bilinear")
    made = blurred.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([made], lr=0.05)
    first = float(losses(made.detach(), face))
    for _ in range(8):
        optimiser.zero_grad()
        loss = losses(made, face)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(losses(made.detach(), face)) < 0.7 * first


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(JobError, match="finds no landmarks"):
        FaceLosses.load(FaceWeights(landmarks=1, landmark_model="parsing-synthetic"))
