"""The submitter's side of Dask: shares frames out, and makes one report of what workers tell.

Dask places and replaces tasks; what it cannot know is done here. A frame that may be tried again
is (alone), a chunk that loses its workers is cut into frames so that only the guilty one is lost,
and whatever ends the work, the report says which frames are there.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from distributed import Client, Future
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from vfxswap.errors import (
    EXIT_BAD_JOB,
    EXIT_RETRY,
    CancelledError,
    JobError,
    OutputError,
    VfxSwapError,
)
from vfxswap.farm.chunks import chunks
from vfxswap.farm.engine import (
    Order,
    forget_order,
    leave_failure,
    prepare_task,
    render_task,
    stop_order,
    unpacked,
)
from vfxswap.farm.identity import objection
from vfxswap.farm.submission import Submission
from vfxswap.render import Event, Failure, Report, Written
from vfxswap.render.plan import Unit

AHEAD = 2
"""Tasks given out for each worker: one in hand, one that reads ahead. Few, so that a worker that
comes late finds work, and that few are suspected when one dies."""
LOOK_S = 1.0
"""Seconds between looks at the workers."""
UNHEARD = 3
"""How often a frame is given out again whose task was lost before it began."""


def quieten() -> None:
    """Silences Dask's own log in this process: what becomes of workers is said by the report."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


@dataclass(eq=False)
class _Task:
    """Frames given out (none: the preparation); how often a worker began with them."""

    key: str
    frames: tuple[int, ...]
    future: Future
    begun: int = 0


@dataclass
class _Workers:
    """Workers that may take tasks of this submission, and since when there is none."""

    fitting: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    missing_since: float = field(default_factory=time.monotonic)


