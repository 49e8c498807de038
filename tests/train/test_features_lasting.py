"""Facts about what lasts of a performer's coefficients, over planted features and nuisances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from feature_world import FEATURES, tiny_net
from safetensors.torch import load_file

from vfxswap.cli import main
from vfxswap.errors import JobError, ModelError
from vfxswap.io.weights import find_model, load_net, save_model
from vfxswap.nets.features import FeatureNet, FeatureSettings
from vfxswap.persona import ModelCard
from vfxswap.retrieval.index import Faces
from vfxswap.retrieval.search import WHOLE, distances
from vfxswap.retrieval.ways import Compare
from vfxswap.train.features_card import export, refit_lasting
from vfxswap.train.features_data import PartCrops, shard_file, write_description, write_shard
from vfxswap.train.features_lasting import DIRECTIONS, fit_lasting, lasting, recognised

PERFORMERS, EACH, TOP = 400, 4, 10
OWN = {"nose": slice(0, 6), "hair": slice(6, 14)}
"""Coefficients, behind the pose's, that carry a feature."""


class Planted:
    """σ of performers whose nose and hair are two numbers each, in a light of three numbers that
    moves all coefficients much further."""

    def __init__(self, *, light: float) -> None:
        rng = np.random.default_rng(5)
        self.net = tiny_net()
        rest = self.net.coefficients - self.net.coarse
        self.truth = {name: rng.normal(size=(PERFORMERS, 2)) for name in OWN}
        kept = np.zeros((PERFORMERS, rest))
        for name, own in OWN.items():
            spread, _ = np.linalg.qr(rng.normal(size=(own.stop - own.start, 2)))
            kept[:, own] = 3 * self.truth[name] @ spread.T
        self.identity = np.repeat(np.arange(PERFORMERS), EACH)
        moved = rng.normal(size=(PERFORMERS * EACH, 3)) @ rng.normal(size=(3, rest))
        fine = light * (moved + 0.01 * rng.normal(size=moved.shape))
        pose = rng.normal(size=(len(fine), self.net.coarse))
        sigma = np.concatenate([pose, 2 + kept[self.identity] + fine], 1)
        self.sigma = torch.from_numpy(sigma).float()
        shares = torch.full((len(FEATURES), self.net.coefficients), 0.02)
        for name, own in OWN.items():
            start = self.net.coarse
            shares[FEATURES.index(name), start + own.start : start + own.stop] = 0.9
        self.channels = shares.half().expand(len(fine), -1, -1)

    def one_each(self) -> Faces:
        """One picture of each performer."""
        count = len(self.sigma)
        return Faces(self.sigma, self.channels, np.zeros((count, 70, 2))).chosen(
            range(0, count, EACH)
        )

    def precision(self, feature: str, compare: Compare) -> float:
        """Share of the ten nearest in a feature that are among the twenty nearest in truth."""
        faces = self.one_each()
        found = distances(self.net, faces, faces, feature, temperature=0.1, compare=compare)
        known = torch.from_numpy(self.truth[feature])
        true = torch.cdist(known, known).fill_diagonal_(torch.inf)
        wanted = torch.zeros_like(true).scatter_(1, true.topk(2 * TOP, largest=False).indices, 1.0)
        nearest = found.fill_diagonal_(torch.inf).topk(TOP, largest=False).indices
        return float(wanted.gather(1, nearest).mean())

    def fit(self) -> None:
        found = lasting(self.sigma[:, self.net.coarse :], self.identity)
        self.net.put_lasting(*found[:3])


def test_planted_features_are_found_in_any_light() -> None:
    world = Planted(light=5)
    world.fit()
    chance = 2 * TOP / (PERFORMERS - 1)
    for feature in OWN:
        assert world.precision(feature, Compare.NORMALISED) < 2 * chance
        assert world.precision(feature, Compare.LASTING) > 0.95


def test_another_feature_does_not_matter() -> None:
    world = Planted(light=5)
    world.fit()
    faces = world.one_each()
    whole, nose = (
        distances(world.net, faces, faces, f, temperature=0.1, compare=Compare.LASTING)
        for f in (WHOLE, "nose")
    )
    known = torch.from_numpy(world.truth["hair"])
    hair = torch.cdist(known, known).flatten()

    def bound(table: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([table.flatten(), hair]))[0, 1])

    assert bound(whole) > 0.5 > 0.1 > abs(bound(nose))


def test_one_performer_in_two_lights_comes_nearer() -> None:
    world = Planted(light=5)
    world.fit()
    assert recognised(world.sigma, world.identity) < 0.1
    assert recognised(world.net.lasting(world.sigma), world.identity) > 0.95


def test_the_pose_does_not_last() -> None:
    world = Planted(light=5)
    world.fit()
    assert not world.net.lasting(world.sigma)[:, : world.net.coarse].any()
    faces = world.one_each()
    by_light, as_before = (
        distances(world.net, faces, faces, "pose", temperature=0.1, compare=way)
        for way in (Compare.LASTING, Compare.NORMALISED)
    )
    assert torch.equal(by_light, as_before)


def test_without_nuisances_nothing_changes() -> None:
    world = Planted(light=0)
    world.fit()
    kept = world.net.lasting(world.sigma)[:, world.net.coarse :]
    before = world.sigma[:, world.net.coarse :]
    torch.testing.assert_close(
        torch.cdist(kept, kept), torch.cdist(before, before), rtol=0.02, atol=0.02
    )
    shares = lasting(before, world.identity).shares
    assert (shares[:4] > 0.98).all() and not (shares[4:] > 0.01).any()


