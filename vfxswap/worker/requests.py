"""What may be asked of a worker, one model a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, JsonValue, StrictBool

from vfxswap.errors import EXIT_BAD_JOB, VfxSwapError
from vfxswap.settings import Settings, nearest, validated

Id = str | int
"""What the caller names a request by."""


class RequestError(VfxSwapError):
    """A line is no request, or not one that this worker knows."""

    kind = "request"
    exit_code = EXIT_BAD_JOB


class Ping(Settings):
    """Answered at once, whatever else goes on."""


class Describe(Settings):
    """Effects and their settings, as hosts generate their knobs from, and the form of a job."""

    effect: str = Field(default="", description="Only this effect.")


class Models(Settings):
    """The models that are installed."""


class Check(Settings):
    """What is wrong with a job."""

    job: JsonValue = Field(description="A job, or the path of a job file.")


class Render(Settings):
    """Renders a job."""

    job: JsonValue = Field(description="A job, or the path of a job file.")
    frames: str = Field(default="", description="Only these frames of it, as in 1001-1010x2.")
    skip_existing: StrictBool = Field(default=False, description="Leave complete frames alone.")
    overwrite: StrictBool = Field(default=True, description="Replace frames that exist.")


class Track(Settings):
    """Finds and follows the faces of a job's plate."""

    job: JsonValue = Field(description="A job, or the path of a job file.")
    tracks: str = Field(default="", description="File to write; empty takes the job's.")


class Cancel(Settings):
    """Ends another request, after the frame in hand."""

    target: Id = Field(description="Id of that request.")


class Shutdown(Settings):
    """Cancels every request and ends the worker."""


REQUESTS: Final[Mapping[str, type[Settings]]] = {
    "ping": Ping,
    "describe": Describe,
    "models": Models,
    "check": Check,
    "render": Render,
    "track": Track,
    "cancel": Cancel,
    "shutdown": Shutdown,
}


@dataclass(frozen=True)
class Request:
    """A request that holds: its id, its name and its fields."""

    id: Id
    name: str
    fields: Settings


@dataclass(frozen=True)
class Refused:
    """A line that is not one; `id` where it stated one."""

    id: Id | None
    error: RequestError


def parse(line: bytes | None) -> Request | Refused:
    """The request in a line (None: one that was too long)."""
    if line is None:
        return Refused(None, RequestError("line is too long"))
    try:
        values = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Refused(None, RequestError(f"line is no JSON: {error}"))
    if not isinstance(values, dict):
        return Refused(None, RequestError("line is no JSON object", got=type(values).__name__))
    request_id, name = values.pop("id", None), values.pop("request", None)
    if not _is_id(request_id):
        got, wanted = repr(request_id)[:80], "a word or a whole number"
        return Refused(None, RequestError("id is wrong", got=got, wanted=wanted))
    try:
        return Request(request_id, name, _fields(name, values))
    except RequestError as error:
        return Refused(request_id, error)


def _fields(name: Any, values: dict[str, Any]) -> Settings:
    if not isinstance(name, str) or name not in REQUESTS:
        raise RequestError(
            "no such request", got=repr(name)[:80], wanted=nearest(str(name)[:80], REQUESTS)
        )
    return validated(REQUESTS[name], values, error_type=RequestError)


def _is_id(value: Any) -> bool:
    return (isinstance(value, str) and 0 < len(value) <= 64) or type(value) is int


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
