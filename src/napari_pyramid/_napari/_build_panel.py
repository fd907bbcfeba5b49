"""Lay out the dock widget: the form, the table, the totals, the buttons and the queue."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Literal

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._level_table import LevelTable
from napari_pyramid._napari._queue_view import QueueView
from napari_pyramid._napari._remedies import Action
from napari_pyramid._napari._totals import TotalsRow

__all__ = ["Panel"]

_MARGIN = 6


def _no_row() -> None:
    return None


class Panel:
    """The parts of the dock widget in `parent`: a column that scrolls, and buttons below.

    Parameters
    ----------
    on_action
        Called with the remedy of a button that is pressed.
    """

    def __init__(
        self,
        parent: QWidget,
        form: BuildForm,
        queue: QueueView,
        on_action: Callable[[Action], None],
        on_measure: Callable[[], None],
    ) -> None:
        self._on_action = on_action
        self.table = LevelTable()
        self.totals = TotalsRow(on_measure)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.build = QPushButton("Build")
        self.build.setToolTip("Builds what the table shows, after the builds that are running")
        self.build.setEnabled(False)
        self.remedies: list[QPushButton] = []
        self._buttons = QHBoxLayout()
        self._buttons.addWidget(self.build, 1)
        column = QVBoxLayout()
        column.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        column.setSpacing(6)
        column.addWidget(form.native)
        column.addWidget(self.table)
        column.addWidget(self.totals)
        column.addWidget(queue)
        column.addStretch(1)
        inner = QWidget()
        inner.setLayout(column)
        self._scroll = scroll = QScrollArea(parent)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        self._followed: Callable[[], QWidget | None] = _no_row
        form.changed.connect(self._forget)
        bar = scroll.verticalScrollBar()
        if bar is not None:
            bar.rangeChanged.connect(self._follow)
        outer = QVBoxLayout(parent)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll, 1)
        outer.addLayout(self._foot())
        parent.setMinimumWidth(300)
        parent.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def _foot(self) -> QVBoxLayout:
        """Return the message and the buttons, which do not scroll: Build is always in reach."""
        foot = QVBoxLayout()
        foot.setContentsMargins(_MARGIN, 0, _MARGIN, _MARGIN)
        foot.setSpacing(4)
        foot.addWidget(self.message)
        foot.addLayout(self._buttons)
        return foot

    def scroll_to(self, row: QWidget) -> None:
        """Bring a row of the queue into view, and keep it there until the form is changed.

        Scrolls from the event loop: Qt lays out a new row, and the message below it, only there.
        """
        self._followed = weakref.ref(row)
        soon = QTimer(row)  # ends with the row
        soon.setSingleShot(True)
        soon.timeout.connect(self._follow)
        soon.start(0)

    def _follow(self) -> None:
        row = self._followed()
        # The timer of a discarded row may still fire: Python knows the row longer than Qt does.
        is_there = row is not None and isalive(row)  # type: ignore[no-untyped-call]  # as in `_browser`
        if row is not None and is_there and self._scroll.isAncestorOf(row):
            self._scroll.ensureWidgetVisible(row)

    def _forget(self, *_: object) -> None:
        self._followed = _no_row

    def say(self, text: str, kind: Literal["", "hint", "problem"] = "") -> None:
        """Show a sentence above the buttons; an empty one hides it."""
        self.message.setProperty("kind", kind)
        style = self.message.style()
        if style is not None:
            style.polish(self.message)
        self.message.setText(f"⚠ {text}" if kind == "problem" and text else text)
        self.message.setVisible(bool(text))

    def offer(self, actions: Sequence[Action]) -> None:
        """Show a button for each remedy, in place of the ones before."""
        for button in self.remedies:
            self._buttons.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.remedies = []
        for action in actions:
            button = QPushButton(action.label)
            button.setToolTip(action.tooltip)
            button.clicked.connect(lambda *_, action=action: self._on_action(action))
            self._buttons.addWidget(button, 1)
            self.remedies.append(button)
