"""Which session is on, and who may call it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fake_nuke.misuse import Misuse

if TYPE_CHECKING:
    from fake_nuke.session import FakeNuke

F = TypeVar("F", bound=Callable[..., Any])
_SESSIONS: list[FakeNuke] = []


def session() -> FakeNuke:
    """The Nuke that is running. Raises Misuse when none is."""
    if not _SESSIONS:
        raise Misuse("no Nuke is running")
    return _SESSIONS[-1]


def enter(fake: FakeNuke) -> None:
    _SESSIONS.append(fake)


def leave(fake: FakeNuke) -> None:
    _SESSIONS.remove(fake)


def on_main(function: F) -> F:
    """Of a call that Nuke allows on its main thread alone."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        if _SESSIONS:
            session().check_main(function.__qualname__)
        return function(*arguments, **named)

    return cast("F", guarded)
