# SPDX-License-Identifier: GPL-3.0-or-later
"""A bake: what is linked to a node is rendered over the frame range, then the effect is run on it.

It goes in steps, so that a window stays in hand; nothing here knows of windows.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from . import graph, handlers, session
from .report import Entry
from .run import Run

POLL_S = 0.05
"""How long one step waits for the engine."""


class Bake:
    """The bake of the node whose group has this name. Raises ValueError when there is none."""

    def __init__(self, scene: Any, group_name: str) -> None:
        place = graph.find(scene, group_name)
        if place is None:
            raise ValueError(f"no VFXSwap node with the group {group_name} is in this scene")
        self._scene, self._frame = scene, scene.frame_current
        self._own = place.group.vfxswap
        self.run = Run(
            scene, session.known(), session.service(), session.store(), session.say, only=place
        )
        self.run.animating = True
        self._steps: Generator[tuple[float, str]] | None = self._go()

    def step(self) -> tuple[float, str] | None:
        """Goes on for a moment: how far it is (0 to 1) and what is being done; None when all is
        done. Raises NotOnDiskError, RuntimeError, ValueError, OSError."""
        if self._steps is None:
            return None
        with handlers.busy():
            told = next(self._steps, None)
        self._own.status = "" if told is None else told[1]
        return told

    def end(self) -> None:
        """Lets go of everything, also half-way: no copy of the scene stays, the engine stops after
        the frame in hand. What is baked and rendered so far stays in the cache."""
        steps, self._steps = self._steps, None
        if steps is None:
            return
        with handlers.busy():
            steps.close()
            self.run.finish()
            if self._scene.frame_current != self._frame:
                self._scene.frame_set(self._frame)

    @property
    def errors(self) -> list[Entry]:
        """What went wrong on frames."""
        return [entry for entry in self.run.report.entries if entry.level == "ERROR"]

    def _go(self) -> Generator[tuple[float, str]]:
        node, frames, span = self.run.nodes[-1], self.run.frames, self.run.span
        rendering = node.bake(span)
        try:
            for index, frame in enumerate(span):
                yield index / len(span) / 2, f"rendering frame {frame}"
                next(rendering)
            next(rendering, None)
        finally:
            rendering.close()
        self._own.mode = "BAKE"
        for index, frame in enumerate(frames):
            while not node.ready(frame, timeout_s=POLL_S):
                yield 0.5 + index / len(frames) / 2, f"effect on frame {frame}"
            yield 0.5 + (index + 1) / len(frames) / 2, f"frame {frame} done"
