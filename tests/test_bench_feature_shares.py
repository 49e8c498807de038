"""Facts about comparing leaks of transfers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfxswap.bench_feature_shares import (
    CLOSE,
    LEAST_AMOUNT,
    Transfer,
    equal_amounts,
    summarised,
)


def transfer(*, moved: float = 1.0, leak: float, step: float = 1.0, outside: float) -> Transfer:
    return Transfer(0.5, 2 * moved, 0.5, moved, leak, step, outside)


@given(
    gains=st.tuples(st.floats(0.01, 3), st.floats(0.01, 3)),
    bends=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
)
def test_amounts_make_changes_equal_and_never_exceed_a_full_transfer(
    gains: tuple[float, float], bends: tuple[float, float]
) -> None:
    def change(way: int, amount: float) -> float:
        return float(gains[way] * amount ** bends[way])

    amounts = equal_amounts({"a": lambda x: change(0, x), "b": lambda x: change(1, x)})
    least = min(gains)
    for way, name in enumerate("ab"):
        assert LEAST_AMOUNT <= amounts[name] <= 1
        near = change(way, amounts[name]) <= (1 + 1.01 * CLOSE) * least
        assert near or amounts[name] == LEAST_AMOUNT
        assert change(way, amounts[name]) >= (1 - 1.01 * CLOSE) * least
    assert max(amounts.values()) == 1


def test_a_way_that_changes_nothing_brings_the_other_to_the_least_amount() -> None:
    amounts = equal_amounts({"still": lambda _: 0.0, "moves": lambda x: x})
    assert amounts == {"still": 1.0, "moves": LEAST_AMOUNT}


def test_equal_ways_are_compared_in_full() -> None:
    assert equal_amounts({"a": lambda x: 0.3 * x, "b": lambda x: 0.301 * x}) == {"a": 1, "b": 1}


def test_shares_are_of_means_and_medians_and_counts_over_pairs() -> None:
    # One pair of four leaks a lot, one hardly moves, one ties.
    ours = [
        transfer(leak=0.8, outside=0.1),
        transfer(leak=0.1, outside=0.1),
        transfer(moved=0.0, leak=0.0, step=0.0, outside=0.0),
        transfer(leak=0.3, outside=0.4),
    ]
    theirs = [
        transfer(leak=0.2, outside=0.2),
        transfer(leak=0.2, outside=0.2),
        transfer(moved=0.0, leak=0.0, step=0.0, outside=0.0),
        transfer(leak=0.4, outside=0.2),
    ]
    found = summarised(ours, theirs)
    assert found["leaked"] == pytest.approx(1.2 / 3)
    assert found["spilt"] == pytest.approx(0.6 / 3)
    assert found["leaked_median"] == pytest.approx(0.2)
    assert found["leaks_less"] == pytest.approx(2.5 / 4)
    assert found["spills_less"] == pytest.approx(2.5 / 4)
    assert found["change"] == pytest.approx(1.5) and found["amount"] == 0.5
    assert all(math.isfinite(value) for value in found.values())
    mirrored = summarised(theirs, ours)
    for name in ("leaks_less", "spills_less"):
        assert found[name] + mirrored[name] == pytest.approx(1)
    assert summarised(ours, ours)["leaks_less"] == 0.5
    with pytest.raises(ValueError):
        summarised(ours, theirs[1:])
