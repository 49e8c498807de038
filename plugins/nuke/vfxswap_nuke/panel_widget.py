"""The panel as one widget over a host: Nuke, or a test's."""

from __future__ import annotations

import datetime
import threading
from typing import Any, Mapping, Sequence

from vfxswap_nuke.panel_model import Choice, SubmitRun, cards, choices
from vfxswap_nuke.panel_qt import QtCore, QtWidgets
from vfxswap_nuke.panel_views import ChoicesPage, JobsPage, ModelsPage
from vfxswap_nuke.runs import Runs

_REFRESH_MS = 500


class PanelHost:
    """What the panel asks of the application that it is in. `models` is called on a thread of its
    own, everything else on the main thread; each raises with one sentence for the artist."""

    runs: Runs

    def models(self) -> list[Mapping[str, Any]]:
        """The installed models, as rows of `vfxswap models list --json`."""
        raise NotImplementedError

    def engine_words(self) -> str:
        """Which engine there is, for the foot of the panel; called after `models`."""
        raise NotImplementedError

    def show_name(self) -> str:
        """The show that consent is asked for."""
        raise NotImplementedError

    def use(self, choice: Choice) -> str:
        """Sets a choice on the selected node; a sentence of what was done."""
        raise NotImplementedError

    def submission(self, scheduler: str, words: str) -> SubmitRun:
        """The selected node's job, saved and ready to be submitted."""
        raise NotImplementedError


class PanelWidget(QtWidgets.QWidget):
    """Jobs, personas and styles, models."""

    _loaded = QtCore.Signal(object)

    def __init__(self, host: PanelHost) -> None:
        super().__init__()
        self.setWindowTitle("vfxswap")
        self._host = host
        self.jobs = JobsPage(submit=self._submit, clear=self._clear)
        self.choices = ChoicesPage(use=self._use)
        self.models = ModelsPage()
        self.tabs = QtWidgets.QTabWidget()
        self.tabs.addTab(self.jobs, "Jobs")
        self.tabs.addTab(self.choices, "Personas and styles")
        self.tabs.addTab(self.models, "Models")
        self.foot = QtWidgets.QLabel("looking for models")
        self.foot.setWordWrap(True)
        self.reload_button = QtWidgets.QPushButton("Reload")
        self.reload_button.setToolTip("Asks the engine for its models again.")
        self.reload_button.clicked.connect(lambda *_: self.reload())
        foot = QtWidgets.QHBoxLayout()
        foot.addWidget(self.foot, 1)
        foot.addWidget(self.reload_button)
        whole = QtWidgets.QVBoxLayout(self)
        whole.addWidget(self.tabs, 1)
        whole.addLayout(foot)
        self._loaded.connect(self._show_models)
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(_REFRESH_MS)
        self.refresh()
        self.reload()

    def refresh(self) -> None:
        """Brings the list of renders up to date."""
        self.jobs.show_runs(self._host.runs.all())

    def reload(self) -> None:
        """Asks for the models, which may start an engine, beside the GUI."""
        self.reload_button.setEnabled(False)

        def load() -> None:
            try:
                found: Any = (self._host.models(), self._host.engine_words())
            except Exception as error:
                found = error
            # The panel may be closed by now.
            try:
                self._loaded.emit(found)
            except RuntimeError:
                return

        threading.Thread(target=load, name="vfxswap models", daemon=True).start()

    def say(self, words: str) -> None:
        """One sentence at the foot."""
        self.foot.setText(words)

    def _show_models(self, found: Any) -> None:
        self.reload_button.setEnabled(True)
        if isinstance(found, Exception):
            self.say(str(found))
            return
        rows: Sequence[Mapping[str, Any]]
        rows, words = found
        today = datetime.datetime.now(datetime.timezone.utc).date()
        made = cards(rows, show=self._host.show_name(), today=today)
        self.models.show_cards(made)
        self.choices.show_choices(choices(made))
        self.say(words)

    def _use(self, choice: Choice) -> None:
        try:
            self.say(self._host.use(choice))
        except Exception as error:
            self.say(str(error))

    def _submit(self, scheduler: str, words: str) -> None:
        try:
            run = self._host.submission(scheduler, words)
        except Exception as error:
            self.say(str(error))
            return
        self._host.runs.add(run)
        threading.Thread(target=run.perform, name="vfxswap submit", daemon=True).start()
        self.refresh()

    def _clear(self) -> None:
        self._host.runs.clear_ended()
        self.refresh()
