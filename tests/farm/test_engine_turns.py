"""What a Dask worker's engine does at once, and what never."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from vfxswap.farm.engine import Engine, Order
from vfxswap.job import Job, Output, Plate

PATIENCE_S = 20.0
ONE = Order(
    id="one",
    job=Job(plate=Plate(pattern="p.#.exr"), output=Output(pattern="o.#.exr")),
    needed=(),
)
ANOTHER = Order(id="another", job=ONE.job, needed=())


class Scene:
    """A session that says what happens, and waits within when it is told to."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.said: list[str] = []
        self.held: set[str] = set()

    def say(self, what: str) -> None:
        with self.lock:
            self.said.append(what)
            self.lock.notify_all()
            assert self.lock.wait_for(lambda: what not in self.held, PATIENCE_S), self.said

    def saw(self, what: str) -> bool:
        with self.lock:
            return self.lock.wait_for(lambda: what in self.said, PATIENCE_S)

    def release(self, what: str) -> None:
        with self.lock:
            self.held.discard(what)
            self.lock.notify_all()

    def render(
        self, frames: Sequence[int], *, turn: AbstractContextManager[object], **_: Any
    ) -> None:
        self.say(f"read {frames[0]}")
        with turn:
            self.say(f"compute {frames[0]}")
        self.say(f"write {frames[0]}")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def engine(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine(threads=1)

    def opened(self: Engine, order: Order) -> Any:
        if self._session is None or self._session[0] != order.id:
            scene.say(f"open {order.id}")
            self._session = (order.id, scene)  # type: ignore[assignment]
        assert self._session is not None
        return self._session[1]

    monkeypatch.setattr(Engine, "_opened", opened)
    # In a thread: in the main one it would take Ctrl-C from the tests.
    setting_up = threading.Thread(target=engine.setup, args=(None,))
    setting_up.start()
    setting_up.join()
    return engine


@contextmanager
def doing(scene: Scene, work: Callable[[], object]) -> Iterator[threading.Thread]:
    """`work` in a thread, that must be over at the end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    scene.held.clear()
    with scene.lock:
        scene.lock.notify_all()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), scene.said


def chunk(engine: Engine, scene: Scene, order: Order, *frames: int) -> Callable[[], object]:
    return lambda: engine.render(
        order, frames, lambda _: None, lambda: scene.say(f"begin {frames[0]}")
    )


def test_a_chunk_reads_ahead_while_another_computes_but_does_not_compute(
    engine: Engine, scene: Scene
) -> None:
    scene.held = {"compute 1"}
    with doing(scene, chunk(engine, scene, ONE, 1, 2)):
        assert scene.saw("compute 1")
        with doing(scene, chunk(engine, scene, ONE, 3, 4)):
            assert scene.saw("read 3")
            assert "begin 3" not in scene.said
            scene.release("compute 1")
            assert scene.saw("compute 3")


def test_a_chunk_computes_while_the_one_before_it_is_written(engine: Engine, scene: Scene) -> None:
    scene.held = {"write 1"}
    with doing(scene, chunk(engine, scene, ONE, 1, 2)):
        assert scene.saw("write 1")
        with doing(scene, chunk(engine, scene, ONE, 3, 4)):
            assert scene.saw("write 3")


@pytest.mark.parametrize(("order", "frames"), [(ONE, (3,)), (ANOTHER, (3, 4))])
def test_a_chunk_of_one_frame_and_another_job_have_the_engine_to_themselves(
    engine: Engine, scene: Scene, order: Order, frames: tuple[int, ...]
) -> None:
    scene.held = {"write 1"}
    with doing(scene, chunk(engine, scene, ONE, 1, 2)) as first:
        assert scene.saw("write 1")
        with doing(scene, chunk(engine, scene, order, *frames)) as second:
            second.join(0.2)
            assert "read 3" not in scene.said
            scene.release("write 1")
            first.join(PATIENCE_S)
            assert scene.saw("write 3")
    assert scene.said.index("write 1") < scene.said.index("read 3")


def test_nothing_comes_in_beside_a_chunk_of_one_frame(engine: Engine, scene: Scene) -> None:
    scene.held = {"compute 1"}
    with doing(scene, chunk(engine, scene, ONE, 1)):
        assert scene.saw("compute 1")
        with doing(scene, chunk(engine, scene, ONE, 3, 4)) as second:
            second.join(0.2)
            assert "read 3" not in scene.said
            scene.release("compute 1")
            assert scene.saw("write 3")


def test_a_chunk_that_is_torn_goes_on_frame_by_frame_and_began_once(engine: Engine) -> None:
    failures = iter([RuntimeError("torn"), None, None])

    class Torn(Scene):
        plan = SimpleNamespace(
            units=lambda frames: [SimpleNamespace(frame=frame, view="") for frame in frames]
        )

        def render(self, frames: Sequence[int], **values: Any) -> None:
            super().render(frames, **values)
            if error := next(failures):
                raise error

    torn = Torn()
    engine._session = ("one", torn)  # type: ignore[assignment]
    engine.render(ONE, (1, 2), lambda _: None, lambda: torn.say("begin"))
    assert torn.said.count("begin") == 1
    assert [said for said in torn.said if "compute" in said] == [
        "compute 1", "compute 1", "compute 2",
    ]  # fmt: skip
