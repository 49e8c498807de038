import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vfxswap.align.associate import associate
from vfxswap.align.crop import template
from vfxswap.geometry import LANDMARK_COUNT, Face


def face(x: float, y: float, size: float = 100.0) -> Face:
    place = np.array([x, y])
    return Face(0, template(int(size)) + place, np.ones(LANDMARK_COUNT), 1.0)


def ids(frames: dict[int, tuple[Face, ...]]) -> list[list[int]]:
    return [[f.id for f in frames[n]] for n in sorted(frames)]


def test_ids_begin_at_the_left() -> None:
    named = associate({1: [face(500, 0), face(0, 0)]})[1]
    assert [round(f.points[30, 0]) for f in named] == [50, 550]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_order_within_a_frame_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    straight, shuffled = {}, {}
    for n in range(6):
        faces = [face(200 * k + 15 * n, 10 * k) for k in range(4)]
        straight[n] = faces
        shuffled[n] = [faces[i] for i in rng.permutation(4)]
    one, two = associate(straight), associate(shuffled)
    for n in straight:
        for a, b in zip(one[n], two[n], strict=True):
            assert a.id == b.id
            np.testing.assert_array_equal(a.points, b.points)


def test_two_performers_who_cross_keep_their_ids() -> None:
    frames = {n: [face(12 * n, 0), face(300 - 12 * n, 25)] for n in range(26)}
    named = associate(frames)
    assert ids(named) == [[0, 1]] * 26
    assert named[25][0].points[30, 0] > named[25][1].points[30, 0]


def test_a_face_keeps_its_id_over_frames_without_it() -> None:
    frames: dict[int, list[Face]] = {n: [face(2 * n, 0)] for n in range(20)}
    frames[8] = frames[9] = frames[10] = []
    assert ids(associate(frames)) == [[0]] * 8 + [[]] * 3 + [[0]] * 9


def test_a_face_elsewhere_is_another_performer() -> None:
    assert ids(associate({1: [face(0, 0)], 2: [face(400, 0)]})) == [[0], [1]]


def test_a_face_of_another_size_is_another_performer() -> None:
    assert ids(associate({1: [face(0, 0, 100)], 2: [face(-50, -50, 210)]})) == [[0], [1]]


def test_patience_ends() -> None:
    frames = {1: [face(0, 0)], 40: [face(0, 0)]}
    assert ids(associate(frames)) == [[0], [1]]
    assert ids(associate(frames, patience_frames=50)) == [[0], [0]]


def test_squeezed_plates_give_the_same_ids() -> None:
    square = {n: [face(60 * n, 0), face(500 - 60 * n, 40)] for n in range(9)}
    squeezed = {
        n: [Face(0, f.points / [2, 1], f.confidence, 1.0) for f in faces]
        for n, faces in square.items()
    }
    assert ids(associate(square)) == ids(associate(squeezed, pixel_aspect=2.0))
