"""The panel's pages, as Qt widgets. They know renders and models, and no Nuke."""

from __future__ import annotations

from typing import Callable, Sequence

from vfxswap_nuke.panel_model import SCHEDULERS, Card, Choice, state_words
from vfxswap_nuke.panel_qt import QtCore, QtGui, QtWidgets
from vfxswap_nuke.runs import CANCELLED, DONE, FAILED, Run, duration

THUMB_PX, _SMALL_PX = 112, 40
_GOOD, _BAD, _QUIET, _ACCENT = "#7fb069", "#d1603d", "#9a9a9a", "#c9a24a"
_STATE_COLORS = {DONE: _GOOD, FAILED: _BAD, CANCELLED: _QUIET}
_COLUMNS = ("Node", "What", "Progress", "State", "Time")

Qt = QtCore.Qt


class JobsPage(QtWidgets.QWidget):
    """Renders with their progress, the log of the chosen one, and what can be done with it."""

    def __init__(self, *, submit: Callable[[str, str], None], clear: Callable[[], None]) -> None:
        super().__init__()
        self._runs: list[Run] = []
        self._submit = submit
        self.table = QtWidgets.QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setStyleSheet("QTableWidget::item { padding: 0 6px; }")
        self.table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        header = self.table.horizontalHeader()
        modes = QtWidgets.QHeaderView.ResizeMode
        for column in range(len(_COLUMNS)):
            header.setSectionResizeMode(column, modes.ResizeToContents)
        header.setSectionResizeMode(2, modes.Stretch)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.itemSelectionChanged.connect(self._chosen)
        self.message = QtWidgets.QLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.log = QtWidgets.QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setFont(_monospace())
        self.cancel_button = _button("Cancel", self._cancel, "Ends after the frame in hand.")
        self.clear_button = _button("Clear ended", clear, "Takes what is over off the list.")
        self.folder_button = _button("Open folder", self._open, "Where its files lie.")
        self.scheduler = QtWidgets.QComboBox()
        self.scheduler.addItems(list(SCHEDULERS))
        self.words = QtWidgets.QLineEdit()
        self.words.setPlaceholderText("further options, as in --chunk 5")
        self.submit_button = _button(
            "Submit selected node", self._submit_now, "Writes its inputs and its job, then submits."
        )
        self._lay_out()
        self._chosen()

    def _lay_out(self) -> None:
        buttons = _row(self.cancel_button, self.folder_button, self.clear_button)
        buttons.addStretch()
        lower = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(lower)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.message)
        column.addWidget(self.log)
        column.addLayout(buttons)
        splitter = QtWidgets.QSplitter(Qt.Orientation.Vertical)
        splitter.addWidget(self.table)
        splitter.addWidget(lower)
        splitter.setStretchFactor(0, 3)
        splitter.setStretchFactor(1, 2)
        farm = QtWidgets.QGroupBox("Farm")
        line = _row(self.scheduler, self.words, self.submit_button)
        line.setStretch(1, 1)
        farm.setLayout(line)
        whole = QtWidgets.QVBoxLayout(self)
        whole.addWidget(splitter, 1)
        whole.addWidget(farm)

    def show_runs(self, runs: Sequence[Run]) -> None:
        """Brings the table up to date; the chosen render stays chosen."""
        chosen = self.chosen()
        if [id(run) for run in runs] != [id(run) for run in self._runs]:
            self._runs = list(runs)
            self._fill(chosen)
        for row, run in enumerate(self._runs):
            self._update(row, run)
        self._show_log()

    def chosen(self) -> Run | None:
        """The render whose row is selected."""
        rows = self.table.selectionModel().selectedRows()
        return self._runs[rows[0].row()] if rows and rows[0].row() < len(self._runs) else None

    def _fill(self, chosen: Run | None) -> None:
        self.table.blockSignals(True)
        self.table.setRowCount(len(self._runs))
        for row in range(len(self._runs)):
            for column in range(len(_COLUMNS)):
                self.table.setItem(row, column, QtWidgets.QTableWidgetItem())
            bar = QtWidgets.QProgressBar()
            bar.setFormat("")
            bar.setTextVisible(True)
            self.table.setCellWidget(row, 2, bar)
        self.table.blockSignals(False)
        wanted = chosen if chosen in self._runs else (self._runs[0] if self._runs else None)
        if wanted is not None:
            self.table.selectRow(self._runs.index(wanted))
        self._chosen()

    def _update(self, row: int, run: Run) -> None:
        said = (run.node, run.title, "", state_words(run), duration(run.seconds))
        for column, text in enumerate(said):
            self._cell(row, column).setText(text)
        color = _STATE_COLORS.get(run.state, _ACCENT)
        self._cell(row, 3).setForeground(QtGui.QBrush(QtGui.QColor(color)))
        bar = self.table.cellWidget(row, 2)
        assert isinstance(bar, QtWidgets.QProgressBar)
        if run.kind == "submit":
            bar.setRange(0, 0 if not run.over else 1)
            bar.setValue(run.finished)
            bar.setFormat("")
        else:
            bar.setRange(0, max(run.total, 1))
            bar.setValue(run.finished)
            bar.setFormat(f"{run.finished} / {run.total}")

    def _cell(self, row: int, column: int) -> QtWidgets.QTableWidgetItem:
        found = self.table.item(row, column)
        assert found is not None
        return found

    def _chosen(self) -> None:
        self.log.setPlainText("")
        self._show_log()

    def _show_log(self) -> None:
        run = self.chosen()
        self.cancel_button.setEnabled(run is not None and not run.over)
        self.folder_button.setEnabled(run is not None and bool(run.folder))
        self.message.setText(run.status() if run is not None else "Nothing was rendered yet.")
        text = "\n".join(run.log) if run is not None else ""
        if text != self.log.toPlainText():
            bar = self.log.verticalScrollBar()
            at_end = bar.value() >= bar.maximum() - 4
            self.log.setPlainText(text)
            if at_end:
                bar.setValue(bar.maximum())

    def _cancel(self) -> None:
        run = self.chosen()
        if run is not None:
            run.cancel()

    def _open(self) -> None:
        run = self.chosen()
        if run is not None:
            QtGui.QDesktopServices.openUrl(QtCore.QUrl.fromLocalFile(run.folder))

    def _submit_now(self) -> None:
        self._submit(self.scheduler.currentText(), self.words.text())


