"""Style training: losses that know what they measure, exact resume, rows that learn alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vfxswap.errors import CancelledError, JobError
from vfxswap.nets.perceptual import Perceptual, PerceptualSettings, balanced, folded
from vfxswap.train import classifier
from vfxswap.train.classifier import ClassifierTraining, Labelled, packed
from vfxswap.train.style import StyleData, StyleTrainer, StyleTraining, state_hash, train
from vfxswap.train.style_add import AddedStyleTrainer
from vfxswap.train.style_losses import (
    StyleTarget,
    coarse,
    content_loss,
    gram,
    sampled,
    stacked,
    style_loss,
    temporal_loss,
    total_variation,
    window_loss,
    windowed,
)
from vfxswap.train.style_motion import moved

LAYERS = ("relu1_2", "relu2_2")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def features() -> Perceptual:
    torch.manual_seed(0)
    net = Perceptual(PerceptualSettings(widths=(8, 12), convs=(2, 2)))
    return balanced(net, torch.rand(4, 3, 32, 32) * 0.5).requires_grad_(False)


def _pictures(count: int, seed: int = 0, size: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(count, 3, size // 4, size // 4, generator=generator) * 0.5
    return torch.nn.functional.interpolate(rough, size=size, mode="bilinear")


def _data(features: Perceptual, *names: str) -> StyleData:
    targets = {
        name: StyleTarget.of([_pictures(1, 50 + k)[0]], features, LAYERS)
        for k, name in enumerate(names)
    }
    return StyleData(_pictures(6), targets)


def _paired(features: Perceptual, *names: str) -> StyleData:
    """Styles whose drawings are known: each inverts one channel of the contents."""
    plain = _data(features, *names)
    drawn = {}
    for k, name in enumerate(names):
        made = plain.contents.clone()
        made[:, k] = 0.5 - made[:, k]
        drawn[name] = packed(made.permute(0, 2, 3, 1).numpy())
    return StyleData(plain.contents, plain.targets, drawn)


def _training(**changes: object) -> StyleTraining:
    plain = StyleTraining(
        widths=(4, 6, 8), blocks=1, iterations=6, batch=2, crop_px=32,
        content_layers=("relu2_2",), style_layers=LAYERS, cell_layers=LAYERS, save_every=3,
    )  # fmt: skip
    return plain.model_copy(update=changes)


def test_a_gram_matrix_knows_no_place() -> None:
    features = torch.rand(1, 5, 6, 6)
    shuffled = features.flatten(2)[..., torch.randperm(36)].reshape(1, 5, 6, 6)
    assert torch.allclose(gram(features), gram(shuffled), atol=1e-6)
    assert gram(features)[0, 1, 2] == pytest.approx(
        float((features[0, 1] * features[0, 2]).mean()), rel=1e-5
    )


def test_losses_vanish_at_their_targets_and_nowhere_near(features: Perceptual) -> None:
    picture, other = _pictures(1, 1), _pictures(1, 2)
    found, far = features(picture, LAYERS), features(other, LAYERS)
    assert float(content_loss(found, found)) == 0 < float(content_loss(far, found))
    target = stacked([StyleTarget.of([picture[0]], features, LAYERS)])
    assert float(style_loss(found, target)) < 1e-10 < 1e-4 < float(style_loss(far, target))


def test_gram_matrices_of_windows_know_which_window_and_average_to_the_whole() -> None:
    features = {"relu1_2": torch.rand(2, 5, 8, 8)}
    found = windowed(features, 2)
    assert found["relu1_2"].shape == (2, 4, 5, 5)
    assert torch.allclose(found["relu1_2"].mean(1), gram(features["relu1_2"]), atol=1e-6)
    corner = gram(features["relu1_2"][..., :4, 4:])
    assert torch.allclose(found["relu1_2"][:, 1], corner, atol=1e-6)
    turned = windowed({"relu1_2": features["relu1_2"].flip(3)}, 2)
    assert float(window_loss(found, found).max()) == 0 < float(window_loss(turned, found).min())


def test_cells_hold_means_of_the_same_pixels_at_every_layer() -> None:
    full, half = torch.rand(1, 3, 16, 16), torch.rand(1, 4, 8, 8)
    found = coarse({"a": full, "b": half}, 4, 16)
    assert found["a"].shape[-2:] == found["b"].shape[-2:] == (4, 4)
    assert found["b"][0, 1, 0, 2] == pytest.approx(float(half[0, 1, :2, 4:6].mean()), rel=1e-5)


def test_a_style_of_several_pictures_is_their_mean(features: Perceptual) -> None:
    a, b = _pictures(2, 3)
    both = StyleTarget.of([a, b], features, LAYERS).grams["relu1_2"]
    one, two = (StyleTarget.of([x], features, LAYERS).grams["relu1_2"] for x in (a, b))
    assert torch.allclose(both, (one + two) / 2, atol=1e-6)


def test_total_variation_is_0_on_a_flat_picture() -> None:
    assert float(total_variation(torch.full((1, 3, 8, 8), 0.3))) == 0
    assert float(total_variation(torch.rand(1, 3, 8, 8))) > 0.1


def test_batch_norm_folds_and_balance_keeps_what_is_seen() -> None:
    torch.manual_seed(1)
    net = Perceptual(PerceptualSettings(widths=(6, 8), convs=(2, 1), classes=3, batch_norm=True))
    pictures = _pictures(8, 4)
    for _ in range(5):
        net.scores(pictures)
    net.eval()
    plain, even = folded(net), balanced(net, pictures)
    for name, wanted in net(pictures, net.layers).items():
        assert torch.allclose(plain(pictures, (name,))[name], wanted, atol=1e-4)
        if name == "pixels":
            continue
        found = even(pictures, (name,))[name]
        means = found.mean((0, 2, 3))
        scale = wanted.mean((0, 2, 3))[:, None, None].clamp(min=1e-3)
        alive = wanted.mean((0, 2, 3)) > 1e-3
        assert torch.allclose(means[alive], torch.ones(1), atol=1e-2)
        assert torch.allclose(found * scale, wanted, atol=1e-3)


def test_true_flow_brings_the_earlier_frame_to_the_later_one() -> None:
    pictures = _pictures(6, 7, size=64)
    pair = moved(pictures, torch.Generator().manual_seed(3))
    assert 0.5 < float(pair.visible.mean()) < 1
    still = (pair.now - pair.before).abs().mean()
    brought = (pair.now - sampled(pair.before, pair.flow_px)).abs() * pair.visible
    assert float(brought.mean()) < 0.5 * float(still)
    assert float(temporal_loss(pair.now, pair.before, pair.flow_px, pair.visible).max()) < 4e-4


def test_channels_laid_behind_one_another_move_alike() -> None:
    picture = _pictures(3, 8, size=64)
    pair = moved(torch.cat([picture, picture], 1), torch.Generator().manual_seed(2))
    for frame in (pair.before, pair.now):
        assert float((frame[:, :3] - frame[:, 3:]).abs().max()) < 0.06  # grain alone


def test_occluded_places_do_not_count() -> None:
    now, before = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    before[..., 8:] = now[..., 8:]
    visible = torch.zeros(1, 1, 16, 16)
    visible[..., 8:] = 1
    flow = torch.zeros(1, 2, 16, 16)
    assert float(temporal_loss(now, before, flow, visible)) < 1e-10
    assert float(temporal_loss(now, before, flow, torch.ones_like(visible))) > 0.01


def test_style_training_lowers_its_loss(features: Perceptual) -> None:
    data = _data(features, "ink", "oil")
    trainer = StyleTrainer(_training(iterations=30), data, features)
    before = sum(trainer.measure(data.contents[:2], name)[1] for name in trainer.styles)
    while trainer.iteration < 30:
        trainer.step()
    after = sum(trainer.measure(data.contents[:2], name)[1] for name in trainer.styles)
    assert after < 0.8 * before


def test_drawn_counterparts_teach_what_their_style_does(features: Perceptual) -> None:
    data = _paired(features, "red", "green")
    trainer = StyleTrainer(_training(iterations=250, rate=6e-3), data, features)
    while trainer.iteration < 250:
        trainer.step()
    picture = data.contents[:1]
    with torch.inference_mode():
        made = {name: trainer.net(picture, trainer.net.row({name: 1})) for name in trainer.styles}
    for k, name in enumerate(data.drawn):
        wanted = picture.clone()
        wanted[:, k] = 0.5 - wanted[:, k]
        off = {other: float((found - wanted).square().mean()) for other, found in made.items()}
        assert min(off, key=lambda other: off[other]) == name


def test_crops_and_their_counterparts_show_the_same_place(features: Perceptual) -> None:
    data = _paired(features, "red", "green")
    trainer = StyleTrainer(_training(batch=4), data, features)
    crops, drawn, _, _ = trainer._drawn()
    assert drawn is not None and crops.shape == drawn.shape == (4, 3, 32, 32)
    for crop, counterpart in zip(crops, drawn):
        lift = crop[2] - counterpart[2]
        assert float(lift.std()) < 2e-3 and abs(float(lift.mean())) < 0.031


def test_a_crop_has_the_screens_of_its_place_in_its_content(features: Perceptual) -> None:
    """The contents say where they lie: each pixel's net space is its column and row."""
    plain = _paired(features, "red", "green")
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    ramp = torch.stack([x, y, 0 * x])[None].expand(6, -1, -1, -1) / 256
    places = [(100 * k, 7 * k) for k in range(6)]
    data = replace(plain, contents=ramp.contiguous(), places=places)
    trainer = StyleTrainer(_training(batch=4, screens=True), data, features)
    crops, _, _, origins = trainer._drawn()
    for crop, (left, top) in zip(crops, origins):
        lift = float(crop[2].mean())
        corner = (256 * (crop[:2, 0, 0] - lift)).round().long().tolist()
        assert (left - corner[0], top - corner[1]) in places