def test_directions_come_most_lasting_first_and_ignore_the_order_of_crops() -> None:
    world = Planted(light=1)
    sigma = world.sigma[:, world.net.coarse :]
    found = lasting(sigma, world.identity)
    assert (found.shares.diff() <= 0).all() and 4 <= len(found.shares) <= DIRECTIONS
    order = np.random.default_rng(1).permutation(len(sigma))
    shuffled = lasting(sigma[torch.from_numpy(order)], world.identity[order] + 7)
    torch.testing.assert_close(
        shuffled.write @ shuffled.read, found.write @ found.read, rtol=0, atol=1e-8
    )


def test_one_picture_each_tells_nothing_of_what_lasts() -> None:
    for identity in (np.arange(6), np.zeros(6, np.int64)):
        with pytest.raises(ValueError, match="tell nothing of what lasts"):
            lasting(torch.randn(6, 4), identity)
    with pytest.raises(ValueError, match="no lasting directions"):
        tiny_net().lasting(torch.zeros(1, 68))
    with pytest.raises(ValueError, match="lasting directions of shapes"):
        tiny_net().put_lasting(torch.zeros(20), torch.zeros(2, 20), torch.zeros(2, 20))


SIZE, MARGIN = 16, 2
TINY = FeatureSettings(
    crop_size=SIZE, width=8, widest=16, widest_encoder=16, code=16, pose_code=4, clusters=6
)


def crops_in(folder: Path, *, each: int = 4, count: int = 96) -> PartCrops:
    """Patches whose pattern is a performer's and whose brightness gradient is the picture's."""
    side = SIZE + 2 * MARGIN
    write_description(
        folder, crop_size=SIZE, margin_px=MARGIN, parts=("background", "disc"), text="patches"
    )
    y, x = np.mgrid[:side, :side] / side
    pixels = []
    for k in range(count):
        own, rng = np.random.default_rng(k // each), np.random.default_rng([1, k])
        pattern = 0.5 + 0.3 * np.sin(9 * own.random() * x + 9 * own.random() * y)
        pixels.append(np.repeat((pattern + rng.normal(0, 0.4) * (x - 0.5))[None], 3, 0))
    labels = np.repeat((np.hypot(x - 0.5, y - 0.5) < 0.4)[None], count, 0).astype(np.uint8)
    write_shard(
        shard_file(folder, 0),
        pixels=np.stack(pixels),
        labels=labels,
        matte=np.full_like(labels, 255),
        identity=np.arange(count, dtype=np.int64) // each,
    )
    return PartCrops.open(folder)


def untrained() -> FeatureNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return FeatureNet(TINY).eval()


def test_a_training_ends_with_what_lasts_and_the_model_keeps_it(tmp_path: Path) -> None:
    data, net = crops_in(tmp_path / "data"), untrained()
    model = export(
        net, data, out=tmp_path / "patches", work=tmp_path, description="Patches.", command="none"
    )
    assert model.card.network_settings["lasting"] == net.settings.lasting > 0
    assert model.card.metrics["recognised_lasting"].value > 0
    loaded = load_net(model.card, model.folder, device="cpu")
    assert isinstance(loaded, FeatureNet)
    sigma = net.encode(data.centred(np.arange(8)).crops)
    torch.testing.assert_close(loaded.lasting(sigma), net.lasting(sigma), rtol=0, atol=0)

    # Half precision takes little away.
    exact = untrained()
    exact.load_state_dict(
        {name: each for name, each in net.state_dict().items() if "lasting" not in name}
    )
    assert fit_lasting(exact, data, data.split()[0])
    away = (exact.lasting(sigma) - net.lasting(sigma)).norm() / exact.lasting(sigma).norm()
    assert away < 0.01


def test_a_stored_model_is_fitted_anew_and_all_else_stays(tmp_path: Path) -> None:
    data, net = crops_in(tmp_path / "data"), untrained()
    folder = tmp_path / "patches"
    model = export(net, data, out=folder, work=tmp_path, description="Patches.", command="none")
    before = load_file(folder / "weights.safetensors")
    plain = {name: each for name, each in before.items() if not name.startswith("lasting")}
    settings = {**model.card.network_settings, "lasting": 0}
    bare = save_model(folder, model.card.model_copy(update={"network_settings": settings}), plain)
    unfitted = load_net(bare.card, folder, device="cpu")
    assert isinstance(unfitted, FeatureNet) and not unfitted.settings.lasting

    with pytest.raises(SystemExit) as ended:
        main(["models", "fit-retrieval", str(folder), str(tmp_path / "data")])
    assert not ended.value.code
    again = find_model(folder)
    after = load_file(folder / "weights.safetensors")
    assert again.card.metrics["psnr"] == model.card.metrics["psnr"]
    assert again.card.metrics["recognised_lasting"].command == "vfxswap models fit-retrieval"
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_card_that_promises_what_the_weights_lack_is_refused(tmp_path: Path) -> None:
    net = untrained()
    card = ModelCard(
        name="patches",
        effect="features",
        network="features",
        network_settings={**net.settings.model_dump(mode="json"), "lasting": 3},
        crop_size=SIZE,
        licence="Apache-2.0",
        synthetic=True,
        training_data="none",
        training_licence="CC0-1.0",
        recipe="none",
    )
    model = save_model(tmp_path / "patches", card, net.state_dict())
    with pytest.raises(ModelError, match="weights do not fit"):
        load_net(model.card, model.folder, device="cpu")


def test_crops_that_show_everybody_once_are_told(tmp_path: Path) -> None:
    data, net = crops_in(tmp_path / "data", each=1, count=48), untrained()
    model = export(
        net, data, out=tmp_path / "patches", work=tmp_path, description="Patches.", command="none"
    )
    assert not net.settings.lasting and "recognised_lasting" not in model.card.metrics
    with pytest.raises(JobError, match=r"nothing lasts.*several crops each"):
        refit_lasting(str(tmp_path / "patches"), data, command="fit")
