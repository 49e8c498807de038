"""Facts about rendered performers: pictures and truth belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("anny")
pytest.importorskip("warp")

from vfxswap.errors import JobError
from vfxswap.geometry import STABLE, Similarity
from vfxswap.synth.background import random_background
from vfxswap.synth.camera import portrait_camera
from vfxswap.synth.crops import (
    COMB_CROPS,
    LANDMARK_CROPS,
    CropRecipe,
    crop_sample,
    face_camera,
    random_state,
    render_crops,
)
from vfxswap.synth.head import Floats
from vfxswap.synth.identity import Identity, persona
from vfxswap.synth.light import random_rig, studio_rig
from vfxswap.synth.performance import State, actions
from vfxswap.synth.render import MATTES, Truth, render

ROWS = 192
SIZE = 96


def amber() -> Identity:
    return persona("amber", texture_rows=ROWS)


def picture(state: State | None = None, *, identity: Identity | None = None) -> Truth:
    who = identity or amber()
    state = state or State()
    return render(who, state, face_camera(who, state, SIZE), studio_rig())


def at(image: Floats, points: NDArray[np.floating]) -> Floats:
    column, row = np.floor(points).astype(int).T
    return np.asarray(image[row, column], np.float32)


def test_the_same_arguments_give_the_same_bits() -> None:
    rng_a, rng_b = np.random.default_rng(1), np.random.default_rng(1)
    first, second = (crop_sample(amber(), r, SIZE) for r in (rng_a, rng_b))
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.landmarks, second.landmarks)
    assert all(np.array_equal(first.mattes[k], second.mattes[k]) for k in first.mattes)


@pytest.mark.parametrize("seed", range(4))
def test_mattes_are_shares_that_add_up_to_alpha(seed: int) -> None:
    rng = np.random.default_rng(seed)
    recipe = replace(LANDMARK_CROPS, occluder_chance=1.0, glasses_chance=1.0)
    truth = crop_sample(amber(), rng, SIZE, recipe=recipe)
    parts = np.stack(list(truth.mattes.values()))
    assert set(truth.mattes) == {*MATTES, "occluder"}
    assert parts.min() >= -1e-6
    assert np.abs(parts.sum(0) - truth.alpha).max() < 1e-3
    assert truth.alpha.max() <= 1 + 1e-5
    assert (truth.face_matte <= 1 - truth.mattes["occluder"] + 1e-4).all()


def test_landmarks_lie_on_what_they_name() -> None:
    truth = picture(State(actions(jawOpen=0.5)))
    p = truth.landmarks
    assert (at(truth.mattes["eyes"], p[68:70]) > 0.9).all()
    # Brows are painted up to 2 mm above or below their landmarks, about one pixel here.
    near_brows = np.max(
        [np.roll(truth.mattes["brows"], (dy, 0), (0, 1)) for dy in (-2, -1, 0, 1, 2)], axis=0
    )
    assert (at(near_brows, p[[18, 19, 20, 23, 24, 25]]) > 0.2).all()
    inner = (p[62] + p[66]) / 2
    assert at(truth.mattes["mouth"], inner[None])[0] > 0.9
    below = (p[57] + p[66]) / 2
    assert at(truth.mattes["lips"], below[None])[0] > 0.5
    assert (at(truth.face_matte, p[27:36]) > 0.9).all()
    assert truth.visible[27:31].all()


def test_pupils_are_dark_and_whites_are_not() -> None:
    who, state = amber(), State(actions(eyeWide=0.6))
    truth = render(who, state, face_camera(who, state, 256), replace(studio_rig(), glint=0.0))
    luma = truth.rgb.mean(-1)
    white = (truth.landmarks[36] * 0.3 + truth.landmarks[68] * 0.7)[None]
    white[:, 0] -= 4
    assert at(luma, truth.landmarks[68:69])[0] < 0.05
    assert luma[truth.mattes["eyes"] > 0.9].max() > 4 * at(luma, truth.landmarks[68:69])[0]


def test_the_far_side_of_the_face_is_out_of_sight_in_profile() -> None:
    truth = picture(State(yaw=0.85))
    # Turned to image right, the subject's left (image right) is hidden.
    assert truth.visible[0:5].mean() > truth.visible[12:17].mean()
    assert not truth.visible[16]


def test_depth_is_nearest_at_the_nose_and_inf_beside_the_head() -> None:
    truth = picture()
    face = truth.face_matte > 0.5
    assert at(truth.depth, truth.landmarks[30:31])[0] < truth.depth[face].min() + 0.01
    assert np.isinf(truth.depth[truth.alpha == 0]).all()
    assert np.isfinite(truth.depth[truth.alpha > 0]).all()


def test_highlights_exceed_one_and_nothing_is_clamped() -> None:
    rng = np.random.default_rng(3)
    rigs = [replace(random_rig(rng), glint=3.0) for _ in range(6)]
    who, state = amber(), State()
    top = [float(render(who, state, face_camera(who, state, 128), r).rgb.max()) for r in rigs]
    assert max(top) > 2.0


def test_light_is_linear() -> None:
    who, state = amber(), State()
    camera = face_camera(who, state, SIZE)
    once = render(who, state, camera, studio_rig()).rgb
    thrice = render(who, state, camera, studio_rig().scaled(3.0)).rgb
    assert np.allclose(3 * once, thrice, rtol=1e-3, atol=1e-3)


def test_more_samples_change_the_picture_little() -> None:
    who, state = amber(), State()
    camera = face_camera(who, state, SIZE)
    two, four = (render(who, state, camera, studio_rig(), samples=n).rgb for n in (2, 4))
    assert np.abs(two - four).mean() < 0.01


def test_the_same_performance_by_another_persona_keeps_its_pose() -> None:
    state = random_state(np.random.default_rng(8), CropRecipe())
    camera = face_camera(amber(), state, SIZE)
    steady = list(STABLE)
    fits = []
    for name in ("amber", "basalt", "cedar"):
        who = persona(name, texture_rows=ROWS)
        fits.append(render(who, state, camera, studio_rig()).landmarks[steady])
    for other in fits[1:]:
        between = Similarity.fit(fits[0], other)
        assert abs(between.angle_rad) < np.radians(4)
        assert abs(between.scale - 1) < 0.15
        assert np.linalg.norm(other.mean(0) - fits[0].mean(0)) < 0.03 * SIZE


def test_expressions_change_the_picture_inside_the_face_only() -> None:
    who = amber()
    camera = face_camera(who, State(), SIZE)
    still, smiling = (
        render(who, s, camera, studio_rig())
        for s in (State(), State(actions(mouthSmile=1.0, jawOpen=0.3)))
    )
    change = np.abs(still.rgb - smiling.rgb).mean(-1)
    face = np.maximum(still.face_matte, smiling.face_matte) > 0
    assert change[face].mean() > 20 * change[~face].mean()


def test_an_occluder_hides_landmarks_and_leaves_their_places() -> None:
    recipe = replace(LANDMARK_CROPS, occluder_chance=1.0, glasses_chance=0.0)
    for seed in range(20):
        covered = crop_sample(amber(), np.random.default_rng(seed), SIZE, recipe=recipe)
        rng = np.random.default_rng(seed)
        bare = crop_sample(amber(), rng, SIZE, recipe=replace(recipe, occluder_chance=0.0))
        assert np.array_equal(covered.landmarks, bare.landmarks)
        if (bare.visible & ~covered.visible).any():
            return
    pytest.fail("no occluder ever hid a landmark")


def test_comb_crops_hold_the_clean_head_alone() -> None:
    truth = crop_sample(amber(), np.random.default_rng(0), SIZE, recipe=COMB_CROPS)
    assert (truth.rgb[truth.alpha == 0] == 0).all()
    assert not truth.mattes["occluder"].any()
    assert not truth.mattes["glasses"].any()


def test_crops_do_not_depend_on_batches() -> None:
    def rendered(batch: int) -> NDArray[np.float16]:
        batches = render_crops(
            4, 48, seed=2, crops_each=2, processes=0, batch=batch, texture_rows=96
        )
        return np.concatenate([b.rgb for b in batches])

    assert np.array_equal(rendered(4), rendered(3))


def test_backgrounds_are_finite_non_negative_and_of_the_size_asked_for() -> None:
    for seed in range(30):
        picture = random_background(np.random.default_rng(seed), 20, 31)
        assert picture.shape == (20, 31, 3)
        assert np.isfinite(picture).all()
        assert picture.min() >= 0


def test_a_device_that_is_not_there_is_named() -> None:
    who, state = amber(), State()
    with pytest.raises(JobError, match="no such device to render on"):
        render(who, state, face_camera(who, state, 32), studio_rig(), device="cuda:77")


@pytest.mark.gpu
def test_cuda_and_cpu_render_the_same_picture() -> None:
    who, state = amber(), State(actions(mouthSmile=0.5, jawOpen=0.3), yaw=0.3)
    camera = face_camera(who, state, SIZE)
    cpu, cuda = (render(who, state, camera, studio_rig(), device=d) for d in ("cpu", "cuda"))
    assert np.abs(cpu.rgb - cuda.rgb).mean() < 1e-3
    assert (np.abs(cpu.alpha - cuda.alpha) > 0.3).mean() < 1e-3
    assert np.allclose(cpu.landmarks, cuda.landmarks, atol=1e-3)


def test_the_cut_edge_of_the_bust_is_never_seen() -> None:
    who, state = amber(), State()
    camera = portrait_camera(np.array([0.0, -0.1, 0.4]), size=(80, 80), height_m=0.6)
    truth = render(who, state, camera, studio_rig())
    filled = truth.mattes["body"][:, 30:50] > 0.5
    first = filled.argmax(0)
    assert all(filled[row:, column].all() for column, row in enumerate(first))
