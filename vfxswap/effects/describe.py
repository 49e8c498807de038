"""What the effects say of themselves; hosts generate their knobs from it."""

from __future__ import annotations

import inspect
from typing import Any

import vfxswap
from vfxswap.errors import JobError
from vfxswap.job import Job
from vfxswap.settings import describe, nearest


def description(effect: str = "") -> dict[str, Any]:
    """Version, effects (all, or one) with their settings, and the JSON schema of a job.

    Raises JobError for an unknown effect.
    """
    from vfxswap.effects import EFFECTS

    if effect and effect not in EFFECTS:
        raise JobError("no such effect", got=effect, wanted=nearest(effect, EFFECTS))
    effects = [
        {
            "name": name,
            "help": inspect.getdoc(kind) or "",
            "settings": describe(kind.settings_type),
        }
        for name, kind in EFFECTS.items()
        if effect in ("", name)
    ]
    return {"version": vfxswap.__version__, "effects": effects, "job_schema": Job.json_schema()}
