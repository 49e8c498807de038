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

_LONGEST_RUN = 4096
"""Frames that one pair of keys may span: it bounds the time that a long noisy curve takes."""


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
    """Indices of keys: where the line between two misses a value, the worst one becomes a key."""
    kept = {0, len(frames) - 1}
    spans = [(0, len(frames) - 1)]
    while spans:
        first, last = spans.pop()
        middle = _worst(frames, values, first, last)
        if middle is not None:
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return sorted(kept)


def _worst(frames: Sequence[int], values: Sequence[Number], first: int, last: int) -> int | None:
    """The index between two keys where the line misses its value most, None where it gives all
    of them back bit for bit: the arithmetic is that of vfxswap.settings.Keyframes."""
    if last - first > _LONGEST_RUN:
        return (first + last) // 2
    low, high = values[first], values[last]
    worst, most = None, 0.0
    for i in range(first + 1, last):
        t = (frames[i] - frames[first]) / (frames[last] - frames[first])
        value = low * (1.0 - t) + high * t
        missed = abs(min(max(value, min(low, high)), max(low, high)) - values[i])
        if missed > most:
            worst, most = i, missed
    return worst
