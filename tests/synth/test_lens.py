"""Traced lenses against what optics says of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vfxswap.synth.lens import (
    Prescription,
    made,
    refracted,
    thin_magnification,
    traced,
)

Array = NDArray[np.float64]
BEFORE, BEHIND = 1.0, 0.025


def seen(prescription: Prescription, at: Array, *, behind: float = BEHIND) -> Array:
    """Where on a plane behind the lens a viewer 1 m away looks, who aims at [N, 2] of it."""
    target = np.concatenate([at, np.full((len(at), 1), behind)], 1)
    eye = np.array([0.0, 0.0, -BEFORE])
    points, toward = traced(made(prescription), np.broadcast_to(eye, target.shape), target - eye)
    way = (behind - points[:, 2]) / toward[:, 2]
    return (points + way[:, None] * toward)[:, :2]


def ring(radius_m: float) -> Array:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return radius_m * np.stack([np.cos(angle), np.sin(angle)], 1)


def test_snells_law_holds_in_angles() -> None:
    angle = np.deg2rad(np.array([0.0, 10.0, 35.0, 60.0]))
    rays = np.stack([np.sin(angle), np.zeros(4), np.cos(angle)], 1)
    normals = np.broadcast_to([0.0, 0.0, -1.0], (4, 3))
    inside = refracted(rays, normals, 1 / 1.5)
    assert np.allclose(np.linalg.norm(inside, axis=1), 1)
    assert np.allclose(1.5 * inside[:, 0], np.sin(angle))
    beyond = refracted(np.array([[np.sin(0.9), 0, np.cos(0.9)]]), normals[:1], 1.5)
    assert np.isnan(beyond).all()  # total reflection from 41.8° on


def test_a_lens_of_no_power_shows_what_is_there() -> None:
    # Glass 1.5 mm thick between curved surfaces moves a ray a little; in a face, a tenth of a pixel
    # of 512 is 0.045 mm.
    moved = seen(Prescription(), ring(0.02)) - ring(0.02)
    assert np.abs(moved).max() < 2e-4
    assert np.abs(seen(Prescription(), ring(0.004)) - ring(0.004)).max() < 4e-5


@pytest.mark.parametrize("power", [-8.0, -6.0, -2.0, 2.0, 6.0])
def test_near_the_axis_a_lens_magnifies_as_theory_says(power: float) -> None:
    at = ring(0.004)
    # `at` is shown what lies at `found`: what is seen is larger by at / found.
    found = seen(Prescription(sphere_dpt=power), at)
    size = np.linalg.norm(at, axis=1) / np.linalg.norm(found, axis=1)
    assert size.std() < 1e-6
    # A thick lens magnifies further by its shape: 1 / (1 - t·F1 / n), 0.4 to 3.6 % here.
    lens = made(Prescription(sphere_dpt=power))
    shape = 1 / (1 - lens.thickness * lens.front * (lens.index - 1) / lens.index)
    wanted = shape * thin_magnification(power, BEHIND, BEFORE)
    assert size.mean() == pytest.approx(wanted, rel=0.006)
    assert size.mean() == pytest.approx(thin_magnification(power, BEHIND, BEFORE), rel=0.04)


def test_minus_lenses_look_outwards_and_plus_lenses_inwards() -> None:
    for power, sign in ((-5.0, 1), (5.0, -1)):
        moved = seen(Prescription(sphere_dpt=power), ring(0.015)) - ring(0.015)
        assert (sign * (moved * ring(0.015)).sum(1) > 0).all()


def test_a_cylinder_bends_across_its_axis_alone() -> None:
    along = np.array([[np.cos(0.5), np.sin(0.5)]]) * 0.01
    across = np.array([[-np.sin(0.5), np.cos(0.5)]]) * 0.01
    lens = Prescription(cylinder_dpt=-4.0, axis_deg=float(np.rad2deg(0.5)))
    plain = np.abs(seen(Prescription(), along) - along).max()
    assert np.abs(seen(lens, along) - along).max() < plain + 1e-4
    moved = seen(lens, across) - across
    assert (moved * across).sum() / (across**2).sum() == pytest.approx(
        1 / thin_magnification(-4.0, BEHIND, BEFORE) - 1, rel=0.08
    )


def test_equal_prescriptions_in_plus_and_minus_cylinder_are_one_lens() -> None:
    minus = Prescription(sphere_dpt=-2.0, cylinder_dpt=-1.5, axis_deg=20.0)
    plus = Prescription(sphere_dpt=-3.5, cylinder_dpt=1.5, axis_deg=110.0)
    assert np.allclose(seen(minus, ring(0.02)), seen(plus, ring(0.02)), atol=1e-9)


def test_a_prism_moves_by_a_centimetre_a_metre_away_from_its_base() -> None:
    # Light bends towards the base, so the viewer sees there what lies towards the base.
    at = np.zeros((1, 2))
    moved = seen(Prescription(prism_pdpt=4.0, base_deg=90.0), at, behind=0.5) - at
    assert moved[0, 1] == pytest.approx(0.04 * 0.5, rel=0.05)
    assert abs(moved[0, 0]) < 1e-4


def test_theory_of_a_thin_lens() -> None:
    assert thin_magnification(0.0, 0.03, 1.0) == 1.0
    # An object in the focus of a magnifier, seen from far away, is a window on infinity.
    assert thin_magnification(10.0, 0.05, 1e9) == pytest.approx(2.0)
    assert thin_magnification(-6.0, 0.025, 1.0) == pytest.approx(1 / (1 + 6 * 0.025 / 1.025))
