"""Lay out the browser: names and counts above, the list or grid, and buttons below. Only Qt."""

from __future__ import annotations

from qtpy.QtCore import QSize, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDockWidget,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListView,
    QMainWindow,
    QPushButton,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_pyramid._napari._catalog_delegates import Colors, RowDelegate, WellDelegate
from napari_pyramid._napari._catalog_models import EntryList, WellGrid

__all__ = ["FIELDS", "STITCHED", "WELLS", "BrowserForm"]

SMALLEST_WELL, COMFORTABLE_WELL, LARGEST_WELL = 18, 44, 112
"""Sides of wells in pixels."""
WELLS, FIELDS, STITCHED = "wells", "fields", "stitched"
"""Ways to open wells."""
_EMPTY = (
    "Drop a store here, or open one below.\n\n"
    "A plate shows the grid of its wells. Other stores show a list of their images, "
    "series, labels or timepoints."
)


class BrowserForm(QWidget):
    """The widgets of the browser; other modules connect them."""

    def __init__(self, colors: Colors) -> None:
        super().__init__()
        self.name = QLabel()
        self.name.setStyleSheet("font-weight: bold;")
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.count = QLabel()
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search names")
        self.search.setClearButtonEnabled(True)
        self.system = QComboBox()
        self.system.setToolTip("Coordinate system in which the images are placed")
        self.how = QComboBox()
        self.how.addItem("One image per well", WELLS)
        self.how.addItem("One image per field", FIELDS)
        self.how.addItem("Stitched into one image", STITCHED)
        self.how.setToolTip("How the wells are opened")
        self.well_size = QSlider(Qt.Orientation.Horizontal)
        self.well_size.setRange(SMALLEST_WELL, LARGEST_WELL)
        self.well_size.setToolTip("Size of the wells")
        self.well_size.setMaximumWidth(110)
        self.well_size.valueChanged.connect(self.resize_wells)
        self.start, self.list, self.grid = QLabel(_EMPTY), QListView(), QTableView()
        self.start.setWordWrap(True)
        self.start.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.start.setMargin(24)
        self.rows, self.wells = RowDelegate(colors, self), WellDelegate(colors, self)
        self._set_up_views()
        self.pages = QStackedWidget()
        for page in (self.start, self.list, self.grid):
            self.pages.addWidget(page)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.problem = QLabel()
        self.problem.setProperty("kind", "problem")
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.confirm = QPushButton("Open anyway")
        self.stop = QPushButton("Stop")
        self.open_chosen = QPushButton("Open selected")
        self.open_all = QPushButton("Open all")
        self.folder = QPushButton("Open folder …")
        self.folder.setToolTip("Browse a zarr, N5 or other store, or a folder of several stores")
        self.file = QPushButton("Open file …")
        self.file.setToolTip("Browse a zip, a TIFF or the XML file of BigDataViewer")
        self.url = QPushButton("Open URL …")
        self.url.setToolTip("Open a store on a web server or in a bucket")
        self._lay_out()

    def _set_up_views(self) -> None:
        self.proxy = QSortFilterProxyModel(self)
        self.proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.list.setModel(self.proxy)
        self.list.setItemDelegate(self.rows)
        self.list.setUniformItemSizes(True)
        self.grid.setItemDelegate(self.wells)
        self.grid.setShowGrid(False)
        self.grid.setCornerButtonEnabled(False)
        for view in (self.list, self.grid):
            view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
            view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
            view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
            view.setMouseTracking(True)
            view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        for header in self._headers():
            header.setMinimumSectionSize(SMALLEST_WELL)
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            header.setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)

    def _headers(self) -> list[QHeaderView]:
        found = (self.grid.horizontalHeader(), self.grid.verticalHeader())
        return [header for header in found if header is not None]

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setSpacing(6)
        box.addLayout(_row(self.name, self.count))
        box.addLayout(_row(self.search, self.system))
        box.addLayout(_row(self.how, self.well_size))
        box.addWidget(self.pages, 1)
        box.addWidget(self.problem)
        box.addLayout(_row(self.note, self.confirm, self.stop))
        box.addLayout(_equal_row(self.open_chosen, self.open_all))
        box.addLayout(_equal_row(self.folder, self.file, self.url))

    def show_list(self, model: EntryList) -> None:
        """Show a model in the list, in place of an older one."""
        old = self.proxy.sourceModel()
        self.proxy.setSourceModel(model)
        if old is not None:
            old.deleteLater()

    def show_grid(self, model: WellGrid) -> None:
        """Show a model in the grid, in place of an older one."""
        old, selection = self.grid.model(), self.grid.selectionModel()
        self.grid.setModel(model)
        for left in (selection, old):
            if left is not None:
                left.deleteLater()

    def resize_wells(self, side: int) -> None:
        """Show wells with a side in pixels."""
        for header in self._headers():
            header.setDefaultSectionSize(side)
        self.grid.scheduleDelayedItemsLayout()  # the scroll bars keep their old ranges otherwise

    def widen(self, n_columns: int) -> None:
        """Give the dock room for columns of wells, but no more than half of the window."""
        dock: QWidget | None = self
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        window = dock.parentWidget() if dock is not None else None
        if isinstance(dock, QDockWidget) and isinstance(window, QMainWindow):
            wanted = min(window.width() // 2, n_columns * COMFORTABLE_WELL + 70)
            if dock.width() < wanted and not dock.isFloating():
                window.resizeDocks([dock], [wanted], Qt.Orientation.Horizontal)

    def fit_wells(self) -> None:
        """Make the wells as large as the width of the grid allows."""
        model, viewport = self.grid.model(), self.grid.viewport()
        if model is None or viewport is None or not model.columnCount():
            return
        side = min(LARGEST_WELL, max(SMALLEST_WELL, viewport.width() // model.columnCount()))
        self.well_size.setValue(side)
        self.resize_wells(side)

    def use_colors(self, colors: Colors) -> None:
        """Paint entries in the colours of another theme."""
        self.rows.colors = self.wells.colors = colors
        for view in (self.list, self.grid):
            if (viewport := view.viewport()) is not None:
                viewport.update()

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Return a size in which a plate of 96 wells can be read."""
        return QSize(400, 520)


def _row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side; the first one takes the room."""
    row = QHBoxLayout()
    for i, widget in enumerate(widgets):
        row.addWidget(widget, 1 if i == 0 else 0)
    return row


def _equal_row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1)
    return row
