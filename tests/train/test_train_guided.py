"""Training of the guided pair and the estimator: losses fall, resuming is exact, truth is used."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch

from vfxswap import color
from vfxswap.characteristics import CHARACTERISTICS, NEUTRAL
from vfxswap.cli import main
from vfxswap.errors import CancelledError, JobError
from vfxswap.io.weights import load_net, read_card
from vfxswap.nets.guided import applied, displaced
from vfxswap.nets.guided_lenses import STRIP
from vfxswap.nets.guided_vector import INDEX, lenses, vectors
from vfxswap.train import guided, guided_estimator, guided_lenses
from vfxswap.train.guided import GuidedTraining
from vfxswap.train.guided_batch import collated, draw, fixed, inverse_field
from vfxswap.train.guided_data import GuidedSet, write_shard
from vfxswap.train.guided_estimator import EstimatorTraining
from vfxswap.train.guided_evaluate import (
    displacement_rows,
    frames_iou,
    light_rows,
    round_trip,
    summary,
    thin,
)

SIZE = 128


@lru_cache(maxsize=1)
def data() -> GuidedSet:
    """Two drawings of faces whose eyes lie where the template has them, with lenses of known
    power and lights from the left and right: enough for every term, no renderer."""
    folder = Path(mkdtemp(prefix="guided-"))
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE
    face = (((x - 0.5) / 0.3) ** 2 + ((y - 0.55) / 0.38) ** 2 < 1).astype(np.float32)
    lens = np.zeros((SIZE, SIZE), np.float32)
    for eye in (0.3675, 0.6325):
        lens += (((x - eye) / 0.1) ** 2 + ((y - 0.3957) / 0.08) ** 2 < 1).astype(np.float32)
    rows: dict[str, list[object]] = {}
    for sample in range(4):
        skin = 0.2 + 0.1 * rng.random()
        plain = (0.05 + face * skin * (1 + 0.3 * np.sin(40 * x + sample)))[..., None]
        plain = np.repeat(plain, 3, 2)
        powers = np.array([-6.0, 4.0, 0.0])
        glasses = np.stack([[NEUTRAL[c.name] for c in CHARACTERISTICS]] * 3).astype(np.float32)
        glasses[:, INDEX["sphere"]] = powers
        glasses[:, INDEX["frames"]] = 1.0
        centre = np.where(x < 0.5, 0.3675, 0.6325)
        field = np.stack([x - centre, y - 0.3957], -1) * SIZE
        fields = np.stack([-0.022 * p * field * lens[..., None] for p in powers])
        worn = plain.copy()
        frames = np.zeros((SIZE, SIZE, 4))
        rim = ((lens == 0) & (np.abs(y - 0.3957) < 0.02) & (face > 0)).astype(np.float32)
        frames[..., 3], frames[..., :3] = rim, rim[..., None] * 0.01
        light = np.stack([plain * (0.2 + side * (x - 0.5))[..., None] for side in (1, -1)])
        values = {
            "plain": plain.astype(np.float16),
            "worn": worn.astype(np.float16),
            "light": np.maximum(light, 0).astype(np.float16),
            "frames": frames.astype(np.float16),
            "shade": np.ones((SIZE, SIZE), np.float16),
            "lenses": (lens * 255).astype(np.uint8),
            "face": (face * 255).astype(np.uint8),
            "field": fields.astype(np.float16),
            "known": np.stack([(lens * 255).astype(np.uint8)] * 3),
            "glasses": glasses,
            "lights": np.array([[1.0, 0.2, 1.0], [-1.0, 0.2, 1.0]], np.float32),
            "angles": np.array([0.1 * sample, 0.0, 0.0], np.float32),
            "identity": np.array(8 if sample == 3 else 1 + sample, np.int64),
            "shape": np.array(3, np.int64),
        }
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    write_shard(folder, 0, {name: np.stack(v) for name, v in rows.items()})  # type: ignore[arg-type]
    return GuidedSet.open(folder)


@lru_cache(maxsize=1)
def strips() -> GuidedSet:
    """Stripes and blots with lenses of known power over both eyes, no renderer."""
    folder = Path(mkdtemp(prefix="lenses-"))
    height, width = STRIP.height, STRIP.width
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    eyes = np.where(x < width / 2, 115.0, width - 116.0)
    lens = ((x - eyes) ** 2 / 60**2 + (y - 85.0) ** 2 / 45**2 < 1).astype(np.float32)
    away = np.stack([x - eyes, y - 85.0], -1)
    turned = {0: away * [1, -1], 1: away[..., ::-1] * -1}
    fields = np.stack([
        -0.02 * -5 * away, -0.02 * 4 * away, -0.02 * 2 * turned[0], -0.02 * 2 * turned[1],
    ])  # fmt: skip
    rows: dict[str, list[object]] = {}
    for sample in range(5):
        plain = 0.2 + 0.1 * np.sin(x / (7 + sample)) * np.cos(y / 9)
        plain = np.repeat(plain[..., None], 3, 2)
        glasses = np.array([NEUTRAL[c.name] for c in CHARACTERISTICS], np.float32)
        glasses[INDEX["sphere"]] = -6.0 + 2 * sample
        frames = np.zeros((height, width, 4))
        frames[80:90, 160:200, 3] = 1.0
        values = {
            "plain": plain.astype(np.float16),
            "worn": plain.astype(np.float16),
            "frames": frames.astype(np.float16),
            "shade": np.ones((height, width), np.float16),
            "lenses": (lens * 255).astype(np.uint8),
            "known": np.full((height, width), 255, np.uint8),
            "field": fields.astype(np.float16),
            "glasses": glasses,
            "sky": np.full(3, 0.01, np.float32),
            "angles": np.zeros(3, np.float32),
            "identity": np.array(8 * (sample - 2) if sample > 2 else 1 + sample, np.int64),
            "shape": np.array(3, np.int64),
        }
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    write_shard(folder, 0, {name: np.stack(v) for name, v in rows.items()})  # type: ignore[arg-type]
    return GuidedSet.open(folder)


def test_a_strip_gets_lenses_of_the_power_that_is_asked_for() -> None:
    eyes = guided_lenses.Eyes.of(strips(), 0)
    clear = np.ones(3, np.float32)
    none = guided_lenses.reglazed(eyes, np.zeros(3, np.float32), passed=clear)
    clear_of_frames = eyes.frames[..., 3] == 0
    through = (strips().read("lenses", 0) > 0) & clear_of_frames
    beside = (strips().read("lenses", 0) == 0) & clear_of_frames
    np.testing.assert_allclose(none[beside], eyes.below[beside])
    np.testing.assert_allclose(none[through], eyes.below[through] + eyes.sky, rtol=2e-3)
    far = eyes.below.shape[1] / 2
    for power in (-6.0, 5.0):
        shown = guided_lenses.reglazed(eyes, np.array([power, 0, 0], np.float32), passed=clear)
        y, x = 85, 95  # 20 pixels to the left of the right lens' centre
        wanted = x + 0.02 * power * 20
        assert x < far
        at = np.interp(wanted, np.arange(eyes.below.shape[1]), eyes.below[y, :, 0])
        assert shown[y, x, 0] == pytest.approx(at + 0.01, abs=0.004)


def test_pairs_of_strips_differ_in_their_lenses_alone() -> None:
    batch = guided_lenses.draw(
        strips(), np.array([0, 1]), np.random.default_rng(1), photographs=0.0
    )
    first, second = batch.pictures.chunk(2)
    assert first.shape == (2, 3, STRIP.height, STRIP.width)
    moved = (first - second).abs().amax(1)
    assert (moved[:, :8] < 1e-6).all() and (moved > 0.01).any()
    assert not torch.equal(batch.powers[:2], batch.powers[2:])
    strong = guided_lenses.draw(
        strips(), np.array([0] * 40), np.random.default_rng(1), exaggerated=2.5
    )
    assert strong.powers[:, 0].min() < -10.1 / 8


def test_the_lens_reader_learns_resumes_and_knows_its_error(tmp_path: Path) -> None:
    chosen = EstimatorTraining(lens_iterations=2, lens_pairs=2, width=4, lens_width=4, save_every=1)
    whole, again = (guided_estimator.fresh(chosen).lenses for _ in range(2))
    guided_lenses.train_lenses(whole, strips(), tmp_path / "whole", settings=chosen)
    calls, cut = iter([False, True]), tmp_path / "cut"
    with pytest.raises(CancelledError):
        guided_lenses.train_lenses(again, strips(), cut, settings=chosen, stop=lambda: next(calls))
    guided_lenses.train_lenses(again, strips(), cut, settings=chosen)
    first, second = whole.state_dict(), again.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    calibrating, measuring = guided_lenses.halves(strips())
    assert calibrating.tolist() == [3] and measuring.tolist() == [4]
    guided_lenses.calibrate(whole, strips(), calibrating)
    found = guided_lenses.evaluate(whole, strips(), calibrating, seed=2)
    assert found["expected_mean_power"] == pytest.approx(found["mean_power"], rel=0.02, abs=1e-4)
    assert found["guessing_mean_power"] == 0.0  # one sample is its own median
    guided_lenses.calibrate(whole, strips(), np.array([3, 4]))
    by_all = whole.log_factor.clone()
    crossed = guided_lenses.cross_evaluate(whole, strips())
    assert crossed["guessing_mean_power"] == pytest.approx(1.0)  # powers of 0 and 2 dpt
    assert torch.equal(whole.log_factor, by_all)


def settings(**changes: object) -> GuidedTraining:
    plain = {"iterations": 2, "batch": 2, "width": 8, "blocks": 1, "rate": 2e-3, "half": False}
    return GuidedTraining(**{**plain, **changes})  # type: ignore[arg-type]


def test_performers_held_out_are_never_trained_on() -> None:
    training, held_out = data().split()
    identity = data().values["identity"]
    assert set(identity[training]).isdisjoint(identity[held_out])
    assert held_out.tolist() == [3]


def test_truth_is_what_its_own_parts_make_of_the_plain_picture() -> None:
    batch = draw(data(), np.array([0, 1, 2, 3] * 3), np.random.default_rng(5))
    lit = displaced(batch.plain * batch.gain, batch.displacement)
    made = batch.frames[:, :3] + (1 - batch.frames[:, 3:]) * lit
    assert torch.allclose(made, batch.changed, rtol=0.02, atol=4e-3)
    assert (batch.gain >= 0.999).all()


def test_an_inverse_field_leads_back() -> None:
    batch = collated([fixed(data(), 0, field=0, lights={})])
    there, back = batch.displacement, inverse_field(batch.displacement)
    inside = displaced(batch.known, back) * batch.known
    # Leading there from where it leads back to is no way at all.
    left = (back + displaced(there, back)).norm(dim=1, keepdim=True)
    middle = torch.nn.functional.avg_pool2d(inside, 5, 1, 2) > 0.99
    assert left[middle].max() < 0.02
    assert back.norm(dim=1).max() > 0.5


def test_mirrored_samples_bend_light_as_their_vectors_say() -> None:
    seen = {True: 0, False: 0}
    for seed in range(6):
        batch = draw(data(), np.array([0]), np.random.default_rng(seed))
        if float(lenses(batch.vector).power.norm()) == 0:
            continue
        prior = thin(guided.fresh(settings()).pair.add, batch.vector)
        inside = batch.known > 0
        agree = (prior * batch.displacement).sum(1, keepdim=True)[inside]
        assert (agree >= -1e-3).float().mean() > 0.99
        seen[bool(batch.face[0, 0, :, :64].sum() > 0)] += 1
    assert sum(seen.values()) >= 3


@pytest.mark.parametrize("supervised", [1.0, 0.0])
def test_every_weight_of_the_generators_learns_with_and_without_truth(supervised: float) -> None:
    chosen = settings(supervised=supervised, batch=4)
    nets = guided.fresh(chosen)
    training, _ = data().split()
    torch.manual_seed(0)
    for _ in range(3):
        losses = guided.step(nets, data(), training, 1, chosen, torch.device("cpu"))
    assert {"again", "fooled", "judged"} <= set(losses)
    assert ("moved" in losses) == (supervised > 0)
    for part in ("pair.add.encoder", "pair.add.decoder", "pair.remove.decoder", "judge.", "judge_"):
        gradients = [
            p.grad for n, p in nets.named_parameters() if n.startswith(part) and p.grad is not None
        ]
        assert gradients, part
        assert any(float(g.abs().max()) > 0 for g in gradients), part


def test_a_few_steps_lower_the_loss() -> None:
    chosen = settings(supervised=1.0, reconstruction=0.0, adversarial=0.0, batch=4)
    nets = guided.fresh(chosen)
    optimiser = torch.optim.AdamW(nets.parameters(), lr=3e-3)
    sums = []
    for _ in range(12):
        optimiser.zero_grad()
        losses = guided.step(nets, data(), np.arange(3), 7, chosen, torch.device("cpu"))
        torch.nn.utils.clip_grad_norm_(nets.parameters(), 5.0)
        optimiser.step()
        sums.append(losses["moved"] + 8 * losses["lit"])
    assert sums[-1] < 0.8 * sums[0]


def test_a_stopped_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    chosen = settings(supervised=1.0, iterations=3, mirror_every=2, save_every=1)
    whole = guided.run(data(), tmp_path / "whole", settings=chosen).state_dict()
    calls = iter([False, False, True])
    with pytest.raises(CancelledError):
        guided.run(data(), tmp_path / "cut", settings=chosen, stop=lambda: next(calls))
    again = guided.run(data(), tmp_path / "cut", settings=chosen).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert (tmp_path / "whole" / "preview.png").stat().st_size > 1000
    with pytest.raises(JobError, match="other settings"):
        guided.run(data(), tmp_path / "cut", settings=chosen.model_copy(update={"supervised": 0.5}))


def test_measures_know_nothing_from_truth() -> None:
    pair = guided.fresh(settings()).pair.eval()
    rows = displacement_rows(pair, data(), np.array([3]))
    assert {round(row.power) for row in rows} == {-6, 4}
    # 0.022 of the distance a dioptre, at most 0.1 crop widths: some pixels at 512.
    assert 2 < summary(rows, "added_nothing") < 8
    assert summary(rows, "added_thin") < 0.5 * summary(rows, "added_nothing")
    lit = light_rows(pair, data(), np.array([3]))
    assert summary(lit, "relit_nothing") > 0.1
    assert np.isnan(summary(lit, "relit", chosen=lambda z: z < 0))
    trip = round_trip(pair, data(), np.array([3]))
    assert trip["round_trip"] > 15
    assert 0 <= frames_iou(pair, data(), np.array([3])) <= 1


def test_a_change_of_degree_zero_gives_the_picture_back() -> None:
    pair = guided.fresh(settings()).pair.eval()
    crop = color.to_net(torch.from_numpy(data().read("plain", 0).astype(np.float32)))
    crop = crop.permute(2, 0, 1)[None]
    shown = applied(crop, pair.add(crop, vectors([{}]), torch.ones(1)))
    assert (shown - crop).abs().max() < 1e-5


def test_the_estimator_learns_and_resumes(tmp_path: Path) -> None:
    chosen = EstimatorTraining(iterations=2, batch=2, width=4, save_every=1)
    whole, again = guided_estimator.fresh(chosen), guided_estimator.fresh(chosen)
    before = guided_estimator.fresh(chosen).state_dict()
    guided_estimator.train_face(whole, data(), tmp_path / "whole", settings=chosen)
    calls, cut = iter([False, True]), tmp_path / "cut"
    with pytest.raises(CancelledError):
        guided_estimator.train_face(again, data(), cut, settings=chosen, stop=lambda: next(calls))
    guided_estimator.train_face(again, data(), cut, settings=chosen)
    trained, resumed = whole.state_dict(), again.state_dict()
    assert all(torch.equal(trained[name], resumed[name]) for name in trained)
    kept = {name for name in before if torch.equal(before[name], trained[name])}
    assert {name for name in before if name.startswith("lenses.")} <= kept
    assert not {"read.weight", "area.weight"} & kept


def test_other_lenses_in_the_same_frames_have_another_power() -> None:
    rng = np.random.default_rng(0)
    seen = [
        guided_estimator.dressed(data(), 0, rng, worn=True, reglazed=1.0).crop for _ in range(2)
    ]
    assert not np.array_equal(seen[0], seen[1])
    dioptres = np.array([guided_lenses.random_power(rng) for _ in range(200)])
    assert dioptres[:, 0].min() < -6 and dioptres[:, 0].max() > 4
    assert dioptres[:, 0].min() >= -10 and dioptres[:, 0].max() <= 6
    assert 0.05 < (dioptres == 0).all(1).mean() < 0.3


def test_the_command_trains_measures_and_writes_both_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, drawn in (("pictures", data()), ("lenses", strips())):
        (tmp_path / "work" / folder).mkdir(parents=True)
        for shard in range(3 if folder == "lenses" else 1):
            file = tmp_path / "work" / folder / f"guided-{shard:04d}.safetensors"
            shutil.copy(drawn.files[0], file)
    few = ("--shards", "1", "--batch", "2", "--iterations", "1", "--progress", "plain")
    for which, more in (
        ("guided", ("--width", "4", "--blocks", "1", "--supervised", "1")),
        (
            "guided-estimator",
            ("--width", "4", "--lens-width", "4", "--lens-iterations", "1", "--lens-pairs", "2"),
        ),
    ):
        out = tmp_path / f"{which}-tried"
        with pytest.raises(SystemExit) as done:
            main(["train", which, "--out", str(out), "--work", str(tmp_path / "work"), *few, *more])
        assert done.value.code == 0, capsys.readouterr()
        card = read_card(out)
        assert load_net(card, out, device="cpu") is not None
        assert card.metrics and card.synthetic
    with pytest.raises(SystemExit) as refused:
        main(["train", "guided", "--iterations", "0"])
    assert refused.value.code == 2


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no pictures"):
        GuidedSet.open(tmp_path)
    (tmp_path / "guided-0000.safetensors").write_bytes(b"nothing")
    with pytest.raises(JobError, match="not a shard"):
        GuidedSet.open(tmp_path)
