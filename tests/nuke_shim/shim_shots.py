"""Nodes as the plug-in reads them, over real plates and a real engine, without a Nuke."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from vfxswap_nuke.engine_client import Engine
from vfxswap_nuke.foreground import Foreground, Wanted, want
from vfxswap_nuke.jobs import build_job
from vfxswap_nuke.layout import Layout, file_of
from vfxswap_nuke.runs import Run
from vfxswap_nuke.settings import PluginSettings
from vfxswap_nuke.snapshot import KnobState, NodeState, Scalar
from worker_lines import Shot

ROW: dict[str, Any] = {
    "name": "slow",
    "settings": [
        {"name": "gain", "type": "number", "minimum": 0, "maximum": 100, "keyframes": True},
        {"name": "wait_s", "type": "number", "minimum": 0, "maximum": 1000, "keyframes": True},
    ],
}
FRAMES = range(1001, 1005)


class Node:
    """A node of the engine's slow effect, whose inputs Nuke wrote."""

    def __init__(
        self, shot: Shot, folder: Path, frames: range = FRAMES, views: tuple[str, ...] = ("",)
    ) -> None:
        self.shot, self.frames, self.views = shot, frames, views
        cache = str(folder / "cache")
        self.layout = Layout(cache, f"{cache}/v1", per_view=views != ("",))
        self.settings = PluginSettings(engine=str(shot.engine), device="cpu", hang_s=60.0)
        Path(self.layout.folder).mkdir(parents=True, exist_ok=True)
        for index, frame in enumerate(frames):
            for place, view in enumerate(views):
                source = shot.folder / "plates" / f"plate.{1001 + (index + place) % 2}.exr"
                shutil.copy(source, file_of(self.layout.plate, frame, view))

    def state(self, **knobs: Scalar | KnobState) -> NodeState:
        stated = {"gain": 2.0, "wait_s": 0.0, **knobs}
        return NodeState(
            "VfxSlow1", "slow", layout=self.layout, frames=self.frames, views=list(self.views),
            knobs={k: v if isinstance(v, KnobState) else KnobState(v) for k, v in stated.items()},
        )  # fmt: skip

    def wanted(self, run: Run, engine: Engine, **knobs: Scalar | KnobState) -> Wanted:
        state = self.state(**knobs)
        job, warnings = build_job(state, ROW)
        assert not warnings
        return want(state, job, run, engine=engine, effects=["slow"], settings=self.settings)

    def render(self, engine: Engine, **knobs: Scalar | KnobState) -> Run:
        run = Run("VfxSlow1", "slow", len(self.frames) * len(self.views))
        Foreground(run, self.wanted(run, engine, **knobs), engine).perform()
        assert run.over
        return run

    def result(self, frame: int, view: str = "") -> Path:
        return Path(file_of(self.layout.result(1), frame, view))