class ChoicesPage(QtWidgets.QWidget):
    """Personas, styles and themes as pictures; one goes onto the selected node."""

    def __init__(self, *, use: Callable[[Choice], None]) -> None:
        super().__init__()
        self._use = use
        self._choices: list[Choice] = []
        self.effects = QtWidgets.QComboBox()
        self.effects.currentIndexChanged.connect(self._fill)
        self.list = QtWidgets.QListWidget()
        self.list.setViewMode(QtWidgets.QListView.ViewMode.IconMode)
        self.list.setIconSize(QtCore.QSize(THUMB_PX, THUMB_PX))
        self.list.setResizeMode(QtWidgets.QListView.ResizeMode.Adjust)
        self.list.setMovement(QtWidgets.QListView.Movement.Static)
        self.list.setSpacing(8)
        self.list.setUniformItemSizes(True)
        self.list.itemDoubleClicked.connect(lambda _item: self._use_chosen())
        self.list.itemSelectionChanged.connect(self._chosen)
        self.about = QtWidgets.QLabel()
        self.about.setWordWrap(True)
        self.use_button = _button(
            "Use on selected node", self._use_chosen, "Also by a double click."
        )
        foot = _row(self.about, self.use_button)
        foot.setStretch(0, 1)
        whole = QtWidgets.QVBoxLayout(self)
        head = _row(self.effects)
        head.addStretch()
        whole.addLayout(head)
        whole.addWidget(self.list, 1)
        whole.addLayout(foot)
        self._chosen()

    def show_choices(self, choices: Sequence[Choice]) -> None:
        """Fills the page anew."""
        self._choices = list(choices)
        wanted = self.effects.currentText()
        kinds = sorted({choice.kind for choice in choices})
        self.effects.blockSignals(True)
        self.effects.clear()
        self.effects.addItems(["everything", *kinds])
        self.effects.setCurrentIndex(max(0, self.effects.findText(wanted)))
        self.effects.blockSignals(False)
        self._fill()

    def shown(self) -> list[Choice]:
        """What passes the filter, in the order of the list."""
        wanted = self.effects.currentText()
        return [c for c in self._choices if wanted in ("everything", "", c.kind)]

    def chosen(self) -> Choice | None:
        """The picture that is selected."""
        row = self.list.currentRow()
        shown = self.shown()
        return shown[row] if self.list.selectedItems() and 0 <= row < len(shown) else None

    def _fill(self, _index: int = 0) -> None:
        self.list.clear()
        for choice in self.shown():
            icon = QtGui.QIcon()
            picture = picture_of(choice)
            # Qt would tint the chosen one, and the artist compares skins and paints.
            for mode in (QtGui.QIcon.Mode.Normal, QtGui.QIcon.Mode.Selected):
                icon.addPixmap(picture, mode)
            item = QtWidgets.QListWidgetItem(icon, choice.name)
            item.setToolTip(_about(choice))
            self.list.addItem(item)
        self._chosen()

    def _chosen(self) -> None:
        choice = self.chosen()
        self.use_button.setEnabled(choice is not None)
        self.about.setText(_about(choice) if choice is not None else "")

    def _use_chosen(self) -> None:
        choice = self.chosen()
        if choice is not None:
            self._use(choice)


