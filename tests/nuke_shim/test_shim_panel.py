"""The panel: what it shows and does, over a host that is no Nuke, and in the Nuke of the tests."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from panel_host import QuietHost, offscreen, some_runs
from vfxswap_nuke.panel_model import (
    Choice,
    SubmitRun,
    cards,
    consent_state,
    knob_of,
    state_words,
)
from vfxswap_nuke.panel_model import choices as all_choices
from vfxswap_nuke.runs import Run
from vfxswap_nuke.settings import PluginSettings
from worker_lines import executable

from vfxswap.effects import SETTINGS
from vfxswap.io.weights import list_models

offscreen()
pytest.importorskip(
    "PySide6.QtWidgets",
    reason="Qt does not load here (are libEGL, libGL, libxkbcommon, libfontconfig there?): "
    "NOTHING OF THE PANEL IS TRIED",
    exc_type=ImportError,
)

from PySide6 import QtGui, QtWidgets  # noqa: E402
from vfxswap_nuke.panel_views import picture_of  # noqa: E402
from vfxswap_nuke.panel_widget import PanelWidget  # noqa: E402

TODAY = datetime.date(2026, 5, 1)
CONSENT = {"id": "consent-1", "shows": ["kestrel"], "uses": ["swap"], "expires": "2026-06-01"}
ROW: dict[str, Any] = {
    "name": "comb-x", "version": "2", "effect": "swap", "personas": ["rowan", "alder"],
    "sha256": "ab" * 32, "card_sha256": "cd" * 32, "licence": "Apache-2.0", "synthetic": False,
    "folder": "/m", "thumbs": {}, "consents": {"rowan": CONSENT, "alder": {"id": "synthetic"}},
}  # fmt: skip
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def application() -> QtWidgets.QApplication:
    found = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    assert isinstance(found, QtWidgets.QApplication)
    return found


def until(application: QtWidgets.QApplication, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        application.processEvents()
        time.sleep(0.005)


@pytest.fixture
def host() -> QuietHost:
    return QuietHost([ROW])


@pytest.fixture
def panel(application: QtWidgets.QApplication, host: QuietHost) -> Iterator[PanelWidget]:
    made = PanelWidget(host)
    made.resize(600, 700)
    made.show()
    until(application, made.reload_button.isEnabled)
    yield made
    made.close()


# Without Qt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "show", "today", "state", "words"),
    [
        ({"id": "synthetic"}, "", "2026-05-01", "synthetic", "synthetic"),
        (CONSENT, "kestrel", "2026-06-01", "valid", "until 2026-06-01"),
        (CONSENT, "kestrel", "2026-06-02", "expired", "expired 2026-06-01"),
        (CONSENT, "heron", "2026-05-01", "wrong show", "for kestrel only"),
        (CONSENT, "", "2026-05-01", "wrong show", "for kestrel only"),
        ({"id": "none"}, "kestrel", "2026-05-01", "missing", "no consent"),
        (None, "kestrel", "2026-05-01", "missing", "no consent"),
    ],
)
def test_the_state_of_a_consent(
    row: dict[str, Any] | None, show: str, today: str, state: str, words: str
) -> None:
    found = consent_state(row, show=show, today=datetime.date.fromisoformat(today))
    assert (found.state, found.words) == (state, words)
    assert found.good == (state in ("synthetic", "valid"))


def test_every_choice_of_a_shipped_model_fits_a_setting_of_its_effect() -> None:
    made = cards([m.row() for m in list_models()], show="", today=TODAY)
    choices = all_choices(made)
    pictured = [bool(choice.thumb) for choice in choices]
    assert pictured == sorted(pictured, reverse=True), "names alone come last"
    kinds = list(dict.fromkeys(choice.kind for choice in choices))
    assert kinds == ["personas", "styles", "themes", "features"]
    assert {"amber", "basalt", "cedar"} <= {choice.name for choice in choices}
    for choice in choices:
        if choice.effect in SETTINGS:
            assert knob_of(choice, SETTINGS[choice.effect].model_fields), choice
    for choice in choices:
        if choice.kind == "personas":
            assert Path(choice.thumb).stat().st_size <= 10_000
            assert choice.consent is not None and choice.consent.good


def test_a_choice_goes_to_the_setting_of_its_kind() -> None:
    choice = Choice("ink", "m", "style", "styles", "", None)
    assert knob_of(choice, ["style", "strength"]) == "style"
    assert knob_of(choice, ["styles"]) == "styles"
    assert knob_of(choice, ["persona"]) is None


SUBMIT = """
import json, sys, time
print("task list:", json.dumps(sys.argv[1:]), flush=True)
if "--slow" in sys.argv:
    time.sleep(100)
if "--bad" in sys.argv:
    print("error: plate is missing", file=sys.stderr)
    sys.exit(2)
