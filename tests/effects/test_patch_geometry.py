from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from vfxswap.effects.mosaic_settings import MosaicSettings, Patch
from vfxswap.effects.patches import PatchSet, covered, laid_out, listed
from vfxswap.errors import JobError
from vfxswap.geometry import Box

WINDOW = Box(-8, 4, 320, 200)


def layout(seed: int = 0, *, luma: np.ndarray | None = None, **values: object) -> PatchSet:
    settings = MosaicSettings.model_validate({"size_min_px": 16, "size_max_px": 40, **values})
    return laid_out(settings, WINDOW, seed=seed, luma=luma)


@examples(max_examples=12, deadline=None)
@given(
    coverage=st.floats(0.3, 0.98),
    turn=st.floats(0, 90),
    aspect=st.floats(1, 3),
    seed=st.integers(0, 1000),
)
def test_random_patches_reach_the_coverage_they_are_asked_for(
    coverage: float, turn: float, aspect: float, seed: int
) -> None:
    patches = layout(seed, coverage=coverage, rotation_deg=turn, aspect_max=aspect)
    # On cells of half the size that the layout counts on, so within a little.
    assert covered(patches, WINDOW, pixel_aspect=1, cell_px=2) >= coverage - 0.02
    assert (np.sqrt(patches.size.prod(1)) >= 16 - 1e-9).all()
    assert (np.sqrt(patches.size.prod(1)) <= 40 + 1e-9).all()


def test_a_layout_depends_on_its_seeds_alone() -> None:
    one, same, other = layout(3), layout(3), layout(4)
    assert np.array_equal(one.centre, same.centre)
    assert len(one) != len(other) or not np.array_equal(one.centre, other.centre)
    assert not np.array_equal(one.centre[:5], layout(3, layout_seed=1).centre[:5])


def test_a_count_is_kept_whatever_is_covered() -> None:
    assert len(layout(count=7)) == 7
    assert len(layout(count=900)) == 900
    assert len(np.unique(layout(count=900).ids)) == 900


def test_a_grid_covers_every_pixel_once() -> None:
    patches = layout(layout="grid")
    boxes = patches.boxes(1.0)
    x, y = np.meshgrid(np.arange(320) - 8 + 0.5, np.arange(200) + 4 + 0.5)
    times = sum(
        ((x > left) & (x <= right) & (y > top) & (y <= bottom)).astype(int)
        for left, top, right, bottom in boxes
    )
    assert (times == 1).all()


def test_a_honeycomb_leaves_no_hole() -> None:
    patches = layout(layout="grid", shape="hexagon")
    x, y = np.meshgrid(np.arange(320) - 8 + 0.5, np.arange(200) + 4 + 0.5)
    inside = np.zeros(x.shape, bool)
    for (cx, cy), (width, height) in zip(patches.centre, patches.size):
        u, v = np.abs(x - cx) * 2 / width, np.abs(y - cy) * 2 / height
        inside |= (u <= 1 + 1e-9) & (v <= 1 - u / 2 + 1e-9)
    assert inside.all()


def test_overlapping_patches_leave_no_hole() -> None:
    patches = layout(layout="overlapping", overlap=0.5)
    assert covered(patches, WINDOW, pixel_aspect=1, cell_px=2) == 1


def test_adaptive_patches_are_small_where_detail_is() -> None:
    luma = np.full((200, 320), 0.3, np.float32)
    luma[:, 160:] += np.random.default_rng(0).choice([-0.1, 0.1], (200, 160)).astype(np.float32)
    patches = layout(layout="adaptive", size_min_px=8, luma=luma)
    side = patches.size[:, 1]
    flat, busy = patches.centre[:, 0] < 120, patches.centre[:, 0] > 180
    assert side[flat].min() > 2 * side[busy].max()
    assert covered(patches, WINDOW, pixel_aspect=1, cell_px=2) == 1


def test_patches_are_turned_as_the_plate_is_seen() -> None:
    quarter = PatchSet(
        np.array([0]), np.array([[50.0, 50.0]]), np.array([[10.0, 30.0]]), np.array([np.pi / 2])
    )
    # Squeezed 2:1: 10 × 30 plate pixels are 20 × 30 as seen, turned 30 × 20, or 15 × 20 pixels.
    assert np.allclose(quarter.boxes(2.0), [[50 - 7.5, 40, 50 + 7.5, 60]])


def test_squeezed_plates_get_patches_that_look_square() -> None:
    settings = MosaicSettings(layout="grid", size_max_px=40)
    patches = laid_out(settings, WINDOW, seed=0, pixel_aspect=2.0)
    assert np.allclose(patches.size, [20, 40])


def test_a_list_goes_out_and_comes_back() -> None:
    patches = layout(rotation_deg=30, aspect_max=2)
    back = listed([Patch.model_validate(row) for row in patches.rows()])
    assert np.array_equal(back.ids, patches.ids)
    assert np.allclose(back.centre, patches.centre, atol=6e-4)
    assert np.allclose(back.size, patches.size, atol=6e-4)
    assert np.allclose(back.angle_rad, patches.angle_rad, atol=1e-6)


def test_what_is_random_about_a_patch_stays_with_its_id() -> None:
    patches = layout()
    some = patches.chosen(np.array([5, 2, 9]))
    assert np.array_equal(some.random(1), patches.random(1)[[5, 2, 9]])
    assert abs(patches.random(1).mean() - 0.5) < 0.1
    assert not np.array_equal(patches.random(1), patches.random(2))


def test_patches_larger_than_the_plate_are_refused_in_a_sentence() -> None:
    with pytest.raises(JobError, match=r"larger than the plate \(got size_max_px 201; wanted at"):
        layout(size_max_px=201)


def test_more_patches_than_can_be_are_refused_in_a_sentence() -> None:
    with pytest.raises(JobError, match="too many patches"):
        layout(layout="overlapping", size_min_px=1, overlap=0.9)
