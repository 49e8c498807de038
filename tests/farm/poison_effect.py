"""An effect with the faults that a farm has to live with. Every call leaves a line in a log."""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

from pydantic import Field
from small_shot import Gain, GainSettings

from vfxswap.effects.base import EffectResult, Frame, Prepared
from vfxswap.settings import Settings


class PoisonSettings(GainSettings):
    """Settings of the gain that may kill."""

    wait_s: float = Field(0.0, ge=0, le=1000, description="Time a frame takes.")
    log: str = Field("", description="File that every call adds its frame to.")
    kills: int = Field(0, description="Frame that kills the process that renders it.")
    raises: int = Field(0, description="Frame that raises what nobody foresees.")


class Poison(Gain):
    """A gain that takes its time; one of its frames may be deadly."""

    name: ClassVar[str] = "poison"
    settings_type: ClassVar[type[Settings]] = PoisonSettings

    def __call__(self, frame: Frame, settings: Settings, prepared: Prepared) -> EffectResult:
        assert isinstance(settings, PoisonSettings)
        if settings.log:
            descriptor = os.open(settings.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.write(descriptor, f"{frame.number} {os.getpid()}\n".encode())
            os.close(descriptor)
        time.sleep(settings.wait_s)
        if frame.number == settings.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if frame.number == settings.raises:
            raise ZeroDivisionError("nobody foresaw this")
        return super().__call__(frame, settings, prepared)