print("job 4711 is in the queue")
"""


def submission(tmp_path: Path, words: str = "", studio: str = "") -> SubmitRun:
    program = executable(tmp_path / "vfxswap", SUBMIT)
    settings = PluginSettings(engine=str(program), submit=studio)
    return SubmitRun("/shots/a/job.json", "slurm", words=words, settings=settings)


def test_a_job_is_submitted_with_the_studios_words_before_the_artists(tmp_path: Path) -> None:
    run = submission(tmp_path, "--chunk 5 --partition 'long jobs; rm x'", "--retries 3")
    run.perform()
    assert (run.state, run.message, state_words(run)) == (
        "done", "job 4711 is in the queue", "submitted",
    )  # fmt: skip
    assert run.command[1:] == [
        "submit", "/shots/a/job.json", "--to", "slurm", "--progress", "plain",
        "--retries", "3", "--chunk", "5", "--partition", "long jobs; rm x",
    ]  # fmt: skip
    assert any("long jobs; rm x" in line for line in run.log)


def test_a_submission_that_fails_says_why(tmp_path: Path) -> None:
    run = submission(tmp_path, "--bad")
    run.perform()
    assert (run.state, run.message) == ("failed", "error: plate is missing")


def test_a_submission_can_be_cancelled(tmp_path: Path) -> None:
    import threading

    run = submission(tmp_path, "--slow")
    thread = threading.Thread(target=run.perform)
    thread.start()
    end = time.monotonic() + PATIENCE_S
    while not any("task list" in line for line in run.log) and time.monotonic() < end:
        time.sleep(0.01)
    run.cancel()
    thread.join(PATIENCE_S)
    assert run.state == "cancelled"


# With Qt --------------------------------------------------------------------------------------


def test_renders_are_listed_with_progress_and_the_newest_is_chosen(
    panel: PanelWidget, host: QuietHost
) -> None:
    for run in some_runs():
        host.runs.add(run)
    panel.refresh()
    table = panel.jobs.table
    shown = [[table.item(r, c).text() for c in (0, 1, 3)] for r in range(3)]  # type: ignore[union-attr]
    assert shown == [
        ["VfxSwap1", "swap 1001-1100", "rendering"],
        ["Comp.VfxMosaic2", "mosaic 1001-1020", "failed"],
        ["VfxStyle1", "style 1001-1048", "done"],
    ]
    bar = table.cellWidget(0, 2)
    assert isinstance(bar, QtWidgets.QProgressBar) and bar.text() == "37 / 100"
    assert "37 of 100 frames" in panel.jobs.message.text()
    assert "no face, the plate passes through" in panel.jobs.log.toPlainText()
    assert panel.jobs.cancel_button.isEnabled()


def test_a_chosen_render_stays_chosen_and_is_the_one_that_is_cancelled(
    panel: PanelWidget, host: QuietHost
) -> None:
    first = Run("A", "swap 1-2", 2)
    host.runs.add(first)
    panel.refresh()
    panel.jobs.table.selectRow(0)
    host.runs.add(Run("B", "swap 1-2", 2))
    panel.refresh()
    assert panel.jobs.chosen() is first
    panel.jobs.cancel_button.click()
    assert first.cancelled.is_set()
    first.end("cancelled", "cancelled; 0 rendered")
    panel.jobs.clear_button.click()
    assert [run.node for run in host.runs.all()] == ["B"]
    assert panel.jobs.table.rowCount() == 1


def test_choices_are_pictures_with_consent_and_one_goes_to_the_node(
    panel: PanelWidget, host: QuietHost
) -> None:
    names = [panel.choices.list.item(i).text() for i in range(panel.choices.list.count())]
    assert names == ["rowan", "alder"]
    assert not panel.choices.use_button.isEnabled()
    panel.choices.list.setCurrentRow(1)
    assert "synthetic" in panel.choices.about.text()
    panel.choices.use_button.click()
    assert [choice.name for choice in host.used] == ["alder"]
    assert panel.foot.text() == "VfxSwap1: persona is alder"


def test_a_thumbnail_is_shown_and_a_missing_one_is_a_letter(
    application: QtWidgets.QApplication, tmp_path: Path
) -> None:
    red = tmp_path / "red.png"
    picture = QtGui.QPixmap(128, 128)
    picture.fill(QtGui.QColor("#ff0000"))
    assert picture.save(str(red))
    drawn = picture_of(Choice("x", "m", "style", "styles", str(red), None)).toImage()
    assert drawn.pixelColor(drawn.width() // 2, 60).name() == "#ff0000"
    for thumb in ("", str(tmp_path / "gone.jpg")):
        letter = picture_of(Choice("x", "m", "style", "styles", thumb, None)).toImage()
        colors = {letter.pixelColor(x, letter.height() // 2).name() for x in range(40, 180)}
        assert "#4a4a4a" in colors and len(colors) > 1


def test_an_engine_that_is_not_there_is_one_sentence_and_can_be_tried_again(
    application: QtWidgets.QApplication, panel: PanelWidget, host: QuietHost
) -> None:
    host.refusal = "no vfxswap engine is on the PATH"
    panel.reload_button.click()
    until(application, lambda: panel.foot.text() == host.refusal)
    until(application, panel.reload_button.isEnabled)
    panel.jobs.submit_button.click()
    assert panel.foot.text() == host.refusal and not host.runs.all()
    host.refusal = ""
    panel.reload_button.click()
    until(application, lambda: "1 models" in panel.foot.text())


def test_a_submission_is_listed_and_followed(
    application: QtWidgets.QApplication, panel: PanelWidget, host: QuietHost, tmp_path: Path
) -> None:
    host.engine = str(executable(tmp_path / "vfxswap", SUBMIT))
    panel.jobs.words.setText("--chunk 2")
    panel.jobs.submit_button.click()
    (run,) = host.runs.all()
    until(application, lambda: run.over)
    panel.refresh()
    state = panel.jobs.table.item(0, 3)
    assert state is not None and state.text() == "submitted"
    assert "4711" in panel.jobs.log.toPlainText()


def test_a_closed_panel_does_not_miss_its_models(application: QtWidgets.QApplication) -> None:
    import threading

    answer = threading.Event()

    class Late(QuietHost):
        def models(self) -> list[Any]:
            answer.wait(PATIENCE_S)
            return []

    panel = PanelWidget(Late())
    threads = [t for t in threading.enumerate() if t.name == "vfxswap models"]
    panel.deleteLater()
    del panel
    application.processEvents()
    answer.set()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
