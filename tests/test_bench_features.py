"""Facts about the bench of feature transfer, over a few tiny pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from feature_world import FEATURES, MODEL, tiny_net, write_model

pytest.importorskip("anny")
pytest.importorskip("warp")

from vfxswap import bench_features
from vfxswap.bench_features import precision, table
from vfxswap.synth.feature_gallery import GallerySettings, PairSettings, gallery, pairs, relevant

PAIRS = PairSettings(pairs=1, size_px=64, texture_rows=96)
GALLERY = GallerySettings(count=42, size_px=32, texture_rows=96)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    pairs(folder, PAIRS)
    gallery(folder, GALLERY)
    return folder


def test_every_way_is_measured_for_every_feature(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFXSWAP_MODELS", str(write_model(tmp_path / "models")))
    sheet = tmp_path / "sheet.png"
    report = bench_features.run(
        MODEL, work=work, pair_settings=PAIRS, gallery_settings=GALLERY, temperature=1, sheet=sheet
    )
    measured = report["transfer"]
    assert set(measured) == {"eyes", "nose", "mouth", "ears", "skin", "hair"} <= set(FEATURES)
    for row in measured.values():
        assert row["untouched"] > 0
        for way in ("method", "averaged", "pasted"):
            assert all(
                np.isfinite(row[way][name]) for name in ("error", "change", "leaked", "spilt")
            )
        assert row["method"]["spilt"] != row["averaged"]["spilt"]
        # The two are compared where they change the feature alike; none leaks less than itself.
        steps = [row[way]["step"] for way in bench_features.RIVALS]
        assert min(steps) > 0.95 * max(steps)
        assert max(row[way]["amount"] for way in bench_features.RIVALS) == 1
        assert row["pasted"]["amount"] == 1
        assert row["averaged"]["leaks_less"] == row["averaged"]["spills_less"] == 0.5
    assert set(report["retrieval"]) == {*measured, "pose"}
    assert report["machine"]["settings"]["torch"] == torch.__version__
    assert report["settings"]["pairs"]["pairs"] == 1
    (_, columns, rows), (_, _, searches) = table(report)
    assert len(rows) == len(measured) and len(columns) == len(rows[0])
    assert len(searches) == len(report["retrieval"])
    picture = cv2.imread(str(sheet))
    assert picture is not None and picture.shape[0] > 6 * bench_features.CELL_PX


def test_pasting_a_picture_over_itself_changes_nothing(work: Path) -> None:
    truths = pairs(work, PAIRS)
    plate = bench_features._frame(truths["plate"][0], truths["plate_points"][0])
    bench = bench_features._Bench(tiny_net(), None, torch.ones(1, len(FEATURES), 1), 1.0)
    wish = bench._wish("skin", 1.0, pasted=True).model_copy(update={"occluders": 0.0, "hair": 0.0})
    with torch.inference_mode():
        result = bench._effects(plate)["pasted"](plate, wish, {})
    assert result.matte.any()
    np.testing.assert_allclose(result.rgb, plate.rgb, rtol=1e-4, atol=1e-5)


def test_a_fitted_model_is_searched_by_what_lasts_too(work: Path) -> None:
    net, shown = tiny_net(), gallery(work, GALLERY)
    with torch.inference_mode():
        faces = bench_features.gallery_faces(net, shown)
        bare = bench_features.retrieval(net, faces, shown, temperature=1)
        net.put_lasting(torch.zeros(20), torch.eye(20)[:6], torch.eye(20)[:, :6])
        found = bench_features.retrieval(net, faces, shown, temperature=1)
    for feature, row in found.items():
        assert set(row) - set(bare[feature]) == {"lasting", "whole_lasting"}
        assert all(row[way] == share for way, share in bare[feature].items())
    assert found["pose"]["lasting"] == found["pose"]["normalised"]
    assert any(row["lasting"] != row["normalised"] for row in found.values())


def test_a_stopped_gallery_goes_on_and_is_the_same(tmp_path: Path, work: Path) -> None:
    settings = GALLERY.model_copy(update={"count": 2})
    one, two = gallery(tmp_path, settings), gallery(tmp_path, settings)
    assert set(one) == set(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    whole = gallery(work, GALLERY)
    np.testing.assert_array_equal(whole["pictures"][:2], one["pictures"])


def test_precision_is_one_for_truth_and_chance_for_noise() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 4))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1).astype(np.float32)
    wanted = relevant(distances, 0.05)
    assert (wanted.sum(1) == 15).all() and not wanted.diagonal().any()
    order = bench_features._order(torch.from_numpy(distances))
    assert precision(order, wanted) == 1.0
    shuffled = np.stack([rng.permutation(np.delete(np.arange(300), k)) for k in range(300)])
    assert precision(shuffled, wanted) == pytest.approx(15 / 299, abs=0.015)
