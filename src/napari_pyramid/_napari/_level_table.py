"""Show the levels that will be built in a table that fits the width it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QFontMetrics, QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QStyledItemDelegate,
    QTableWidget,
    QTableWidgetItem,
)

from napari_pyramid._napari._plan import COLUMNS

__all__ = ["LevelTable"]

_BELOW = {"shape": "voxel size", "chunks": "files"}
"""Columns that are shown below others where there is no room beside them."""
_SECOND_LINE = Qt.ItemDataRole.UserRole
_PADDING, _LEAST = 14, 9
"""Pixels of a column beside its text, and where there is little room."""
_MOST_ROWS = 8
"""Rows that are shown at once; more are scrolled."""


class LevelTable(QTableWidget):
    """Table of levels, one row each: in six columns, or in four with two lines where it is narrow.

    A text that does not fit its column is shortened, and complete in its tooltip.
    """

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setItemDelegate(_TwoLines(self))
        for header, hidden in ((self.horizontalHeader(), False), (self.verticalHeader(), True)):
            assert header is not None
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            header.setHidden(hidden)
            header.setMinimumSectionSize(1)
        self.is_narrow = False
        """Whether there are two lines in each row."""
        self._fit()

    def show_rows(self, rows: Sequence[Sequence[str]], first: str = COLUMNS[0]) -> None:
        """Show rows of texts under `COLUMNS`.

        Parameters
        ----------
        first
            Title of the first column.
        """
        self.setHorizontalHeaderItem(0, QTableWidgetItem(first))
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            texts = dict(zip(COLUMNS, row, strict=True))
            whole = "\n".join(f"{first if k == 'level' else k}: {v}" for k, v in texts.items())
            for j, (title, text) in enumerate(texts.items()):
                item = QTableWidgetItem(text)
                item.setTextAlignment(
                    int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                )
                item.setToolTip(whole)
                if title in _BELOW:
                    below = texts[_BELOW[title]]
                    files = f"{below} file{'s' * (below != '1')}"
                    item.setData(_SECOND_LINE, files if title == "chunks" else below)
                self.setItem(i, j, item)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802  # Qt's own name
        """Fit the columns to the new width."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:  # noqa: N802  # Qt's name
        """Fit the columns to another font or style."""
        super().changeEvent(event)
        self._fit()

    def _fit(self) -> None:
        viewport = self.viewport()
        if viewport is None or self.columnCount() != len(COLUMNS):
            return
        room = viewport.width()
        wide = [self._needed(j, two_lines=False) for j in range(len(COLUMNS))]
        self.is_narrow = sum(wide) > room
        hidden = set(_BELOW.values()) if self.is_narrow else set()
        shown = [j for j, title in enumerate(COLUMNS) if title not in hidden]
        needed = [self._needed(j, two_lines=self.is_narrow) for j in shown]
        for j, title in enumerate(COLUMNS):
            self.setColumnHidden(j, title in hidden)
        for j, width in zip(shown, _shared(needed, room), strict=True):
            self.setColumnWidth(j, width)
        line = QFontMetrics(self.font()).height()
        height = 2 * line + 8 if self.is_narrow else line + 8
        for i in range(self.rowCount()):
            self.setRowHeight(i, height)
        header = self.horizontalHeader()
        top = 0 if header is None else header.sizeHint().height()
        rows = min(max(self.rowCount(), 1), _MOST_ROWS)
        self.setFixedHeight(top + rows * height + 2 * self.frameWidth())

    def _needed(self, column: int, *, two_lines: bool) -> int:
        """Return the width of a column in which no text is shortened."""
        metrics = QFontMetrics(self.font())
        title = self.horizontalHeaderItem(column)
        texts = ["" if title is None else title.text()]
        for i in range(self.rowCount()):
            item = self.item(i, column)
            if item is not None:
                texts.append(item.text())
                if two_lines:
                    texts.append(str(item.data(_SECOND_LINE) or ""))
        padding = _LEAST if two_lines else _PADDING
        return max(map(metrics.horizontalAdvance, texts)) + padding


def _shared(needed: Sequence[int], room: int) -> list[int]:
    """Return widths that fill the room: in proportion to what is needed.

    Without room for all, narrow columns get what they need, and wide ones share the rest.
    """
    total = max(1, sum(needed))
    if total <= room:
        widths = [n * room // total for n in needed]
    else:
        widths, left = list(needed), room
        by_need = sorted(range(len(needed)), key=needed.__getitem__)
        for done, j in enumerate(by_need):
            widths[j] = min(needed[j], left // (len(needed) - done))
            left -= widths[j]
    if widths:
        widths[-1] += max(0, room - sum(widths))
    return widths


class _TwoLines(QStyledItemDelegate):
    """Paint the second line of an item below the first, paler, while the table is narrow."""

    def __init__(self, table: LevelTable) -> None:
        super().__init__(table)
        self._table = table

    def paint(self, painter: Any, option: Any, index: Any) -> None:
        """Paint one cell."""
        below = index.data(_SECOND_LINE)
        if not self._table.is_narrow or not below:
            super().paint(painter, option, index)
            return
        upper, lower = QRect(option.rect), QRect(option.rect)
        middle = option.rect.top() + option.rect.height() // 2
        upper.setBottom(middle)
        lower.setTop(middle)
        painter.save()
        color = option.palette.color(QPalette.ColorRole.Text)
        flags = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for rect, text, alpha in ((upper, str(index.data()), 255), (lower, str(below), 150)):
            color.setAlpha(alpha)
            painter.setPen(color)
            room = rect.adjusted(2, 1, -4, -1)
            shown = QFontMetrics(option.font).elidedText(
                text, Qt.TextElideMode.ElideMiddle, room.width()
            )
            painter.drawText(room, flags, shown)
        painter.restore()

    def sizeHint(self, option: Any, index: Any) -> QSize:  # noqa: N802  # Qt's name
        """Return the size of one line; the table sets the height of rows itself."""
        return super().sizeHint(option, index)
