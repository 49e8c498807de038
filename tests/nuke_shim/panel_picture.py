"""Draws docs/nuke-panel.jpg: the panel's pages over the models that come with vfxswap.

QT_QPA_PLATFORM=offscreen PYTHONPATH=tests:plugins/nuke python tests/nuke_shim/panel_picture.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from panel_host import QuietHost, offscreen, some_runs

offscreen()

from PySide6 import QtCore, QtGui, QtWidgets  # noqa: E402
from vfxswap_nuke.panel_widget import PanelWidget  # noqa: E402

SIZE = (600, 720)
SCALE = 1.5


def dark() -> QtGui.QPalette:
    """A dark grey, as compositing applications have it."""
    palette = QtGui.QPalette(QtGui.QColor("#3c3c3c"), QtGui.QColor("#323232"))
    roles = QtGui.QPalette.ColorRole
    for role, color in {
        roles.Base: "#2a2a2a", roles.Text: "#dddddd", roles.WindowText: "#dddddd",
        roles.ButtonText: "#dddddd", roles.Highlight: "#b0843a", roles.HighlightedText: "#ffffff",
        roles.AlternateBase: "#303030", roles.PlaceholderText: "#8a8a8a",
    }.items():  # fmt: skip
        palette.setColor(role, QtGui.QColor(color))
    return palette


def main(path: Path) -> None:
    application = QtWidgets.QApplication([])
    application.setStyle("Fusion")
    application.setPalette(dark())
    font = QtGui.QFont("DejaVu Sans")
    font.setPixelSize(13)
    application.setFont(font)
    host = QuietHost()
    for run in some_runs():
        host.runs.add(run)
    pictures = []
    panel = PanelWidget(host)
    panel.resize(*SIZE)
    panel.show()
    end = time.monotonic() + 20
    while not panel.choices.shown() and time.monotonic() < end:
        application.processEvents()
    panel.refresh()
    for page in range(3):
        panel.tabs.setCurrentIndex(page)
        if page == 1:
            panel.choices.list.setCurrentRow(1)
        application.processEvents()
        made = QtGui.QPixmap(int(SIZE[0] * SCALE), int(SIZE[1] * SCALE))
        made.setDevicePixelRatio(SCALE)
        made.fill(QtGui.QColor("#323232"))
        panel.render(made)
        made.setDevicePixelRatio(1.0)
        pictures.append(made)
    gap = 18
    sheet = QtGui.QImage(
        3 * pictures[0].width() + 4 * gap, pictures[0].height() + 2 * gap,
        QtGui.QImage.Format.Format_RGB32,
    )  # fmt: skip
    sheet.fill(QtGui.QColor("#1e1e1e"))
    painter = QtGui.QPainter(sheet)
    for index, picture in enumerate(pictures):
        painter.drawPixmap(QtCore.QPoint(gap + index * (picture.width() + gap), gap), picture)
    painter.end()
    if not sheet.save(str(path), quality=88):
        raise OSError(f"{path} cannot be written")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/nuke-panel.jpg"))
