"""What effects give and take is told where no network is loaded."""

from __future__ import annotations

import pytest

from vfxswap.effects import EFFECTS, SETTINGS
from vfxswap.effects.describe import description
from vfxswap.effects.outputs import LAYERS, MATTES
from vfxswap.errors import JobError
from vfxswap.job import EffectSpec, Job, MatteSource, Output, Plate
from vfxswap.render.plan import checked_effects


def test_every_effect_tells_its_layers_and_mattes() -> None:
    assert EFFECTS.keys() == SETTINGS.keys() == LAYERS.keys() == MATTES.keys()


@pytest.mark.parametrize("effect", sorted(LAYERS))
def test_layers_obey_nukes_naming(effect: str) -> None:
    for layer in LAYERS[effect]:
        assert layer.name.split("_")[0].isalpha()
        assert 1 <= len(layer.channels) <= 4
        assert all(len(channel) > 1 for channel in layer.channels)


def test_description_holds_layers_and_mattes() -> None:
    (swap,) = description("swap")["effects"]
    assert swap["layers"][0]["name"] == "swap_face"
    assert swap["layers"][0]["channels"] == ("red", "green", "blue", "alpha")
    assert [matte["role"] for matte in swap["mattes"]] == ["holdout", "garbage"]


def test_an_unknown_matte_role_is_refused_with_the_nearest() -> None:
    spec = EffectSpec(effect="swap", mattes={"holdut": MatteSource(pattern="m.#.exr")})
    job = Job(plate=Plate(pattern="p.#.exr"), effects=(spec,), output=Output(pattern="o.#.exr"))
    with pytest.raises(JobError, match=r"knows no such matte.*holdut.*holdout"):
        checked_effects(job)
