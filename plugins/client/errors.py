"""What can go wrong with an engine."""

from __future__ import annotations

from typing import Any, Dict, Sequence

Event = Dict[str, Any]
"""One line of the protocol; `event` says which."""


class EngineError(Exception):
    """Something about the engine, in one sentence."""


class EngineNotFoundError(EngineError):
    """No engine is where it was looked for."""


class EngineDiedError(EngineError):
    """The engine ended, or hung and was ended, with requests not done.

    `exit_code` is the process's, negative for a signal; `log` its last lines on stderr.
    """

    def __init__(self, message: str, *, exit_code: int | None, log: Sequence[str]) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = list(log)


class EngineTimeoutError(EngineError):
    """An answer did not come in the time allowed; the request goes on."""


class RequestFailedError(EngineError):
    """A request ended with an exit code that is not 0.

    `exit_code`: 1 may be tried again, 2 is a bad job, 143 was cancelled. `errors` are the error
    events, `report` is that of the `done` event.
    """

    def __init__(self, message: str, done: Event, errors: Sequence[Event]) -> None:
        super().__init__(message)
        self.exit_code: int = done["exit_code"]
        self.report: dict[str, Any] = done["report"]
        self.errors = list(errors)
