"""Show the entries of a catalog in Qt's views: as a list, and as the grid of a plate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractListModel, QAbstractTableModel, QModelIndex, QObject, Qt

from napari_pyramid._napari._previews import Previews
from napari_pyramid.layouts.entry import Entry, Plate

__all__ = ["ENTRY", "SHOWN", "EntryList", "WellGrid"]

ENTRY = int(Qt.ItemDataRole.UserRole)
"""Role of the `Entry` of an index."""
SHOWN = ENTRY + 1
"""Role of the preview of an index, which is read when it is first asked for."""

_Index = QModelIndex


class EntryList(QAbstractListModel):
    """The entries of a store in one column; entries are appended while they are listed."""

    def __init__(self, previews: Previews, parent: QObject) -> None:
        super().__init__(parent)
        self.entries: list[Entry] = []
        self._previews = previews
        self._row_of: dict[Entry, int] = {}
        previews.changed.connect(self._on_changed)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries at the end."""
        n = len(self.entries)
        self.beginInsertRows(QModelIndex(), n, n + len(entries) - 1)
        self._row_of |= {entry: n + i for i, entry in enumerate(entries)}
        self.entries += entries
        self.endInsertRows()

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of entries."""
        return 0 if parent is not None and parent.isValid() else len(self.entries)

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return name, tooltip, entry or preview of a row."""
        if not index.isValid():
            return None
        return _data(self.entries[index.row()], self._previews, role)

    def _on_changed(self, entry: Entry) -> None:
        row = self._row_of.get(entry)
        if row is not None:
            self.dataChanged.emit(self.index(row), self.index(row))


class WellGrid(QAbstractTableModel):
    """The wells of a plate at their rows and columns."""

    def __init__(self, plate: Plate, previews: Previews, parent: QObject) -> None:
        super().__init__(parent)
        self._plate, self._previews = plate, previews
        self._wells = {well.position: well for well in plate.wells}
        previews.changed.connect(self._on_changed)

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of rows of the plate."""
        return 0 if parent is not None and parent.isValid() else len(self._plate.rows)

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802  # Qt's name
        """Return the number of columns of the plate."""
        return 0 if parent is not None and parent.isValid() else len(self._plate.columns)

    def headerData(  # noqa: N802  # Qt's name
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = int(Qt.ItemDataRole.DisplayRole),
    ) -> Any:
        """Return the name of a row or column."""
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        is_column = orientation == Qt.Orientation.Horizontal
        return (self._plate.columns if is_column else self._plate.rows)[section]

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return name, tooltip, entry or preview of a well; None where there is no well."""
        well = self._wells.get((index.row(), index.column()))
        return None if well is None else _data(well, self._previews, role)

    def flags(self, index: _Index) -> Qt.ItemFlag:
        """Return the flags of a cell: wells can be selected, gaps in the grid cannot."""
        if (index.row(), index.column()) in self._wells:
            return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return Qt.ItemFlag.NoItemFlags

    def _on_changed(self, entry: Entry) -> None:
        if entry.position is not None and self._wells.get(entry.position) is entry:
            index = self.index(*entry.position)
            self.dataChanged.emit(index, index)


def _data(entry: Entry, previews: Previews, role: int) -> Any:
    if role == Qt.ItemDataRole.DisplayRole:
        return entry.name
    if role == ENTRY:
        return entry
    if role == SHOWN:
        return previews.of(entry)
    if role == Qt.ItemDataRole.ToolTipRole:
        details = previews.of(entry).details
        return "\n".join(filter(None, [entry.name, entry.path, details]))
    return None
