"""An effect with the faults that a worker has to live with."""

from __future__ import annotations

import os
import sys
import time
from typing import ClassVar

from pydantic import Field
from small_shot import Gain, GainSettings

from vfxswap.effects.base import EffectResult, Frame, Prepared
from vfxswap.settings import Settings


class SlowSettings(GainSettings):
    """Settings of the slow gain."""

    wait_s: float = Field(0.0, ge=0, le=1000, description="Time a frame takes.")
    breaks: bool = Field(False, description="Raises what nobody foresees.")


class Slow(Gain):
    """A gain that takes its time and prints where it should not."""

    name: ClassVar[str] = "slow"
    settings_type: ClassVar[type[Settings]] = SlowSettings

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        assert isinstance(settings, SlowSettings)
        print(f"python prints on frame {frame.number}")
        os.write(1, b"a library prints\n")
        assert sys.stdin.read() == ""
        time.sleep(settings.wait_s)
        if settings.breaks:
            raise ZeroDivisionError("nobody foresaw this")
        return super().__call__(frame, settings, prepared)
