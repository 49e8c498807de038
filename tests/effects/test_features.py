"""Facts about feature transfer on a frame, with a tiny network of random weights."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from feature_world import CPU, FEATURES, Shelf, face, frame, tiny_net

from vfxswap.effects.aligned import Alignment
from vfxswap.effects.base import EffectResult, Frame, Prepared
from vfxswap.effects.features import Features, FeaturesSettings
from vfxswap.errors import JobError
from vfxswap.settings import validated


def settings(**values: Any) -> FeaturesSettings:
    """Without the parser of occluders, which is trained; random channels are no feature's own, so
    that only a high temperature moves them."""
    stated = {"reference": "ref.exr", "feature": "nose", "occluders": 0, "hair": 0}
    stated |= {"temperature": 1, **values}
    return validated(FeaturesSettings, stated)


def run(
    wish: FeaturesSettings, at: Frame | None = None, prepared: Prepared | None = None
) -> EffectResult:
    with torch.inference_mode():
        effect = Features.load([wish], Shelf(), CPU)
        return effect(frame() if at is None else at, wish, prepared or {})


def pixels(result: EffectResult, layer: str) -> np.ndarray:
    return next(each.pixels for each in result.layers if each.name == layer)


@pytest.mark.parametrize("feature", [*FEATURES, "pose"])
def test_where_the_matte_is_zero_the_plate_stays_and_inside_it_something_changes(
    feature: str,
) -> None:
    plate, result = frame(), run(settings(feature=feature))
    outside = result.matte == 0
    np.testing.assert_array_equal(result.rgb[outside], plate.rgb[outside])
    assert outside.any() and not outside.all()
    assert np.abs(result.rgb - plate.rgb)[~outside].max() > 1e-4
    assert pixels(result, "feature_face").shape == (*plate.rgb.shape[:2], 4)
    np.testing.assert_array_equal(pixels(result, "feature_face")[..., 3], result.matte)
    np.testing.assert_array_equal(pixels(result, "feature_matte")[..., 0], result.matte)
    assert pixels(result, "feature_uv").max() <= 1


@pytest.mark.parametrize("feature", ["nose=0", "nose=0 pose=0"])
def test_an_amount_of_zero_gives_the_plate_back_bit_for_bit(feature: str) -> None:
    result = run(settings(feature=feature))
    np.testing.assert_array_equal(result.rgb, frame().rgb)
    assert not result.matte.any() and not pixels(result, "feature_matte").any()
    assert result.notes == ("all amounts are 0: the plate goes through",)


def test_a_reference_that_is_the_plate_changes_nothing() -> None:
    class Same(Shelf):
        def reference(self, picture: str) -> Frame:
            return frame()

    wish = settings(feature="nose mouth=1.4 pose", steady=False)
    with torch.inference_mode():
        result = Features.load([wish], Same(), CPU)(frame(), wish, {})
    np.testing.assert_allclose(result.rgb, frame().rgb, rtol=2e-5, atol=2e-6)


def test_the_change_grows_with_the_amount_and_turns_with_its_sign() -> None:
    plate = frame().rgb

    def change(amount: float) -> np.ndarray:
        return run(settings(feature=f"skin={amount}", steady=False)).rgb - plate

    sizes = [float(np.abs(change(a)).mean()) for a in (0.01, 0.25, 0.5, 1.0)]
    assert sizes == sorted(sizes) and sizes[-1] > 3 * sizes[0]
    forward, back = change(0.02).ravel(), change(-0.02).ravel()
    assert np.corrcoef(forward, -back)[0, 1] > 0.9


def test_highlights_and_grain_of_the_plate_stay_in_scale() -> None:
    plate, result = frame(), run(settings(feature="pose", steady=False))
    y, x = 40, 50
    assert result.matte[y, x] > 0.5
    around = (slice(y + 2, y + 4), slice(x + 2, x + 4))
    gain = result.rgb[y, x] / plate.rgb[y, x]
    assert result.rgb[y, x].max() > 3
    # In log space a change is a gain, and a smooth one: the highlight takes that of what is near.
    near = result.rgb[around].mean((0, 1)) / plate.rgb[around].mean((0, 1))
    np.testing.assert_allclose(np.log2(gain), np.log2(near), atol=0.7)


def test_pixels_that_are_not_finite_stay_theirs_and_spoil_no_other() -> None:
    broken = frame()
    broken.rgb[30, 44] = np.nan
    whole, result = run(settings(feature="pose")), run(settings(feature="pose"), broken)
    assert np.isnan(result.rgb).sum() == 3 and np.isnan(result.rgb[30, 44]).all()
    other = np.isfinite(result.rgb)
    assert np.abs(result.rgb - whole.rgb)[other].mean() < 0.02


def test_holdout_and_garbage_keep_the_plate() -> None:
    plate = frame()
    held = np.zeros(plate.rgb.shape[:2], np.float32)
    held[:, 48:] = 1
    for role in ("holdout", "garbage"):
        result = run(settings(feature="pose"), dataclasses.replace(plate, mattes={role: held}))
        assert not result.matte[:, 48:].any() and result.matte[:, :48].any()
        np.testing.assert_array_equal(result.rgb[:, 48:], plate.rgb[:, 48:])


@pytest.mark.parametrize("crop_size", [64, 128])
def test_a_matte_holds_its_region_and_reaches_one_pixel_of_the_network_beyond(
    crop_size: int,
) -> None:
    result = run(settings(feature="nose", crop_size=crop_size))
    region = pixels(result, "feature_matte")[..., 1]
    y, x = np.mgrid[0 : region.shape[0], 0 : region.shape[1]]
    apart = np.hypot(*(a.ravel()[:, None] - a[region > 0.002].ravel() for a in (y, x))).min(1)
    pixel = 60 / 32  # The crop's side on the plate over the network's.
    filtered = 1.5
    assert not result.matte[apart.reshape(region.shape) > pixel + filtered].any()
    centre = np.hypot(y - 43, x - 54) < 15  # Away from the crop's border.
    assert result.matte[(region > 0.5) & centre].min() > 0.95
    assert result.matte[(region < 0.5) & centre].max() > 0.95


def test_a_strand_of_hair_stays_before_other_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def strand(_parser: object, crop: Alignment) -> torch.Tensor:
        planes = torch.zeros(1, 2, crop.size, crop.size)
        planes[:, 1, :, crop.size // 2 - 1 : crop.size // 2 + 2] = 1
        return planes

    def matte(amount: float, feature: str = "skin nose eyes mouth ears") -> np.ndarray:
        wish = settings(feature=feature, hair=amount)
        with torch.inference_mode():
            effect = Features.load([settings()], Shelf(), CPU)  # Without hair: no parser.
            return effect(frame(), wish, {}).matte

    free, turned = matte(0), matte(0, "pose")
    monkeypatch.setattr("vfxswap.effects.features.in_front", strand)
    covered, half = matte(1), matte(0.5)
    behind = (free > 0.95) & (covered < 0.05)
    assert behind.any(1).sum() > 20
    np.testing.assert_allclose(half[behind], 0.5 * free[behind], atol=0.05)
    np.testing.assert_array_equal(matte(1, "pose"), turned)  # A turned head turns its hair.


def test_faces_are_chosen_by_id_and_score() -> None:
    two = frame(faces=(face(36, x=5, id_=0), face(36, x=70, id_=3)))
    assert run(settings(feature="pose", faces="3"), two).matte[:, :40].max() == 0
    assert run(settings(feature="pose", faces="3"), two).matte[:, 74:].max() > 0
    assert run(settings(feature="pose", faces="0, 3"), two).matte[:, :40].max() > 0
    assert not run(settings(feature="pose", min_score=0.99), two).matte.any()


def test_without_a_face_the_plate_goes_through() -> None:
    result = run(settings(), frame(faces=()))
    np.testing.assert_array_equal(result.rgb, frame().rgb)
    assert not result.matte.any()
    assert result.notes == ("no face found: the plate goes through",)


def _shot(count: int) -> list[Frame]:
    rng = np.random.default_rng(4)
    shot = []
    for n in range(count):
        at = frame(1, 1001 + n)
        noise = 0.05 * rng.standard_normal(at.rgb.shape).astype(np.float32)
        shot.append(dataclasses.replace(at, rgb=at.rgb + noise))
    return shot


def test_a_frame_alone_equals_the_frame_in_the_sequence() -> None:
    wish, shot = settings(feature="pose"), _shot(8)
    with torch.inference_mode():
        effect = Features.load([wish], Shelf(), CPU)
        prepared = effect.prepare(iter(shot))
        in_order = [effect(each, wish, prepared) for each in shot]
        alone = Features.load([wish], Shelf(), CPU)(shot[5], wish, prepared)
    np.testing.assert_array_equal(in_order[5].rgb, alone.rgb)
    np.testing.assert_array_equal(in_order[5].matte, alone.matte)


def test_over_a_shot_the_change_is_steadier_than_frame_by_frame() -> None:
    def flicker(steady: bool) -> float:
        wish, shot = settings(feature="pose", steady=steady), _shot(12)
        with torch.inference_mode():
            effect = Features.load([wish], Shelf(), CPU)
            prepared = effect.prepare(iter(shot))
            assert bool(prepared) is steady
            planes = [pixels(effect(f, wish, prepared), "feature_face") for f in shot]
        inside = [plane[..., :3] for plane in planes]
        # Of the plate's noise the change has none: what is left is the network's shaking.
        gains = [np.log2(np.maximum(i, 1e-3) / np.maximum(f.rgb, 1e-3)) * (p[..., 3:] > 0.99)
                 for i, f, p in zip(inside, shot, planes)]  # fmt: skip
        return float(np.abs(np.diff(np.stack(gains), axis=0)).mean())

    assert flicker(True) < 0.7 * flicker(False)


def test_refinement_brings_the_generated_face_nearer_to_the_plate() -> None:
    plate = frame()
    with torch.inference_mode():  # As renders run.
        net = tiny_net()
        crop = Alignment.of(face(), plate.rgb, plate, size=net.size, device=CPU)
        assert crop is not None
        seen = crop.seen(net.size)[0]

        def error(steps: int) -> float:
            wish = settings(feature="pose", refine_steps=steps)
            effect = Features.load([wish], Shelf(net), CPU)
            stored = effect.prepare(iter([plate]))[""]["0"]["sigma"]
            sigma = np.frombuffer(base64.b64decode(stored), "<f2").astype(np.float32)
            made = net.generate(torch.from_numpy(sigma)[None]).picture
            return float((made - seen).abs().mean())

        assert error(30) < 0.9 * error(0)


def test_mistakes_are_told_in_a_sentence() -> None:
    def message(shelf: Shelf | None = None, **values: Any) -> str:
        with pytest.raises(JobError) as caught:
            Features.load([settings(**values)], shelf or Shelf(), CPU)
        return str(caught.value)

    unknown = message(feature="beak")
    assert "has no such feature" in unknown and "beak" in unknown
    assert all(name in unknown for name in (*FEATURES, "pose"))
    assert "no feature is named" in message(feature={})
    assert "no reference is named" in message(reference="")
    assert "not a model of features" in message(Shelf(torch.nn.Identity()))
    with pytest.raises(JobError, match="weight of nose is 'much', wanted a number"):
        settings(feature="nose=much")
    with pytest.raises(JobError, match=r"feature nose has amount 9\.0, wanted -3 to 3"):
        settings(feature="nose=9")
    with pytest.raises(JobError, match="faces"):
        settings(faces="left one")


def test_the_likeness_is_that_of_the_reference() -> None:
    assert Features.likenesses(settings(reference="shots/nose.exr")) == ("shots/nose.exr",)


def test_the_tiny_network_moves_every_feature() -> None:
    net = tiny_net()
    assert net.feature_names == FEATURES
