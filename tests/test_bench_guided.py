"""The measuring of guided changes is right itself."""

from __future__ import annotations

import pytest

from vfxswap.bench_guided import lens_rows, light_rows, scene
from vfxswap.bench_guided_estimates import minus_cylinder
from vfxswap.synth.lens import Prescription


def test_a_plus_cylinder_is_stated_as_the_minus_one_that_bends_alike() -> None:
    lens = minus_cylinder(Prescription(sphere_dpt=-3.0, cylinder_dpt=1.0, axis_deg=120.0))
    assert (lens.sphere_dpt, lens.cylinder_dpt, lens.axis_deg) == (-2.0, -1.0, 30.0)
    assert minus_cylinder(lens) is lens


@pytest.mark.slow
def test_geometry_beats_doing_nothing_at_every_power_and_light() -> None:
    scenes = [scene(1)]
    measured = [*lens_rows(scenes, None), *light_rows(scenes, None)]
    rows = {row["name"]: row["value"] for row in measured}
    for name, value in rows.items():
        kind, _, maker = name.partition(": ")
        if maker != "doing nothing":
            assert value < rows[f"{kind}: doing nothing"], name