def test_marks_of_a_moved_frame_are_compared_by_cells_that_hold_them(features: Perceptual) -> None:
    """A picture whose marks are half a period off is far from its drawing as a frame of its own,
    near as the later frame of a pair."""
    trainer = StyleTrainer(_training(cell_px=1), _paired(features, "red", "green"), features)
    stripes = torch.arange(32).remainder(4).lt(2).float().expand(1, 3, 32, 32) * 0.4
    both = torch.cat([stripes, stripes])
    content, _ = trainer._compared(both.roll(2, 3), both, True)
    assert float(content[1]) < 0.2 * float(content[0])
    alone, _ = trainer._compared(stripes.roll(2, 3), stripes, False)
    assert float(alone) == pytest.approx(float(content[0]), rel=0.05)


def test_a_crop_that_does_not_divide_into_windows_is_refused(features: Perceptual) -> None:
    data = _paired(features, "red", "green")
    with pytest.raises(JobError, match=r"crop_px 36, windows 4.*a multiple of 8"):
        StyleTrainer(_training(crop_px=36, windows=4), data, features)


@pytest.mark.parametrize("changes", [{}, {"screens": True}, {"temporal_weight": 5.0}])
def test_a_resumed_training_on_counterparts_equals_an_unbroken_one(
    features: Perceptual, tmp_path: Path, changes: dict[str, float]
) -> None:
    data, training = _paired(features, "ink", "oil"), _training(**changes)
    whole = train(StyleTrainer(training, data, features), tmp_path / "whole")
    broken = StyleTrainer(training, data, features)
    with pytest.raises(CancelledError):
        train(broken, tmp_path / "broken", stop=lambda: broken.iteration == 4)
    resumed = train(StyleTrainer(training, data, features), tmp_path / "broken")
    assert state_hash(resumed) == state_hash(whole)


