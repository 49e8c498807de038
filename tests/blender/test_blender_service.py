"""Frames asked of an engine: what is left of them when nobody wants them, and when it dies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import client
import pytest

# The built extension holds the client inside it.
sys.modules.setdefault("vfxswap_blender.client", client)

from vfxswap_blender.service import Batch, Service  # noqa: E402

Hear = Callable[[dict[str, Any]], None]


class Asked:
    """Stands for a request; cancelling does nothing until the engine says so."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Engines:
    """Stands for the service: notes what is asked, and says what the test has it say."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Hear, Asked]] = []

    def render(self, job: dict[str, Any], frames: str, on_event: Hear) -> Asked:
        self.asked.append((frames, on_event, Asked()))
        return self.asked[-1][2]

    def say(self, life: int = -1, **event: Any) -> None:
        self.asked[life][1](event)


@pytest.fixture
def engines() -> Engines:
    return Engines()


def batch(engines: Engines, folder: Path) -> Batch:
    return Batch(cast(Service, engines), {"effects": []}, (1, 2, 3), str(folder))


def test_frames_that_nobody_wants_go_when_the_engine_is_through_with_them(
    engines: Engines, tmp_path: Path
) -> None:
    asked = batch(engines, tmp_path)
    (left,) = tmp_path.iterdir()
    asked.discard()
    assert engines.asked[0][2].cancelled and left.exists(), "the engine may be writing there"
    (left / "frame.0001.exr").touch()
    engines.say(event="done", exit_code=143)
    assert not left.exists()


def test_a_batch_that_is_over_goes_at_once(engines: Engines, tmp_path: Path) -> None:
    asked = batch(engines, tmp_path)
    engines.say(event="frame_done", frame=1)
    engines.say(event="done", exit_code=0)
    outcome = asked.wait(1)
    assert outcome is not None and outcome.path.endswith("frame.0001.exr")
    asked.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_engine_still_says_does_not_end_the_next_ones_work(
    engines: Engines, tmp_path: Path
) -> None:
    asked = batch(engines, tmp_path)
    engines.say(event="frame_done", frame=1)
    engines.say(event="error", fatal=True, kind="engine", message="it died")
    assert asked.wait(2, timeout_s=0.01) is None
    assert [frames for frames, _, _ in engines.asked] == ["1-3", "2-3"]
    engines.say(life=0, event="done", exit_code=1)
    assert asked.wait(2, timeout_s=0.01) is None, "the new engine is at work"
    engines.say(event="frame_done", frame=2)
    outcome = asked.wait(2)
    assert outcome is not None and outcome.path.endswith("frame.0002.exr")


def test_an_engine_that_dies_twice_is_given_up(engines: Engines, tmp_path: Path) -> None:
    asked = batch(engines, tmp_path)
    for _ in range(2):
        engines.say(event="error", fatal=True, kind="engine", message="it died")
        outcome = asked.wait(1, timeout_s=0.01)
    assert outcome is not None and outcome.lasting and outcome.message == "it died"
    assert len(engines.asked) == 2
