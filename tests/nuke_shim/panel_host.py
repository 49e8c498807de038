"""A host of the panel that is no Nuke, and renders for it to show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vfxswap_nuke.panel_model import Choice, SubmitRun
from vfxswap_nuke.panel_widget import PanelHost
from vfxswap_nuke.runs import DONE, FAILED, Run, Runs
from vfxswap_nuke.settings import PluginSettings

from vfxswap.io.weights import list_models


class QuietHost(PanelHost):
    """Knows the models that come with vfxswap, and remembers what it was asked."""

    def __init__(self, rows: list[Mapping[str, Any]] | None = None, engine: str = "") -> None:
        self.runs = Runs()
        self.rows = rows
        self.engine = engine
        self.used: list[Choice] = []
        self.refusal = ""

    def models(self) -> list[Mapping[str, Any]]:
        if self.refusal:
            raise RuntimeError(self.refusal)
        return self.rows if self.rows is not None else [m.row() for m in list_models()]

    def engine_words(self) -> str:
        return f"vfxswap 0.1.0 · cpu · {len(self.models())} models"

    def show_name(self) -> str:
        return "kestrel"

    def use(self, choice: Choice) -> str:
        self.used.append(choice)
        return f"VfxSwap1: persona is {choice.name}"

    def submission(self, scheduler: str, words: str) -> SubmitRun:
        if self.refusal:
            raise RuntimeError(self.refusal)
        settings = PluginSettings(engine=self.engine)
        return SubmitRun("/shots/a/job.json", scheduler, words=words, settings=settings)


def some_runs() -> list[Run]:
    """Renders in every state, oldest first."""
    done = Run("VfxStyle1", "style 1001-1048", 48)
    done.say("looking at the plates")
    done.advance(48)
    done.end(DONE, "41 rendered, 7 from the cache")
    done.began = done.ended - 223
    failed = Run("Comp.VfxMosaic2", "mosaic 1001-1020", 20)
    failed.advance(19)
    failed.end(FAILED, "19 rendered, 1 failed: plate.1013.exr: file is cut short")
    failed.began = failed.ended - 61
    going = Run("VfxSwap1", "swap 1001-1100", 100)
    going.began -= 48
    for words in ("looking at the plates", "the engine is loading", "prepare 100 of 100"):
        going.say(words)
    going.say("rendering on cuda")
    for frame in range(1001, 1038):
        going.say("", note=f"frame {frame} main in {0.9 + frame % 7 / 20:.2f} s")
    going.say("", note="frame 1021: no face, the plate passes through")
    going.message = "rendering on cuda"
    going.advance(37)
    return [done, failed, going]


def offscreen() -> None:
    """Qt without a screen; before its application is made."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
