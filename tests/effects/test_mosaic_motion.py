from __future__ import annotations

import json

import numpy as np
import pytest
from mosaic_world import effect, frame, plate

from vfxswap.align.crop import template
from vfxswap.effects.base import EffectResult, Frame
from vfxswap.effects.mosaic_motion import patches_at
from vfxswap.effects.mosaic_settings import MosaicSettings
from vfxswap.errors import JobError
from vfxswap.geometry import LANDMARK_COUNT, Face
from vfxswap.settings import validated

SPEED = 3.0
FRAMES = range(1001, 1007)


def wanted(**values: object) -> MosaicSettings:
    return validated(MosaicSettings, {"size_min_px": 16, "size_max_px": 32, **values})


def face(number: int) -> Face:
    points = template(80) + np.array([40 + 4.0 * (number - 1001), 20])
    return Face(0, points, np.ones(LANDMARK_COUNT), 1.0)


def shot(*, views: tuple[str, ...] = ("",), parallax: float = 0.0) -> list[Frame]:
    return [
        frame(
            plate(shift=SPEED * (number - 1001) + parallax * index),
            number=number,
            view=view,
            faces=(face(number),),
            mattes={"drift_x": np.full((128, 192), 0.75, np.float32)},
        )
        for number in FRAMES
        for index, view in enumerate(views)
    ]


def same(first: EffectResult, second: EffectResult) -> bool:
    return np.array_equal(first.rgb, second.rgb) and all(
        np.array_equal(a.pixels, b.pixels) for a, b in zip(first.layers, second.layers)
    )


@pytest.mark.parametrize("motion", ["fixed", "drift", "vectors", "flow", "tracks", "redraw"])
@pytest.mark.parametrize("layout", ["random", "adaptive"])
def test_a_frame_alone_equals_the_frame_in_sequence(motion: str, layout: str) -> None:
    settings = wanted(motion=motion, layout=layout, redraw_every=2, themes="flowers, gems")
    frames = shot()
    run = effect(settings)
    prepared = json.loads(json.dumps(run.prepare(frames)))
    in_order = [run(each, settings, prepared) for each in frames]
    alone = effect(settings)(shot()[4], settings, prepared)
    assert same(in_order[4], alone)


def test_what_is_prepared_does_not_depend_on_who_prepared_it() -> None:
    settings = wanted(motion="flow", layout="adaptive")
    assert effect(settings).prepare(shot()) == effect(settings).prepare(shot())


def test_patches_drift_as_the_vectors_under_them_say() -> None:
    x = np.full((128, 192), 0.5, np.float32)
    x[:, 96:] = 1.0
    y = np.full_like(x, 0.25)
    frames = [
        frame(plate(), number=number, mattes={"drift_x": x, "drift_y": y}) for number in FRAMES
    ]
    settings = wanted(motion="vectors", drift_x_px=4, drift_y_px=6, layout="grid")
    prepared = effect(settings).prepare(frames)
    first, second, third = (patches_at(settings, prepared, each) for each in frames[:3])
    for before, after in ((first, second), (second, third)):
        _, i, j = np.intersect1d(before.ids, after.ids, return_indices=True)
        place, moved = before.centre[i], after.centre[j] - before.centre[i]
        assert np.allclose(moved[:, 1], -3, atol=0.1)
        assert np.allclose(moved[place[:, 0] < 80, 0], 0, atol=0.1)
        assert np.allclose(moved[place[:, 0] > 112, 0], 4, atol=0.1)
        assert (place[:, 0] > 112).sum() > 5


def test_without_drift_mattes_vectors_move_nothing_and_a_note_says_so() -> None:
    frames = [frame(plate(), number=number) for number in FRAMES]
    settings = wanted(motion="vectors", drift_x_px=9)
    run = effect(settings)
    prepared = run.prepare(frames)
    first, last = (patches_at(settings, prepared, each) for each in (frames[0], frames[-1]))
    assert np.array_equal(first.centre, last.centre)
    assert "no drift matte is given: patches stay" in run(frames[-1], settings, prepared).notes


def test_vectors_may_not_change_over_time() -> None:
    several = [wanted(motion="vectors", drift_x_px=x) for x in (2, 3)]
    with pytest.raises(JobError, match="drift_x_px changes over time"):
        effect(*several).prepare(shot())


def test_patches_on_a_moving_picture_move_with_it() -> None:
    settings = wanted(motion="flow")
    prepared = effect(settings).prepare(shot())
    first, last = (patches_at(settings, prepared, each) for each in (shot()[0], shot()[-1]))
    _, i, j = np.intersect1d(first.ids, last.ids, return_indices=True)
    moved = (last.centre[j] - first.centre[i])[first.centre[i, 0] < 140]
    assert len(moved) > 15
    assert np.median(np.abs(moved - [SPEED * 5, 0]), axis=0).max() < 1.0


