"""The shot loop: read, effects, write; and what is checked and prepared before it."""

from __future__ import annotations

from vfxswap.render.checks import Finding, check
from vfxswap.render.loop import Session, render
from vfxswap.render.models import Nets
from vfxswap.render.prepare import Preparation, prepare_shot
from vfxswap.render.report import Event, Failure, Report, Written

__all__ = [
    "Event",
    "Failure",
    "Finding",
    "Nets",
    "Preparation",
    "Report",
    "Session",
    "Written",
    "check",
    "prepare_shot",
    "render",
]
