"""The style pass: bits outside the matte, highlights inside it, blends, areas, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vfxswap.effects.base import EffectResult, Frame, LoadedNet
from vfxswap.effects.style import StylePass, every_style
from vfxswap.effects.style_settings import StylePassSettings
from vfxswap.errors import JobError, ModelError
from vfxswap.geometry import Box
from vfxswap.image import Image, Part, Pixels
from vfxswap.job import EffectSpec
from vfxswap.nets.style import StyleNet, StyleSettings
from vfxswap.persona import ModelCard
from vfxswap.render.frame import Spaces, Step, compose
from vfxswap.settings import settings_at, settings_at_keys, validated

HEIGHT, WIDTH = 44, 58
CARD = ModelCard(
    name="styles", effect="style", network="style", licence="Apache-2.0", synthetic=True,
    training_data="none", training_licence="none", recipe="none",
)  # fmt: skip


class Shelf:
    """Gives one network whatever the name."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.net = net

    def by_name(self, name: str) -> LoadedNet:
        return LoadedNet(CARD, self.net)

    def for_persona(self, persona: str) -> LoadedNet:
        raise AssertionError(persona)

    def for_stage(self, stage: str) -> LoadedNet:
        raise AssertionError(stage)

    def picture(self, file: str) -> Pixels:
        raise ModelError("no pictures here", got=file)

    def reference(self, picture: str) -> Frame:
        raise ModelError("no pictures here", got=picture)


@pytest.fixture(scope="module")
def net() -> StyleNet:
    torch.manual_seed(5)
    small = StyleNet(StyleSettings(styles=("chalk", "ink", "neon"), widths=(8, 8, 8), blocks=1))
    small.gamma.data.normal_(1, 0.4)
    small.beta.data.normal_(0, 0.4)
    return small.eval().requires_grad_(False)


def _plate() -> Pixels:
    rgb = np.random.default_rng(1).uniform(-0.02, 0.9, (HEIGHT, WIDTH, 3)).astype(np.float32)
    rgb[20:24, 30:34] = 12.0
    return rgb


def _run(
    net: StyleNet, settings: dict[str, Any], rgb: Pixels | None = None, **frame: Any
) -> EffectResult:
    chosen = validated(StylePassSettings, settings)
    effect = StylePass.load([chosen], Shelf(net), torch.device("cpu"))
    window = Box(0, 0, WIDTH, HEIGHT)
    plate = _plate() if rgb is None else rgb
    return effect(Frame(1001, plate, window, window, 0, **frame), chosen, {})


def _matte(rows: slice, columns: slice, value: float = 1.0) -> Pixels:
    matte = np.zeros((HEIGHT, WIDTH), np.float32)
    matte[rows, columns] = value
    return matte


def test_outside_the_matte_the_comp_has_the_plates_bits_and_alpha_is_untouched(
    net: StyleNet,
) -> None:
    window = Box(0, 0, WIDTH, HEIGHT)
    rgb = _plate().astype(np.float16)
    channels = {name: np.ascontiguousarray(rgb[..., k]) for k, name in enumerate("RGB")}
    channels["A"] = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.float16)
    image = Image((Part(channels, window, window),), ("R", "G", "B"), alpha_name="A")
    chosen = StylePassSettings(style={"ink": 1.0})
    effect = StylePass.load([chosen], Shelf(net), torch.device("cpu"))
    spec = EffectSpec(effect="style", settings={"style": {"ink": 1.0}})
    garbage = _matte(slice(None), slice(0, 20))
    composed = compose(
        image, [Step(effect, spec)], Spaces(lambda x: x, lambda x: x),
        frame=1001, seed=0, mattes=[{"garbage": garbage}],
    )  # fmt: skip
    after = composed.image.part.channels
    assert after["A"] is channels["A"] or np.array_equal(after["A"], channels["A"])
    for name in "RGB":
        assert np.array_equal(
            after[name][:, :20].view(np.uint16), channels[name][:, :20].view(np.uint16)
        )
        assert not np.array_equal(after[name][:, 20:], channels[name][:, 20:])


def test_a_lamp_keeps_its_scale(net: StyleNet) -> None:
    kept = _run(net, {"style": "ink"}).rgb[20:24, 30:34]
    assert np.allclose(kept, 12.0, rtol=1e-3)
    assert _run(net, {"style": "ink", "highlights": 0}).rgb[20:24, 30:34].max() < 1.5


def test_pixels_that_are_not_finite_are_left_and_told(net: StyleNet) -> None:
    rgb = _plate()
    rgb[3, 4, 1], rgb[30, 7, 0] = np.nan, np.inf
    result = _run(net, {"style": "ink"}, rgb)
    assert result.notes == ("2 pixels are not finite and are left as they are",)
    assert result.matte[3, 4] == result.matte[30, 7] == 0
    assert np.isfinite(result.rgb[result.matte > 0]).all()


def test_strength_mixes_and_the_unmerged_layer_over_the_plate_is_the_comp(net: StyleNet) -> None:
    half = _run(net, {"style": "ink", "strength": 0.5})
    whole = _run(net, {"style": "ink"})
    assert np.allclose(half.rgb, 0.5 * (_plate() + whole.rgb), atol=1e-4)
    layer = half.layers[0].pixels
    assert half.layers[0].premultiplied
    assert np.allclose(layer[..., :3] + _plate() * (1 - layer[..., 3:]), half.rgb, atol=1e-4)
    assert not _run(net, {"style": "ink", "strength": 0}).matte.any()


def test_holdout_stays_in_front(net: StyleNet) -> None:
    holdout = _matte(slice(0, 10), slice(None), 0.25)
    result = _run(net, {"style": "ink"}, mattes={"holdout": holdout})
    assert np.allclose(result.matte[:10], 0.75) and (result.matte[10:] == 1).all()


