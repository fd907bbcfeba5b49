"""Says what is cut off in the dock widget "Build pyramid", in a viewer of 1280 x 800 pixels.

Run with QT_SCALE_FACTOR by test_scale.py: Qt reads it once, when a process starts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QPoint, QRect
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QWidget,
)
from screen import open_screen

CONTROLS = (QAbstractButton, QComboBox, QLabel, QLineEdit)


def place(widget: QWidget, within: QWidget) -> QRect:
    return QRect(widget.mapTo(within, QPoint(0, 0)), widget.size())


def cut_off(widget: QWidget) -> Iterator[str]:
    """Controls that are wider than their column, lower than their text, or narrower than it."""
    scroll = widget.findChild(QScrollArea)
    inner = scroll.widget()
    if inner.width() > scroll.viewport().width():
        yield f"the column: {inner.width()} in {scroll.viewport().width()}"
    for control in widget.findChildren(QWidget):
        if not (isinstance(control, CONTROLS) and control.isVisible()):
            continue
        if isinstance(control.parent(), QComboBox):
            continue  # the line in a combo box
        name = f"{type(control).__name__} {control.objectName()} {shown_text(control)!r}"
        at = place(control, widget)
        if at.left() < 0 or at.right() >= widget.width():
            yield f"{name}: from {at.left()} to {at.right()} of {widget.width()}"
        if control.height() < control.fontMetrics().height():
            yield f"{name}: {control.height()} high, its text {control.fontMetrics().height()}"
        fits = isinstance(control, QAbstractButton) or (
            isinstance(control, QLabel) and not control.wordWrap()
        )
        width = control.fontMetrics().horizontalAdvance(shown_text(control))
        if fits and control.width() < width:
            yield f"{name}: {control.width()} wide, its text {width}"
        if isinstance(control, QLabel) and control.wordWrap():
            wanted = control.heightForWidth(control.width())
            if control.height() < wanted:
                yield f"{name}: {control.height()} high, its lines {wanted}"


def shown_text(control: Any) -> str:
    return str(control.currentText() if isinstance(control, QComboBox) else control.text())


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end, "nothing came"
        QApplication.processEvents()
        time.sleep(0.005)


def faults(theme: str, picture: str) -> Iterator[str]:
    viewer = napari.Viewer(show=True)
    viewer.theme = theme
    viewer.window._qt_window.setGeometry(0, 0, 1280, 800)
    viewer.add_image(np.zeros((64, 512, 512), "u2"), name="embryo", contrast_limits=(0, 1))
    _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
    wait(lambda: widget.is_settled and widget.totals.values["time"].text().startswith("≈"))
    window = viewer.window._qt_window
    for unfolded in (False, True):
        widget.form.unfold(unfolded)
        end = time.monotonic() + 0.3
        wait(lambda end=end: time.monotonic() > end)
        yield from (f"{theme}, {unfolded}: {fault}" for fault in cut_off(widget))
        at = place(widget.build, window)
        if not QRect(0, 0, 1280, 800).contains(at) or not window.rect().contains(at):
            yield f"{theme}: Build is at {at}, the window is {window.rect()}"
        if not widget.build.isEnabled() or widget.build.visibleRegion().isEmpty():
            yield f"{theme}: Build cannot be pressed"
        if picture:
            window.grab().save(f"{picture}-{theme}-{unfolded}.png")
    viewer.close()
    QApplication.processEvents()


if __name__ == "__main__":
    screen = open_screen("1920x1200")
    application = napari.qt.get_qapp()
    assert application.primaryScreen().devicePixelRatio() == 1.5, "no scale of 150 %"
    where = sys.argv[1] if len(sys.argv) > 1 else ""
    found = [fault for theme in ("dark", "light") for fault in faults(theme, where)]
    print("\n".join(found))
    sys.exit(bool(found))
