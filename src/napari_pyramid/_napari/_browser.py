"""Choose images of a store that has many: the dock widget "Browse images"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QModelIndex, Qt, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QKeyEvent
from qtpy.QtWidgets import QFileDialog

from napari_pyramid._napari._background import Background, BackgroundTask, Outcome
from napari_pyramid._napari._browser_form import FIELDS, STITCHED, BrowserForm
from napari_pyramid._napari._catalog_delegates import Colors
from napari_pyramid._napari._catalog_models import ENTRY, EntryList, WellGrid
from napari_pyramid._napari._entry_opener import EntryOpener, Reader, readers_of
from napari_pyramid._napari._opening import open_in_background, show_store_warnings
from napari_pyramid._napari._preferences import options_for
from napari_pyramid._napari._previews import Previews
from napari_pyramid._napari._private import unwrapped
from napari_pyramid._napari._style import styled_by
from napari_pyramid.catalog import Catalog
from napari_pyramid.errors import LayoutError, one_line
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.words import counted

__all__ = ["BrowseImages"]

_FIRST_BATCH, _BATCH = 25, 100
"""Number of entries that are listed at once."""
_CONFIRM_ABOVE = 32
"""Number of images that are opened without a question."""


class BrowseImages(BrowserForm):
    """A list of images, or the grid of wells of a plate, to open some of them as layers.

    Parameters
    ----------
    napari_viewer
        The viewer that layers are added to.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(Colors.of(napari_viewer.theme))
        self._viewer = unwrapped(napari_viewer)
        self._catalog: Catalog | None = None
        self._previews: Previews | None = None
        self._entries: EntryList | None = None
        self._listing: BackgroundTask | None = None
        self._to_confirm: Sequence[Entry] = ()
        """Entries whose opening the user is asked to confirm."""
        self._background = Background(self, on_warnings=show_store_warnings)
        self._opener = EntryOpener(self._viewer, self, self._show_state, self._say_problem)
        self._problems: list[str] = []
        self.setAcceptDrops(True)
        styled_by(self, self._viewer)
        self._connect()
        self._show_state()

    def _connect(self) -> None:
        for view in (self.list, self.grid):
            view.doubleClicked.connect(self._open_index)
        self._watch_selection()
        self.search.textChanged.connect(self._on_search)
        self.how.currentIndexChanged.connect(self._show_state)
        self.open_chosen.clicked.connect(lambda: self.open_entries(self.chosen()))
        self.open_all.clicked.connect(lambda: self.open_entries(self.shown()))
        self.confirm.clicked.connect(self._on_confirmed)
        self.stop.clicked.connect(self._on_stop)
        self.folder.clicked.connect(self._ask_folder)
        self.file.clicked.connect(self._ask_file)
        self.url.clicked.connect(self._ask_url)
        events = self._viewer.events
        events.theme.connect(self._on_theme)
        on_theme = self._on_theme
        self.destroyed.connect(lambda *_: events.theme.disconnect(on_theme))

    def _watch_selection(self) -> None:
        for view in (self.list, self.grid):
            if (selection := view.selectionModel()) is not None:
                selection.selectionChanged.connect(self._show_state)

    # ---- what is shown ----

    @property
    def catalog(self) -> Catalog | None:
        """The catalog that is shown."""
        return self._catalog

    @property
    def is_busy(self) -> bool:
        """Whether entries are being listed or opened, or thumbnails read."""
        reads = self._previews is not None and self._previews.is_busy
        return self._listing is not None or self._opener.is_busy or reads

    def show_catalog(self, catalog: Catalog) -> None:
        """Show the entries of a catalog; they are listed in the background."""
        self._on_stop()
        if self._listing is not None:
            self._listing.stop()
        if self._previews is not None:
            self._previews.close()
            self._previews.deleteLater()
        self._problems.clear()
        self._catalog, self._previews = catalog, Previews(self, catalog.source)
        self._entries = self._listing = None
        self.name.setText(catalog.name)
        self.name.setToolTip(catalog.source)
        self.search.clear()
        self.system.clear()
        if catalog.plate is not None:
            self.show_grid(WellGrid(catalog.plate, self._previews, self.grid))
            self._watch_selection()
            self.widen(len(catalog.plate.columns))
            QTimer.singleShot(50, self.fit_wells)  # when the docks have their new size
        else:
            self._entries = EntryList(self._previews, self)
            self.show_list(self._entries)
            self._listing = self._background.stream(
                _batches(catalog.entries), self._on_entries, self._on_listed
            )
        self._show_state()

    def _on_entries(self, entries: Sequence[Entry]) -> None:
        if self._entries is None:
            return
        self._entries.append(entries)
        for name in dict.fromkeys(s for entry in entries for s in entry.systems):
            if self.system.findData(name) < 0:
                self.system.addItem(f"in {name}", name)
        self._show_state()

    def _on_listed(self, outcome: Outcome) -> None:
        self._listing = None
        if outcome.error is not None:
            self._say_problem(one_line(outcome.error))
        elif self._catalog is not None and self._entries is not None and not self._entries.entries:
            self._say_problem(f"{self._catalog.source} has no images")
        self._show_state()

    # ---- opening ----

    @property
    def _is_plate(self) -> bool:
        return self._catalog is not None and self._catalog.plate is not None

    def chosen(self) -> list[Entry]:
        """Return the selected entries, in the order in which they are shown."""
        selection = (self.grid if self._is_plate else self.list).selectionModel()
        if selection is None or self._catalog is None:
            return []
        indexes = sorted(selection.selectedIndexes(), key=lambda i: (i.row(), i.column()))
        return [entry for index in indexes if (entry := index.data(ENTRY)) is not None]

    def shown(self) -> list[Entry]:
        """Return all entries that the search leaves, without alternatives of other entries."""
        if self._catalog is not None and self._catalog.plate is not None:
            return list(self._catalog.plate.wells)
        indexes = (self.proxy.index(row, 0) for row in range(self.proxy.rowCount()))
        found: list[Entry] = [index.data(ENTRY) for index in indexes]
        return [e for e in found if not e.is_alternative or self.search.text()]

    def open_entries(self, entries: Sequence[Entry], *, confirmed: bool = False) -> None:
        """Open entries as layers, read in the background.

        Many are opened only after a confirmation, since each one becomes a layer or several.
        """
        if self._catalog is None or not entries or self._opener.is_reading:
            return
        is_stitched = self._is_plate and self.how.currentData() == STITCHED
        if len(entries) > _CONFIRM_ABOVE and not is_stitched and not confirmed:
            self._to_confirm = entries
        else:
            self._to_confirm = ()
            self._problems.clear()
            n = 1 if is_stitched else len(entries)
            self._opener.open(self._readers(entries), n, self._catalog.source)
        self._show_state()

    def _readers(self, entries: Sequence[Entry]) -> Iterator[Reader]:
        """Return the functions that open entries, as chosen in the form."""
        plate = self._catalog.plate if self._catalog is not None else None
        if plate is not None and self.how.currentData() == STITCHED:
            return iter([lambda: plate.stitch(entries)])
        by_field = plate is not None and self.how.currentData() == FIELDS
        return readers_of(entries, self.system.currentData(), by_field=by_field)

    def _on_confirmed(self) -> None:
        self.open_entries(self._to_confirm, confirmed=True)

    def _on_stop(self) -> None:
        """Stop opening; layers that are there stay."""
        self._opener.stop()
        self._to_confirm = ()
        self._show_state()

    # ---- the state of the form ----

    def _show_state(self, *_: object) -> None:
        """Show and enable what fits the state."""
        is_open, is_plate, is_opening = (
            self._catalog is not None,
            self._is_plate,
            self._opener.is_busy,
        )
        page = self.grid if is_plate else self.list if is_open else self.start
        self.pages.setCurrentWidget(page)
        for widget in (self.name, self.count, self.open_chosen, self.open_all):
            widget.setVisible(is_open)
        self.count.setText(self._count_words())
        self.search.setVisible(is_open and not is_plate)
        self.system.setVisible(self.system.count() > 1)
        self.how.setVisible(is_plate)
        self.well_size.setVisible(is_plate)
        n = len(self.chosen())
        self.open_chosen.setText(f"Open selected ({n:,})" if n else "Open selected")
        self.open_chosen.setEnabled(n > 0 and not self._opener.is_reading)
        has_shown = is_plate or self.proxy.rowCount() > 0
        self.open_all.setEnabled(is_open and has_shown and not self._opener.is_reading)
        self.open_all.setToolTip("Open everything that is listed, except single timepoints")
        self.confirm.setVisible(bool(self._to_confirm))
        self.stop.setVisible(is_opening or bool(self._to_confirm))
        self.stop.setText("Stop" if is_opening else "Cancel")
        self.note.setText(self._note_words())
        self.note.setVisible(bool(self.note.text()))
        first, *others = self._problems or [""]
        more = f" ({len(others):,} more could not be opened)" if others else ""
        self.problem.setText(f"⚠ {first}{more}")
        self.problem.setVisible(bool(first))

    def _count_words(self) -> str:
        plate = self._catalog.plate if self._catalog is not None else None
        if plate is not None:
            grid = f"{len(plate.rows)} × {len(plate.columns)}"
            return f"{counted(len(plate.wells), 'well')} · {grid}"
        words = counted(len(self._entries.entries) if self._entries is not None else 0, "image")
        if self.search.text():
            words = f"{self.proxy.rowCount():,} of {words}"
        return f"{words} …" if self._listing is not None else words

    def _note_words(self) -> str:
        if self._opener.is_busy:
            return self._opener.words
        if self._to_confirm:
            return (
                f"{len(self._to_confirm):,} images become as many layers or more; "
                "napari is slow with that many."
            )
        return ""

    def _say_problem(self, reason: str) -> None:
        """Show why something cannot be opened, here too: napari cuts long notifications off."""
        show_error(reason)
        # An answer may come after the dock is closed.
        if isalive(self):  # type: ignore[no-untyped-call]  # qtpy is untyped there
            self._problems.append(reason)
            self._show_state()

    # ---- what the user does ----

    def _open_index(self, index: QModelIndex) -> None:
        entry = index.data(ENTRY)
        if entry is not None:
            self.open_entries([entry])

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802  # Qt's name
        """Open what is selected when Return is pressed."""
        is_return = event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if is_return and self.chosen():
            self.open_entries(self.chosen())
        else:
            super().keyPressEvent(event)

    def _on_search(self, text: str) -> None:
        self.proxy.setFilterFixedString(text)
        self._show_state()

    def _on_theme(self, event: Any = None) -> None:
        self.use_colors(Colors.of(self._viewer.theme))

    def _ask_folder(self) -> None:
        self._browse(QFileDialog.getExistingDirectory(self, "Browse the images of a folder"))

    def _ask_file(self) -> None:
        self._browse(QFileDialog.getOpenFileName(self, "Browse the images of a file")[0])

    def _ask_url(self) -> None:
        from napari_pyramid._napari._open_url import open_url

        open_url(self._viewer)

    def _browse(self, path: str) -> None:
        if not path:
            return
        self._problems.clear()
        self._show_state()
        try:
            options = options_for(path)
        except LayoutError as error:
            self._say_problem(str(error))
            return

        def end(reason: str) -> None:
            if reason:
                self._say_problem(reason)

        open_in_background(self._viewer, path, options, end, always_browse=True)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802  # Qt's name
        """Accept a path or URL."""
        if event is not None and (data := event.mimeData()) is not None and data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802  # Qt's name
        """Show what was dropped, however many images it has."""
        if event is not None and (data := event.mimeData()) is not None and data.urls():
            event.acceptProposedAction()
            url = data.urls()[0]
            self._browse(url.toLocalFile() if url.isLocalFile() else url.toString())


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Yield entries in lists, the first one small; for a thread."""
    batch: list[Entry] = []
    most = _FIRST_BATCH
    for entry in entries:
        batch.append(entry)
        if len(batch) >= most:
            yield batch
            batch, most = [], _BATCH
    if batch:
        yield batch
