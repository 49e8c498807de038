"""The worker's side of Dask: a plugin that keeps jobs and networks open, and the tasks it does.

The process that watches over a worker holds the plugin too, so networks are imported late.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker

from vfxswap.errors import JobError, VfxSwapError
from vfxswap.farm.identity import checked_models, code_tag
from vfxswap.job import Job
from vfxswap.memory import keep_freed_memory

if TYPE_CHECKING:
    from vfxswap.nets.run import Precision
    from vfxswap.render import Event, Session
    from vfxswap.render.plan import Unit

NAME = "vfxswap"
LIVE = ("begin", "done", "skipped", "note")
"""Kinds of events that are told while a task runs. All come with its result: failures then alone,
since what fails may be tried again."""

log = logging.getLogger("distributed.worker.vfxswap")


@dataclass(frozen=True)
class Order:
    """What every task of a submission says."""

    id: str
    job: Job
    needed: tuple[str, ...]
    """Tags that a worker must have; the first is the code's."""
    device: str = "auto"
    precision: Precision = "half"
    threads: int | None = None
    """Of one engine; None takes the worker's own."""
    skip_existing: bool = True
    overwrite: bool = True

    @property
    def topic(self) -> str:
        """Where workers tell what they do for this submission."""
        return f"vfxswap {self.id}"

    @property
    def resources(self) -> dict[str, float]:
        """What Dask must find on a worker before it gets a task."""
        return dict.fromkeys(self.needed, 1.0)


class Engine(WorkerPlugin):  # type: ignore[misc]  # distributed is untyped
    """Renders chunks in a worker process. A job stays open from one chunk to the next, networks
    from one job to the next.

    One chunk computes at a time; the next of the same job may read ahead meanwhile, and the one
    before it write. A chunk of one frame has the process to itself, since that is how a frame
    that ends its process is found.
    """

    name = NAME

    def __init__(self, *, threads: int) -> None:
        """`threads` of torch: the nanny leaves a worker one."""
        self._threads = threads
        self._declared = code_tag()

    def setup(self, worker: Any) -> None:
        """Called by Dask in the worker's process. Raises JobError when this is not the code that
        the worker declares."""
        if code_tag() != self._declared:
            raise JobError(
                "code was changed while the worker ran: start it again",
                got=code_tag(),
                wanted=self._declared,
            )
        from vfxswap.render import Nets

        keep_freed_memory()
        self._nets = Nets()
        self._session: tuple[str, Session] | None = None
        self._cancels: dict[str, threading.Event] = {}
        self._door, self._computing = threading.Lock(), threading.Lock()
        self._inside, self._left = 0, threading.Condition()
        if threading.current_thread() is threading.main_thread():
            # Ctrl-C reaches the whole group; whoever submitted says when to stop.
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def prepare(
        self, order: Order, tell: Callable[[Event], None], begin: Callable[[], None]
    ) -> None:
        """Does what needs the whole shot, on disk."""
        from vfxswap.render import prepare_shot

        with self._alone():
            begin()
            prepare_shot(
                order.job,
                device=order.device,
                precision=order.precision,
                threads=order.threads or self._threads,
                progress=tell,
                cancel=self._cancel(order.id),
                nets=self._nets,
            )

    def render(
        self,
        order: Order,
        frames: Sequence[int],
        tell: Callable[[Event], None],
        begin: Callable[[], None],
    ) -> list[Event]:
        """Renders frames; every file of theirs that was reached has its event. `begin` is called
        when the first is about to be computed. An error that nobody foresaw costs the one frame
        that raises it. Raises what `render.render` raises."""
        events: list[Event] = []

        def listen(event: Event) -> None:
            if event.kind != "begin" and event.stage == "render":
                events.append(event)
            tell(event)

        with self._entered(order, alone=len(frames) == 1) as session:
            self._rendered(session, order, frames, listen, _Turn(self._computing, begin))
        return events

    def stop(self, order_id: str) -> None:
        """The frame in hand of a submission is its last."""
        self._cancel(order_id).set()

    def forget(self, order_id: str) -> None:
        """A submission is over: its job is closed."""
        self._cancels.pop(order_id, None)
        if self._session is not None and self._session[0] == order_id:
            self._session = None

    def _rendered(
        self,
        session: Session,
        order: Order,
        frames: Sequence[int],
        listen: Callable[[Event], None],
        turn: _Turn,
    ) -> None:
        from vfxswap.render import Event

        reached: set[tuple[int, str]] = set()

        def mark(event: Event) -> None:
            if event.kind in ("done", "skipped", "failed") and event.frame is not None:
                reached.add((event.frame, event.view))
            listen(event)

        try:
            session.render(
                frames,
                skip_existing=order.skip_existing,
                overwrite=order.overwrite,
                progress=mark,
                cancel=self._cancel(order.id),
                turn=turn,
            )
        except VfxSwapError:
            raise
        except Exception as error:
            log.exception("frames %s", frames)
            left = [u for u in session.plan.units(frames) if (u.frame, u.view) not in reached]
            alone = list(dict.fromkeys(unit.frame for unit in left))
            if len(frames) > 1:
                for frame in alone:
                    self._rendered(session, order, [frame], listen, turn)
                return
            for unit in left:
                failure = VfxSwapError(
                    f"unforeseen {type(error).__name__}: {error}",
                    file=unit.source,
                    frame=unit.frame,
                )
                leave_failure(order.job, unit, failure)
                said = (unit.frame, unit.view, str(failure))
                listen(Event("render", "failed", 0, 0, *said, error=failure))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else is inside, nor comes in."""
        with self._door:
            self._wait_until_empty()
            yield

    @contextmanager
    def _entered(self, order: Order, *, alone: bool) -> Iterator[Session]:
        """Inside with the order's session, which is opened when nobody else is."""
        with self._door:
            if alone or self._session is None or self._session[0] != order.id:
                self._wait_until_empty()
            session = self._opened(order)
            if alone:
                yield session
                return
            with self._left:
                self._inside += 1
        try:
            yield session
        finally:
            with self._left:
                self._inside -= 1
                self._left.notify_all()

    def _wait_until_empty(self) -> None:
        with self._left:
            self._left.wait_for(lambda: self._inside == 0)

    def _opened(self, order: Order) -> Session:
        if self._session is None or self._session[0] != order.id:
            from vfxswap.render import Session

            self._session = None
            session = Session(
                order.job,
                device=order.device,
                precision=order.precision,
                threads=order.threads or self._threads,
                nets=self._nets,
            )
            checked_models(session.plan, order.needed)
            self._session = (order.id, session)
        return self._session[1]

    def _cancel(self, order_id: str) -> threading.Event:
        return self._cancels.setdefault(order_id, threading.Event())


