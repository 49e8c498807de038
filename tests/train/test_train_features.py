from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vfxswap.errors import CancelledError, JobError, ModelError
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.feature_refine import refined
from vfxswap.nets.features import FeatureNet, FeatureSettings
from vfxswap.train.features import (
    FeatureTraining,
    part_weights,
    run,
    target_of,
    unseen_energy,
    wrong_energy,
)
from vfxswap.train.features_card import export, feature_names, rename_feature
from vfxswap.train.features_clusters import (
    agreement,
    fit_clusters,
    names_by_overlap,
    overlap,
    spherical_kmeans,
)
from vfxswap.train.features_data import PartCrops, shard_file, write_description, write_shard
from vfxswap.train.features_edits import NAMES, Edits, EditSet, mirrored
from vfxswap.train.features_measure import measured, transfers_measured
from vfxswap.train.steps import Progress

SIZE, MARGIN = 16, 2
PARTS = ("background", "disc", "bar")
TINY = FeatureSettings(
    crop_size=SIZE, width=8, widest=16, widest_encoder=16, code=16, pose_code=4, clusters=6
)


def picture(seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc with a bar across it, each of its own brightness, before noise; and its labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    labels = (np.hypot(x, y) < rng.uniform(5, 7)).astype(np.uint8)
    labels[(np.abs(y - rng.uniform(-2, 2)) < 1.5) & (labels == 1)] = 2
    levels = np.array([0.2, rng.uniform(0.35, 0.5), rng.uniform(0.55, 0.7)])
    pixels = np.repeat(levels[labels][None], 3, 0)
    pixels[:, labels == 0] = rng.uniform(0, 0.8, 3)[:, None]
    return pixels.astype(np.float16), labels


def crops_in(folder: Path, count: int = 48) -> PartCrops:
    write_description(folder, crop_size=SIZE, margin_px=MARGIN, parts=PARTS, text="discs")
    shown = [picture(k // 2, SIZE + 2 * MARGIN) for k in range(count)]
    write_shard(
        shard_file(folder, 0),
        pixels=np.stack([p for p, _ in shown]),
        labels=np.stack([labels for _, labels in shown]),
        matte=np.stack([(labels > 0).astype(np.uint8) * 255 for _, labels in shown]),
        identity=np.arange(count, dtype=np.int64) // 2,
    )
    return PartCrops.open(folder)


def edit_set(count: int = 24) -> EditSet:
    """Sources that get the reference's bar: brightness and place."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for k in range(count):
        (source, labels), (reference, theirs) = picture(k, SIZE), picture(k + 100, SIZE)
        truth, truth_labels = source.copy(), labels.copy()
        disc = labels > 0
        truth[:, disc] = source[:, labels == 1][:, :1]
        truth_labels[disc] = 1
        moved = (theirs == 2) & disc
        truth[:, moved] = reference[:, theirs == 2][:, :1]
        truth_labels[moved] = 2
        values = {
            "source": source, "truth": truth, "reference": reference,
            "matte": disc.astype(np.uint8) * 255,
            "reference_matte": (theirs > 0).astype(np.uint8) * 255,
            "labels": labels, "truth_labels": truth_labels, "reference_labels": theirs,
            "feature": np.array(2), "region": ((labels == 2) | moved).astype(np.uint8),
            "identity": np.array(k),
        }  # fmt: skip
        for name in NAMES:
            rows[name].append(values[name])
    return EditSet(PARTS, {n: torch.from_numpy(np.stack(v)) for n, v in rows.items()})


def weights_of(net: FeatureNet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_crops_are_moved_by_whole_pixels_and_normalised_by_the_object(tmp_path: Path) -> None:
    data = crops_in(tmp_path, 4)
    still = data.centred(np.array([0, 1]))
    inside = still.matte.expand(-1, 3, -1, -1) > 0
    assert still.crops[inside].mean().item() == pytest.approx(0.5, abs=1e-3)
    rng = np.random.default_rng(3)
    moved = data.moved(np.array([0]), rng, reach_px=MARGIN, mirror=False)
    rows = range(2 * MARGIN + 1)
    windows = [data.labels[0, y : y + SIZE, x : x + SIZE].long() for y in rows for x in rows]
    assert any(torch.equal(moved.labels[0], window) for window in windows)
    target = target_of(still)
    assert bool((target[(still.labels == 0)[:, None].expand(-1, 3, -1, -1)] == 0.5).all())


def test_no_identity_is_trained_on_and_held_out(tmp_path: Path) -> None:
    data = crops_in(tmp_path)
    training, held_out = data.split()
    assert len(training) + len(held_out) == len(data)
    assert not set(data.identity[training]) & set(data.identity[held_out])


def test_small_parts_count_more_and_places_one_on_average(tmp_path: Path) -> None:
    data = crops_in(tmp_path)
    indices = np.arange(len(data))
    weights = part_weights(data, indices)
    shares = torch.bincount(data.labels.flatten().int(), minlength=3) / data.labels.numel()
    assert weights[shares.argmin()] == weights.max()
    assert (weights * shares).sum().item() == pytest.approx(1.0, rel=1e-4)


def test_training_lowers_the_loss_and_a_stopped_one_resumes_exactly(tmp_path: Path) -> None:
    data, edits = crops_in(tmp_path / "data"), edit_set()
    training = FeatureTraining(
        iterations=30, crops=6, edit_pairs=3, edits=0.5, seeing=0.2, critic=0.02, critic_width=4,
        r1_every=4, save_every=10, rate=4e-3,
    )  # fmt: skip
    seen: list[Progress] = []
    whole = run(
        data, tmp_path / "whole", training=training, shape=TINY, edits=edits, progress=seen.append
    )
    before = measured(FeatureNet(TINY).eval(), data, data.split()[1])["psnr"]
    assert measured(whole, data, data.split()[1])["psnr"] > before + 1.5
    assert seen[-1].iteration == 30 and seen[0].eta_s > 0
    assert {"pixels", "structure", "parts", "edits", "seeing", "critic", "judging"} <= set(
        seen[0].losses
    )
    assert (tmp_path / "whole" / "preview.png").stat().st_size > 0

    asked = 0

    def after_thirteen() -> bool:
        nonlocal asked
        asked += 1
        return asked > 13

    folder = tmp_path / "stopped"
    with pytest.raises(CancelledError):
        run(data, folder, training=training, shape=TINY, edits=edits, stop=after_thirteen)
    resumed = run(data, folder, training=training, shape=TINY, edits=edits)
    for name, value in weights_of(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_what_is_fitted_after_a_training_is_no_setting_of_its_checkpoints(tmp_path: Path) -> None:
    data, training = crops_in(tmp_path / "data"), FeatureTraining(iterations=1, crops=2)
    run(data, tmp_path / "work", training=training, shape=TINY)
    (state,) = (tmp_path / "work").glob("checkpoint-*/state.json")
    shape = json.loads(state.read_text())["settings"]["shape"]
    assert "lasting" in type(TINY).model_fields and "lasting" not in shape
    assert shape["code"] == TINY.code


def test_a_later_stage_begins_where_the_one_before_ended(tmp_path: Path) -> None:
    data = crops_in(tmp_path / "data")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first = FeatureNet(TINY)
    training = FeatureTraining(iterations=1, crops=2, rate=1e-9)
    net = run(data, tmp_path / "next", training=training, shape=TINY, start=first)
    for name, value in first.named_parameters():
        torch.testing.assert_close(net.get_parameter(name), value, atol=1e-5, rtol=0)


def test_training_refuses_crops_of_another_size_and_missing_transfers(tmp_path: Path) -> None:
    data = crops_in(tmp_path / "data")
    large = TINY.model_copy(update={"crop_size": 32})
    with pytest.raises(JobError, match="another size"):
        run(data, tmp_path / "a", training=FeatureTraining(iterations=1), shape=large)
    with pytest.raises(JobError, match="no transfers"):
        run(data, tmp_path / "b", training=FeatureTraining(iterations=1, edits=1.0), shape=TINY)
    with pytest.raises(JobError, match="no transfers"):
        run(data, tmp_path / "b", training=FeatureTraining(iterations=1, seeing=1.0), shape=TINY)
    with pytest.raises(JobError, match="no crops"):
        write_description(
            tmp_path / "none", crop_size=SIZE, margin_px=0, parts=PARTS, text="nothing"
        )
        PartCrops.open(tmp_path / "none")


def test_transfers_change_nothing_outside_their_region() -> None:
    edits = edit_set().batch(np.arange(24))
    assert isinstance(edits, Edits)
    assert float((edits.change * (1 - edits.region)).abs().max()) == 0.0
    assert float(edits.change.abs().max()) > 0.1
    torch.testing.assert_close(edits.target + edits.change, edits.truth, atol=1e-3, rtol=0)
    whole = (edits.memberships[48:].argmax(1) > 0)[:, None]
    assert torch.equal(torch.where(whole, edits.changed, 0.5), edits.truth)
    assert torch.equal(edits.memberships.sum(1), torch.ones(72, SIZE, SIZE))


def test_a_mirrored_transfer_is_mirrored_in_all_of_its_pictures() -> None:
    batch = edit_set().batch(np.arange(3))
    turned = mirrored(batch, torch.tensor([False, True, False]))
    for name, value in batch._asdict().items():
        theirs = getattr(turned, name)
        if name == "feature":
            assert torch.equal(theirs, value)
            continue
        assert torch.equal(theirs[1::3], value[1::3].flip(-1))
        assert torch.equal(theirs[0::3], value[0::3]) and torch.equal(theirs[2::3], value[2::3])


def test_what_transfers_do_wrong_is_a_share_of_what_they_should_do() -> None:
    region = torch.zeros(2, 1, 8, 8)
    region[..., 2:6, 2:6] = 1
    wanted = torch.tensor([0.5, 0.1])[:, None, None, None] * region.expand(-1, 3, -1, -1)
    nothing, truth = torch.zeros_like(wanted), wanted
    assert torch.equal(wrong_energy(truth, wanted, region), torch.zeros(2))
    assert wrong_energy(nothing, wanted, region).tolist() == pytest.approx([1, 1], abs=0.05)
    spilt = wrong_energy(truth + 0.1 * (1 - region), wanted, region)
    assert spilt[1] > 10 * spilt[0] > 0
    assert float(wrong_energy(nothing, 0.001 * wanted, region).max()) < 0.01


def test_spherical_kmeans_finds_bundles_of_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(5)[:3]
    noise = 0.05 * torch.randn(3, 40, 5, generator=generator)
    lengths = torch.rand(3, 40, 1, generator=generator) + 0.5
    directions = torch.nn.functional.normalize((axes[:, None] * lengths + noise).flatten(0, 1))
    centres = spherical_kmeans(directions, 3, seed=1)
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(3))
    assert (axes @ centres.T).amax(1).min().item() > 0.99
    assert torch.equal(centres, spherical_kmeans(directions, 3, seed=1))
    with pytest.raises(ValueError, match="2 vectors for 3 clusters"):
        spherical_kmeans(directions[:2], 3)


def test_clusters_are_named_by_the_parts_they_lie_on() -> None:
    table = torch.tensor([[90, 10, 0], [5, 60, 40], [0, 200, 1], [0, 0, 0]], dtype=torch.float64)
    features, assignment = names_by_overlap(table, PARTS)
    assert features == ("background", "disc", "bar")
    # Cluster 1 shows more disc than bar, but it holds nearly all of the bar.
    assert assignment == (0, 2, 1, 0)
    found = agreement(table, PARTS, features, assignment)
    assert found["background"] == pytest.approx(90 / 105)
    assert found["bar"] == pytest.approx(40 / 106)
    features, assignment = names_by_overlap(table[:1], PARTS)
    assert features == ("background",) and assignment == (0,)
    assert agreement(table[:1], PARTS, features, assignment)["bar"] == 0.0


def test_fitted_clusters_are_stored_and_a_model_keeps_its_names(tmp_path: Path) -> None:
    data = crops_in(tmp_path / "data")
    net = run(data, tmp_path / "work", training=FeatureTraining(iterations=3, crops=4), shape=TINY)
    fit_clusters(net, data, data.split()[0], places_each=32)
    assert overlap(net, data, np.arange(4)).sum().item() == pytest.approx(4 * SIZE**2)
    model = export(
        net,
        data,
        out=tmp_path / "features-tiny",
        work=tmp_path / "sheets",
        description="Discs.",
        command="vfxswap train features tiny",
        edits=edit_set(),
    )
    for sheet in ("reconstructions", "features", "transfers", "truth"):
        assert (tmp_path / "sheets" / f"{sheet}.png").stat().st_size > 0
    assert {"psnr", "ssim", "psnr_refined", "iou_disc"} <= set(model.card.metrics)
    names = feature_names(model.card)
    loaded = load_net(model.card, model.folder, device="cpu")
    assert isinstance(loaded, FeatureNet) and loaded.feature_names == names
    crops = data.centred(np.arange(3)).crops
    torch.testing.assert_close(loaded(crops), net(crops), atol=1e-4, rtol=0)
    assert torch.equal(loaded.cluster_centres, net.cluster_centres)

    renamed = rename_feature(tmp_path / "features-tiny", names[0], "ground")  # type: ignore[arg-type]
    assert feature_names(renamed.card)[0] == "ground"
    again = find_model(tmp_path / "features-tiny")
    assert feature_names(again.card) == ("ground", *names[1:])
    assert again.card.weights_sha256 == model.card.weights_sha256
    with pytest.raises(ModelError, match="no such feature"):
        rename_feature(tmp_path / "features-tiny", "nose", "beak")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="needs a name"):
        rename_feature(tmp_path / "features-tiny", "ground", " ")  # type: ignore[arg-type]


def test_a_feature_renamed_to_a_known_name_joins_it(tmp_path: Path) -> None:
    data = crops_in(tmp_path / "data")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = FeatureNet(TINY).eval()
    folder = tmp_path / "features-joined"
    model = export(
        net, data, out=folder, work=tmp_path, description="Discs.", command="vfxswap train"
    )
    names = feature_names(model.card)
    assert len(names) > 1
    joined = rename_feature(str(folder), names[0], names[1])
    assert feature_names(joined.card) == names[1:]
    loaded = load_net(joined.card, folder, device="cpu")
    assert isinstance(loaded, FeatureNet)
    old = load_net(model.card, folder, device="cpu")
    assert isinstance(old, FeatureNet)
    activations = old.generate(old.encode(data.centred(np.arange(2)).crops)).activations
    u, v = old.memberships(activations), loaded.memberships(activations)
    assert torch.equal(v[:, 0], u[:, 0] + u[:, 1])


def test_refining_brings_the_picture_closer_and_leaves_the_network(tmp_path: Path) -> None:
    data = crops_in(tmp_path / "data")
    training = FeatureTraining(iterations=20, crops=6, rate=4e-3)
    net = run(data, tmp_path / "work", training=training, shape=TINY)
    before = weights_of(net)
    crops = data.centred(np.arange(3))
    matte = (crops.labels > 0)[:, None].float()
    with torch.inference_mode():
        sigma = net.encode(crops.crops)
        found = refined(net, crops.crops, sigma, steps=15, matte=matte)
        alone = refined(net, crops.crops[:1], sigma[:1], steps=15, matte=matte[:1])

        def error(s: torch.Tensor) -> torch.Tensor:
            off = (net.generate(s).picture - crops.crops).abs() * matte
            return off.mean((1, 2, 3))

        assert bool((error(found) < 0.9 * error(sigma)).all())
        torch.testing.assert_close(found[:1], alone, atol=1e-4, rtol=1e-3)
        assert torch.equal(refined(net, crops.crops, sigma, steps=0), sigma)
    for name, value in before.items():
        assert torch.equal(value, net.state_dict()[name])


def test_measured_transfers_leave_out_features_without_a_name(tmp_path: Path) -> None:
    net = FeatureNet(TINY).eval()
    edits = edit_set()
    assert transfers_measured(net, edits, np.arange(4)) == {}
    net.named(("disc", "bar"), (0, 1, 0, 1, 0, 1))
    found = transfers_measured(net, edits, np.arange(4))
    assert set(found) == {"transfer_error_bar", "transfer_leak_bar"}
    assert all(np.isfinite(value) and value >= 0 for value in found.values())


def test_what_is_not_seen_counts_in_the_region_alone() -> None:
    region = torch.zeros(1, 1, 8, 8)
    region[..., 2:6, 2:6] = 1
    wanted = 0.5 * region.expand(-1, 3, -1, -1)
    trembling = wanted + (1 - region)
    assert wrong_energy(trembling, wanted, region).item() > 1
    assert unseen_energy(trembling, wanted, region).item() == 0
    nothing = torch.zeros_like(wanted)
    torch.testing.assert_close(
        unseen_energy(nothing, wanted, region), wrong_energy(nothing, wanted, region)
    )
