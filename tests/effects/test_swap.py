"""The swap effect on painted plates with a comb whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vfxswap import color
from vfxswap.align.crop import template
from vfxswap.effects.base import EffectResult, Frame, LoadedNet
from vfxswap.effects.swap import Swap, SwapSettings
from vfxswap.errors import JobError, ModelError
from vfxswap.geometry import LANDMARK_COUNT, Array, Box, Face
from vfxswap.image import Pixels
from vfxswap.nets.parsing import CLASSES
from vfxswap.persona import ModelCard, Persona
from vfxswap.settings import settings_at

SIZE = 64


class MirrorComb(nn.Module):
    """Stands in for a comb: gives the crop back, darker by a known step for "basalt"."""

    size = SIZE
    step = 0.25

    def swap(self, x: Tensor, persona: str) -> Tensor:
        assert x.shape[1:] == (3, SIZE, SIZE)
        return x if persona == "amber" else x - self.step


def _card() -> ModelCard:
    means = {"amber": (0.40, 0.36, 0.34), "basalt": (0.34, 0.30, 0.28)}
    return ModelCard(
        name="mirror",
        effect="swap",
        network="comb",
        licence="Apache-2.0",
        synthetic=True,
        training_data="none",
        training_licence="none",
        recipe="none",
        personas=tuple(Persona(id=p, synthetic=True, net_mean=m) for p, m in means.items()),
    )


class PaintedParser(nn.Module):
    """Stands in for a parser: what is above 10 in a crop is `part`, the rest skin."""

    SIZE = 128

    def __init__(self, part: str = "skin") -> None:
        super().__init__()
        self.part = CLASSES.index(part)

    def forward(self, crop: Tensor) -> Tensor:
        bright = (crop.mean(1) > float(color.to_net(np.full(1, 10.0))[0])).float()
        logits = torch.full((len(crop), len(CLASSES), *crop.shape[2:]), -20.0)
        logits[:, CLASSES.index("skin")] = 20.0 - 40.0 * bright
        logits[:, self.part] = torch.maximum(logits[:, self.part], 40.0 * bright - 20.0)
        return logits


class Shelf:
    """The models of a job, in memory."""

    def __init__(self, parser: nn.Module | None = None) -> None:
        self.parser = parser or PaintedParser()

    def for_persona(self, persona: str) -> LoadedNet:
        return LoadedNet(_card(), MirrorComb())

    def by_name(self, name: str) -> LoadedNet:
        raise AssertionError(name)

    def for_stage(self, stage: str) -> LoadedNet:
        assert stage == "parsing"
        return LoadedNet(_card(), self.parser)

    def picture(self, file: str) -> Pixels:
        raise ModelError("no pictures here", got=file)

    def reference(self, picture: str) -> Frame:
        raise ModelError("no pictures here", got=picture)


def _face(id: int = 0, *, x: float = 40, y: float = 30, size: int = 100) -> Face:
    points: Array = template(size) + np.array([x, y])
    return Face(id, points, np.full(LANDMARK_COUNT, 0.75), 0.9)


def _frame(*faces: Face, height: int = 150, width: int = 180, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    rgb = (0.2 + 0.1 * rng.random((height, width, 3))).astype(np.float32)
    window = Box(0, 0, width, height)
    return Frame(1001, rgb, window, window, seed=1, faces=faces)


def _swap(frame: Frame, wish: SwapSettings, parser: nn.Module | None = None) -> EffectResult:
    effect = Swap.load([wish], Shelf(parser), torch.device("cpu"))
    return effect(frame, wish, effect.prepare([frame]))


def _layer(result: EffectResult, name: str) -> Pixels:
    return next(layer.pixels for layer in result.layers if layer.name == name)


def test_when_matte_is_zero_then_plate_is_unchanged() -> None:
    frame = _frame(_face())
    frame.rgb[5, 5], frame.rgb[6, 6], frame.rgb[7, 7] = -1.0, np.nan, np.inf
    result = _swap(frame, SwapSettings(persona="basalt"))
    outside = result.matte == 0
    assert 0.1 < float((~outside).mean()) < 0.5
    assert np.array_equal(result.rgb[outside].view(np.uint32), frame.rgb[outside].view(np.uint32))


@settings(max_examples=8, deadline=None)
@given(
    x=st.floats(-60, 150),
    y=st.floats(-60, 120),
    size=st.integers(20, 160),
    aspect=st.floats(0.5, 2),
)
def test_any_placement_of_a_face_keeps_the_plate_outside(
    x: float, y: float, size: int, aspect: float
) -> None:
    frame = replace(_frame(_face(x=x, y=y, size=size)), pixel_aspect=aspect)
    result = _swap(frame, SwapSettings(persona="basalt", matte_grow_px=3, matte_feather_px=2))
    outside = result.matte == 0
    assert np.array_equal(result.rgb[outside], frame.rgb[outside])
    assert bool(np.isfinite(result.rgb).all())
    assert all(layer.pixels.shape[:2] == frame.rgb.shape[:2] for layer in result.layers)


@pytest.mark.parametrize(("x", "y"), [(-95, 30), (172, 30), (40, -97), (40, 146), (-85, 145)])
def test_a_face_that_is_off_the_plate_though_its_crop_is_not_changes_nothing(
    x: float, y: float
) -> None:
    frame = _frame(_face(x=x, y=y))
    result = _swap(frame, SwapSettings(persona="basalt"))
    assert np.array_equal(result.rgb, frame.rgb)
    assert float(result.matte.max()) == 0


def test_matte_levels_that_cross_are_a_bad_job() -> None:
    with pytest.raises(JobError, match="matte_black"):
        settings_at({"matte_black": 0.8, "matte_white": 0.2}, SwapSettings, 1)


def test_a_comb_that_changes_nothing_gives_the_plate_back_inside_too() -> None:
    # A crop as fine as the comb's, so that nothing is lost to its resolution.
    smooth = np.linspace(0.15, 0.3, 180, dtype=np.float32)
    frame = _frame(_face(size=48))
    frame.rgb[:] = smooth[None, :, None]
    result = _swap(frame, SwapSettings(persona="amber", grain=0))
    assert float(result.matte.max()) == 1
    assert float(np.abs(result.rgb - frame.rgb).max()) < 2e-3


def test_no_face_gives_the_plate_and_empty_layers_and_a_note() -> None:
    frame = _frame()
    result = _swap(frame, SwapSettings(persona="basalt"))
    assert np.array_equal(result.rgb, frame.rgb)
    assert float(result.matte.max()) == 0
    assert all(float(np.abs(layer.pixels).max()) == 0 for layer in result.layers)
    assert "no face" in result.notes[0]


def test_layers_are_those_that_the_documents_name() -> None:
    result = _swap(_frame(_face()), SwapSettings(persona="basalt"))
    assert {layer.name: layer.channels for layer in result.layers} == {
        "swap_face": ("red", "green", "blue", "alpha"),
        "swap_matte": ("red", "green", "blue", "alpha"),
        "swap_conf": ("red",),
        "swap_id": ("red",),
        "swap_uv": ("red", "green"),
    }


def test_holdout_keeps_the_plate_in_front_and_is_the_occluder() -> None:
    frame = _frame(_face())
    holdout = np.zeros(frame.rgb.shape[:2], np.float32)
    holdout[:, :90] = 1
    frame = replace(frame, mattes={"holdout": holdout})
    result = _swap(frame, SwapSettings(persona="basalt"))
    assert float(result.matte[:, :90].max()) == 0 < float(result.matte[:, 91:].max())
    assert np.array_equal(result.rgb[:, :90], frame.rgb[:, :90])
    assert float(_layer(result, "swap_matte")[:, :90, 2].max()) == 1


def test_amount_mixes_plate_and_swap_and_zero_is_the_plate() -> None:
    frame = _frame(_face())
    whole, half, none = (
        _swap(frame, SwapSettings(persona="basalt", amount=a, plate_levels=0)).rgb
        for a in (1.0, 0.5, 0.0)
    )
    assert np.array_equal(none, frame.rgb)
    assert float(np.abs(whole - frame.rgb).max()) > 0.02
    assert np.allclose(half, (whole + frame.rgb) / 2, atol=1e-5)


def test_each_face_gets_its_own_persona_and_ids_tell_them_apart() -> None:
    frame = _frame(_face(0, x=0, size=90), _face(4, x=90, size=90))
    wish = SwapSettings(faces={"0": "amber", "4": "basalt"})
    result = _swap(frame, wish)
    ids = _layer(result, "swap_id")[..., 0]
    assert set(np.unique(ids)) == {0, 1, 5}
    left_alone = _swap(frame, SwapSettings(persona="basalt", faces={"0": ""}))
    assert set(np.unique(_layer(left_alone, "swap_id"))) == {0, 5}
    assert any("face 0" in note for note in left_alone.notes)


def test_a_face_below_the_score_is_left_alone() -> None:
    result = _swap(_frame(_face()), SwapSettings(persona="basalt", min_score=0.95))
    assert float(result.matte.max()) == 0
    assert "0.90" in result.notes[0]


@pytest.mark.parametrize("performer", ["amber", ""])
def test_color_match_of_zero_gives_the_personas_colour(performer: str) -> None:
    frame = _frame(_face())
    frame.rgb[:] = (0.3, 0.2, 0.15)
    wish = SwapSettings(persona="basalt", performer=performer, plate_levels=0, blend_bands=1)
    kept = _swap(frame, wish.model_copy(update={"color_match": 1.0}))
    own = _swap(frame, wish.model_copy(update={"color_match": 0.0}))
    ratio = own.rgb[80, 90] / kept.rgb[80, 90]
    if performer:
        # The cards' means differ by -0.06 in net space on every channel: 17.52 stops a unit.
        assert np.allclose(ratio, 2 ** (-0.06 * 17.52), rtol=0.03)
    else:
        assert abs(float(np.log2(ratio).mean())) < 0.02
        assert float(ratio.max() - ratio.min()) > 0.01


def test_plate_highlights_and_values_above_one_survive_the_swap() -> None:
    frame = _frame(_face())
    frame.rgb[80:84, 88:92] = 12.0
    rgb = _swap(frame, SwapSettings(persona="basalt")).rgb
    assert 9 < float(rgb[81:83, 89:91].mean()) < 15
    without = _swap(frame, SwapSettings(persona="amber", highlights=0, crop_size=64)).rgb
    assert bool(np.isfinite(without).all())


def test_grain_of_the_plate_is_put_back_on_the_smooth_face() -> None:
    frame = _frame(_face(size=130), height=170)
    area = (slice(95, 120), slice(70, 95))
    plate = float(frame.rgb[area].std())
    with_grain = float(_swap(frame, SwapSettings(persona="basalt")).rgb[area].std())
    smooth = float(_swap(frame, SwapSettings(persona="basalt", grain=0)).rgb[area].std())
    assert smooth < 0.7 * plate < with_grain < 1.3 * plate


def test_uv_is_an_st_map_of_the_crop_with_its_origin_bottom_left() -> None:
    result = _swap(_frame(_face(x=20, y=20, size=100)), SwapSettings(persona="basalt"))
    uv = _layer(result, "swap_uv")
    assert np.allclose(uv[20, 20], (0.005, 0.995), atol=1e-4)
    assert np.allclose(uv[119, 119], (0.995, 0.005), atol=1e-4)
    assert np.array_equal(uv[10, 10], (0, 0))


def test_overscan_moves_neither_face_nor_result() -> None:
    plain = _frame(_face())
    moved = replace(plain, data_window=Box(-13, 7, 180, 150))
    face = plain.faces[0]
    moved = replace(moved, faces=(replace(face, points=face.points + np.array([-13, 7])),))
    wish = SwapSettings(persona="basalt")
    assert np.allclose(_swap(plain, wish).rgb, _swap(moved, wish).rgb, atol=1e-5)


def test_likenesses_are_all_personas_that_would_be_written() -> None:
    wish = SwapSettings(persona="amber", faces={"1": "basalt", "2": ""})
    assert Swap.likenesses(wish) == ("amber", "basalt")


def _with_bar(part: str, **wish: float) -> tuple[Frame, EffectResult]:
    """A bright bar over the face, that the parser takes for `part`."""
    frame = _frame(_face(size=128, x=20, y=10))
    frame.rgb[:, 78:92] = 20.0
    settings = SwapSettings.model_validate({"persona": "basalt", "highlights": 0.0, **wish})
    return frame, _swap(frame, settings, PaintedParser(part))


@pytest.mark.parametrize("part", ["occluder", "glasses", "hair"])
def test_what_the_parser_sees_before_the_face_stays_in_front(part: str) -> None:
    frame, result = _with_bar(part)
    assert float(result.matte[60:100, 81:89].max()) == 0
    assert np.array_equal(result.rgb[60:100, 81:89], frame.rgb[60:100, 81:89])
    assert float(result.matte[85, 70]) == 1
    channel = _layer(result, "swap_matte")[..., 3 if part == "hair" else 2]
    assert float(channel[60:100, 82:88].min()) > 0.95
    assert float(channel[85, 60]) == 0


def test_the_artist_may_let_the_swap_come_through() -> None:
    for part, wish in (("occluder", {"occluders": 0.0}), ("hair", {"hair": 0.0})):
        _, result = _with_bar(part, **wish)
        assert float(result.matte[85, 85]) == 1


def test_no_parser_is_loaded_when_nothing_is_to_stay_in_front() -> None:
    class Bare(Shelf):
        def for_stage(self, stage: str) -> LoadedNet:
            raise AssertionError(stage)

        def picture(self, file: str) -> Pixels:
            raise ModelError("no pictures here", got=file)

        def reference(self, picture: str) -> Frame:
            raise ModelError("no pictures here", got=picture)

    wish = SwapSettings(persona="basalt", occluders=0, hair=0)
    Swap.load([wish], Bare(), torch.device("cpu"))
