"""Parsing and identity are trained on aligned crops whose labels follow the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cartoon import cartoon_shard
from torch import Tensor, nn

from vfxswap.align.crop import template
from vfxswap.errors import JobError
from vfxswap.nets.identity import IdentityNet
from vfxswap.nets.parsing import CLASSES, ParsingNet
from vfxswap.train import identity, parsing
from vfxswap.train.face_crops import OCCLUDER, aligned_crop, dressed_crop
from vfxswap.train.landmark_data import FaceSet, write_shard

PARSING = parsing.ParsingTraining(iterations=4, faces=2, width=4, save_every=2)
IDENTITY = identity.IdentityTraining(
    iterations=4, performers=3, each=2, width=4, length=8, save_every=2
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    cartoon_shard(folder, 0, 56)
    return folder


@pytest.fixture(scope="module")
def faces(data: Path) -> FaceSet:
    return FaceSet.open(data)


def at(labels: Any, point: Any) -> str:
    x, y = np.floor(point).astype(int)
    return CLASSES[int(labels[y, x])]


def test_an_aligned_crop_shows_the_parts_where_the_template_has_them(faces: FaceSet) -> None:
    model = template(128)
    for index in range(8):
        labels = aligned_crop(faces, index, size=128).labels
        assert at(labels, model[36:42].mean(0)) == "eyes"
        assert at(labels, model[48:60].mean(0)) == "lips"
        assert at(labels, model[30]) == "skin"


def test_a_dressed_crop_is_repeatable_and_its_labels_follow(faces: FaceSet) -> None:
    for index in range(6):
        one, two = (
            dressed_crop(faces, index, np.random.default_rng(4), size=128, occluder_chance=0)
            for _ in range(2)
        )
        np.testing.assert_array_equal(one.crop, two.crop)
        assert at(one.labels, template(128)[48:60].mean(0)) == "lips"


def test_what_covers_a_face_is_labelled_occluder(faces: FaceSet) -> None:
    for index in range(6):
        rng = np.random.default_rng(index)
        hidden = dressed_crop(faces, index, rng, size=128, occluder_chance=1.0)
        assert (hidden.labels == OCCLUDER).mean() > 0.002
        rng = np.random.default_rng(index)
        bare = dressed_crop(faces, index, rng, size=128, occluder_chance=0.0)
        assert not (bare.labels == OCCLUDER).any()


def test_pictures_without_labels_are_refused(tmp_path: Path, faces: FaceSet) -> None:
    write_shard(
        tmp_path, 0, pictures=np.zeros((2, 8, 8, 3), np.float16), points=np.zeros((2, 70, 2)),
        identity=np.arange(2),
    )  # fmt: skip
    with pytest.raises(JobError, match="pictures without labels"):
        FaceSet.open(tmp_path).labels(0)


class Painted(nn.Module):
    """Says of every pixel what a plane of its crop says; stands in for a perfect network."""

    SIZE = 128

    def __init__(self, truths: list[Any]) -> None:
        super().__init__()
        self.truths = truths
        self.asked = 0

    def forward(self, crops: Tensor) -> Tensor:
        said = self.truths[self.asked : self.asked + len(crops)]
        self.asked = (self.asked + len(crops)) % len(self.truths)
        one_hot = nn.functional.one_hot(torch.from_numpy(np.stack(said)).long(), len(CLASSES))
        return one_hot.movedim(-1, 1).float()


def test_a_perfect_parsing_has_an_iou_of_one_for_what_is_there(faces: FaceSet) -> None:
    indices = np.arange(10)
    truths = [
        parsing._sample(faces, int(i), 128, 0, dressed=dressed).labels
        for dressed in (True, False)
        for i in indices
    ]
    found = parsing.evaluate(Painted(truths), faces, indices, seed=0)  # type: ignore[arg-type]
    assert found["iou_eyes"] == found["clean_iou_lips"] == found["iou_occluder"] == 1.0
    assert found["iou_ears"] == 0.0


def test_parsing_resumes_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole = parsing.run(data, tmp_path / "whole", settings=PARSING)
    calls = iter([False, False, False, True])
    with pytest.raises(Exception, match="stopped after 3"):
        parsing.run(data, tmp_path / "cut", settings=PARSING, stop=lambda: next(calls))
    resumed = parsing.run(data, tmp_path / "cut", settings=PARSING)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    assert (tmp_path / "whole" / "preview.png").is_file()


def test_identity_resumes_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole = identity.run(FaceSet.open(data), tmp_path / "whole", settings=IDENTITY)
    calls = iter([False, False, False, True])
    with pytest.raises(Exception, match="stopped after 3"):
        identity.run(
            FaceSet.open(data), tmp_path / "cut", settings=IDENTITY, stop=lambda: next(calls)
        )
    resumed = identity.run(FaceSet.open(data), tmp_path / "cut", settings=IDENTITY)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_networks_say_what_crops_they_want() -> None:
    assert ParsingNet().eval()(torch.rand(2, 3, 128, 128)).shape == (2, len(CLASSES), 128, 128)
    vectors = IdentityNet().eval()(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    for net in (ParsingNet(), IdentityNet()):
        with pytest.raises(ValueError, match="wanted"):
            net(torch.rand(1, 3, 32, 32))


def test_descriptors_ignore_exposure() -> None:
    net = IdentityNet().eval()
    crop = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(net(crop + 0.2), net(crop), atol=1e-4, rtol=0)
