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
from vfxswap.nets.guided_vector import INDEX, lenses, vectors
from vfxswap.train import guided, guided_estimator
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
    whole = guided_estimator.run(data(), tmp_path / "whole", settings=chosen).state_dict()
    calls = iter([False, True])
    with pytest.raises(CancelledError):
        guided_estimator.run(data(), tmp_path / "cut", settings=chosen, stop=lambda: next(calls))
    again = guided_estimator.run(data(), tmp_path / "cut", settings=chosen).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_other_lenses_in_the_same_frames_have_another_power() -> None:
    rng = np.random.default_rng(0)
    seen = [
        guided_estimator.dressed(data(), 0, rng, worn=True, reglazed=1.0).values[0] * 8
        for _ in range(12)
    ]
    assert max(seen) > 1 and min(seen) < -1
    assert all(-10 <= power <= 8 for power in seen)


def test_the_command_trains_measures_and_writes_both_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "work" / "pictures"
    pictures.mkdir(parents=True)
    shutil.copy(data().files[0], pictures)
    few = ("--shards", "1", "--batch", "2", "--iterations", "1", "--progress", "plain")
    for which, more in (
        ("guided", ("--width", "4", "--blocks", "1", "--supervised", "1")),
        ("guided-estimator", ("--width", "4")),
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
