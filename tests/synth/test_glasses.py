"""Glasses on a performer: where they sit, what they show, what lights add."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from vfxswap.align.crop import crop_matrix
from vfxswap.characteristics import CHARACTERISTICS, HEAD_M
from vfxswap.nets.guided_vector import tint_transmission, vectors
from vfxswap.synth.camera import Camera
from vfxswap.synth.glasses import Glasses, lens_field, seat, transmission, wearing
from vfxswap.synth.guided_pictures import aligned, random_glasses, render_shard
from vfxswap.synth.identity import Identity
from vfxswap.synth.lens import Prescription, thin_magnification
from vfxswap.synth.light import LightRig, point_rig, studio_rig
from vfxswap.synth.mesh import pose
from vfxswap.synth.performance import State
from vfxswap.synth.render import Truth, render
from vfxswap.train.guided_data import GuidedSet

SIZE = 96


@lru_cache(maxsize=1)
def scene() -> tuple[Identity, State, Camera, LightRig, Truth]:
    identity = Identity.from_seed(77, texture_rows=128)
    state, camera = aligned(identity, State(), SIZE, np.random.default_rng(1))
    rig = studio_rig()
    return identity, state, camera, rig, render(identity, state, camera, rig)


def test_the_camera_of_a_crop_shows_what_crop_matrix_would_cut() -> None:
    identity, state, camera, _, _ = scene()
    seen = camera.project(pose(identity, state).landmarks)[:, :2]
    matrix = crop_matrix(seen, size=SIZE)
    # But for the jitter of landmarks: a few hundredths of turn and scale, a pixel or two.
    assert np.allclose(matrix[:, :2], np.eye(2), atol=0.12)
    assert np.abs(matrix[:, :2] @ [48, 48] + matrix[:, 2] - 48).max() < 5


def test_without_power_nothing_moves_and_with_it_the_eyes_shrink_or_grow() -> None:
    identity, state, camera, _, _ = scene()
    posed = pose(identity, state)
    none = lens_field(posed, camera, Prescription())
    assert none.known.any()
    assert np.abs(none.displacement).max() == 0
    for power in (-6.0, 4.0):
        field = lens_field(posed, camera, Prescription(sphere_dpt=power, pd_mm=62))
        for side, pupil in ((-1, 68), (1, 69)):
            at = camera.project(posed.landmarks[pupil])[:2]
            x, y = np.floor(at).astype(int).tolist()
            # The field's slope over the pupil is 1 / M - 1 of the lens.
            span = 4
            d = field.displacement[y, x - span : x + span + 1, 0]
            slope = np.polyfit(np.arange(2 * span + 1), d, 1)[0]
            eye = seat(posed).lens_centre(side, 62)
            far = float(np.linalg.norm(eye - camera.position))
            # Cornea and canthi lie 12 to 24 mm behind the lens.
            low, high = (abs(1 / thin_magnification(power, b, far) - 1) for b in (0.012, 0.024))
            assert slope * power < 0
            assert 0.9 * low < abs(slope) < 1.1 * high, (power, side)


def test_glasses_change_the_picture_at_frames_lenses_and_their_shade_alone() -> None:
    identity, state, camera, rig, plain = scene()
    glasses = Glasses(prescription=Prescription(sphere_dpt=-5.0))
    background = np.zeros((SIZE, SIZE, 3), np.float32)
    worn = wearing(identity, state, camera, rig, glasses, plain=plain, background=background)
    touched = (worn.frames[..., 3] > 0) | (worn.lenses > 0) | (worn.shade < 1).any(-1)
    changed = np.abs(worn.rgb - plain.rgb).max(-1) > 2e-3
    assert (changed & ~touched).mean() < 0.002
    assert 0.04 < worn.lenses.mean() < 0.2
    assert 0.01 < worn.frames[..., 3].mean() < 0.12
    # Both lenses lie over the eyes.
    for pupil in (68, 69):
        x, y = np.floor(plain.landmarks[pupil]).astype(int)
        assert worn.lenses[y, x] > 0.9


def test_light_of_two_sources_adds_up_and_falls_with_distance_across_the_face() -> None:
    identity, state, camera, _, plain = scene()
    origin = seat(pose(identity, state)).origin
    left = point_rig(origin + HEAD_M * np.array([1.0, -0.3, 0.0]), origin, np.full(3, 50.0))
    far = point_rig(origin + HEAD_M * np.array([4.0, -1.2, 0.0]), origin, np.full(3, 50.0))
    near, away = (render(identity, state, camera, r).rgb / 50 for r in (left, far))
    skin = plain.mattes["skin"] > 0.9
    half = np.arange(SIZE)[None] > SIZE // 2
    share = [float((x.mean(-1)[skin & half]).sum() / x.mean(-1)[skin].sum()) for x in (near, away)]
    assert share[0] > share[1] > 0.6
    assert near[skin & half].mean() > 3 * near[skin & ~half].mean()


def test_a_tint_is_the_networks_own_formula() -> None:
    glasses = Glasses(tint_density=0.7, tint_color=(0.9, 0.5, 0.2), tint_gradient=0.6)
    down = np.linspace(0, 1, 9, dtype=np.float32)[None]
    values = {"tint_density": 0.7, "tint_red": 0.9, "tint_green": 0.5, "tint_blue": 0.2,
              "tint_gradient": 0.6}  # fmt: skip
    import torch

    passed = tint_transmission(vectors([values]), torch.from_numpy(down)[None])
    assert np.allclose(transmission(glasses, down), passed[0].permute(1, 2, 0), atol=1e-6)


def test_a_shard_reads_back_and_its_values_are_in_range(tmp_path: Path) -> None:
    render_shard((tmp_path, 0, 1, 5))
    data = GuidedSet.open(tmp_path)
    assert len(data) == 1
    field, known = data.read("field", 0), data.read("known", 0) > 127
    assert field.shape == (3, 128, 128, 2)
    assert (field[0][~known[0]] == 0).all()
    for values in data.values["glasses"][0]:
        for value, each in zip(values, CHARACTERISTICS, strict=True):
            assert each.low - 1e-5 <= value <= each.high + 1e-5, each.name
    assert data.read("light", 0).min() >= 0


def test_random_glasses_repeat_by_seed() -> None:
    one, two = (random_glasses(np.random.default_rng(4)) for _ in range(2))
    assert one == two
