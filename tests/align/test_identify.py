"""Tracks of one performer find together again, over cuts and absences."""

from __future__ import annotations

import numpy as np

from vfxswap.align.associate import associate
from vfxswap.align.crop import template
from vfxswap.align.identify import reunited
from vfxswap.geometry import LANDMARK_COUNT, Array, Face

SAME = 0.6


def look(seed: int) -> Array:
    vector = np.random.default_rng(seed).normal(size=96)
    return vector / np.linalg.norm(vector)


def face(id_: int, x: float, who: int, *, noise: int = 0) -> Face:
    rough = look(who) + 0.06 * np.random.default_rng([who, noise]).normal(size=96)
    place = np.array([x, 0.0])
    return Face(
        id_, template(100) + place, np.ones(LANDMARK_COUNT), 0.9, rough / np.linalg.norm(rough)
    )


def ids(frames: dict[int, tuple[Face, ...]]) -> list[list[int]]:
    return [[f.id for f in frames[n]] for n in sorted(frames)]


def test_who_comes_back_has_the_old_id() -> None:
    before = {n: [face(0, 0, 1, noise=n), face(1, 300, 2, noise=n)] for n in range(5)}
    after = {n: [face(2, 50, 2, noise=n), face(3, 250, 1, noise=n)] for n in range(9, 14)}
    found = reunited({**before, **after}, same=SAME)
    assert ids(found) == [[0, 1]] * 10
    assert [round(f.points[30, 0]) for f in found[13]] == [300, 100]


def test_a_stranger_gets_a_new_id() -> None:
    frames = {1: [face(0, 0, 1)], 2: [face(1, 0, 3)]}
    assert ids(reunited(frames, same=SAME)) == [[0], [1]]


def test_two_on_one_frame_are_never_one() -> None:
    twins = {n: [face(0, 0, 1, noise=n), face(1, 300, 1, noise=n + 50)] for n in range(4)}
    assert ids(reunited(twins, same=SAME)) == [[0, 1]] * 4


def test_without_descriptors_only_numbers_change() -> None:
    bare = Face(7, template(100), np.ones(LANDMARK_COUNT), 0.9)
    assert ids(reunited({1: [bare], 2: [bare]}, same=SAME)) == [[0], [0]]


def test_looks_decide_where_places_do_not() -> None:
    # Both stop at the crossing and one turns back: positions alone swap them.
    path = [0, 20, 40, 60, 80, 90, 95, 90, 80, 60, 40, 20]
    frames = {n: [face(0, x, 1, noise=n), face(0, 190 - x, 2, noise=n)] for n, x in enumerate(path)}
    named = associate(frames)
    for n, faces in named.items():
        by_id = {f.id: f for f in faces}
        for id_, who in ((0, 1), (1, 2)):
            seen = by_id[id_].descriptor
            assert seen is not None
            assert seen @ look(who) > 0.7, f"frame {n}"


def leaning(id_: int, x: float, who: int, towards: int, share: float, *, noise: int) -> Face:
    """A face whose look is that of `who` with some of another's."""
    mixed = (1 - share) * look(who) + share * look(towards)
    seen = face(id_, x, who, noise=noise)
    return Face(id_, seen.points, seen.confidence, 0.9, mixed / np.linalg.norm(mixed))


def test_a_likely_pair_is_joined_when_nobody_else_is_near() -> None:
    # Other light after the cut: the looks of both have moved, cosines about 0.65.
    before = {n: [face(0, 0, 1, noise=n), face(1, 300, 2, noise=n)] for n in range(5)}
    after = {
        n: [leaning(2, 0, 2, 8, 0.45, noise=n), leaning(3, 300, 1, 9, 0.45, noise=n)]
        for n in range(5, 10)
    }
    assert ids(reunited({**before, **after}, same=0.9)) == [[0, 1]] * 10
    alone = {n: faces[:1] for n, faces in after.items()}
    assert ids(reunited({0: before[0][1:], **alone}, same=0.9))[-1] == [1]


def pair_after_a_cut(share: float) -> dict[int, tuple[Face, ...]]:
    """Performers 1 and 2; after the cut 1, surely, beside one who has `share` of another's look."""
    before = {n: (face(0, 0, 1, noise=n), face(1, 300, 2, noise=n)) for n in range(5)}
    after = {
        n: (face(2, 0, 1, noise=n), leaning(3, 300, 2, 8, share, noise=n)) for n in range(5, 10)
    }
    return {**before, **after}


def test_who_is_left_over_beside_a_known_performer_is_the_other() -> None:
    # Cosine about 0.45: too little for strangers, enough where nobody else is left.
    found = reunited(pair_after_a_cut(0.6), same=0.7)
    assert ids(found) == [[0, 1]] * 10
    stranger = {n: faces[1:] for n, faces in pair_after_a_cut(0.6).items()}
    assert ids(reunited(stranger, same=0.7))[-1] == [1]


def test_who_replaces_the_other_beside_a_known_performer_is_new() -> None:
    found = reunited(pair_after_a_cut(1.0), same=0.7)
    assert ids(found) == [[0, 1]] * 5 + [[0, 2]] * 5
