"""Animated knobs as keyframes of a job.

A curve is sampled on every frame that is rendered, whatever drives it (keys of any interpolation,
expressions, links); keys that the engine's own interpolation gives back bit for bit are left
out. So the engine sees on every frame the value that Nuke shows there.
"""

from __future__ import annotations

from typing import Dict, Mapping, Sequence, Union

Number = Union[bool, int, float]
Keyframes = Dict[str, object]
"""`{"keys": {"1001": 0.0}, "interpolation": "linear" | "step"}`, as in a job."""

_LONGEST_RUN = 512
"""Frames that one pair of keys may span: testing a run takes its length squared."""


def keyframed(samples: Mapping[int, Number]) -> Number | Keyframes:
    """The value where it is the same on all frames, else keyframes that give it on each of them.

    Switches hold their earlier key; numbers are linear between keys. `samples` are not empty.
    """
    frames = sorted(samples)
    values = [samples[frame] for frame in frames]
    if all(value == values[0] for value in values):
        return values[0]
    if isinstance(values[0], bool):
        kept = [0] + [i for i in range(1, len(values)) if values[i] != values[i - 1]]
        return {"keys": {str(frames[i]): values[i] for i in kept}, "interpolation": "step"}
    kept = _linear_keys(frames, values)
    return {"keys": {str(frames[i]): values[i] for i in kept}, "interpolation": "linear"}


def _linear_keys(frames: Sequence[int], values: Sequence[Number]) -> list[int]:
    kept, first = [0], 0
    while first < len(frames) - 1:
        last = first + 1
        while (
            last + 1 < len(frames)
            and last - first < _LONGEST_RUN
            and _gives_back(frames, values, first, last + 1)
        ):
            last += 1
        kept.append(last)
        first = last
    return kept


def _gives_back(frames: Sequence[int], values: Sequence[Number], first: int, last: int) -> bool:
    """Whether the line between two keys gives every value between them, bit for bit: the same
    arithmetic as vfxswap.settings.Keyframes."""
    low, high = values[first], values[last]
    for i in range(first + 1, last):
        t = (frames[i] - frames[first]) / (frames[last] - frames[first])
        value = low * (1.0 - t) + high * t
        if min(max(value, min(low, high)), max(low, high)) != values[i]:
            return False
    return True