@pytest.mark.parametrize("changes", [{}, {"temporal_weight": 5.0, "variation_weight": 0.1}])
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(
    features: Perceptual, tmp_path: Path, changes: dict[str, float]
) -> None:
    data, training = _data(features, "ink", "oil", "tile"), _training(**changes)
    whole = train(StyleTrainer(training, data, features), tmp_path / "whole")
    broken = StyleTrainer(training, data, features)
    with pytest.raises(CancelledError):
        train(broken, tmp_path / "broken", stop=lambda: broken.iteration == 4)
    resumed = train(StyleTrainer(training, data, features), tmp_path / "broken")
    assert state_hash(resumed) == state_hash(whole)


def test_every_style_comes_up_equally_often(features: Perceptual) -> None:
    trainer = StyleTrainer(_training(batch=3), _data(features, "a", "b"), features)
    seen: list[int] = []
    for trainer.iteration in range(4):
        seen += trainer._drawn()[2].tolist()
    assert seen.count(0) == seen.count(1) == 6


def test_an_added_style_changes_its_own_row_alone(features: Perceptual, tmp_path: Path) -> None:
    base = train(StyleTrainer(_training(), _data(features, "ink", "oil"), features), tmp_path / "a")
    base.eval()
    trainer = AddedStyleTrainer(_training(), _data(features, "tile"), features, base)
    before = state_hash(base)
    grown = train(trainer, tmp_path / "b").eval()
    assert state_hash(base) == before
    assert grown.styles == ("ink", "oil", "tile")
    for name, value in base.state_dict().items():
        mine = grown.state_dict()[name]
        assert torch.equal(mine if name.startswith("convs") else mine[:2], value)
    assert not torch.equal(grown.gamma[2], base.with_style("tile").gamma[2])
    picture = _pictures(1, 9)
    with torch.inference_mode():
        for name in base.styles:
            old = base(picture, base.row({name: 1}))
            assert torch.equal(grown(picture, grown.row({name: 1})), old)


