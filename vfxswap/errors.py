"""One tree of errors. Each says what is wrong, got, wanted and where (file, frame).

Exit codes are the command line's contract with a farm: 1 may be tried again, 2 is a bad job.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any, ClassVar

EXIT_DONE = 0
EXIT_RETRY = 1
EXIT_BAD_JOB = 2
EXIT_CANCELLED = 143


def sayable(text: str) -> str:
    """The text with what is no Unicode (bytes of file and channel names) spelled out, so that it
    can be printed and written anywhere."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class VfxSwapError(Exception):
    """Base of every error this package raises on purpose; `str()` is one sentence.

    `got` and `wanted` are put in words by the raiser; `file` and `frame` say where.
    """

    kind: ClassVar[str] = "error"
    """One word for programs."""
    exit_code: ClassVar[int] = EXIT_RETRY

    def __init__(
        self,
        what: str,
        *,
        got: object | None = None,
        wanted: object | None = None,
        file: str | PathLike[str] | None = None,
        frame: int | None = None,
    ) -> None:
        self.what, self.got, self.wanted, self.file, self.frame = what, got, wanted, file, frame
        super().__init__(what)

    def __str__(self) -> str:
        where = [str(self.file)] if self.file is not None else []
        if self.frame is not None:
            where.append(f"frame {self.frame}")
        text = f"{', '.join(where)}: {self.what}" if where else self.what
        details = []
        if self.got is not None:
            details.append(f"got {self.got}")
        if self.wanted is not None:
            details.append(f"wanted {self.wanted}")
        return sayable(f"{text} ({'; '.join(details)})" if details else text)

    def as_json(self) -> dict[str, Any]:
        """The error for programs; only what is known is in it."""
        values = {
            "kind": self.kind,
            "exit_code": self.exit_code,
            "message": str(self),
            "got": None if self.got is None else sayable(str(self.got)),
            "wanted": None if self.wanted is None else sayable(str(self.wanted)),
            "file": None if self.file is None else fspath(self.file),
            "frame": self.frame,
        }
        return {name: value for name, value in values.items() if value is not None}


class PlateError(VfxSwapError):
    """A frame of a plate is missing or cannot be read; the other frames still render."""

    kind = "plate"


class OutputError(VfxSwapError):
    """A result cannot be written (permission, disk full); may be tried again."""

    kind = "output"


class JobError(VfxSwapError):
    """The job itself is wrong; trying again does not help."""

    kind = "job"
    exit_code = EXIT_BAD_JOB


class ColorError(JobError):
    """A colour space is unknown or cannot be converted."""

    kind = "color"


class ModelError(JobError):
    """Weights or their card are missing, unknown or do not match their hash."""

    kind = "model"


class ConsentError(JobError):
    """No valid consent for this persona, show and use."""

    kind = "consent"


class CancelledError(VfxSwapError):
    """The user or the farm asked to stop; the frame in hand was finished."""

    kind = "cancelled"
    exit_code = EXIT_CANCELLED
