import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, ramps

from vfxswap.align.crop import template
from vfxswap.align.localise import BETA, SHIFTS, localise, nine_shift
from vfxswap.align.pose import Pose, View, cut
from vfxswap.geometry import LANDMARK_COUNT, Array, Face, Similarity


def face(points: Array) -> Face:
    return Face(4, points, np.ones(LANDMARK_COUNT), 1.0)


def placed(scale: float, roll: float, x: float, y: float) -> Array:
    similarity = Similarity(scale, roll, 0.0, 0.0)
    points = similarity.apply(template(100))
    centre = np.array([x, y])
    moved: Array = points - points.mean(0) + centre
    return moved


@settings(deadline=None, max_examples=6)
@given(
    st.floats(0.8, 3.0),
    st.floats(-0.6, 0.6),
    st.sampled_from([1.0, 2.0, 0.7]),
    st.sampled_from([(0, 0), (-37, 20)]),
)
def test_points_come_back_in_plate_pixels(
    scale: float, roll: float, pixel_aspect: float, origin: tuple[int, int]
) -> None:
    square = placed(scale, roll, 400.0, 300.0)
    truth = square / [pixel_aspect, 1.0] + np.array(origin)
    view = View(ramps(int(800 / pixel_aspect), 600, origin=origin), origin, pixel_aspect)
    start = placed(scale * 1.1, roll + 0.1, 410.0, 292.0) / [pixel_aspect, 1.0] + np.array(origin)
    found = localise(view, face(start), Oracle(truth))
    # A tent stretched over more than a pixel moves a ramp by its phase: up to a sixth of a pixel
    # of a crop, about 0.93 * scale plate pixels wide, of which the oracle's fit averages most.
    np.testing.assert_allclose(found.points, truth, atol=0.1 * scale)
    assert found.id == 4
    assert found.confidence.min() > 0.85
    assert found.score > 0.75


def test_result_is_the_mean_of_nine_shifted_localisations() -> None:
    truth = placed(2.0, 0.2, 400.0, 300.0)
    view = View(ramps(800, 600))
    rng = np.random.default_rng(2)
    errors = rng.normal(0, 0.5, (9, LANDMARK_COUNT, 2))
    found = localise(view, face(truth), Oracle(truth, lambda i: errors[i]), rounds=1)
    pose = Pose.of(truth)
    linear = pose.matrix(96)[:, :2]
    np.testing.assert_allclose(found.points - truth, errors.mean(0) @ linear.T, atol=0.02)


def test_the_nine_boxes_are_moved_by_beta_in_the_eight_directions() -> None:
    truth = placed(2.0, 0.0, 400.0, 300.0)
    view, pose = View(ramps(800, 600)), Pose.of(truth)

    class Recorder(Oracle):
        centres: Array

        def __call__(self, crops: torch.Tensor, /) -> object:  # type: ignore[override]
            middle = crops[:, :2, 47:49, 47:49].double().mean((2, 3)) / 1e-3
            self.centres = middle.numpy()
            return super().__call__(crops)

    recorder = Recorder(truth)
    nine_shift(view, pose, recorder)  # type: ignore[arg-type]
    wanted = np.array(SHIFTS) * BETA * pose.face_px + [pose.x, pose.y]
    np.testing.assert_allclose(recorder.centres, wanted, atol=0.05)
    assert recorder.batches == [9]
    assert len(set(SHIFTS)) == 9 and (0, 0) in SHIFTS


def test_points_on_which_the_nine_disagree_lose_confidence() -> None:
    truth = placed(2.0, 0.0, 400.0, 300.0)
    noise = np.zeros((9, LANDMARK_COUNT, 2))
    noise[:, 8] = np.random.default_rng(0).normal(0, 3, (9, 2))
    found = localise(View(ramps(800, 600)), face(truth), Oracle(truth, lambda i: noise[i]))
    assert found.confidence[8] < 0.3
    assert np.delete(found.confidence, 8).min() > 0.85


def test_landmarks_without_a_place_score_zero() -> None:
    view = View(ramps(80, 60))
    for value in (np.nan, 5.0):
        broken = np.full((LANDMARK_COUNT, 2), value)
        found = localise(view, face(broken), Oracle(template(50)))
        assert found.score == 0.0
        assert not found.confidence.any()


@settings(deadline=None, max_examples=30)
@given(st.floats(0.3, 8.0), st.floats(-1.0, 1.0), st.floats(-500, 500), st.floats(-500, 500))
def test_pose_follows_a_similarity(scale: float, roll: float, x: float, y: float) -> None:
    level, turned = Pose.of(placed(1.0, 0.0, 0.0, 0.0)), Pose.of(placed(scale, roll, x, y))
    assert turned.face_px == pytest.approx(level.face_px * scale, rel=1e-6)
    assert turned.roll_rad == pytest.approx(roll, abs=1e-9)


def test_crop_shows_the_face_upright_in_its_share() -> None:
    truth = placed(2.0, 0.4, 400.0, 300.0)
    pose = Pose.of(truth)
    crop = cut(View(ramps(800, 600)), [pose], 96)
    found = Oracle(truth)(crop).points[0].numpy()[:68]
    low, high = found.min(0), found.max(0)
    np.testing.assert_allclose((low + high) / 2, [48, 48], atol=0.1)
    assert (high - low).max() == pytest.approx(96 / 1.45, abs=0.2)
    assert abs(found[36, 1] - found[45, 1]) < 0.2
