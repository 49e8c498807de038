from pathlib import Path

import pytest

from vfxswap.errors import CancelledError
from vfxswap.io.weights import read_card
from vfxswap.synth.landmark_pictures import render_pictures
from vfxswap.synth.landmark_recipe import run
from vfxswap.train.landmark_data import FaceSet
from vfxswap.train.landmarks import LandmarkTraining

TINY = LandmarkTraining(iterations=2, faces=2, others=1, width=4)


@pytest.mark.slow
def test_recipe_goes_on_after_a_stop_and_writes_a_model_with_its_card(tmp_path: Path) -> None:
    out, work = tmp_path / "landmarks-tiny", tmp_path / "work"
    heard: list[str] = []

    def train(*, stopping: bool) -> None:
        run(
            out=out,
            work=work,
            settings=TINY,
            command="train landmarks",
            shards=1,
            varied=1,
            processes=1,
            progress=lambda what, *_: heard.append(what),
            stop=lambda: stopping and "render pictures" in heard,
        )

    with pytest.raises(CancelledError):
        train(stopping=True)
    assert (work / "pictures" / "pictures-0000.safetensors").exists()
    train(stopping=False)
    assert list(dict.fromkeys(heard)) == [
        "render pictures", "render wider pictures", "render pictures to calibrate by", "train",
    ]  # fmt: skip
    assert heard.count("render pictures") == 1, "the whole shard was kept"
    card = read_card(out)
    assert card.synthetic
    assert card.metrics["nme"].value > 0
    assert card.metrics["wider_nme"].value > 0
    assert card.network_settings["width"] == 4


@pytest.mark.slow
def test_a_shard_is_the_same_in_any_order(tmp_path: Path) -> None:
    render_pictures(tmp_path / "a", shards=2, per_shard=6, size=64, processes=1)
    render_pictures(tmp_path / "b", shards=1, per_shard=6, size=64, processes=1)
    render_pictures(tmp_path / "b", shards=2, per_shard=6, size=64, processes=2)
    one, two = FaceSet.open(tmp_path / "a"), FaceSet.open(tmp_path / "b")
    for index in range(12):
        assert (one.picture(index) == two.picture(index)).all()