class Cluster:
    """The frames of one submission on the workers of one cluster."""

    def __init__(
        self, client: Client, order: Order, submission: Submission, *, units: Sequence[Unit],
        wait_s: float,
    ) -> None:  # fmt: skip
        """`units` are those of the submission's frames; `wait_s` is how long to wait for a worker
        that fits."""
        self._client, self._order, self._wait_s = client, order, wait_s
        self._frames = tuple(dict.fromkeys(submission.frames))
        self._units: dict[int, list[Unit]] = {frame: [] for frame in self._frames}
        for unit in units:
            self._units[unit.frame].append(unit)
        self._retries = submission.retries
        self._progress, self._cancel = submission.progress, submission.cancel
        self._waiting = deque(chunks(submission.frames, submission.chunk))
        self._tasks: dict[str, _Task] = {}
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._workers = _Workers()
        self._looked = self._stopped = -LOOK_S
        self._heard = False
        self._count = 0
        self._tried: Counter[int] = Counter()
        self._unheard: Counter[int] = Counter()
        self._told: set[tuple[int, str]] = set()
        self._noted: set[tuple[int | None, str, str]] = set()
        self._report = Report()

    def run(self) -> Report:
        """Renders, and gives the report once every task is back.

        Raises JobError for a bad job and where only unfit workers are there, CancelledError
        before the first frame, VfxSwapError when no worker comes or the scheduler is lost while
        the shot is prepared.
        """
        try:
            self._look()
            self._prepare()
            self._say(Event("render", "begin", 0, 0))
            self._render()
        finally:
            if self._connected:
                with suppress(Exception):
                    self._client.unsubscribe_topic(self._order.topic)
                    self._everywhere(forget_order)
        left = list(self._untold(self._frames))
        self._report.not_reached = left
        self._report.cancelled = self._cancel.is_set() and bool(left)
        self._report.failed.sort(key=lambda failure: (failure.frame, failure.view))
        return self._report

    # The work -------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._give(())
        while self._tasks:
            if self._cancel.is_set():
                self._stop()
            self._hear()
            if self._is_hopeless():
                self._drop()
                raise self._nobody()

    def _render(self) -> None:
        while self._waiting or self._tasks:
            if self._cancel.is_set():
                self._waiting.clear()
                self._stop()
            while self._waiting and len(self._tasks) < AHEAD * len(self._workers.fitting):
                self._give(self._waiting.popleft())
            self._hear()
            if self._is_hopeless():
                self._note(str(self._nobody()))
                self._waiting.clear()
                self._drop()

    def _give(self, frames: tuple[int, ...]) -> None:
        self._count += 1
        key = f"{self._order.topic} {self._count}"
        call = (render_task, self._order, key, frames) if frames else (
            prepare_task, self._order, key
        )  # fmt: skip
        future = self._client.submit(*call, key=key, pure=False, resources=self._order.resources)
        self._tasks[key] = _Task(key, frames, future)
        future.add_done_callback(partial(self._back, key))

    def _back(self, key: str, _: Future) -> None:
        self._messages.put({"key": key, "back": True})

    def _hear(self) -> None:
        """Takes what was told meanwhile, or waits a little for it; looks at the workers."""
        with suppress(queue.Empty):
            self._take(self._messages.get(timeout=LOOK_S / 4))
            while True:
                self._take(self._messages.get_nowait())
        if time.monotonic() - self._looked >= LOOK_S:
            self._look()

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._live(unpacked(message["event"]))
        task = self._tasks.get(message["key"])
        if task is None:
            return
        if "begun" in message:
            task.begun += 1
        if "back" in message:
            del self._tasks[task.key]
            self._end(task)

    def _end(self, task: _Task) -> None:
        if task.frames and not self._untold(task.frames):
            return  # what a worker that died since had told need not be done again
        try:
            events: list[Event] = task.future.result()
        except KilledWorker:
            self._lost(task)
        except FutureCancelledError:
            self._given_back(task)
        except VfxSwapError as error:
            self._erred(task, error)
        except Exception as error:
            self._erred(task, VfxSwapError(f"unforeseen {type(error).__name__}: {error}"))
        else:
            self._done(task, events)

    def _done(self, task: _Task, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind != "failed":
                self._live(event)
            elif event.stage != "render":
                self._progress(event)
        failures = [
            event
            for event in events
            if event.stage == "render"
            and event.kind == "failed"
            and (event.frame, event.view) not in self._told
        ]
        again = {frame for frame in task.frames if self._may_try_again(frame, failures)}
        unwritable = False
        for event in failures:
            if event.frame not in again:
                self._tell(event)
                unwritable |= type(event.error) is OutputError  # a file to keep is not one
        if self._cancel.is_set():
            return
        self._waiting.extend((frame,) for frame in task.frames if frame in again)
        rest = tuple(frame for frame in self._untold(task.frames) if frame not in again)
        if unwritable:
            self._waiting.clear()
        elif rest:
            self._waiting.appendleft(rest)

    def _erred(self, task: _Task, error: VfxSwapError) -> None:
        """A task that ended as a whole: nothing of it can be rendered as things are."""
        if isinstance(error, CancelledError) and self._cancel.is_set() and task.frames:
            return
        if error.exit_code == EXIT_BAD_JOB or not task.frames:
            self._stop()
            raise error
        for frame in self._untold(task.frames):
            if self._tried[frame] < self._retries:
                self._tried[frame] += 1
                self._waiting.append((frame,))
            else:
                self._fail(frame, error)

    def _lost(self, task: _Task) -> None:
        """The workers that had this task died, one after the other."""
        if not task.frames:
            raise VfxSwapError("the processes that prepare the shot die")
        left = self._untold(task.frames)
        if len(task.frames) > 1:  # a chunk beside it may have been the guilty one
            self._waiting.extendleft((frame,) for frame in reversed(left))
            return
        for frame in left:
            self._unheard[frame] += task.begun == 0
            if task.begun == 0 and self._unheard[frame] <= UNHEARD:
                self._waiting.append((frame,))  # it only waited behind the guilty one
            else:
                self._fail(
                    frame,
                    VfxSwapError(f"{max(task.begun, 1)} processes died that rendered it alone"),
                )

    def _given_back(self, task: _Task) -> None:
        """The scheduler is gone, or was started anew and knows nothing."""
        if not task.frames:
            raise VfxSwapError("the scheduler is gone: submit again")
        if left := self._untold(task.frames):
            self._waiting.appendleft(left)

    def _may_try_again(self, frame: int, failures: Sequence[Event]) -> bool:
        """Whether a frame is given out once more for its failures; counts it."""
        errors = [failure.error for failure in failures if failure.frame == frame]
        lasting = [e for e in errors if e is None or e.exit_code != EXIT_RETRY]
        if not errors or lasting or self._tried[frame] >= self._retries or self._cancel.is_set():
            return False
        self._tried[frame] += 1
        return True

    def _stop(self) -> None:
        """Asks every worker to end with the frame in hand; new ones too, so again and again."""
        if time.monotonic() - self._stopped >= LOOK_S:
            self._stopped = time.monotonic()
            self._everywhere(stop_order)

    def _drop(self) -> None:
        for task in self._tasks.values():
            with suppress(Exception):
                task.future.cancel()
        self._tasks.clear()

    # Workers ----------------------------------------------------------------------------------

    @property
    def _connected(self) -> bool:
        return bool(self._client.status == "running")

    def _look(self) -> None:
        self._looked = time.monotonic()
        workers = self._workers
        if not self._connected:
            workers.fitting, self._heard = (), False
            return
        if not self._heard:
            self._listen()
        found: dict[str, Any] = self._client.scheduler_info(n_workers=-1).get("workers", {})
        refused = {
            address: why
            for address, worker in found.items()
            if (why := objection(worker["resources"], wanted=self._order.needed))
        }
        for address in refused.keys() - workers.refused.keys():
            self._note(f"worker {address} gets no frames: {refused[address]}")
        workers.refused = refused
        workers.fitting = tuple(address for address in found if address not in refused)
        if workers.fitting:
            workers.missing_since = time.monotonic()

    def _listen(self) -> None:
        """At first, and when the scheduler was started anew: it knows neither listeners nor tasks
        then, and what was given out meanwhile may have gone nowhere."""
        self._heard = True
        lost = list(self._tasks.values())
        self._drop()
        for task in lost:
            self._given_back(task)
        self._client.subscribe_topic(self._order.topic, lambda event: self._messages.put(event[1]))

    def _is_hopeless(self) -> bool:
        if self._workers.fitting:
            return False
        gone = time.monotonic() - self._workers.missing_since
        return self._cancel.is_set() or self._client.status == "closed" or gone >= self._wait_s

    def _nobody(self) -> VfxSwapError:
        if not self._connected:
            return VfxSwapError("the scheduler is gone; what it finished stays: submit again")
        refused = self._workers.refused
        if refused:
            address, why = next(iter(refused.items()))
            return JobError(f"no worker fits; of {len(refused)}, {address}: {why}")
        return VfxSwapError("no worker came", wanted=f"one within {self._wait_s:g} s")

    def _everywhere(self, function: Any) -> None:
        if not self._workers.fitting:
            return
        with suppress(OSError, ValueError):  # a worker, or the scheduler, left just now
            self._client.run(
                function, self._order.id, workers=list(self._workers.fitting), on_error="ignore"
            )

    # The report -------------------------------------------------------------------------------

    def _untold(self, frames: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            frame
            for frame in frames
            if any((frame, unit.view) not in self._told for unit in self._units[frame])
        )

    def _live(self, event: Event) -> None:
        """What a worker told, unless it was told before."""
        if event.stage != "render":
            self._progress(event)
        elif event.kind == "note":
            self._note(event.message, event.frame, event.view)
        elif event.kind in ("done", "skipped"):
            self._tell(event)

    def _fail(self, frame: int, error: VfxSwapError) -> None:
        """A frame that no worker could speak of itself."""
        for unit in self._units[frame]:
            if (frame, unit.view) in self._told:
                continue
            named = VfxSwapError(
                error.what,
                got=error.got,
                wanted=error.wanted,
                file=error.file or unit.source,
                frame=frame,
            )
            leave_failure(self._order.job, unit, named)
            self._tell(Event("render", "failed", 0, 0, frame, unit.view, str(named), error=named))

    def _tell(self, event: Event) -> None:
        """The end of a frame file, told once."""
        assert event.frame is not None
        unit = (event.frame, event.view)
        if unit in self._told:
            return
        self._told.add(unit)
        report = self._report
        if event.kind == "done":
            assert event.path is not None and event.seconds is not None
            report.written.append(Written(*unit, event.path, event.seconds))
        elif event.kind == "skipped":
            assert event.path is not None
            report.skipped.append(event.path)
        else:
            assert event.error is not None
            report.failed.append(Failure(*unit, event.error))
        self._say(event)

    def _note(self, message: str, frame: int | None = None, view: str = "") -> None:
        if (frame, view, message) in self._noted:
            return
        self._noted.add((frame, view, message))
        if frame is not None:
            self._report.notes.append((frame, view, message))
        self._say(Event("render", "note", 0, 0, frame, view, message))

    def _say(self, event: Event) -> None:
        total = sum(map(len, self._units.values()))
        self._progress(replace(event, finished=len(self._told), total=total))
