"""The comb that comes with vfxswap, against truth rendered on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfxswap.io.weights import find_model
from vfxswap.synth.comb_bench import bench_swap, metrics
from vfxswap.train.evaluate import BASELINES


def test_shipped_comb_beats_every_baseline_by_6_db(tmp_path: Path) -> None:
    report = bench_swap(
        "comb-starter",
        work=tmp_path,
        frames=16,
        expression_frames=2,
        shot_frames=2,
        seed=4242,
        processes=0,
    ).swap
    assert report.margin_db >= 6.0
    assert all(report.ssim["swap"] > report.ssim[b] for b in BASELINES)
    assert report.flip["swap"] < report.flip["mean_face_matched"] < report.flip["unswapped"]


@pytest.mark.slow
def test_shipped_comb_gives_the_numbers_on_its_card(tmp_path: Path) -> None:
    card = find_model("comb-starter").card
    found = metrics(bench_swap("comb-starter", work=tmp_path), "")
    # A card may state some of what is measured, and on fewer frames.
    same = {n for n, m in found.items() if n in card.metrics and card.metrics[n].note == m.note}
    assert "psnr_swap" in same
    for name in same:
        slack = 0.1 if found[name].unit == "dB" else 0.03
        assert found[name].value == pytest.approx(card.metrics[name].value, abs=slack), name


def test_shipped_comb_is_small_free_and_synthetic() -> None:
    stored = find_model("comb-starter")
    assert (stored.folder / "weights.safetensors").stat().st_size < 12_000_000
    assert stored.card.licence == "Apache-2.0"
    assert stored.card.synthetic
    assert [p.id for p in stored.card.personas] == ["amber", "basalt", "cedar"]
    assert all(p.net_mean is not None for p in stored.card.personas)
    assert stored.card.crop_size is not None
    assert stored.card.crop_size >= 64
