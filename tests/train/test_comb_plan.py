"""Plans of trainings: their memory is what a profiler sees; the bench of training has its rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from vfxswap.bench_train import bench_train
from vfxswap.nets.comb import Comb
from vfxswap.train.comb_plan import _loss, comb_settings, kept_bytes, lines, plan
from vfxswap.train.schedule import CombTraining

PERSONAS = ("amber", "basalt")


def allocated(training: CombTraining, recompute_from: int, folder: Path) -> int:
    """Bytes that a forward pass leaves allocated, by the profiler's book of allocations."""
    settings = comb_settings(training, PERSONAS, training.level)
    comb = Comb(settings)
    comb.recompute_from = recompute_from
    x = torch.rand(training.batch, 3, settings.crop_px, settings.crop_px)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        loss = _loss(comb, settings, training, x)
    trace = folder / "trace.json"
    seen.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    sizes = [e["args"]["Bytes"] for e in events if e.get("name") == "[memory]"]
    assert loss.requires_grad
    return sum(sizes)


@pytest.mark.parametrize("half", [False, True])
def test_reckoned_memory_is_what_the_profiler_sees(tmp_path: Path, half: bool) -> None:
    training = CombTraining(level=4, width=0.125, batch=4, half=half, pixel_weight=1.0)
    settings = comb_settings(training, PERSONAS, 4)
    parameters, kept = kept_bytes(training, settings, recompute_from=9)
    assert parameters == sum(p.numel() for p in Comb(settings).parameters())
    assert kept == pytest.approx(allocated(training, 9, tmp_path), rel=0.15)


def test_recomputing_saves_most_of_the_memory_of_high_levels() -> None:
    training = CombTraining(level=6, width=0.25, batch=4)
    settings = comb_settings(training, PERSONAS, 6)
    _, kept = kept_bytes(training, settings, recompute_from=9)
    _, high = kept_bytes(training, settings, recompute_from=5)
    _, least = kept_bytes(training, settings, recompute_from=0)
    assert least <= high < kept
    assert least < 0.75 * kept


def test_paired_training_holds_the_graphs_of_all_personas() -> None:
    training = CombTraining(level=3, width=0.05, batch=2)
    settings = comb_settings(training, PERSONAS, 3)
    paired = training.model_copy(update={"paired": True})
    assert kept_bytes(paired, settings, recompute_from=9)[1] == pytest.approx(
        2 * kept_bytes(training, settings, recompute_from=9)[1]
    )


@pytest.mark.slow
def test_the_published_comb_fits_24_gib_at_every_level() -> None:
    training = CombTraining(level=8, batch=8)
    for level in plan(training, PERSONAS, timed=False):
        assert level.total_bytes < 20 * 2**30
        assert level.least_bytes < level.total_bytes


def test_a_plan_has_every_level_and_all_iterations() -> None:
    training = CombTraining(level=2, width=0.02, batch=2, iterations=(5, 6, 7), final_iterations=3)
    levels = plan(training, PERSONAS)
    assert [level.iterations for level in levels] == [5, 6, 10]
    assert all(level.seconds_an_iteration > 0 for level in levels)
    assert levels[0].timed
    said = lines(levels)
    assert len(said) == 5
    assert "in all" in said[-1]


def test_the_bench_of_training_compares_with_the_plain_loop() -> None:
    machine, row = bench_train(levels=(2,), width=0.05, batch=2, repeats=1)
    assert machine["name"] == "machine"
    assert row["settings"]["batch"] == 2
    assert row["value"] == pytest.approx(
        row["settings"]["seconds of the plain loop"] / row["settings"]["seconds an iteration"],
        rel=0.1,
    )
