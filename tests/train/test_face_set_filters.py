"""Which faces stay, and what a set lacks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vfxswap.train.face_set import SetFace, SetShot
from vfxswap.train.face_set_coverage import ACTINGS, Coverage, Parts, acting_of, lacking, rest_of
from vfxswap.train.face_set_expression import Expression
from vfxswap.train.face_set_filters import duplicates, filtered
from vfxswap.train.face_set_looks import Light, packed
from vfxswap.train.face_set_settings import FaceFilters

REST = Expression(
    mouth_open=0.03, mouth_width=0.88, corners_up=0.08, jaw=1.1, lid_right=0.2, lid_left=0.2,
    gaze_x=0.0, gaze_y=-0.12, brows=0.35,
)  # fmt: skip
GREY = "gICA" * 48
LOOK = packed(np.eye(8)[0])


def face(frame: int, **values: object) -> SetFace:
    plain: dict[str, object] = {
        "shot": "a", "frame": frame, "face": 0, "file": f"crops/a/{frame}.exr",
        "plate": f"a.{frame}.exr", "plate_bytes": 1, "plate_modified_us": 1,
        "plate_sha256": "0" * 64, "key": "k", "crop_bytes": 1, "score": 0.9, "confidence": 0.9,
        "points": ((0.0, 0.0),) * 70, "matrix": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "face_px": 200.0,
        "resolution": 1.0, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0, "expression": REST,
        "light": Light(azimuth_deg=0, elevation_deg=0, contrast=1, level=0.2), "blur": 0.1,
        "occlusion": 0.0, "glasses": 0.0, "outside": 0.0, "broken": 0.0, "appearance": GREY,
        "descriptor": LOOK,
    }  # fmt: skip
    return SetFace.model_validate({**plain, **values})


def shot(*cuts: int) -> dict[str, SetShot]:
    return {"a": SetShot(plate="/p/a.#.exr", faces=(0,), tracks="t.json", cuts={"": cuts})}


def test_each_filter_names_its_reason_and_the_first_one_counts() -> None:
    bad: dict[str, dict[str, object]] = {
        "gone": {"gone": True},
        "unsure": {"score": 0.1},
        "broken": {"broken": 0.5},
        "outside": {"outside": 0.3},
        "size": {"resolution": 0.2},
        "occluded": {"occlusion": 0.5},
        "blurred": {"blur": 3.0},
    }
    faces = [face(i, yaw_deg=8.0 * i, **each) for i, each in enumerate(bad.values())]
    found = filtered(faces, shot(), FaceFilters())
    assert [f.reason for f in found] == list(bad)
    both = face(1, **bad["outside"], **bad["blurred"])
    assert filtered([both], shot(), FaceFilters())[0].reason == "outside"
    assert filtered([face(1, blur=None)], shot(), FaceFilters())[0].reason == "blurred"


def test_other_filters_decide_otherwise_on_the_same_measures() -> None:
    faces = [face(1, blur=0.5), face(2, blur=0.7, yaw_deg=20)]
    assert [f.kept for f in filtered(faces, shot(), FaceFilters())] == [True, False]
    decided = filtered(faces, shot(), FaceFilters(max_blur=0.8))
    assert [f.kept for f in decided] == [True, True]
    assert [f.kept for f in filtered(decided, shot(), FaceFilters(max_blur=0.4))] == [False] * 2


def test_another_person_is_left_out_and_cuts_part_looks() -> None:
    other = packed(np.eye(8)[1])
    faces = [face(i, yaw_deg=9.0 * i) for i in range(12)]
    faces += [face(i, yaw_deg=9.0 * i, descriptor=other) for i in range(12, 17)]
    found = filtered(faces, shot(12), FaceFilters())
    assert [f.reason for f in found] == [""] * 12 + ["person"] * 5
    assert {f.likeness for f in found[12:]} == {0.0}
    given = filtered(faces, shot(12), FaceFilters(), reference=np.eye(8)[1])
    assert [f.reason for f in given] == ["person"] * 12 + [""] * 5
    # One odd picture among a second of others is carried by its neighbours.
    faces[5] = face(5, yaw_deg=45.0, descriptor=other)
    assert filtered(faces, shot(12), FaceFilters())[5].kept


def test_of_near_duplicates_the_sharper_stays() -> None:
    faces = [face(1, blur=0.5), face(2, blur=0.2), face(3, blur=0.4, yaw_deg=2.0)]
    found = filtered(faces, shot(), FaceFilters())
    assert [f.reason for f in found] == ["duplicate", "", "duplicate"]
    assert {f.like for f in found if f.reason} == {"crops/a/2.exr"}
    everything = filtered(faces, shot(), FaceFilters(duplicate_distance=0))
    assert all(f.kept for f in everything)


numbers = st.lists(
    st.tuples(st.floats(-40, 40), st.floats(0, 0.3), st.floats(0, 2)), min_size=1, max_size=25
)


@settings(max_examples=60)
@given(numbers)
def test_those_that_stay_are_apart_and_every_other_is_near_a_sharper_one(
    drawn: list[tuple[float, float, float]],
) -> None:
    faces = [
        face(i, yaw_deg=yaw, blur=blur,
             expression=REST.model_copy(update={"mouth_open": open_}))
        for i, (yaw, open_, blur) in enumerate(drawn)
    ]  # fmt: skip

    def apart(a: SetFace, b: SetFace) -> float:
        pose = (a.yaw_deg - b.yaw_deg) / 4
        return float(np.hypot(pose, (a.expression.mouth_open - b.expression.mouth_open) / 0.06))

    like = duplicates(faces, 1.0)
    kept = [i for i in range(len(faces)) if i not in like]
    for n, i in enumerate(kept):
        assert all(apart(faces[i], faces[j]) > 0.999 for j in kept[:n])
    for i, j in like.items():
        assert j in kept and apart(faces[i], faces[j]) < 1.001
        assert (faces[j].blur or 0) <= (faces[i].blur or 0)
    shuffled = faces[::-1]
    again = duplicates(shuffled, 1.0)
    assert {faces[i].frame for i in kept} == {
        shuffled[i].frame for i in range(len(faces)) if i not in again
    }


def test_expressions_are_told_against_the_face_at_rest() -> None:
    rest = rest_of([REST] * 5)
    shown = {
        "at rest": {},
        "mouth open": {"mouth_open": 0.3, "corners_up": 0.1},
        "smile": {"mouth_width": 0.96, "corners_up": 0.13},
        "pucker": {"mouth_width": 0.72},
        "corners down": {"corners_up": 0.02},
        "eyes closed": {"lid_right": 0.03, "lid_left": 0.04, "mouth_open": 0.3},
        "brows raised": {"brows": 0.42},
    }
    for name, change in shown.items():
        found = acting_of(REST.model_copy(update=change), rest)
        assert ACTINGS[found] == name


poses = st.lists(
    st.tuples(st.sampled_from([-50, -20, 0, 20, 50]), st.sampled_from([0.03, 0.4]),
              st.sampled_from([-60, 0, 60])),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60)
@given(poses, poses)
def test_what_is_lacking_is_nowhere_here_and_somewhere_there(
    mine: list[tuple[int, float, int]], theirs: list[tuple[int, float, int]]
) -> None:
    def covered(drawn: list[tuple[int, float, int]]) -> Coverage:
        still = [face(1000 + i) for i in range(20)]  # so that rest is rest
        return Coverage([
            *still,
            *(face(i, yaw_deg=yaw, expression=REST.model_copy(update={"mouth_open": open_}),
                   light=Light(azimuth_deg=side, elevation_deg=0, contrast=1, level=0.2))
              for i, (yaw, open_, side) in enumerate(drawn)),
        ])  # fmt: skip

    own, other = covered(mine), covered(theirs)
    lacks = lacking(own, other)
    for lack in lacks:
        assert not own.of(lack.parts) and lack.faces == tuple(other.of(lack.parts))
        assert lack.faces and lack.words
    for cell in other.bins:
        parts = Parts((cell.yaw, cell.pitch), cell.acting, cell.light)
        assert (cell in own.bins) != any(lack.parts.cover(parts) for lack in lacks)
    said = [lack.parts for lack in lacks]
    assert not any(a.cover(b) for a in said for b in said if a is not b)


def test_nothing_is_lacking_against_itself() -> None:
    own = Coverage([face(i, yaw_deg=10.0 * i) for i in range(8)])
    assert lacking(own, own) == []
