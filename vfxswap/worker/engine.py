"""What a worker does with a request; heavy modules are imported by the first that needs them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vfxswap.errors import EXIT_DONE, JobError, ModelError
from vfxswap.paths import NO_MAP, PathMap
from vfxswap.settings import Settings
from vfxswap.worker.requests import Check, Describe, Render, Track

if TYPE_CHECKING:
    from vfxswap.job import Job
    from vfxswap.render import Event, Nets

SHOW_VARIABLE = "VFXSWAP_SHOW"

Say = Callable[..., None]
"""Sends an event of a request: its name, then fields by keyword."""


class Outcome(NamedTuple):
    """How a request ended."""

    exit_code: int
    report: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How every job of a worker runs; as for `vfxswap render`."""

    device: str = "auto"
    precision: Literal["half", "single"] = "half"
    threads: int | None = None
    paths: PathMap = NO_MAP


class Engine:
    """Runs jobs, one at a time, and keeps their networks loaded from one to the next."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def perform(self, fields: Settings, *, say: Say, cancel: threading.Event) -> Outcome:
        """Does a check, a render or a track. Raises VfxSwapError."""
        if isinstance(fields, Check):
            return self._check(fields, cancel)
        if isinstance(fields, Render):
            return self._render(fields, say, cancel)
        assert isinstance(fields, Track)
        return self._track(fields, say, cancel)

    @cached_property
    def _nets(self) -> Nets:
        from vfxswap.render import Nets

        return Nets()

    def _check(self, request: Check, cancel: threading.Event) -> Outcome:
        from dataclasses import asdict

        from vfxswap.render import check
        from vfxswap.render.checks import exit_code

        findings = check(job_of(request.job, self._options.paths), cancel=cancel)
        return Outcome(exit_code(findings), {"findings": [asdict(f) for f in findings]})

    def _render(self, request: Render, say: Say, cancel: threading.Event) -> Outcome:
        from vfxswap.render import render
        from vfxswap.shot import parse_frames

        self._begin(say)
        report = render(
            job_of(request.job, self._options.paths),
            frames=parse_frames(request.frames) if request.frames else None,
            skip_existing=request.skip_existing,
            overwrite=request.overwrite,
            device=self._options.device,
            precision=self._options.precision,
            threads=self._options.threads,
            progress=_listener(say),
            cancel=cancel,
            nets=self._nets,
        )
        return Outcome(report.exit_code, report.as_json())

    def _track(self, request: Track, say: Say, cancel: threading.Event) -> Outcome:
        from vfxswap.render.prepare import track_shot

        job = job_of(request.job, self._options.paths)
        path = self._options.paths.apply(request.tracks) or job.tracks
        if not path:
            raise JobError("no tracks file is named", wanted="tracks, in the request or the job")
        self._begin(say)
        tracks = track_shot(
            job,
            Path(path).absolute(),
            device=self._options.device,
            threads=self._options.threads,
            progress=_listener(say),
            cancel=cancel,
            nets=self._nets,
        )
        found = [face for by in tracks.automatic.values() for f in by.values() for face in f]
        frames = sorted({frame for by in tracks.automatic.values() for frame in by})
        report = {
            "tracks": str(Path(path).absolute()),
            "faces": sorted({face.id for face in found}),
            "frames": frames,
        }
        return Outcome(EXIT_DONE, report)

    def _begin(self, say: Say) -> None:
        from vfxswap.render.device import pick_device

        say("started", device=str(pick_device(self._options.device)))


def describe(request: Describe) -> Outcome:
    """What `vfxswap describe --json` says. Raises JobError."""
    from vfxswap.effects.describe import description

    return Outcome(EXIT_DONE, description(request.effect))


def models() -> Outcome:
    """The rows of `vfxswap models list --json`, and one sentence for each that is broken."""
    from vfxswap.io.weights import list_models

    broken: list[ModelError] = []
    rows = [model.row() for model in list_models(broken=broken)]
    code = broken[0].exit_code if broken else EXIT_DONE
    return Outcome(code, {"models": rows, "broken": [str(error) for error in broken]})


def job_of(stated: Any, paths: PathMap) -> Job:
    """A job, or the one in the file of that path; an empty show is filled from $VFXSWAP_SHOW.
    All paths are mapped by `paths`, that of the file too. Relative paths of a job that is no file
    are taken from the worker's folder. Raises JobError."""
    from vfxswap.job import Job
    from vfxswap.settings import validated

    if isinstance(stated, str):
        job = Job.read(paths.apply(stated), paths=paths)
    elif isinstance(stated, dict):
        job = validated(Job, stated).mapped(paths).resolved(Path.cwd())
    else:
        raise JobError(
            "job is wrong", got=type(stated).__name__, wanted="an object or the path of a job file"
        )
    return job.for_show(os.environ.get(SHOW_VARIABLE, ""))


def _listener(say: Say) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        values = event.as_json()
        say(values.pop("event"), **values)

    return listen
