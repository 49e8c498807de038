"""The guided models that ship: what their cards state, and that they keep to it."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

import numpy as np
import pytest
import torch

from vfxswap import color
from vfxswap.align.pose import LandmarkFinder
from vfxswap.bench_guided import installed
from vfxswap.bench_guided_estimates import estimate, portraits, variants, with_face
from vfxswap.characteristics import towards
from vfxswap.effects.base import LoadedNet
from vfxswap.io.weights import WEIGHTS_FILE, load_net, read_card
from vfxswap.nets.guided import GuidedPair, applied
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.nets.guided_lenses import LensReader
from vfxswap.nets.guided_vector import vectors
from vfxswap.persona import ModelCard
from vfxswap.render.models import model_of_stage
from vfxswap.synth.guided_pictures import sample
from vfxswap.synth.identity import Identity
from vfxswap.synth.lens_pictures import lens_sample
from vfxswap.train.guided_batch import Batch, collated, fixed
from vfxswap.train.guided_data import GuidedSet, write_shard
from vfxswap.train.guided_lenses import Eyes, reglazed

MODELS = Path(__file__).parents[2] / "models"
MOST_BYTES = 5_000_000


def card(name: str) -> ModelCard:
    return read_card(MODELS / name)


@lru_cache(maxsize=1)
def pair() -> GuidedPair:
    net = load_net(card("guided-synthetic"), MODELS / "guided-synthetic", device="cpu")
    assert isinstance(net, GuidedPair)
    return net


@lru_cache(maxsize=1)
def scenes() -> tuple[Path, GuidedSet]:
    """Two performers that no recipe trains on."""
    folder = Path(mkdtemp(prefix="guided-"))
    rows = [
        sample(Identity.from_seed(600 + k, texture_rows=128), np.random.default_rng([6, k]))
        for k in range(2)
    ]
    write_shard(folder, 0, {name: np.stack([row[name] for row in rows]) for name in rows[0]})
    return folder, GuidedSet.open(folder)


def batch(field: int, lights: dict[int, float]) -> Batch:
    _, data = scenes()
    return collated([fixed(data, i, field=field, lights=lights) for i in range(len(data))])


def test_both_models_fit_their_budget_and_name_their_terms() -> None:
    names = ("guided-synthetic", "guided-estimator-synthetic")
    total = sum((MODELS / name / WEIGHTS_FILE).stat().st_size for name in names)
    assert total <= MOST_BYTES
    for name in names:
        assert card(name).synthetic and card(name).licence == "Apache-2.0"
        assert card(name).recipe.startswith("vfxswap train guided")
    assert "supervised" in " ".join(card("guided-synthetic").negative_results)


def test_the_card_states_errors_below_those_of_doing_nothing() -> None:
    metrics = {name: metric.value for name, metric in card("guided-synthetic").metrics.items()}
    for name, nothing in (
        ("added", "added_nothing"),
        ("added_per_dpt", "added_nothing_per_dpt"),
        ("removed", "removed_nothing"),
        ("relit", "relit_nothing"),
    ):
        assert metrics[name] < metrics[nothing], name
    assert metrics["round_trip"] > metrics["round_trip_nothing"]
    seen = {n: m.value for n, m in card("guided-estimator-synthetic").metrics.items()}
    assert seen["accuracy"] > 0.9 and seen["false_glasses"] < 0.05


def test_on_a_new_performer_lenses_are_nearer_to_truth_than_no_lenses() -> None:
    errors = []
    for field in range(3):
        b = batch(field, {})
        found = pair().add(color.to_net(b.plain), b.vector, torch.ones(1))
        inside = b.known * (b.lenses > 0.5)
        errors.append(
            [
                float((x.norm(dim=1, keepdim=True) * inside).sum() / inside.sum())
                for x in (found.displacement - b.displacement, b.displacement)
            ]
        )
    network, nothing = np.mean(errors, 0)
    assert network < 0.85 * nothing


def test_on_a_new_performer_light_is_nearer_to_truth_than_no_light() -> None:
    b = batch(-1, {0: 1.2})
    guided = pair().add(color.to_net(b.plain), b.vector, torch.ones(1))
    lit = color.to_net(b.plain * guided.gain + guided.offset)
    truth = color.to_net(b.plain * b.gain)
    network, nothing = (
        float(((x - truth).abs().mean(1, keepdim=True) * b.face).sum())
        for x in (lit, color.to_net(b.plain))
    )
    assert network < 0.8 * nothing


@pytest.mark.parametrize("inverse", [False, True])
def test_a_degree_of_zero_gives_the_input_back_and_more_degree_changes_more(inverse: bool) -> None:
    b = batch(0, {})
    crop = color.to_net(b.plain)
    net = pair().remove if inverse else pair().add
    change = {"sphere": -6.0, "light1_intensity": 1.0, "light1_x": 1.0, "frames": 1.0}
    off = []
    for step in range(21):
        vector = vectors([towards(change, step / 20)] * len(crop))
        shown = applied(crop, net(crop, vector, torch.ones(1)), inverse=inverse)
        off.append(float((shown - crop).square().mean()))
    assert -10 * np.log10(off[0] + 1e-20) > 100
    assert all(b >= a for a, b in pairwise(off))


def estimator() -> LoadedNet:
    found = installed("guided_estimator", GuidedEstimator, torch.device("cpu"))
    assert found is not None and found.card.primaries
    return found


def test_glasses_are_seen_where_they_are_and_not_where_none_are() -> None:
    net = estimator().net
    rows = [
        sample(
            Identity.from_seed(600 + k, texture_rows=256), np.random.default_rng([6, k]), size=512
        )
        for k in range(2)
    ]
    crops = {
        name: color.to_net(torch.from_numpy(np.stack([row[name] for row in rows])).float())
        for name in ("plain", "worn")
    }
    without, worn = (net(crops[name].permute(0, 3, 1, 2)) for name in ("plain", "worn"))
    assert (without.worn < 0.5).all() and (worn.worn > 0.5).all()
    seen = torch.from_numpy(np.stack([row["lenses"] for row in rows])).float()[:, None] / 255
    lenses = torch.nn.functional.avg_pool2d(seen, 4) > 0.5
    overlap = ((worn.area > 0.5) & lenses).sum() / ((worn.area > 0.5) | lenses).sum()
    assert overlap > 0.5


def test_the_card_states_a_prescription_that_beats_guessing_and_how_sure_it_is() -> None:
    stated = {n: m.value for n, m in card("guided-estimator-synthetic").metrics.items()}
    assert stated["mean_power"] < 0.8 * stated["guessing_mean_power"]
    assert stated["mean_power_surer_half"] < stated["mean_power"] < stated["mean_power_each"]
    assert stated["confidence"] == pytest.approx(stated["right_to_1_dpt"], abs=0.1)
    assert stated["expected_mean_power"] == pytest.approx(stated["mean_power"], rel=0.25)


def test_stronger_lenses_are_read_as_stronger_on_new_performers() -> None:
    reader = estimator().net.lenses
    assert isinstance(reader, LensReader)
    folder, said, truth = Path(mkdtemp(prefix="lenses-")), [], []
    rows = [
        lens_sample(Identity.from_seed(700 + k, texture_rows=256), np.random.default_rng([7, k]))
        for k in range(3)
    ]
    write_shard(folder, 0, {name: np.stack([row[name] for row in rows]) for name in rows[0]})
    data = GuidedSet.open(folder)
    for k in range(len(data)):
        for power in (-7.0, -2.0, 3.0):
            wanted = np.array([power, 0, 0], np.float32)
            strip = reglazed(Eyes.of(data, k), wanted, passed=np.full(3, 0.92, np.float32))
            crop = color.to_net(torch.from_numpy(strip).permute(2, 0, 1)[None])
            said.append(8 * float(reader(crop).values[0, 0]))
            truth.append(power)
    powers = np.array(said).reshape(-1, 3)
    assert (powers[:, 2] > powers[:, 0]).all()
    assert np.corrcoef(said, truth)[0, 1] > 0.6


@pytest.mark.parametrize("name", ["as it is", "mirrored", "dark", "256 rows"])
def test_no_glasses_are_seen_on_the_portraits_that_dependencies_ship(name: str) -> None:
    assert_bare(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bright", "soft", "grey", "turned by -15 deg", "turned by 15 deg", "grainy"]
)
def test_no_glasses_are_seen_on_altered_portraits(name: str) -> None:
    assert_bare(name)


def assert_bare(variant: str) -> None:
    place = torch.device("cpu")
    stored = model_of_stage("landmarks")
    finder = cast(LandmarkFinder, load_net(stored.card, stored.folder, device=place))
    assert portraits()
    with torch.inference_mode():
        for portrait in portraits().values():
            frame = with_face(dict(variants(portrait))[variant], finder, place)
            assert frame is not None
            assert estimate(estimator(), frame, place).worn < 0.05
