"""The comb against the tables of its source, growing, tying and adding personas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vfxswap.io.weights import save_model
from vfxswap.nets import NETS
from vfxswap.nets.comb import Comb, CombSettings, DecoderLevel, EncoderLevel, crop_px
from vfxswap.nets.layers import parameter_count, spread_from_point
from vfxswap.persona import ModelCard, Persona

ENCODER_TABLE = {
    8: ((16, 16), (16, 32)),
    7: ((32, 32), (32, 64)),
    6: ((64, 64), (64, 128)),
    5: ((128, 128), (128, 256)),
    4: ((256, 256), (256, 512)),
    3: ((512, 512), (512, 512)),
    2: ((512, 512), (512, 512)),
    1: ((512, 512), (512, 512)),
    0: ((512, 512), (512, 512)),
}
DECODER_TABLE = {
    0: ((512, 512), (512, 512)),
    1: ((512, 512), (512, 512)),
    2: ((512, 512), (512, 512)),
    3: ((512, 512), (512, 512)),
    4: ((512, 256), (256, 256)),
    5: ((256, 128), (128, 128)),
    6: ((128, 64), (64, 64)),
    7: ((64, 32), (32, 32)),
    8: ((32, 16), (16, 16)),
}
"""Channels in and out of each level's two convolutions, Fig. 3A and 3B."""


def small(personas: tuple[str, ...] = ("amber", "basalt"), level: int = 3) -> Comb:
    torch.manual_seed(0)
    return Comb(CombSettings(personas=personas, level=level, width=1 / 32, latent=16))


def crops(level: int = 3, count: int = 2) -> Tensor:
    side = crop_px(level)
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def full() -> Comb:
    with torch.device("meta"):
        return Comb(CombSettings(personas=("amber",), level=8))


def test_full_width_has_the_published_parameters(full: Comb) -> None:
    assert parameter_count(full.encoder) == 23_072_016
    assert parameter_count(full.trunk) + parameter_count(full.decoders) == 23_071_507


@pytest.mark.parametrize("level", range(9))
def test_levels_have_the_layers_of_the_tables(full: Comb, level: int) -> None:
    encoder = full.encoder.blocks[str(level)]
    decoder = (full.trunk if level < 2 else full.decoders["amber"]).get_submodule(f"blocks.{level}")
    assert isinstance(encoder, EncoderLevel) and isinstance(decoder, DecoderLevel)
    for block, table in ((encoder, ENCODER_TABLE), (decoder, DECODER_TABLE)):
        for layer, (channels_in, channels_out), name in zip(
            (block.first, block.second), table[level], ("first", "second"), strict=True
        ):
            kernel = 4 if level == 0 and (block is encoder) == (name == "second") else 3
            expected = channels_in * channels_out * kernel**2 + channels_out
            assert parameter_count(layer) == expected


def test_colour_heads_have_the_published_parameters(full: Comb) -> None:
    assert parameter_count(full.encoder.heads) == 64
    assert parameter_count(full.decoders["amber"].get_submodule("heads")) == 51


@pytest.mark.parametrize("level", range(5))
def test_every_level_keeps_its_size_and_stays_in_range(level: int) -> None:
    comb = small(level=level)
    z = comb.encode(crops(level))
    assert z.shape == (2, 16, 1, 1)
    face = comb.decode(z, "basalt")
    assert face.shape == crops(level).shape
    assert comb.size == comb.needs.size_px == 4 * 2**level
    assert bool(((face >= 0) & (face <= 1)).all())


def test_first_two_decoder_levels_are_one_module() -> None:
    comb = small()
    names = [name for name, _ in comb.named_parameters()]
    assert sorted({n.split(".")[2] for n in names if n.startswith("trunk.")}) == ["0", "1"]
    teeth = {(n.split(".")[1], n.split(".")[3]) for n in names if n.startswith("decoders.")}
    assert teeth == {(p, level) for p in ("amber", "basalt") for level in "23"}


def test_at_tied_levels_all_personas_look_alike_and_later_they_do_not() -> None:
    for level, alike in ((1, True), (2, False)):
        comb = small(level=level)
        faces = [comb(crops(level), persona) for persona in ("amber", "basalt")]
        assert torch.equal(*faces) is alike


def test_a_comb_grows_to_the_shape_it_could_have_been_built_with() -> None:
    comb = small(level=0)
    for level in range(1, 4):
        comb.grow(level)
    comb.settle()
    built = small(level=3)
    assert {k: v.shape for k, v in comb.state_dict().items()} == {
        k: v.shape for k, v in built.state_dict().items()
    }
    assert comb.settings == built.settings


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_fader_starts_at_the_smaller_comb_and_ends_at_the_new_one(level: int) -> None:
    comb = small(level=level - 1)
    x = crops(level)
    before = comb(nn.functional.avg_pool2d(x, 2), "amber")
    comb.grow(level)
    start, middle, end = (comb(x, "amber", alpha=a) for a in (0.0, 0.5, 1.0))
    doubled = nn.functional.interpolate(before, scale_factor=2, mode="bilinear")
    assert torch.allclose(start, doubled, atol=1e-6)
    assert not torch.allclose(start, end, atol=1e-3)
    z = comb.encode(x)
    faded = [comb.decode(z, "amber", alpha=a) for a in (0.0, 0.5, 1.0)]
    assert torch.allclose(faded[1], (faded[0] + faded[2]) / 2, atol=1e-6)
    assert bool(torch.isfinite(middle).all())
    comb.settle()
    assert torch.equal(comb(x, "amber"), end)
    with pytest.raises(ValueError, match="settled"):
        comb(x, "amber", alpha=0.5)


