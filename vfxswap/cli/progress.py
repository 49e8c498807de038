"""Progress for people and for farms: one listener a dialect.

A terminal gets a bar with the time left on stderr; farms read lines on stdout: OpenJD
(`openjd_progress: 45.0`), Afanasy (`PROGRESS: 45%`, whole numbers), Tractor (`TR_PROGRESS 045%`),
JSON (one object a line), or plain sentences.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfxswap.errors import EXIT_DONE, VfxSwapError, sayable

if TYPE_CHECKING:
    from vfxswap.render.prepare import Preparation
    from vfxswap.render.report import Event, Listener, Report
    from vfxswap.render.shot_report import ShotReport
    from vfxswap.train.face_set_build import Build


_SECONDS_BETWEEN_LINES = 5.0


class Dialect(StrEnum):
    """Values of `--progress`."""

    AUTO = "auto"
    JSON = "json"
    PLAIN = "plain"
    OPENJD = "openjd"
    AFANASY = "afanasy"
    TRACTOR = "tractor"


@contextmanager
def listener(dialect: Dialect) -> Iterator[Listener]:
    """A listener in that dialect; "auto" is a bar on a terminal, else plain lines. An error that
    ends the work is told to OpenJD, whose runners show it."""
    if dialect is Dialect.AUTO and sys.stderr.isatty():
        with _bar() as bar:
            yield bar
        return
    try:
        yield _LINES.get(dialect, _plain)
    except VfxSwapError as error:
        if dialect is Dialect.OPENJD:
            _say(f"openjd_fail: {error}")
        raise


@contextmanager
def steps(dialect: Dialect) -> Iterator[Callable[[str, int, int], None]]:
    """For work that counts steps of something other than frames: told what, done, and of how
    many. Lines are spoken a few seconds apart."""
    spoken: dict[str, float] = {}
    with listener(dialect) as say:

        def tell(what: str, done: int, total: int) -> None:
            from vfxswap.render.report import Event

            now = time.monotonic()
            if done >= total or now - spoken.get(what, -math.inf) >= _SECONDS_BETWEEN_LINES:
                spoken[what] = now
                say(Event(what, "step", done, total))

        yield tell


def finish(dialect: Dialect, report: Report) -> None:
    """The last words: a summary on stderr, and what the dialect's reader wants to hear."""
    if dialect is Dialect.JSON:
        _say_json(event="done", exit_code=report.exit_code, **report.as_json())
    if dialect is Dialect.OPENJD and report.exit_code:
        reason = str(report.failed[0].error) if report.failed else "cancelled"
        _say(f"openjd_fail: {reason}")
    counts = [
        f"{len(report.written)} written",
        *([f"{len(report.skipped)} were complete"] if report.skipped else []),
        *([f"{len(report.failed)} failed"] if report.failed else []),
        *([f"{len(report.not_reached)} not reached"] if report.not_reached else []),
        *(["cancelled"] if report.cancelled else []),
    ]
    print(f"Frames: {', '.join(counts)}.", file=sys.stderr)
    for failure in report.failed:
        print(f"  {failure.error}", file=sys.stderr)
    for note, frames in _grouped(report).items():
        print(f"  note on {frames}: {note}", file=sys.stderr)


def finish_preparing(dialect: Dialect, done: Preparation, failed: Sequence[str]) -> None:
    """The last words of a preparation; `failed` are the sentences of frames that cannot be read."""
    files = {"tracks": done.tracks_file, "prepared": done.prepared_file}
    stated = {name: str(path) for name, path in files.items() if path is not None}
    if dialect is Dialect.JSON:
        _say_json(event="done", exit_code=EXIT_DONE, unreadable=list(failed), **stated)
    for name, path in stated.items():
        print(f"{name}: {path}", file=sys.stderr)
    if not stated:
        print("The job needs nothing prepared.", file=sys.stderr)
    for sentence in failed:
        print(f"  {sentence}", file=sys.stderr)


def finish_report(dialect: Dialect, report: ShotReport, page: Path) -> None:
    """The last words of a shot report: what is not there, and where the page lies."""
    totals = report.totals
    if dialect is Dialect.JSON:
        _say_json(
            event="done",
            exit_code=report.exit_code,
            report=str(page),
            totals=totals.model_dump(mode="json"),
            incomplete=report.incomplete,
        )
    if dialect is Dialect.OPENJD and report.exit_code:
        _say(f"openjd_fail: {totals.frames - totals.whole} frames are not there")
    print(f"Frames: {totals.whole} of {totals.frames} are whole.", file=sys.stderr)
    for state, frames in report.incomplete.items():
        print(f"  {state}: {frames}", file=sys.stderr)
    print(f"Report: {page}", file=sys.stderr)


