"""The style network for Nuke's Inference node is the engine's network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.cli import main
from vfxswap.io.weights import save_model
from vfxswap.nets.nuke_style import StyleForNuke, scripted, write_script
from vfxswap.nets.style import StyleNet, StyleSettings
from vfxswap.persona import ModelCard

STYLES = ("ink", "neon", "gouache")


SHAPES: dict[str, dict[str, Any]] = {
    "quarter": {"trunk": 4},
    "half": {"trunk": 2},
    "screens": {"trunk": 2, "screens": True},
}


@pytest.fixture(scope="module", params=list(SHAPES))
def net(request: pytest.FixtureRequest) -> StyleNet:
    """Random weights, and rows of normal size; blocks at a quarter and at half of the size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        shape = StyleSettings(styles=STYLES, widths=(8, 12, 16), blocks=2, **SHAPES[request.param])
        made = StyleNet(shape)
        with torch.no_grad():
            made.gamma.normal_(1.0, 0.3)
            made.beta.normal_(0.0, 0.3)
    return made.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def plate(height: int, width: int) -> Tensor:
    """Scene-linear, with a lamp and negative values."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    made = torch.rand(1, 3, height, width, generator=generator) * 1.4 - 0.1
    made[..., height // 2, width // 2] = 40.0
    return made


def engine(net: StyleNet, linear: Tensor, style: dict[str, float]) -> Tensor:
    return torch.as_tensor(color.from_net(net(color.to_net(linear), net.row(style))))


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (66, 47), (16, 16)])
@pytest.mark.parametrize("style", [{"ink": 1.0}, {"neon": 0.3, "gouache": 0.9}])
def test_the_script_gives_what_the_engines_network_gives(
    net: StyleNet, size: tuple[int, int], style: dict[str, float]
) -> None:
    linear = plate(*size)
    made = scripted(net, style)(linear)
    torch.testing.assert_close(made, engine(net, linear, style), rtol=2e-4, atol=2e-5)


def test_the_script_keeps_no_hold_on_the_network(net: StyleNet) -> None:
    module = StyleForNuke(net, {"ink": 1.0})
    before = module(plate(32, 32))
    with torch.no_grad():
        kept = net.gamma.clone()
        net.gamma.zero_()
    assert torch.equal(module(plate(32, 32)), before)
    with torch.no_grad():
        net.gamma.copy_(kept)


def test_a_picture_smaller_than_the_network_takes_comes_back_in_its_size(net: StyleNet) -> None:
    made = scripted(net, {"ink": 1.0})(plate(5, 9))
    assert made.shape == (1, 3, 5, 9) and bool(torch.isfinite(made).all())


def test_pixels_that_are_not_finite_count_as_black(net: StyleNet) -> None:
    broken, black = plate(32, 32), plate(32, 32)
    broken[..., 3, 4], black[..., 3, 4] = torch.nan, 0.0
    broken[..., 7, 7], black[..., 7, 7] = torch.inf, 0.0
    module = scripted(net, {"ink": 1.0})
    assert torch.equal(module(broken), module(black))


def test_half_stays_half_and_close(net: StyleNet) -> None:
    linear = plate(48, 64)
    module = StyleForNuke(net, {"ink": 1.0}).half()
    made = torch.jit.script(module)(linear.half())
    assert made.dtype == torch.float16
    wanted = engine(net, linear, {"ink": 1.0})
    assert float((made.float() - wanted).abs().mean()) < 0.02


def test_the_file_stands_alone(net: StyleNet, tmp_path: Path) -> None:
    path = tmp_path / "ink.pt"
    write_script(path, net, {"ink": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # A file of this very test: scripts are programs, and vfxswap itself opens none.
        loaded = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    linear = plate(40, 56)
    assert torch.equal(loaded(linear), scripted(net, {"ink": 1.0})(linear))
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_line_writes_a_script_of_a_stored_model(
    net: StyleNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ModelCard(
        name="tinystyle", effect="style", network="style",
        network_settings=net.settings.model_dump(mode="json"), licence="Apache-2.0",
        synthetic=True, training_data="random numbers", training_licence="CC0-1.0",
        recipe="none: random weights",
    )  # fmt: skip
    stored = save_model(tmp_path / "tinystyle", card, net.state_dict(), half=False)
    assert stored.row()["styles"] == list(STYLES)
    monkeypatch.setenv("VFXSWAP_MODELS", str(tmp_path))
    out = tmp_path / "out" / "mix.pt"
    told = ["export", "nuke-style", "tinystyle", "-o", str(out)]
    with pytest.raises(SystemExit) as left:
        main([*told, "--style", "ink=0.25", "--style", "neon=0.75"])
    assert left.value.code == 0
    loaded = torch.jit.load(str(out), map_location="cpu")  # type: ignore[no-untyped-call]
    linear = plate(32, 48)
    wanted = engine(net, linear, {"ink": 0.25, "neon": 0.75})
    torch.testing.assert_close(loaded(linear), wanted, rtol=2e-4, atol=2e-5)
    for wrong in (["--style", "oil"], ["--style", "ink=much"], ["--style", "ink=0"]):
        with pytest.raises(SystemExit) as left:
            main([*told, *wrong])
        assert left.value.code == 2


def test_an_unknown_style_is_refused(net: StyleNet) -> None:
    with pytest.raises(KeyError, match="oil"):
        StyleForNuke(net, {"oil": 1.0})
