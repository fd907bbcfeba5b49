"""Show disk, files, memory and time of a build as four numbers in a row."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_pyramid._napari._estimate import Estimate
from napari_pyramid._napari._plan import Totals
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.words import duration

__all__ = ["TotalsRow", "rounded"]

_TITLES = ("disk", "files", "memory", "time")
_TIME = (
    "Measured by building up to {} of the image on this machine, and rounded: to 5 seconds above "
    "10 seconds, to 30 above a minute, to 5 minutes above 10, to 30 above 2 hours. Other work on "
    "the machine makes it longer."
)
_FAR = " It leaves out the upload to a server; the time on a cluster is not known."
_STEPS = ((7200, 1800), (600, 300), (60, 30), (10, 5))
"""Seconds from which a time is rounded to a multiple of so many seconds."""


class TotalsRow(QWidget):
    """Four numbers under their titles; `measure` asks for what is not known yet.

    Parameters
    ----------
    on_measure
        Called when the button that asks for a measurement is pressed.
    """

    def __init__(self, on_measure: Callable[[], None]) -> None:
        super().__init__()
        self._grid = grid = QGridLayout(self)
        grid.setContentsMargins(2, 2, 2, 2)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(0)
        self.values = {title: QLabel() for title in _TITLES}
        for column, title in enumerate(_TITLES):
            caption = QLabel(title)
            caption.setProperty("kind", "hint")
            grid.addWidget(caption, 0, column)
            grid.addWidget(self.values[title], 1, column)
            self.values[title].setSizePolicy(
                QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
            )
            self.values[title].setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.measure = QPushButton("Measure")
        self.measure.setToolTip(
            "Reads and builds a small part of the image to estimate time and size on disk"
        )
        self.measure.clicked.connect(lambda: on_measure())
        self.measure.hide()
        grid.addWidget(self.measure, 1, len(_TITLES) - 1)
        self.hide()

    def show_totals(self, totals: Totals | None, estimate: Estimate | str | None) -> None:
        """Show totals, with what was measured.

        Parameters
        ----------
        estimate
            The estimate; a text in its place, such as ``"…"``; None offers to measure.
        """
        self.setVisible(totals is not None)
        if totals is None:
            return
        disk, time = f"≤ {format_bytes(totals.nbytes)}", ""
        tip, time_tip = "Before compression", "Building a part of the image"
        if isinstance(estimate, Estimate):
            seconds, compressed = estimate.of(totals)
            sign = "≈" if estimate.is_local else "≥"
            disk, time = f"≈ {format_bytes(compressed)}", f"{sign} {duration(rounded(seconds))}"
            tip = f"{format_bytes(totals.nbytes)} before compression; measured on a part"
            time_tip = _TIME.format(format_bytes(estimate.measured))
            time_tip += "" if estimate.is_local else _FAR
        elif isinstance(estimate, str):
            time = estimate
        texts = (disk, f"≤ {totals.n_files:,}", format_bytes(totals.memory), time)
        tips = (
            tip,
            "Chunk or shard files, if none is empty",
            "Most memory in use at a time",
            time_tip,
        )
        for column, (title, text, words) in enumerate(zip(_TITLES, texts, tips, strict=True)):
            value = self.values[title]
            value.setText(text)
            value.setToolTip(words)
            needed = value.fontMetrics().horizontalAdvance(text or self.measure.text())
            self._grid.setColumnStretch(column, needed)
        self.measure.setVisible(estimate is None)
        self.values["time"].setVisible(estimate is not None)


def rounded(seconds: float) -> int:
    """Return an estimated time in the precision that it deserves, at least 1 second."""
    step = next((step for least, step in _STEPS if seconds >= least), 1)
    return max(1, round(seconds / step) * step)