class _Turn(AbstractContextManager[None]):
    """A lock that tells, the first time, that it is held."""

    def __init__(self, lock: threading.Lock, begin: Callable[[], None]) -> None:
        self._lock, self._begin = lock, begin
        self._begun = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._begun:
            self._begun = True
            self._begin()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def prepare_task(order: Order, key: str) -> list[Event]:
    """Task: `Engine.prepare`. Returns its events."""
    engine, tell, begin = _at_work(order, key)
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        tell(event)

    engine.prepare(order, listen, begin)
    return events


def render_task(order: Order, key: str, frames: Sequence[int]) -> list[Event]:
    """Task: `Engine.render`."""
    engine, tell, begin = _at_work(order, key)
    return engine.render(order, frames, tell, begin)


def stop_order(order_id: str, dask_worker: Any) -> None:
    """Run on every worker: `Engine.stop`."""
    dask_worker.plugins[NAME].stop(order_id)


def forget_order(order_id: str, dask_worker: Any) -> None:
    """Run on every worker: `Engine.forget`."""
    dask_worker.plugins[NAME].forget(order_id)


def leave_failure(job: Job, unit: Unit, error: VfxSwapError) -> None:
    """Leaves the reason why a frame is not there beside its output, as `render` does."""
    from vfxswap.render.output import write_failure

    if job.output.sidecar:
        write_failure(unit, error, {"host": socket.gethostname()})


def _at_work(order: Order, key: str) -> tuple[Engine, Callable[[Event], None], Callable[[], None]]:
    """The engine of this process, how it tells events, and that the task has begun."""
    worker = get_worker()

    def begin() -> None:
        worker.log_event(order.topic, {"key": key, "begun": worker.address})

    def tell(event: Event) -> None:
        if event.kind in LIVE:
            worker.log_event(order.topic, {"key": key, "event": packed(event)})

    engine = worker.plugins[NAME]
    assert isinstance(engine, Engine)
    return engine, tell, begin


def packed(event: Event) -> dict[str, Any]:
    """An event without its error as plain values, for messages; see `unpacked`."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {**values, "path": None if event.path is None else str(event.path), "error": None}


def unpacked(values: dict[str, Any]) -> Event:
    """The event of a message."""
    from vfxswap.render import Event

    path = values["path"]
    return Event(**{**values, "path": None if path is None else Path(path)})