def test_gaps_that_motion_opens_are_filled_with_new_patches() -> None:
    settings = wanted(motion="flow", coverage=0.9)
    frames = [frame(plate(shift=12.0 * k), number=1001 + k) for k in range(6)]
    run = effect(settings)
    prepared = run.prepare(frames)
    begun = patches_at(settings, prepared, frames[0])
    ended = patches_at(settings, prepared, frames[-1])
    assert ended.ids.max() > begun.ids.max()
    assert (run(frames[-1], settings, prepared).matte > 0.5).mean() > 0.85


def test_redrawn_patches_stay_for_so_many_frames() -> None:
    settings = wanted(motion="redraw", redraw_every=3)
    centres = [patches_at(settings, {}, each).centre for each in shot()]
    keys = [number // 3 for number in FRAMES]
    for before, after, a, b in zip(centres, centres[1:], keys, keys[1:]):
        assert np.array_equal(before, after) == (a == b)


def test_drifting_patches_come_in_where_others_leave() -> None:
    settings = wanted(
        motion="drift", drift_x_px=7, drift_y_px=-3, layout="grid", size_max_px=32, edge_px=0
    )
    run = effect(settings)
    for number in (0, 3, 40):
        result = run(frame(plate(), number=number), settings, {})
        assert (result.matte == 1).mean() > 0.97


def test_patches_on_a_face_follow_it_and_others_stay() -> None:
    settings = wanted(motion="tracks")
    prepared = effect(settings).prepare(shot())
    first, last = (patches_at(settings, prepared, each) for each in (shot()[0], shot()[-1]))
    moved = last.centre - first.centre
    on = np.hypot(*(first.centre - [80, 65]).T) < 15
    off = first.centre[:, 0] > 150
    assert on.any()
    assert off.any()
    assert np.allclose(moved[on], [20, 0], atol=1e-6)
    assert np.allclose(moved[off], 0)


def test_views_show_corresponding_patches_by_estimated_disparity() -> None:
    settings = wanted(layout="grid", size_max_px=32)
    frames = shot(views=("left", "right"), parallax=6.0)
    prepared = json.loads(json.dumps(effect(settings).prepare(frames)))
    left, right = (patches_at(settings, prepared, each) for each in frames[:2])
    assert np.array_equal(left.ids, right.ids)
    inside = (left.centre[:, 0] > 32) & (left.centre[:, 0] < 150)
    shift = (right.centre - left.centre)[inside]
    assert np.median(np.abs(shift[:, 0] - 6.0)) < 0.5
    assert (shift[:, 1] == 0).all()


def test_a_disparity_matte_moves_the_patches_of_further_views() -> None:
    settings = wanted(disparity_px=-20)
    frames = shot(views=("left", "right"))
    prepared = effect(settings).prepare(frames)
    half = np.full((128, 192), 0.5, np.float32)
    right = frame(plate(), number=1001, view="right", mattes={"disparity": half})
    left = frame(plate(), number=1001, view="left", mattes={"disparity": half})
    moved = (
        patches_at(settings, prepared, right).centre - patches_at(settings, prepared, left).centre
    )
    assert np.allclose(moved, [-10, 0])


def test_without_stereo_views_are_alike() -> None:
    settings = wanted(stereo=False)
    frames = shot(views=("left", "right"), parallax=6.0)
    prepared = effect(settings).prepare(frames)
    left, right = (patches_at(settings, prepared, each).centre for each in frames[:2])
    assert np.array_equal(left, right)


def test_a_proxy_shows_the_same_patches_at_its_size() -> None:
    settings = wanted(motion="flow")
    prepared = effect(settings).prepare(shot())
    half = wanted(motion="flow", size_min_px=8, size_max_px=16)
    small = frame(plate()[::2, ::2].copy(), number=1004)
    whole, proxy = patches_at(settings, prepared, shot()[3]), patches_at(half, prepared, small)
    assert np.allclose(proxy.centre, whole.centre / 2)
    assert np.allclose(proxy.size, whole.size / 2)


def test_only_as_many_frames_are_looked_at_as_are_needed() -> None:
    def counted() -> object:
        for number, each in enumerate(shot()):
            seen.append(number)
            yield each

    for motion, count in (("fixed", 2), ("flow", 6)):
        seen: list[int] = []
        settings = wanted(motion=motion)
        effect(settings).prepare(counted())  # type: ignore[arg-type]
        assert len(seen) == count


def test_prepared_paths_are_small() -> None:
    settings = wanted(motion="flow", count=2000)
    prepared = effect(settings).prepare(shot())
    path = prepared["paths"][str(FRAMES[-1])]
    assert len(path) < 10 * 2000


def test_settings_that_move_under_followed_patches_are_refused() -> None:
    first, second = wanted(motion="flow"), wanted(motion="flow", size_max_px=30)
    with pytest.raises(JobError, match="size_max_px changes over time"):
        effect(first, second).prepare(shot())