class ModelsPage(QtWidgets.QScrollArea):
    """Cards of the installed models, with the state of every consent."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)

    def show_cards(self, cards: Sequence[Card]) -> None:
        """Fills the page anew."""
        inside = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(inside)
        for card in cards:
            column.addWidget(_card(card))
        column.addStretch()
        self.setWidget(inside)


def _card(card: Card) -> QtWidgets.QWidget:
    frame = QtWidgets.QFrame()
    frame.setObjectName("card")
    frame.setStyleSheet("#card { border: 1px solid rgba(128, 128, 128, 90); border-radius: 6px; }")
    column = QtWidgets.QVBoxLayout(frame)
    name = QtWidgets.QLabel(f"<b>{card.name}</b> &nbsp; {card.effect}")
    facts = QtWidgets.QLabel(card.facts)
    facts.setWordWrap(True)
    facts.setStyleSheet(f"color: {_QUIET}")
    column.addWidget(name)
    column.addWidget(facts)
    for choice in card.choices:
        if choice.consent is None:
            continue
        color = _GOOD if choice.consent.good else _BAD
        words = QtWidgets.QLabel(
            f'<span style="color: {color}">●</span> {choice.name}: {choice.consent.words}'
        )
        line = _row(_small_picture(choice), words)
        line.addStretch()
        column.addLayout(line)
    others = [choice.name for choice in card.choices if choice.consent is None]
    if others:
        label = QtWidgets.QLabel(", ".join(others))
        label.setWordWrap(True)
        column.addWidget(label)
    return frame


def picture_of(choice: Choice) -> QtGui.QPixmap:
    """The thumbnail, rounded, with the state of consent on it; a letter where there is none."""
    side = THUMB_PX
    # Twice as large for screens that have the pixels.
    made = QtGui.QPixmap(2 * side, 2 * side)
    made.fill(QtGui.QColor(0, 0, 0, 0))
    painter = QtGui.QPainter(made)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
    whole = QtCore.QRectF(0, 0, 2 * side, 2 * side)
    outline = QtGui.QPainterPath()
    outline.addRoundedRect(whole, 14, 14)
    painter.setClipPath(outline)
    stored = QtGui.QPixmap(choice.thumb) if choice.thumb else QtGui.QPixmap()
    if stored.isNull():
        painter.fillRect(whole, QtGui.QColor("#4a4a4a"))
        font = painter.font()
        font.setPixelSize(side)
        painter.setFont(font)
        painter.setPen(QtGui.QColor("#8a8a8a"))
        painter.drawText(whole, int(Qt.AlignmentFlag.AlignCenter), choice.name[:1].upper())
    else:
        painter.drawPixmap(whole, stored, QtCore.QRectF(stored.rect()))
    if choice.consent is not None:
        _draw_badge(painter, choice, side)
    painter.end()
    made.setDevicePixelRatio(2.0)
    return made


def _small_picture(choice: Choice) -> QtWidgets.QLabel:
    stored = QtGui.QPixmap(choice.thumb) if choice.thumb else QtGui.QPixmap()
    label = QtWidgets.QLabel()
    if not stored.isNull():
        ways = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        picture = stored.scaled(2 * _SMALL_PX, 2 * _SMALL_PX, *ways)
        picture.setDevicePixelRatio(2.0)
        label.setPixmap(picture)
    return label


def _draw_badge(painter: QtGui.QPainter, choice: Choice, side: int) -> None:
    assert choice.consent is not None
    bar = QtCore.QRectF(0, 2 * side - 40, 2 * side, 40)
    painter.fillRect(bar, QtGui.QColor(0, 0, 0, 150))
    color = QtGui.QColor(_GOOD if choice.consent.good else _BAD)
    painter.setBrush(QtGui.QBrush(color))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawEllipse(QtCore.QRectF(14, bar.top() + 13, 14, 14))
    font = painter.font()
    font.setPixelSize(21)
    painter.setFont(font)
    painter.setPen(QtGui.QColor("#e8e8e8"))
    place = bar.adjusted(38, 0, -6, 0)
    aligned = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
    painter.drawText(place, int(aligned), choice.consent.words)


def _about(choice: Choice) -> str:
    words = f"{choice.name}, of {choice.model}"
    return f"{words}: {choice.consent.words}" if choice.consent is not None else words


def _button(text: str, clicked: Callable[[], None], tip: str) -> QtWidgets.QPushButton:
    button = QtWidgets.QPushButton(text)
    button.setToolTip(tip)
    # Qt hands a truth value over, which is none of the callee's business.
    button.clicked.connect(lambda *_: clicked())
    return button


def _row(*widgets: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    row = QtWidgets.QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def _monospace() -> QtGui.QFont:
    return QtGui.QFontDatabase.systemFont(QtGui.QFontDatabase.SystemFont.FixedFont)
