"""Glasses, lenses, tint and light on a face, against what must hold whatever the networks know."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vfxswap.align.crop import template
from vfxswap.characteristics import CAUSES, CHARACTERISTICS
from vfxswap.color import ColorManager
from vfxswap.effects.base import EffectResult, Frame, LoadedNet
from vfxswap.effects.guided import Guided
from vfxswap.effects.guided_settings import GuidedSettings, read_sets
from vfxswap.effects.outputs import LAYERS
from vfxswap.errors import ConsentError, JobError, ModelError
from vfxswap.geometry import Array, Box, Face
from vfxswap.image import Pixels
from vfxswap.nets.guided import GuidedNetSettings, GuidedPair
from vfxswap.nets.guided_estimator import GuidedEstimator, GuidedEstimatorSettings
from vfxswap.persona import ModelCard
from vfxswap.settings import settings_at, validated

CPU = torch.device("cpu")
SIZE = 160
ALL = {
    "frames": 1.0, "sphere": -5.0, "cylinder": -1.0, "axis_deg": 30.0, "tint_density": 0.3,
    "light1_intensity": 0.7, "light1_x": 1.0,
}  # fmt: skip


class Shelf:
    """Untrained networks, and pictures by name."""

    def __init__(
        self, pictures: Mapping[str, Pixels] | None = None, primaries: Array | None = None
    ) -> None:
        torch.manual_seed(3)
        self.primaries = primaries
        self.pair = GuidedPair(GuidedNetSettings(size=32, width=4, blocks=1, mapped=8)).eval()
        self.estimator = GuidedEstimator(GuidedEstimatorSettings(width=4)).eval()
        self.pictures = pictures or {}

    def for_persona(self, persona: str) -> LoadedNet:
        raise AssertionError(persona)

    def by_name(self, name: str) -> LoadedNet:
        if name != "guided-synthetic":
            raise ModelError("no such model", got=name)
        return LoadedNet(_card(), self.pair, self.primaries)

    def for_stage(self, stage: str) -> LoadedNet:
        assert stage == "guided_estimator"
        return LoadedNet(_card(), self.estimator, self.primaries)

    def picture(self, file: str) -> Pixels:
        return self.pictures[file]

    def reference(self, picture: str) -> Frame:
        raise AssertionError(picture)


def _card() -> ModelCard:
    return ModelCard(
        name="tiny", effect="guided", network="guided", licence="Apache-2.0", synthetic=True,
        training_data="none", training_licence="CC0-1.0", recipe="none",
    )  # fmt: skip


def frame(*, size: int = SIZE, mattes: Mapping[str, Pixels] | None = None, id: int = 0) -> Frame:
    """Noise with negative and bright pixels, and one face on it."""
    rng = np.random.default_rng(7)
    rgb = (rng.random((size, size, 3)) * 0.6).astype(np.float32)
    rgb[5, 5], rgb[8, 9] = -0.2, 40.0
    window = Box(0, 0, size, size)
    points = template(round(0.8 * size)) + 0.1 * size
    face = Face(id, points, np.full(70, 0.9), 0.95)
    return Frame(1001, rgb, window, window, 5, faces=(face,), mattes=mattes or {})


def done(
    wish: Mapping[str, object],
    plate: Frame | None = None,
    pictures: Mapping[str, Pixels] | None = None,
) -> EffectResult:
    chosen = validated(GuidedSettings, dict(wish))
    with torch.inference_mode():
        effect = Guided.load([chosen], Shelf(pictures), CPU)
        return effect(plate or frame(), chosen, {})


def layer(result: EffectResult, name: str) -> Pixels:
    return next(each.pixels for each in result.layers if each.name == name)


def untouched(result: EffectResult, plate: Frame) -> bool:
    outside = result.matte == 0
    return bool((result.rgb[outside] == plate.rgb[outside]).all())


def test_when_every_characteristic_is_neutral_then_nothing_is_touched() -> None:
    result = done({"light1_x": 2.0, "axis_deg": 40.0, "frames_red": 0.9})
    assert not result.matte.any()
    assert np.array_equal(result.rgb, frame().rgb)
    assert not layer(result, "guided_displacement").any()
    assert (layer(result, "guided_gain") == 1).all()


def test_when_the_degree_is_zero_then_nothing_is_touched() -> None:
    assert not done({**ALL, "amount": 0.0}).matte.any()


@settings(max_examples=8, deadline=None)
@given(cause=st.sampled_from(CAUSES), share=st.floats(0.3, 1))
def test_outside_the_matte_the_plate_keeps_its_bits(cause: str, share: float) -> None:
    high = next(each for each in CHARACTERISTICS if each.name == cause)
    value = high.low if cause.startswith("tint_") and cause != "tint_density" else high.high
    plate = frame()
    result = done({cause: value, "amount": share}, plate)
    assert result.matte.any() and untouched(result, plate)
    assert not result.matte[0].any() and not result.matte[:, -1].any()
    assert not np.array_equal(result.rgb, plate.rgb)


@pytest.mark.parametrize(("area", "kept"), [("left", 1), ("right", 0)])
def test_a_half_leaves_the_other_half_alone(area: str, kept: int) -> None:
    plate = frame()
    result = done({**ALL, "area": area}, plate)
    middle = SIZE // 2
    halves = (result.matte[:, : middle - 1], result.matte[:, middle + 1 :])
    assert halves[1 - kept].any() and not halves[kept].any()
    assert untouched(result, plate)


def test_a_box_and_a_matte_bound_the_change() -> None:
    plate = frame()
    box = {"area": "box", "box_x_px": 50, "box_y_px": 40, "box_width_px": 20, "box_height_px": 30}
    result = done({**ALL, **box}, plate)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[40:70, 50:70] = True
    assert result.matte[inside].any() and not result.matte[~inside].any()
    given_matte = frame(mattes={"area": inside.astype(np.float32)})
    same = done(ALL, given_matte)
    assert np.array_equal(same.matte, result.matte) and untouched(same, plate)


def test_holdout_and_garbage_keep_the_plate() -> None:
    rows = np.zeros((SIZE, SIZE), np.float32)
    rows[: SIZE // 2] = 1
    for role in ("holdout", "garbage"):
        result = done(ALL, frame(mattes={role: rows}))
        assert result.matte[SIZE // 2 :].any() and not result.matte[: SIZE // 2].any()


def test_a_minus_lens_shrinks_and_a_plus_lens_enlarges() -> None:
    for sphere, outward in ((-6.0, 1), (5.0, -1)):
        moved = layer(done({"sphere": sphere}), "guided_displacement")
        face = frame().faces[0]
        for pupil, side in ((68, -1), (69, 1)):
            x, y = np.floor(face.points[pupil]).astype(int)
            beside = moved[y, x + side * 5, 0] - moved[y, x, 0]
            assert np.sign(beside) == outward * side


def test_a_sweep_of_the_degree_is_monotonic() -> None:
    plate = frame()
    wish = {"sphere": -6.0, "frames": 1.0}
    sweep = [done({**wish, "amount": degree}, plate).rgb for degree in np.linspace(0, 1, 6)]
    off = [float(np.abs(rgb - plate.rgb).sum()) for rgb in sweep]
    assert off[0] == 0 and all(a < b for a, b in itertools.pairwise(off))


def smooth_plate() -> Frame:
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    rgb = 0.3 + 0.2 * np.stack([np.sin(9 * x), np.cos(7 * y), np.sin(5 * (x + y))], -1)
    return replace(frame(), rgb=rgb.astype(np.float32))


def test_what_was_bent_comes_back_by_the_inverse() -> None:
    plate = smooth_plate()
    wish = {"sphere": -4.0, "cylinder": -1.5, "axis_deg": 20.0}
    bent = done(wish, plate)
    back = done({**wish, "remove_refraction": True}, replace(plate, rgb=bent.rgb))
    lens = layer(bent, "guided_matte")[..., 1] == 1
    inner = lens & np.roll(lens, 4, 0) & np.roll(lens, -4, 0) & np.roll(lens, 4, 1)
    inner &= np.roll(lens, -4, 1)
    before = np.abs(bent.rgb - plate.rgb)[inner].mean()
    after = np.abs(back.rgb - plate.rgb)[inner].mean()
    assert after < 0.05 * before


def test_frames_lie_over_the_face_and_are_a_layer_of_their_own() -> None:
    result = done({"frames": 1.0, "frames_red": 0.5, "frames_shadow": 0.0})
    frames = layer(result, "guided_frames")
    solid = frames[..., 3] == 1
    assert solid.any() and (frames[solid][:, 0] > frames[solid][:, 1]).all()
    np.testing.assert_allclose(result.rgb[solid], frames[solid][:, :3], rtol=1e-5)
    half = layer(done({"frames": 0.5}), "guided_frames")[..., 3]
    np.testing.assert_allclose(half, 0.5 * frames[..., 3], atol=1e-6)


def test_frames_of_a_picture_follow_the_face() -> None:
    picture = np.zeros((60, 160, 4), np.float32)
    picture[10:50, 10:150] = (0.0, 0.6, 0.0, 1.0)
    picture[16:44, 18:72] = picture[16:44, 88:142] = 0
    result = done({"frames": 1.0, "frames_picture": "f.png"}, pictures={"f.png": picture})
    frames, mattes = layer(result, "guided_frames"), layer(result, "guided_matte")
    assert frames[..., 3].max() == 1 and (frames[frames[..., 3] == 1][:, 1] > 0).all()
    x, y = np.floor(frame().faces[0].points[68]).astype(int)
    assert frames[y, x, 3] == 0  # the pupil looks through the opening
    assert mattes[..., 1].max() == 0  # nothing bends: no lens is needed
    bent = layer(
        done({"sphere": -3.0, "frames_picture": "f.png"}, pictures={"f.png": picture}),
        "guided_matte",
    )
    assert bent[y, x, 1] == 1


def test_a_tint_darkens_by_its_density() -> None:
    plate = frame()
    result = done({"tint_density": 1.0, "tint_green": 0.5}, plate)
    lens = layer(result, "guided_matte")[..., 1] == 1
    share = result.rgb[lens] / plate.rgb[lens]
    np.testing.assert_allclose(share[:, 0], 0.1, rtol=1e-3)
    np.testing.assert_allclose(share[:, 1], 0.05, rtol=1e-3)
    np.testing.assert_allclose(layer(result, "guided_gain")[lens][:, 0], 0.1, rtol=1e-3)


@pytest.mark.parametrize("model", ["surface", "network"])
def test_light_is_added_and_fades_at_the_edge_of_the_crop(model: str) -> None:
    plate = frame()
    result = done({"light2_intensity": 1.0, "light_model": model}, plate)
    gain = layer(result, "guided_gain")
    assert gain.max() > 1.01 and (result.rgb[80, 80] > plate.rgb[80, 80]).all()
    assert untouched(result, plate)


def test_light_falls_on_the_side_it_comes_from() -> None:
    gain = layer(done({"light1_intensity": 2.0, "light1_x": 3.0}), "guided_gain")[..., 0]
    middle = SIZE // 2
    assert gain[60:110, middle:].mean() > 1.5 * (gain[60:110, :middle].mean() - 1) + 1
    behind = layer(done({"light1_intensity": 2.0, "light1_z": -2.0}), "guided_gain")
    assert behind[70:100, 70:90].max() < 1.05


def test_only_the_named_face_is_changed() -> None:
    assert not done({**ALL, "face": 3}).matte.any()
    assert done({**ALL, "face": 3}, frame(id=3)).matte.any()


def test_every_layer_of_the_table_is_there_also_without_a_face() -> None:
    bare = replace(frame(), faces=())
    for plate in (frame(), bare):
        result = done(ALL, plate)
        assert [each.name for each in result.layers] == [each.name for each in LAYERS["guided"]]
        for each, spec in zip(result.layers, LAYERS["guided"], strict=True):
            assert each.pixels.shape == (SIZE, SIZE, len(spec.channels))
            assert each.pixels.dtype == np.float32
    assert not result.matte.any() and result.notes


def test_a_pixel_that_is_not_finite_does_not_spread() -> None:
    plate = frame()
    plate.rgb[70, 60] = np.nan
    result = done({"sphere": -6.0}, plate)
    assert 0 < np.isnan(result.rgb).sum() <= 9
    assert np.array_equal(result.rgb[result.matte == 0], plate.rgb[result.matte == 0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sphere=-12", "sphere is wrong (got -12.0; wanted -8 to 6 dpt)"),
        ("light1.position=9,0,0", "light1_x is wrong (got 9.0; wanted -4 to 4 head)"),
        ("spere=1", "spere is unknown (wanted perhaps sphere)"),
        ("light1.intensty=1", "light1_intensty is unknown (wanted perhaps light1_intensity"),
        ("sphere=strong", "sphere is no number (got strong)"),
        ("light1.position=1,2", "light1.position has three parts (got 1,2; wanted as in 0.8,0.5"),
        ("sphere", "not a setting (got sphere; wanted NAME=VALUE, as in sphere=-6)"),
        ("area=box", "area is box, but box_width_px or box_height_px is 0"),
    ],
)  # fmt: skip
def test_bad_settings_get_one_sentence(text: str, said: str) -> None:
    with pytest.raises(JobError) as error:
        validated(GuidedSettings, read_sets([text]))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_names_with_dots_and_triples_are_settings() -> None:
    assert read_sets(["light1.position=0.8,0.5,1", "tint.color=1,0.5,0", "frames.shape=round"]) == {
        "light1_x": 0.8, "light1_y": 0.5, "light1_z": 1.0, "tint_red": 1.0, "tint_green": 0.5,
        "tint_blue": 0.0, "frames_shape": "round",
    }  # fmt: skip


def test_an_area_and_its_matte_contradict_each_other() -> None:
    plate = frame(mattes={"area": np.ones((SIZE, SIZE), np.float32)})
    with pytest.raises(JobError, match="area is left, and there is a matte area"):
        done({**ALL, "area": "left"}, plate)


def test_each_characteristic_is_keyframed_by_itself() -> None:
    spec = {"sphere": {"keys": {"1": 0, "11": -5}}, "light1_x": {"keys": {"1": 2, "3": 4}}}
    at = settings_at(spec, GuidedSettings, 3)
    assert at.values["sphere"] == -1 and at.values["light1_x"] == 4


def test_an_estimate_asks_for_consent() -> None:
    wish = validated(GuidedSettings, {"only_glasses": True})
    with pytest.raises(ConsentError, match="consent of who is on the plate"):
        Guided.likenesses(wish)
    with_card = validated(GuidedSettings, {"only_glasses": True, "consent_card": "x.card.toml"})
    assert Guided.likenesses(with_card) == ("x.card.toml",)
    assert Guided.likenesses(validated(GuidedSettings, ALL)) == ()


def test_estimates_are_made_once_for_the_shot_and_decide() -> None:
    wish = validated(
        GuidedSettings,
        {"only_glasses": True, "remove_refraction": True, "prescription": "estimated",
         "consent_card": "x.card.toml"},
    )  # fmt: skip
    with torch.inference_mode():
        effect = Guided.load([wish], Shelf(), CPU)
        prepared = effect.prepare(iter([frame(), frame()]))
        known = prepared["faces"]["0"]
        assert known["frames"] == 2 and 0 <= known["worn"] <= 1
        bare = {"faces": {"0": {**known, "worn": 0.1}}}
        assert not effect(frame(), wish, bare).matte.any()
        worn = {"faces": {"0": {**known, "worn": 0.9, "sphere": -4.0, "cylinder": 0.0}}}
        assert effect(frame(), wish, worn).matte.any()
        assert not effect(frame(), wish, {}).matte.any()


def test_networks_see_their_own_primaries_whatever_the_working_space() -> None:
    matrix = ColorManager().matrix_to("Linear Rec.709 (sRGB)")
    plate = smooth_plate()
    as_trained = plate.rgb @ np.asarray(matrix, np.float32).T
    lit = validated(GuidedSettings, {"light1_intensity": 1.0, "light_model": "network"})
    seen = validated(GuidedSettings, {"only_glasses": True, "consent_card": "x.card.toml"})
    made, told = [], []
    for rgb, primaries in ((plate.rgb, matrix), (as_trained, None), (plate.rgb, None)):
        shown = replace(plate, rgb=rgb)
        with torch.inference_mode():
            effect = Guided.load([lit, seen], Shelf(primaries=primaries), CPU)
            made.append(layer(effect(shown, lit, {}), "guided_gain"))
            told.append(effect.prepare(iter([shown]))["faces"]["0"]["sphere"])
    # Alike but for the plate's resampling, which is done in the working space.
    off, unconverted = (np.abs(made[0] - x).max() for x in made[1:])
    assert off < 1e-3 and unconverted > 5 * off
    assert abs(told[0] - told[1]) < 0.2 * abs(told[0] - told[2])


def test_a_face_of_a_few_pixels_is_not_estimated() -> None:
    wish = validated(GuidedSettings, {"only_glasses": True, "consent_card": "x.card.toml"})
    with torch.inference_mode():
        effect = Guided.load([wish], Shelf(), CPU)
        assert effect.prepare(iter([frame(size=20)])) == {"faces": {}}
        result = effect(frame(size=20), wish, {"faces": {}})
    assert not result.matte.any() and "was not estimated" in result.notes[0]


def test_a_clean_plate_of_another_size_is_refused() -> None:
    clean = np.zeros((8, 8, 4), np.float32)
    with pytest.raises(JobError, match="clean plate of another size"):
        done({"sphere": 5.0, "remove_refraction": True, "clean_plate": "c"}, pictures={"c": clean})
