"""The panel in Nuke. Imports `nuke`; Qt comes with the widgets."""

from __future__ import annotations

import os
from typing import Any, Mapping

import nuke

from vfxswap_nuke import actions, host, node
from vfxswap_nuke.engine_client import find_engine
from vfxswap_nuke.errors import NodeError
from vfxswap_nuke.panel_model import Choice, SubmitRun, knob_of
from vfxswap_nuke.panel_widget import PanelHost, PanelWidget
from vfxswap_nuke.settings import load_settings


class NukeHost(PanelHost):
    """The panel's doors into Nuke."""

    def __init__(self) -> None:
        self.runs = host.RUNS
        self._words = ""

    def models(self) -> list[Mapping[str, Any]]:
        """The engine's models."""
        settings = load_settings()
        engine = host.engine(settings)
        hello = engine.start()
        rows = engine.models()
        self._words = "vfxswap {} · {} · {} models · {}".format(
            hello["version"], hello["device"], len(rows), find_engine(settings.engine)
        )
        return list(rows)

    def engine_words(self) -> str:
        """Which engine answered."""
        return self._words

    def show_name(self) -> str:
        """The selected node's show, else the environment's."""
        try:
            named = str(_selected()[node.PREFIX + "show"].value())
        except NodeError:
            named = ""
        return named or os.environ.get("VFXSWAP_SHOW", "")

    def use(self, choice: Choice) -> str:
        """Sets a choice on the selected node."""
        chosen = _selected()
        prefix = node.PREFIX
        effect = str(chosen[prefix + "effect"].value())
        names = [name[len(prefix) :] for name in chosen.knobs() if name.startswith(prefix)]
        setting = knob_of(choice, names) if effect == choice.effect else None
        if setting is None:
            raise NodeError(f"{chosen.name()} is a {effect}: {choice.name} is for {choice.effect}")
        node.choose(chosen, setting, choice.name)
        return f"{chosen.name()}: {setting} is {choice.name}"

    def submission(self, scheduler: str, words: str) -> SubmitRun:
        """Writes the selected node's inputs and job."""
        chosen = _selected()
        job_file = actions.save_job(chosen)
        return SubmitRun(
            job_file, scheduler, words=words, node=chosen.fullName(), settings=load_settings()
        )


class Panel(PanelWidget):
    """What `registerWidgetAsPanel` makes."""

    def __init__(self) -> None:
        for ours in node.our_nodes():
            actions.attach_background(ours)
        super().__init__(NukeHost())


def _selected() -> nuke.Node:
    """The one selected node of vfxswap. Raises NodeError."""
    found = [chosen for chosen in nuke.selectedNodes() if node.is_ours(chosen)]
    if len(found) != 1:
        raise NodeError("select one node of vfxswap")
    return found[0]
