"""The command lines that every scheduler runs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from vfxswap.errors import JobError
from vfxswap.farm.submission import Submission


def program(stated: str) -> tuple[str, ...]:
    """The words that run vfxswap on a node: those of `stated` as a shell reads them, or this
    Python with this package where nothing is stated (-P: modules of the working folder are not
    meant).

    Raises JobError for words that no shell would read.
    """
    if not stated:
        return (sys.executable, "-P", "-m", "vfxswap")
    try:
        words = tuple(shlex.split(stated))
    except ValueError as error:
        raise JobError(f"command is wrong: {error}", got=stated) from None
    if not words:
        raise JobError("command is empty", wanted="words such as rez-env vfxswap -- vfxswap")
    return words


def engine_options(submission: Submission) -> tuple[str, ...]:
    """Options of a command that computes, except threads; what is the default is left out."""
    words: list[str] = []
    for name, value, default in (
        ("--device", submission.device, "auto"),
        ("--precision", submission.precision, "half"),
    ):
        words += [] if value == default else [name, value]
    return (*words, *show_options(submission))


def show_options(submission: Submission) -> tuple[str, ...]:
    """The show, said once more: a job may have it from the submitter's environment."""
    return ("--show", submission.job.show) if submission.job.show else ()


def prepare_command(submission: Submission, *more: str) -> tuple[str, ...]:
    """What is done once, before the frames."""
    return ("prepare", str(submission.job_file), *engine_options(submission), *more)


def render_command(submission: Submission, *more: str) -> tuple[str, ...]:
    """What renders a chunk; `more` holds its `--frames`."""
    job = str(submission.job_file)
    return ("render", job, "--skip-existing", *engine_options(submission), *more)


def report_command(submission: Submission, *more: str) -> tuple[str, ...]:
    """What looks at the frames when every chunk is over."""
    return ("report", str(submission.job_file), *report_options(submission), *more)


def report_options(submission: Submission) -> tuple[str, ...]:
    """The show, and the frames unless they are all of the job's."""
    selection = ("--frames", submission.selection) if submission.selection else ()
    return (*show_options(submission), *selection)


def quoted(words: Sequence[str]) -> str:
    """Words as a POSIX shell reads them back, whatever is in them."""
    return shlex.join(words)
