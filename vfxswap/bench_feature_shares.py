"""What a transfer changes beside its feature, compared fairly between ways to make it.

Who changes less leaks less: two ways are therefore compared where both change the feature alike,
at the least of what either does in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

LEAST_CHANGE = 1e-3
"""Stops: below this a share of a change says nothing."""
LEAST_AMOUNT = 0.01
CLOSE = 0.02
"""Changes are equal when they differ by no more than this share."""
_TRIES = 16


class Transfer(NamedTuple):
    """A pair's numbers in one way, root mean squares in stops. In full, at amount 1: the comp's
    `error` inside the feature's region against truth and its `change` there. At `amount`, where
    the ways that are compared change the feature alike: the comp's change inside (`moved`) and
    outside (`leak`), and both of the step before it is confined to the feature's region (`step`,
    `step_outside`)."""

    error: float
    change: float
    amount: float
    moved: float
    leak: float
    step: float
    step_outside: float

    @property
    def leaked(self) -> float:
        """The comp's change outside as a share of that inside."""
        return self.leak / max(self.moved, LEAST_CHANGE)

    @property
    def spilt(self) -> float:
        """The same of the step."""
        return self.step_outside / max(self.step, LEAST_CHANGE)


def summarised(rows: Sequence[Transfer], rival: Sequence[Transfer]) -> dict[str, float]:
    """A way over all pairs: means of each number; `leaked` and `spilt`, shares of means (pairs
    that hardly differ would spoil means of shares), and their medians over pairs; `leaks_less`
    and `spills_less`, in what share of the pairs it has the lower one of the two than `rival`
    has, where a tie is half a pair. Raises ValueError when the counts differ."""
    mean = Transfer(*np.mean(rows, axis=0).tolist())
    return {
        **mean._asdict(),
        "leaked": mean.leaked,
        "spilt": mean.spilt,
        "leaked_median": float(np.median([row.leaked for row in rows])),
        "spilt_median": float(np.median([row.spilt for row in rows])),
        "leaks_less": _less_often([row.leaked for row in rows], [row.leaked for row in rival]),
        "spills_less": _less_often([row.spilt for row in rows], [row.spilt for row in rival]),
    }


def equal_amounts(changes: Mapping[str, Callable[[float], float]]) -> dict[str, float]:
    """For each way an amount in `LEAST_AMOUNT`…1 at which it changes the feature as the one does
    that changes it least at 1, to within `CLOSE`. `changes` give the change by amount, 0 at 0."""
    full = {way: change(1.0) for way, change in changes.items()}
    target = min(full.values())
    return {way: _amount(target, full[way], change) for way, change in changes.items()}


def _amount(target: float, full: float, change: Callable[[float], float]) -> float:
    """By false position, as changes grow nearly in proportion to the amount; every other time by
    halving, for those that do not."""
    low, high = (0.0, 0.0), (1.0, full)
    amount, found = high
    for attempt in range(_TRIES):
        if abs(found - target) <= CLOSE * target or amount == LEAST_AMOUNT:
            break
        share = 0.5 if attempt % 2 else (target - low[1]) / (high[1] - low[1])
        amount = max(LEAST_AMOUNT, low[0] + share * (high[0] - low[0]))
        found = change(amount)
        low, high = ((amount, found), high) if found < target else (low, (amount, found))
    return amount


def _less_often(ours: Sequence[float], theirs: Sequence[float]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return float(np.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs]))