def test_a_training_says_what_it_cannot_use(features: Perceptual) -> None:
    data = _data(features, "ink")
    with pytest.raises(JobError, match=r"no such layer.*relu9_9"):
        StyleTrainer(_training(style_layers=("relu9_9",)), data, features)
    with pytest.raises(JobError, match="smaller than the crop"):
        StyleTrainer(_training(crop_px=64), data, features)
    base = StyleTrainer(_training(), data, features).net
    with pytest.raises(JobError, match="already has a style"):
        AddedStyleTrainer(_training(), data, features, base)


def _labelled() -> Labelled:
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(rng.integers(40, 200, (12, 1, 1, 3)), (12, 40, 40, 3))
    noisy = rng.integers(0, 255, (12, 40, 40, 3))
    pictures = np.concatenate([flat, noisy]).astype(np.uint8)
    return Labelled(pictures, np.repeat([0, 1], 12).astype(np.int64), ("flat", "noisy"))


def test_a_classifier_learns_materials_and_resumes_exactly(tmp_path: Path) -> None:
    settings = ClassifierTraining(
        widths=(6, 8), convs=(1, 1), iterations=80, batch=8, crop_px=24, save_every=30, rate=0.02
    )
    net, found = classifier.run(_labelled(), tmp_path / "whole", settings)
    assert found["accuracy_held_out"] > 0.7
    asked = iter([False] * 40 + [True])
    with pytest.raises(CancelledError):
        classifier.run(_labelled(), tmp_path / "broken", settings, stop=lambda: next(asked))
    again, _ = classifier.run(_labelled(), tmp_path / "broken", settings)
    assert state_hash(again) == state_hash(net)
    assert not net.norms and net.head is None