def test_growing_keeps_what_is_trained_and_does_not_skip() -> None:
    comb = small(level=1)
    kept = {k: v.clone() for k, v in comb.state_dict().items()}
    with pytest.raises(ValueError, match="grow"):
        comb.grow(3)
    comb.grow(2)
    now = comb.state_dict()
    assert all(torch.equal(now[k], v) for k, v in kept.items())


def test_adding_a_persona_disturbs_no_other() -> None:
    comb = small()
    before = {p: comb(crops(), p) for p in ("amber", "basalt")}
    comb.add_persona("cedar", like="amber")
    assert comb.settings.personas == ("amber", "basalt", "cedar")
    assert torch.equal(comb(crops(), "cedar"), before["amber"])
    optimiser = torch.optim.Adam(comb.persona_parameters("cedar"), lr=1e-2)
    comb(crops(), "cedar").square().mean().backward()
    optimiser.step()
    assert not torch.equal(comb(crops(), "cedar"), before["amber"])
    for persona, face in before.items():
        assert torch.equal(comb(crops(), persona), face)


def test_one_decoder_travels_alone() -> None:
    giver, taker = small(), small(personas=("amber",))
    with torch.no_grad():
        for parameter in giver.persona_parameters("basalt"):
            parameter.add_(0.1)
    taker.load_decoder("basalt", giver.decoder_state("basalt"))
    assert torch.equal(taker(crops(), "basalt"), giver(crops(), "basalt"))
    assert taker.settings.personas == ("amber", "basalt")
    wide = Comb(CombSettings(personas=("flint",), level=3, width=1 / 8, latent=16))
    with pytest.raises(RuntimeError):
        taker.load_decoder("flint", wide.decoder_state("flint"))
    assert taker.settings.personas == ("amber", "basalt")


def test_tens_of_personas_share_one_encoder() -> None:
    many = small(personas=tuple(f"p{i}" for i in range(30)))
    one = small(personas=("p0",))
    tooth = sum(p.numel() for p in one.persona_parameters("p0"))
    assert parameter_count(many) == parameter_count(one) + 29 * tooth


def test_signals_keep_their_spread_through_fresh_weights() -> None:
    torch.manual_seed(0)
    comb = Comb(CombSettings(personas=("amber",), level=4, width=0.25))
    z = comb.encode(torch.randn(4, 3, 64, 64))
    assert 0.1 < float(z.detach().std()) < 10
    point = spread_from_point(128, 64, 4)
    assert 0.7 < float(point(torch.randn(64, 128, 1, 1)).detach().std()) / (2 / 1.04) ** 0.5 < 1.4


def test_widths_come_in_steps_of_eight() -> None:
    thin = CombSettings(personas=("amber",), level=8, width=0.25)
    assert [thin.channels(level) for level in (0, 4, 8)] == [128, 64, 8]
    assert thin.latent_channels == 128
    assert CombSettings(personas=("amber",), level=8, width=0.25, latent=40).latent_channels == 40


@pytest.mark.parametrize("names", [(), ("a", "a"), ("A",), ("a.b",), ("items",), ("",)])
def test_unusable_persona_names_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        CombSettings(personas=names, level=2)


def test_wrong_crops_and_unknown_personas_are_refused() -> None:
    comb = small()
    with pytest.raises(ValueError, match="wanted"):
        comb.encode(crops(2))
    with pytest.raises(KeyError):
        comb.decode(comb.encode(crops()), "nobody")


def test_the_table_of_networks_holds_the_comb() -> None:
    assert NETS["comb"] is Comb


def test_when_one_of_forty_personas_is_asked_for_then_only_its_decoder_takes_memory(
    tmp_path: Path,
) -> None:
    names = tuple(f"p{number:02d}" for number in range(40))
    whole = Comb(CombSettings(personas=names, level=4, width=0.125))
    card = ModelCard(
        name="forty", effect="swap", description="", network="comb", crop_size=64,
        network_settings=whole.settings.model_dump(mode="json", exclude_none=True),
        licence="Apache-2.0", synthetic=True, training_data="none", training_licence="none",
        recipe="none", personas=tuple(Persona(id=name, synthetic=True) for name in names),
    )  # fmt: skip
    stored = save_model(tmp_path / "forty", card, whole.state_dict())
    script = (
        "import resource, sys; from pathlib import Path\n"
        "import torch\n"
        "from vfxswap.io.weights import load_net, read_card\n"
        "from vfxswap.nets.comb import Comb\n"
        "folder, personas = Path(sys.argv[1]), sys.argv[2:] or None\n"
        "card = read_card(folder)\n"
        "load = lambda names: load_net(card, folder, device='cpu', personas=names)\n"
        "load(['p00'])\n"
        "rss = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        "before = rss(); net = load(personas); print(rss() - before)\n"
    )

    def grown(*personas: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", script, str(stored.folder), *personas],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return int(done.stdout)

    everyone, one = grown(), grown("p07")
    numbers = sum(p.numel() for p in whole.parameters())
    assert everyone > 3 * numbers  # float32 of all of them
    assert one < everyone / 4
