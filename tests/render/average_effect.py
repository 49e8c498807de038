"""An effect that needs the whole shot: the gain of each frame is taken from the shot's mean."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
from small_shot import Gain, GainSettings

from vfxswap import effects
from vfxswap.effects.base import EffectResult, Frame, Prepared
from vfxswap.job import Job
from vfxswap.render import prepare_shot, render
from vfxswap.settings import Settings
from vfxswap.shot import parse_frames


class Average(Gain):
    """`gain` times the mean of each frame over the shot's; remembers what it was asked."""

    name: ClassVar[str] = "average"
    seen: ClassVar[list[int]] = []
    """Frames that preparing looked at, in every object of this process."""

    def prepare(self, frames: Iterable[Frame]) -> Prepared:
        means = {}
        for frame in frames:
            self.seen.append(frame.number)
            means[frame.number] = np.float64(np.nanmean(frame.rgb)).item()
        return {"means": means, "mean": sum(means.values()) / max(len(means), 1)}

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        assert isinstance(settings, GainSettings)
        share = prepared["means"][str(frame.number)] / prepared["mean"]
        factor = min(settings.gain * share, 100.0)
        return super().__call__(frame, settings.model_copy(update={"gain": factor}), prepared)


def main(command: str, job: Path, frames: str = "") -> int:
    """Prepares or renders a job in a process that knows the effect."""
    effects.EFFECTS["average"] = Average
    if command == "prepare":
        prepare_shot(Job.read(job), threads=1)
        return 0
    return render(Job.read(job), frames=parse_frames(frames), threads=1).exit_code


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
