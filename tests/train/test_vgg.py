"""VGG weights are read without being unpickled, and refused where that cannot be."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vfxswap.errors import ModelError
from vfxswap.io.weights import load_net
from vfxswap.nets.perceptual import Perceptual
from vfxswap.train import vgg

CONVS = (2, 2, 3, 3, 3)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A VGG-16 as torchvision names it, with weights that can be told apart."""
    torch.manual_seed(0)
    tensors: dict[str, Tensor] = OrderedDict()
    index, channels = 0, 3
    for width, count in zip((64, 128, 256, 512, 512), CONVS):
        for _ in range(count):
            tensors[f"features.{index}.weight"] = torch.randn(width, channels, 3, 3) * 0.02
            tensors[f"features.{index}.bias"] = torch.randn(width)
            index, channels = index + 2, width
        index += 1
    tensors["classifier.0.weight"] = torch.zeros(4, 6)
    return tensors


def _converted(file: Path, out: Path) -> Perceptual:
    stored = vgg.convert(file, out, licence="CC-BY-4.0", command="test")
    net = load_net(stored.card, stored.folder, device="cpu")
    assert isinstance(net, Perceptual)
    return net


@pytest.mark.parametrize("form", ["safetensors", "zip", "parameters"])
def test_weights_are_those_of_the_file(state: dict[str, Tensor], tmp_path: Path, form: str) -> None:
    file = tmp_path / ("vgg.safetensors" if form == "safetensors" else "vgg.pth")
    if form == "safetensors":
        save_file(state, file)
    else:
        kept = OrderedDict((k, nn.Parameter(v)) for k, v in state.items())
        torch.save(kept if form == "parameters" else state, file)
    net = _converted(file, tmp_path / "vgg16")
    weight, bias = net.conv("3_2")
    assert torch.equal(weight, state["features.12.weight"].half().float())
    assert torch.equal(bias, state["features.12.bias"].half().float())
    assert net.settings.input == "imagenet" and "relu5_3" in net.layers
    features = net(torch.rand(1, 3, 32, 32) * 0.5, ("relu1_1", "relu3_2"))
    assert features["relu3_2"].shape == (1, 256, 8, 8)


def test_net_space_becomes_the_code_values_that_vgg_was_trained_on(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / "vgg.safetensors")
    net = _converted(tmp_path / "vgg.safetensors", tmp_path / "vgg16")
    from vfxswap.color import to_net

    grey = to_net(torch.full((1, 3, 16, 16), 0.21404114))  # sRGB 0.5
    wanted = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(net.prepared(grey)[0, :, 0, 0], wanted, atol=1e-4)


class _Attack:
    ran = False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("import tests_vgg_was_run",)


def test_a_file_that_would_run_code_is_refused_and_does_not(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({**state, "evil": _Attack()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="more than tensors by name"):
        vgg.convert(tmp_path / "evil.pth", tmp_path / "m", licence="none", command="test")


def test_old_and_foreign_files_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    with (tmp_path / "old.pth").open("wb") as file:
        pickle.dump({}, file)
    for name, sentence in (("old.pth", "only unpickling reads"), ("none.pth", "cannot be read")):
        with pytest.raises(ModelError, match=sentence):
            vgg.convert(tmp_path / name, tmp_path / "m", licence="none", command="test")
    small = {k: v for k, v in state.items() if "features.0" in k}
    save_file(small, tmp_path / "small.safetensors")
    with pytest.raises(ModelError, match="not a VGG"):
        vgg.convert(tmp_path / "small.safetensors", tmp_path / "m", licence="none", command="test")