def finish_faces(dialect: Dialect, build: Build, page: Path | None) -> None:
    """The last words of a face set: what was done, what stays and what does not, and why."""
    kept, rejected = len(build.found.kept), build.rejected
    if dialect is Dialect.JSON:
        _say_json(
            event="done",
            exit_code=build.exit_code,
            set=str(build.found.folder),
            report=None if page is None else str(page),
            kept=kept,
            rejected=dict(rejected),
            new=build.new,
            unchanged=build.unchanged,
            redone=build.redone,
            frames_looked_at=build.looked,
            removed=build.removed,
            gone=build.gone,
            failed=[str(error) for error in build.failed],
        )
    did = f"{build.new} new, {build.redone} redone, {build.unchanged} as before"
    left = ", ".join(f"{count} {reason}" for reason, count in rejected.items()) or "none"
    print(f"Faces: {did}; {build.looked} frames tracked.", file=sys.stderr)
    print(f"Kept: {kept}. Left out: {left}.", file=sys.stderr)
    for what, names in (("no longer in the tracks", build.removed), ("frame gone", build.gone)):
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            print(f"  {what}: {', '.join(names[:8])}{more}", file=sys.stderr)
    for error in build.failed:
        print(f"  {error}", file=sys.stderr)
    if page is not None:
        print(f"Report: {page}", file=sys.stderr)


def _grouped(report: Report) -> dict[str, str]:
    """Frame ranges by what was noted on them."""
    from vfxswap.shot import format_frames

    by_note: dict[str, set[int]] = {}
    for frame, _, note in report.notes:
        by_note.setdefault(note, set()).add(frame)
    return {note: format_frames(frames) for note, frames in by_note.items()}


def _where(event: Event) -> str:
    view = f" {event.view}" if event.view else ""
    return f"frame {event.frame}{view}" if event.frame is not None else ""


def _say(text: str) -> None:
    print(sayable(text), flush=True)


def _say_json(**values: Any) -> None:
    _say(json.dumps(values))


def _sentence(event: Event) -> str:
    words = {"done": "done", "skipped": "is complete already"}.get(event.kind, event.message)
    if event.kind in ("failed", "note") and event.frame is not None:
        return event.message if event.kind == "failed" else f"{_where(event)}: {event.message}"
    return " ".join(filter(None, [_where(event), words]))


def _plain(event: Event) -> None:
    if event.kind == "begin":
        return
    if event.kind == "step":
        _say(f"{event.stage}: {event.finished} of {event.total}")
        return
    took = f" in {event.seconds:.2f} s" if event.seconds is not None else ""
    _say(f"[{event.stage} {event.finished}/{event.total}] {_sentence(event)}{took}")


def _json(event: Event) -> None:
    _say_json(**event.as_json())


def _openjd(event: Event) -> None:
    for line in openjd_lines(event.as_json()):
        _say(line)


def openjd_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """What OpenJD hears of an event in its form for programs (`Event.as_json`, or a worker's)."""
    kind, frame, message = values["event"], values.get("frame"), values.get("message", "")
    if values.get("stage") in ("render", "report") and kind != "warning":
        yield f"openjd_progress: {values['percent']:.1f}"
    where = " ".join(filter(None, ["" if frame is None else f"frame {frame}", values.get("view")]))
    if kind == "frame_done":
        yield f"openjd_status: {where} {'is complete already' if values.get('skipped') else 'done'}"
    elif kind == "warning":
        yield f"openjd_status: {': '.join(filter(None, [where, message]))}"
    elif kind == "error":
        yield f"openjd_status: {message}"
    elif said := " ".join(filter(None, [where, message])):
        yield f"openjd_status: {said}"


def _afanasy(event: Event) -> None:
    if event.kind == "note":
        _say(_sentence(event))
    elif event.stage == "render":
        _say(f"PROGRESS: {int(event.percent)}%")


def _tractor(event: Event) -> None:
    if event.kind == "note":
        _say(_sentence(event))
    elif event.stage == "render":
        _say(f"TR_PROGRESS {int(event.percent):03d}%")


_LINES: dict[Dialect, Listener] = {
    Dialect.PLAIN: _plain,
    Dialect.JSON: _json,
    Dialect.OPENJD: _openjd,
    Dialect.AFANASY: _afanasy,
    Dialect.TRACTOR: _tractor,
}


@contextmanager
def _bar() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def show(event: Event) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = progress.add_task(event.stage, total=event.total)
            progress.update(tasks[event.stage], completed=event.finished, total=event.total)
            if event.kind == "failed" or (event.kind == "note" and event.frame is None):
                console.print(_sentence(event), highlight=False, markup=False)

        yield show
