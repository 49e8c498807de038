"""What the effects say of themselves; hosts generate their knobs from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import vfxswap
from vfxswap.effects import HELP, SETTINGS
from vfxswap.effects.outputs import LAYERS, MATTES, PICTURES
from vfxswap.errors import JobError
from vfxswap.job import FILE_SETTINGS, Job
from vfxswap.settings import describe, nearest


def description(effect: str = "") -> dict[str, Any]:
    """Version, effects (all, or one) with their settings (`file`: one that names a file), layers,
    mattes and pictures, and the JSON schema of a job.

    Raises JobError for an unknown effect.
    """
    if effect and effect not in SETTINGS:
        raise JobError("no such effect", got=effect, wanted=nearest(effect, SETTINGS))
    effects = [
        {
            "name": name,
            "help": HELP[name],
            "settings": [
                {**row, "file": True} if row["name"] in FILE_SETTINGS else row
                for row in describe(settings)
            ],
            "layers": [asdict(layer) for layer in LAYERS[name]],
            "mattes": [asdict(matte) for matte in MATTES[name]],
            "pictures": [asdict(picture) for picture in PICTURES.get(name, ())],
        }
        for name, settings in SETTINGS.items()
        if effect in ("", name)
    ]
    return {"version": vfxswap.__version__, "effects": effects, "job_schema": Job.json_schema()}
