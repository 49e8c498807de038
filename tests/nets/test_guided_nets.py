"""The guided networks: what holds whatever their weights are."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vfxswap import color
from vfxswap.characteristics import towards
from vfxswap.nets.guided import GuidedJudge, GuidedNet, GuidedNetSettings, GuidedPair, applied
from vfxswap.nets.guided_estimator import GuidedEstimator, GuidedEstimatorSettings, strip_of
from vfxswap.nets.guided_lenses import STRIP
from vfxswap.nets.guided_vector import (
    lenses,
    lights,
    prescription,
    tint_transmission,
    vectors,
)

SETTINGS = GuidedNetSettings(size=64, width=8, blocks=1, mapped=16)
CHANGE = {
    "frames": 1.0, "sphere": -6.0, "cylinder": -1.5, "axis_deg": 30.0, "prism": 2.0,
    "light1_intensity": 0.8, "light1_x": 1.0, "light2_intensity": 0.4, "light2_z": -2.0,
}  # fmt: skip


def crops(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 64, 64, generator=generator) * 0.4 + 0.2


def net(*, inverse: bool = False) -> GuidedNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = GuidedNet(SETTINGS, inverse=inverse).eval()
        for parameter in made.parameters():
            # Untrained heads are near zero: these facts must not rest on that.
            parameter.data += 0.05 * torch.randn_like(parameter)
    return made.requires_grad_(False)


@pytest.mark.parametrize("inverse", [False, True])
def test_when_the_vector_is_neutral_then_nothing_changes(inverse: bool) -> None:
    crop = crops(2)
    guided = net(inverse=inverse)(crop, vectors([{}, {}]), torch.ones(1, 1, 64, 64))
    assert guided.displacement.abs().max() == 0
    assert (guided.gain == 1).all()
    assert guided.offset.abs().max() == 0
    assert guided.frames.abs().max() == 0
    assert torch.allclose(applied(crop, guided, inverse=inverse), crop, atol=1e-5)


def test_outside_the_area_nothing_changes_and_inside_its_outline_does_not_matter() -> None:
    crop, vector = crops(2), vectors([CHANGE, {"sphere": 4.0, "light3_intensity": 1.0}])
    whole = net()(crop, vector, torch.ones(1, 1, 64, 64))
    area = torch.zeros(1, 1, 64, 64)
    area[..., :30] = 1
    half = net()(crop, vector, area)
    neutral = (0.0, 1.0, 0.0, 0.0)
    for name, plain in zip(whole._fields, neutral, strict=True):
        changed, cut = getattr(whole, name), getattr(half, name)
        assert (changed != plain).any(), name
        assert (cut[..., 30:] == plain).all(), name
        assert torch.equal(cut[..., :30], changed[..., :30]), name


def test_light_adds_up_and_is_linear_in_its_intensity() -> None:
    crop, area = crops(1), torch.ones(1, 1, 64, 64)
    first = {"light1_intensity": 0.8, "light1_x": 1.0}
    second = {"light2_intensity": 0.4, "light2_x": -1.0, "light2_red": 0.3}
    gains = [
        net()(crop, vectors([values]), area).gain - 1
        for values in (first, second, {**first, **second}, {**first, "light1_intensity": 1.6})
    ]
    assert torch.allclose(gains[2], gains[0] + gains[1], atol=1e-5)
    assert torch.allclose(gains[3], 2 * gains[0], atol=1e-5)


def test_over_twenty_one_steps_of_degree_the_change_grows_steadily() -> None:
    crop, area = crops(1), torch.ones(1, 1, 64, 64)
    values = [towards(CHANGE, step / 20) for step in range(21)]
    changed = [applied(crop, net()(crop, vectors([v]), area)) for v in values]
    gain = [net()(crop, vectors([v]), area).gain.mean() for v in values]
    assert torch.allclose(changed[0], crop, atol=1e-5)
    assert all(b > a for a, b in pairwise(gain))


def test_the_inverse_gain_undoes_a_gain_of_the_same_weights() -> None:
    crop, area, vector = crops(1), torch.ones(1, 1, 64, 64), vectors([{"light1_intensity": 1.0}])
    there, back = net()(crop, vector, area), net(inverse=True)(crop, vector, area)
    assert torch.allclose(there.gain * back.gain, torch.ones_like(there.gain), atol=1e-5)


def test_an_axis_of_180_degrees_is_one_of_0_and_transposed_cylinders_are_one() -> None:
    same = [
        {"sphere": -2.0, "cylinder": -1.5, "axis_deg": 0.0},
        {"sphere": -2.0, "cylinder": -1.5, "axis_deg": 180.0},
        {"sphere": -3.5, "cylinder": 1.5, "axis_deg": 90.0},
    ]
    power = lenses(vectors(same)).power
    assert torch.allclose(power, power[:1].expand_as(power), atol=1e-6)
    sphere, cylinder, axis = prescription(power)
    assert torch.allclose(sphere, torch.tensor(-2.0), atol=1e-5)
    assert torch.allclose(cylinder, torch.tensor(-1.5), atol=1e-5)
    assert torch.minimum(axis, 180 - axis).max() < 1e-3


def test_light_arrives_by_the_square_of_its_distance() -> None:
    near = {"light1_intensity": 1.0, "light1_z": 1.0}
    level = lights(vectors([near, {**near, "light1_z": 2.0}, {**near, "light1_z": 0.0}])).level
    assert level[:2, 0, 0].tolist() == [1.0, 0.25]
    assert torch.isfinite(level).all()


def test_a_tint_of_density_one_passes_a_tenth_and_fades_to_nothing() -> None:
    down = torch.tensor([[0.0, 0.5, 1.0]])
    values = {"tint_density": 1.0, "tint_gradient": 1.0, "tint_red": 0.5}
    passed = tint_transmission(vectors([values]), down)
    assert passed[0, 1].tolist() == pytest.approx([0.1, 10**-0.5, 1.0])
    assert passed[0, 0].tolist() == pytest.approx([0.05, 0.75 * 10**-0.5, 1.0])
    assert (tint_transmission(vectors([{}]), down) == 1).all()


def test_displacement_looks_up_where_light_comes_from() -> None:
    crop = color.to_net(torch.rand(1, 3, 64, 64))
    guided = net()(crop, vectors([{}]), torch.ones(1, 1, 64, 64))
    moved = guided.displacement.clone()
    moved[:, 0] = 3.0
    shown = applied(crop, guided._replace(displacement=moved))
    assert torch.allclose(shown[..., :-3], crop[..., 3:], atol=1e-4)


@pytest.mark.parametrize("bad", ["crop", "vector"])
def test_shapes_that_do_not_fit_are_refused(bad: str) -> None:
    crop = crops(1)[..., :32] if bad == "crop" else crops(1)
    vector = vectors([{}])[:, :5] if bad == "vector" else vectors([{}])
    with pytest.raises(ValueError, match="wanted"):
        net()(crop, vector, torch.ones(1, 1, 64, 64))


def test_the_judge_sees_the_vector_and_gives_a_score_a_patch() -> None:
    judge = GuidedJudge(SETTINGS).eval()
    scores = judge(crops(2), vectors([{}, CHANGE]))
    same = judge(crops(2), vectors([CHANGE, CHANGE]))
    assert scores.shape == (2, 1, 8, 8)
    assert not torch.equal(scores[0], same[0])
    assert torch.equal(scores[1], same[1])


def test_a_pair_has_weights_of_its_own_for_each_direction() -> None:
    pair = GuidedPair(SETTINGS)
    names = {name.partition(".")[0] for name in pair.state_dict()}
    assert names == {"add", "remove"}
    assert not torch.equal(pair.add.encoder.to_half.weight, pair.remove.encoder.to_half.weight)


def test_an_estimate_has_its_ranges() -> None:
    estimator = GuidedEstimator(GuidedEstimatorSettings(width=4)).eval()
    crop = torch.rand(3, 3, 512, 512, generator=torch.Generator().manual_seed(1))
    seen = estimator(crop)
    assert seen.area.shape == (3, 1, 128, 128)
    assert seen.error.shape == (3, 7)
    for value in (seen.worn, seen.area, *seen.confidence):
        assert (value >= 0).all() and (value <= 1).all()
    assert (seen.cylinder <= 0).all()
    assert ((seen.axis_deg >= 0) & (seen.axis_deg < 180)).all()


def test_the_lens_reader_looks_at_the_eyes_alone_and_the_mirror_turns_the_axis() -> None:
    estimator = GuidedEstimator(GuidedEstimatorSettings(width=4, lens_width=4)).eval()
    crop = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(2))
    below = crop.clone()
    below[..., STRIP.y + STRIP.height :, :] += 0.1
    powers, same = (estimator.lenses(strip_of(x)) for x in (crop, below))
    assert torch.equal(powers.values, same.values)
    mirrored = estimator.lenses(strip_of(crop).flip(-1))
    turned = powers.values * torch.tensor([1.0, 1.0, -1.0])
    assert torch.allclose(mirrored.values, turned, atol=1e-5)
    assert torch.allclose(mirrored.log_error, powers.log_error, atol=1e-5)
    assert STRIP.x + STRIP.width == STRIP.crop - STRIP.x  # so that a mirrored crop has its strip


def test_confidence_falls_as_the_expected_error_grows() -> None:
    estimator = GuidedEstimator(GuidedEstimatorSettings(width=4, lens_width=4)).eval()
    crop = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(3))
    before = estimator(crop)
    estimator.lenses.log_factor += 1.0
    after = estimator(crop)
    assert (after.confidence.sphere < before.confidence.sphere).all()
    assert torch.allclose(after.error[:, :3], before.error[:, :3] * torch.e, rtol=1e-4)
    assert torch.equal(after.sphere, before.sphere)
    with pytest.raises(ValueError, match="wanted"):
        estimator(crop[..., :128])
