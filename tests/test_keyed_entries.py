"""Numbers that a setting holds by name are keyframed one by one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from vfxswap.errors import JobError
from vfxswap.settings import Settings, describe, settings_at, settings_at_keys


class Mix(Settings):
    weights: dict[str, float] = Field(default_factory=dict, description="By name.")
    names: dict[str, str] = Field(default_factory=dict, description="By name.")
    amount: float = Field(default=1.0, description="Of all.")


def _keys(values: dict[str, float], interpolation: str = "linear") -> dict[str, Any]:
    return {"keys": values, "interpolation": interpolation}


SPEC = {
    "weights": {
        "ink": _keys({"10": 1.0, "20": 0.0}),
        "neon": _keys({"14": 0.0, "20": 1.0}),
        "oil": 2,
    }
}


def test_each_entry_has_its_own_curve() -> None:
    at = settings_at(SPEC, Mix, 17).weights
    assert at == pytest.approx({"ink": 0.3, "neon": 0.5, "oil": 2.0})
    assert settings_at(SPEC, Mix, 0).weights == {"ink": 1.0, "neon": 0.0, "oil": 2.0}
    assert settings_at(SPEC, Mix, 99).weights == {"ink": 0.0, "neon": 1.0, "oil": 2.0}


def test_the_keys_of_all_entries_count() -> None:
    every = settings_at_keys({**SPEC, "amount": _keys({"12": 0.5})}, Mix)
    assert [round(s.weights["ink"], 3) for s in every] == [1.0, 0.8, 0.6, 0.0]


def test_a_wrong_key_is_named_with_its_entry() -> None:
    with pytest.raises(JobError, match=r"weights\.ink"):
        settings_at({"weights": {"ink": _keys({"1": float("nan")})}}, Mix, 1)
    with pytest.raises(JobError, match=r"weights\.ink at key 1.*a number"):
        settings_at({"weights": {"ink": _keys({"1": True})}}, Mix, 1)


def test_a_whole_setting_of_entries_has_no_keys_of_its_own() -> None:
    with pytest.raises(JobError, match="keys for each entry"):
        settings_at({"weights": _keys({"1": 1.0})}, Mix, 1)


def test_names_by_name_are_not_keyframed() -> None:
    with pytest.raises(JobError, match=r"names\.a cannot be keyframed"):
        settings_at({"names": {"a": _keys({"1": 1.0})}}, Mix, 1)


def test_descriptions_tell_which_settings_have_keyed_entries() -> None:
    rows = {row["name"]: row for row in describe(Mix)}
    assert rows["weights"]["keyframed_entries"] and not rows["weights"]["keyframes"]
    assert rows["amount"]["keyframes"] and "keyframed_entries" not in rows["amount"]
    assert "keyframed_entries" not in rows["names"] and not rows["names"]["keyframes"]