def test_areas_take_their_own_style_and_say_where_they_are(net: StyleNet) -> None:
    area = _matte(slice(None), slice(29, None))
    result = _run(net, {"style": "ink", "style_b": "neon"}, mattes={"style_b": area})
    ink, neon = (_run(net, {"style": name}).rgb for name in ("ink", "neon"))
    far = (slice(4, -4), slice(0, 8))
    # Statistics are shared by all areas, so an area is near its style, not equal to it.
    near_ink, near_neon = (np.abs(result.rgb - x)[far].mean() for x in (ink, neon))
    assert near_ink < near_neon
    assert np.array_equal(result.layers[1].pixels[..., 2], area)
    everywhere = _run(
        net, {"style": "ink", "style_a": "neon"},
        mattes={"style_a": np.ones((HEIGHT, WIDTH), np.float32)},
    )  # fmt: skip
    assert np.allclose(everywhere.rgb, neon, atol=1e-4)


def test_plate_colour_is_kept_as_ratios_of_channels(net: StyleNet) -> None:
    rgb = np.clip(_plate(), 0.05, 0.5)
    kept = _run(net, {"style": "ink", "keep_color": 1.0}, rgb).rgb
    kept = np.maximum(kept, 1e-6)
    ratio = np.log2(kept[..., 0] / kept[..., 1]) - np.log2(rgb[..., 0] / rgb[..., 1])
    bright = kept.min(-1) > 0.02  # above the curve's straight toe
    assert bright.mean() > 0.3
    assert np.abs(ratio[bright]).max() < 0.01


def test_larger_strokes_are_the_style_of_the_smaller_plate(net: StyleNet) -> None:
    fine, coarse = (_run(net, {"style": "ink", "stroke_scale": s}).rgb for s in (1, 3))
    assert coarse.shape == fine.shape
    inside = np.s_[2:18, 2:28]
    assert (
        np.abs(np.diff(coarse[inside], axis=1)).mean()
        < np.abs(np.diff(fine[inside], axis=1)).mean()
    )


def test_strokes_are_drawn_in_square_pixels(net: StyleNet) -> None:
    wide = _run(net, {"style": "ink", "highlights": 0}, pixel_aspect=2.0).rgb
    assert wide.shape == (HEIGHT, WIDTH, 3)
    assert not np.allclose(wide, _run(net, {"style": "ink", "highlights": 0}).rgb, atol=1e-3)


def test_a_frame_is_alike_each_time_it_is_made(net: StyleNet) -> None:
    first, again = (_run(net, {"style": "ink=0.7 neon=0.3"}) for _ in range(2))
    assert np.array_equal(first.rgb, again.rgb)


def test_blends_read_as_words_and_count_relative_to_their_sum(net: StyleNet) -> None:
    words = _run(net, {"style": "ink=0.7, neon=0.3"}).rgb
    numbers = _run(net, {"style": {"ink": 1.4, "neon": 0.6}}).rgb
    assert np.allclose(words, numbers, atol=1e-6)


def test_weights_follow_their_keys(net: StyleNet) -> None:
    spec = {
        "style": {"ink": {"keys": {"1001": 1, "1011": 0}}, "neon": {"keys": {"1001": 0, "1011": 1}}}
    }
    assert len(settings_at_keys(spec, StylePassSettings)) == 2
    assert settings_at(spec, StylePassSettings, 1004).style == pytest.approx(
        {"ink": 0.7, "neon": 0.3}
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"style": {"inkk": 1}}, r"no such style.*got inkk.*perhaps ink"),
        ({"style": {"ink": 1}, "style_a": "neno"}, r"no such style.*neno.*perhaps neon"),
        ({"style": {"ink": 0, "neon": 0}}, r"weights of all styles are 0"),
        ({"style": {"ink": -1}}, r"ink has weight -1"),
        ({"style": "ink=lots"}, r"weight of ink is 'lots'"),
        ({}, r"no style is named.*chalk"),
        ({"style": "ink", "strength": 2}, r"strength is wrong.*got 2"),
    ],
)
def test_wrong_settings_get_one_sentence(
    net: StyleNet, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JobError, match=sentence) as caught:
        _run(net, settings)
    assert "\n" not in str(caught.value)


def test_keys_outside_a_settings_range_are_refused() -> None:
    spec = {"style": "ink", "strength": {"keys": {"1001": 0.5, "1010": 1.5}}}
    with pytest.raises(JobError, match=r"strength is wrong.*1\.5"):
        settings_at_keys(spec, StylePassSettings)
    weightless = {"style": {"ink": {"keys": {"1001": 1, "1010": 0}}}}
    with pytest.raises(JobError, match="weights of all styles are 0"):
        settings_at_keys(weightless, StylePassSettings)


def test_a_matte_and_its_style_belong_together(net: StyleNet) -> None:
    area = _matte(slice(None), slice(9))
    with pytest.raises(JobError, match="matte style_a has no style"):
        _run(net, {"style": "ink"}, mattes={"style_a": area})
    with pytest.raises(JobError, match="there is no matte style_c"):
        _run(net, {"style": "ink", "style_c": "neon"})


def test_a_model_of_something_else_is_refused() -> None:
    chosen = StylePassSettings(style={"ink": 1.0})
    with pytest.raises(JobError, match="not a model of styles"):
        StylePass.load([chosen], Shelf(torch.nn.Identity()), torch.device("cpu"))


def test_every_style_comes_from_one_batch(net: StyleNet) -> None:
    made = every_style(net, _plate())
    assert [name for name, _ in made] == ["chalk", "ink", "neon"]
    alone = _run(net, {"style": "neon"}).rgb
    assert np.allclose(made[2][1], alone, atol=2e-4)
