"""What effects prepared for a shot, kept in a file: gzipped JSON.

The file holds `"format": "vfxswap-prepared"`, `"version": 1` and `effects`, one for each effect of
the job in its order: `effect` (its name), `key` (SHA-256 of all that `values` depend on, see
`render.prepare`) and `values` (the effect's own JSON). It can be deleted at any time: whatever it
lacks is prepared again. The same content gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, JsonValue

from vfxswap.errors import JobError, OutputError
from vfxswap.files import write_atomically
from vfxswap.persona import Sha256
from vfxswap.settings import Settings, validated

FORMAT: Final = "vfxswap-prepared"
VERSION: Final = 1
MAX_BYTES: Final = 1 << 28
"""Of the JSON before compression; more is refused, so that a small file cannot fill the memory."""


class PreparedEffect(Settings):
    """What one effect of a job prepared."""

    effect: str = Field(description="Name of the effect.")
    key: Sha256 = Field(description="Hash of what the values depend on.")
    values: dict[str, JsonValue] = Field(description="The effect's own values.")


class _Content(Settings):
    """The whole file."""

    format: Literal["vfxswap-prepared"] = Field(default=FORMAT, description="What this is.")
    version: Literal[1] = Field(default=VERSION, description="Version of this form.")
    effects: tuple[PreparedEffect | None, ...] = Field(
        description="By place in the job; null for an effect that prepares nothing."
    )


def read_prepared(path: Path) -> tuple[PreparedEffect | None, ...]:
    """What is stored, by place in the job; empty when the file is missing, damaged, too large or
    of another version: it is only a store of what can be had again."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            return ()
        return validated(_Content, json.loads(data)).effects
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, JobError):
        return ()


def write_prepared(path: Path, effects: Sequence[PreparedEffect | None]) -> None:
    """Writes atomically. Raises OutputError, also for more than `MAX_BYTES`."""
    content: dict[str, Any] = _Content(effects=tuple(effects)).model_dump(mode="json")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = text.encode()
    if len(data) > MAX_BYTES:
        raise OutputError(
            "what the effects prepared is too large",
            got=f"{len(data)} bytes",
            wanted=f"up to {MAX_BYTES}",
            file=path,
        )
    write_atomically(path, gzip.compress(data, compresslevel=6, mtime=0))
