import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cartoon import cartoon, cartoon_shard
from numpy.typing import NDArray

from vfxswap.errors import JobError
from vfxswap.image import Pixels
from vfxswap.io.weights import find_model, load_net
from vfxswap.nets.landmark import LandmarkNet
from vfxswap.train.landmark_card import save_landmark_model
from vfxswap.train.landmark_data import FaceSet, draw, draw_faceless, plain, shard_file
from vfxswap.train.landmarks import LandmarkTraining, run
from vfxswap.train.steps import Progress

TINY = LandmarkTraining(iterations=4, faces=2, others=1, width=4, save_every=2)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for shard in range(2):
        cartoon_shard(folder, shard, 52)
    return folder


@pytest.fixture(scope="module")
def faces(data: Path) -> FaceSet:
    return FaceSet.open(data)


def test_shards_give_back_what_was_written(faces: FaceSet) -> None:
    assert len(faces) == 104
    for index in (0, 51, 52, 103):
        wanted = cartoon(index)
        np.testing.assert_allclose(faces.picture(index), wanted.picture, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(faces.points[index], wanted.points, atol=1e-4)


def test_no_performer_is_on_both_sides_of_the_split(faces: FaceSet) -> None:
    training, held_out = faces.split()
    assert len(training) + len(held_out) == len(faces)
    assert not set(faces.identity[training]) & set(faces.identity[held_out])
    assert len(held_out) > 0


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no pictures to train on"):
        FaceSet.open(tmp_path)


def test_a_torn_shard_is_named(data: Path, tmp_path: Path) -> None:
    whole = shard_file(data, 0).read_bytes()
    shard_file(tmp_path, 0).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match="pictures-0000"):
        FaceSet.open(tmp_path)


def pupil_darkness(crop: Pixels, points: NDArray[np.float32]) -> tuple[float, float]:
    grey = cv2.blur(crop.mean(-1), (3, 3))

    def at(point: NDArray[np.float32]) -> float:
        x, y = np.clip(np.floor(point).astype(int), 0, len(grey) - 1)
        return float(grey[y, x])

    return max(at(points[68]), at(points[69])), at(points[29])


def test_landmarks_follow_the_picture_through_shift_turn_and_mirror(faces: FaceSet) -> None:
    right = 0
    for index in range(30):
        rng = np.random.default_rng(index)
        sample = draw(faces, index, rng, size=96, scan_size=48)
        pupil, nose = pupil_darkness(sample.crop, sample.points * 96)
        right += pupil < nose
        assert sample.points[36, 0] < sample.points[45, 0], "subject's right stays image left"
    # Occluders, shadows and blur may hide a pupil.
    assert right >= 25


def test_undressed_faces_have_exact_landmarks(faces: FaceSet) -> None:
    for index in range(10):
        crop, points = plain(faces, index, np.random.default_rng(index), size=96)
        pupil, nose = pupil_darkness(crop, points)
        assert pupil < nose


def test_samples_depend_on_their_generator_alone(faces: FaceSet) -> None:
    for drawing in (draw, draw_faceless):
        one, two = (
            drawing(faces, 3, np.random.default_rng(9), size=96, scan_size=48) for _ in range(2)
        )
        np.testing.assert_array_equal(one.crop, two.crop)
        np.testing.assert_array_equal(one.scan, two.scan)


def test_samples_are_finite_and_unclamped(faces: FaceSet) -> None:
    highest = 0.0
    for index in range(20):
        for drawing in (draw, draw_faceless):
            sample = drawing(faces, index, np.random.default_rng(index), size=96, scan_size=48)
            assert np.isfinite(sample.crop).all() and np.isfinite(sample.scan).all()
            highest = max(highest, float(sample.crop.max()))
    assert highest > 0.6, "lights above 1.0 (0.555 in net space) stay"


def same_weights(a: LandmarkNet, b: LandmarkNet) -> bool:
    others = b.state_dict()
    return all(torch.equal(value, others[name]) for name, value in a.state_dict().items())


def test_when_training_is_resumed_then_weights_are_those_of_an_uninterrupted_one(
    faces: FaceSet, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def stop(state: Progress) -> None:
        # The last report comes before the last checkpoint: this is a kill in between.
        raise StoppedError

    whole = run(faces, tmp_path / "whole", settings=TINY)
    with pytest.raises(StoppedError):
        run(faces, tmp_path / "stopped", settings=TINY, progress=stop)
    assert (tmp_path / "stopped" / "checkpoint-000000002").is_dir()
    resumed = run(faces, tmp_path / "stopped", settings=TINY)
    assert same_weights(whole, resumed)
    other_seed = run(faces, tmp_path / "other", settings=TINY.model_copy(update={"seed": 1}))
    assert not same_weights(whole, other_seed)


def test_training_goes_on_from_weights_that_are_given(faces: FaceSet, tmp_path: Path) -> None:
    first = run(faces, tmp_path / "first", settings=TINY)
    barely = TINY.model_copy(update={"iterations": 1, "rate": 1e-9, "width": 24})
    second = run(faces, tmp_path / "second", settings=barely, start=first)
    assert second.settings.width == first.settings.width
    for (name, old), new in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(new, old, atol=1e-6, rtol=0, msg=name)
    assert all(not p.grad_fn for p in first.parameters())


def test_shards_of_two_folders_count_twice_where_they_are_named_twice(data: Path) -> None:
    once, twice = FaceSet.open(data), FaceSet.open(data, data)
    assert len(twice) == 2 * len(once)
    np.testing.assert_array_equal(twice.picture(len(once) + 3), once.picture(3))


def test_log_has_the_held_out_error_and_a_preview_lies_beside(
    faces: FaceSet, tmp_path: Path
) -> None:
    run(faces, tmp_path, settings=TINY)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["iteration"] for entry in entries] == [2, 4]
    assert 0 < entries[-1]["nme_eyes"] < 10
    assert cv2.imread(str(tmp_path / "preview.png")) is not None


def test_a_checkpoint_of_other_settings_is_refused(faces: FaceSet, tmp_path: Path) -> None:
    run(faces, tmp_path, settings=TINY)
    with pytest.raises(JobError, match="other settings"):
        run(faces, tmp_path, settings=TINY.model_copy(update={"rate": 1e-5}))


def test_saved_model_finds_what_the_trained_net_finds(faces: FaceSet, tmp_path: Path) -> None:
    net = run(faces, tmp_path / "run", settings=TINY)
    folder = tmp_path / "landmarks-test"
    save_landmark_model(
        net, folder, errors={"nme": 0.5}, pictures=104, performers=26, command="train landmarks"
    )
    stored = find_model(folder)
    assert stored.card.synthetic
    loaded = load_net(stored.card, stored.folder, device="cpu")
    crops = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(crops).points, net(crops).points, atol=0.3, rtol=0)
