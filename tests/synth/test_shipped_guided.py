"""The guided models that ship: what their cards state, and that they keep to it."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from vfxswap import color
from vfxswap.characteristics import towards
from vfxswap.io.weights import WEIGHTS_FILE, load_net, read_card
from vfxswap.nets.guided import GuidedPair, applied
from vfxswap.nets.guided_estimator import GuidedEstimator
from vfxswap.nets.guided_vector import vectors
from vfxswap.persona import ModelCard
from vfxswap.synth.guided_pictures import sample
from vfxswap.synth.identity import Identity
from vfxswap.train.guided_batch import Batch, collated, fixed
from vfxswap.train.guided_data import GuidedSet, write_shard

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
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="guided-"))
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
    assert seen["accuracy"] > 0.9


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


def test_glasses_are_seen_where_they_are_and_not_where_none_are() -> None:
    net = load_net(
        card("guided-estimator-synthetic"), MODELS / "guided-estimator-synthetic", device="cpu"
    )
    assert isinstance(net, GuidedEstimator)
    b = batch(0, {})
    without, worn = net(color.to_net(b.plain)), net(color.to_net(b.worn))
    assert (without.worn < 0.5).all() and (worn.worn > 0.5).all()
    lenses = b.lenses > 0.5
    overlap = ((worn.area > 0.5) & lenses).sum() / ((worn.area > 0.5) | lenses).sum()
    assert overlap > 0.5
