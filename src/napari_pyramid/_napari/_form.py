"""Lay out the fields of the dock widget and its table of levels.

Only Qt: the meaning of a choice is in `_plan`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]  # qtpy's own name for pyqtSignal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_pyramid._napari._plan import COLUMNS, Choice
from napari_pyramid._napari._saving import completed
from napari_pyramid.downsample import Reduction
from napari_pyramid.errors import SpecError

__all__ = ["ChoiceForm", "LevelTable", "PathField", "ask_folder"]

AUTO = "auto"


class PathField(QWidget):
    """A line edit for a path, with a button that opens a dialog."""

    changed = Signal()

    def __init__(self, ask: Callable[[QWidget, str], str]) -> None:
        super().__init__()
        self.edit = QLineEdit()
        button = QPushButton("…")
        button.setFixedWidth(32)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.edit)
        row.addWidget(button)
        self._ask = ask
        self.edit.editingFinished.connect(self.changed)
        button.clicked.connect(self._browse)

    @property
    def path(self) -> str:
        """The path in the field, with ``~`` expanded."""
        return os.path.expanduser(str(self.edit.text()).strip())

    @path.setter
    def path(self, path: str) -> None:
        self.edit.setText(path)
        self.edit.setToolTip(path)

    def _browse(self) -> None:
        path = self._ask(self, self.path or str(Path.home()))
        if path:
            self.path = path
            self.changed.emit()


def ask_folder(parent: QWidget, start: str) -> str:
    """Ask for a store in a dialog: zarr, N5 and similar stores are folders."""
    return str(QFileDialog.getExistingDirectory(parent, "Image to build a pyramid of", start))


def ask_new_store(parent: QWidget, start: str) -> str:
    """Ask for the name of a new store in a dialog."""
    return str(
        QFileDialog.getSaveFileName(
            parent, "Store the pyramid as", start, "OME-Zarr (*.ome.zarr *.zarr)"
        )[0]
    )


class ChoiceForm(QWidget):
    """Fields for destination, method, levels, chunks and format of a build.

    The signal `changed` is emitted when the user pauses.

    Parameters
    ----------
    *first
        Label and field of each row above the others.
    """

    changed = Signal()

    def __init__(self, *first: tuple[str | QWidget, QWidget]) -> None:
        super().__init__()
        self.place = QComboBox()
        self.place.addItem("a new store", False)
        self.place.addItem("beside the data (in place)", True)
        self.destination = PathField(ask_new_store)
        self.method = QComboBox()
        self.levels = QSpinBox()
        self.levels.setRange(0, 32)
        self.levels.setSpecialValueText(AUTO)
        self.levels.setToolTip("How many levels, level 0 included")
        self.chunks = QLineEdit()
        self.chunks.setPlaceholderText(f"{AUTO}, or one length per axis: 64, 128, 128")
        self.format = QComboBox()
        self.format.addItem("OME-Zarr 0.5 (zarr v3)", "0.5")
        self.format.addItem("OME-Zarr 0.4 (zarr v2)", "0.4")
        self._lay_out(first)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(150)
        self._pause.timeout.connect(self.changed)
        for combo in (self.place, self.method, self.format):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
            combo.currentIndexChanged.connect(self._edited)
        self.levels.valueChanged.connect(self._edited)
        self.chunks.textChanged.connect(self._edited)
        self.destination.edit.textChanged.connect(self._edited)

    def _lay_out(self, first: Sequence[tuple[str | QWidget, QWidget]]) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for label, field in first:
            form.addRow(label, field)
        form.addRow("Where", self.place)
        form.addRow("Store", self.destination)
        form.addRow("Method", self.method)
        form.addRow("Levels", self.levels)
        form.addRow("Chunks", self.chunks)
        form.addRow("Format", self.format)

    def _edited(self) -> None:
        for field in (self.destination, self.format):
            field.setEnabled(not self.place.currentData())
        self._pause.start()

    def offer(self, methods: Sequence[Reduction], destination: str, in_place: bool) -> None:
        """Set the fields that depend on the image: its methods and where its pyramid can be stored.

        The other fields keep their values.
        """
        chosen = self.method.currentText()
        self.method.clear()
        self.method.addItem(f"{AUTO} ({methods[0].name})", None)
        for method in methods:
            self.method.addItem(method.name, method.name)
            tip = method.help[0].upper() + method.help[1:]
            self.method.setItemData(self.method.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.method.setCurrentIndex(max(0, self.method.findText(chosen)))
        self.destination.path = destination
        self.place.setCurrentIndex(self.place.currentIndex() if in_place else 0)
        self.place.setEnabled(in_place)
        self.place.setToolTip(
            "" if in_place else "In place needs a zarr array on this machine's disk"
        )
        self._pause.stop()  # the caller updates the plan itself

    def choice(self) -> Choice:
        """Return the values of the fields.

        Raises
        ------
        SpecError
            If the chunks are not whole numbers.
        """
        text, path = self.chunks.text().strip(), self.destination.path
        return Choice(
            None if self.place.currentData() else path and str(completed(path)),
            self.method.currentData(),
            self.levels.value() or None,
            None if text in ("", AUTO) else _whole_numbers(text),
            self.format.currentData(),
        )


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = [
        part
        for part in text.replace("×", ",").replace("x", ",").replace(" ", ",").split(",")
        if part
    ]
    if not all(part.isdecimal() for part in parts):
        raise SpecError(
            f"chunks {text!r} are not whole numbers: write one per axis, such as 64, 128, 128"
        )
    return tuple(int(part) for part in parts)


class LevelTable(QTableWidget):
    """Table of the levels that will be built, one row per level."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        for header, hidden in ((self.horizontalHeader(), False), (self.verticalHeader(), True)):
            assert header is not None
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setHidden(hidden)

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, text in enumerate(row):
                item = QTableWidgetItem(text)
                item.setTextAlignment(
                    int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                )
                self.setItem(i, j, item)
