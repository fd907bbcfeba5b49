"""Open entries of a catalog on a thread, and add their layers to a viewer one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_pyramid._napari._background import Background, BackgroundTask, Outcome
from napari_pyramid._napari._from_image import layers_of
from napari_pyramid._napari._opening import LayerAdder, show_store_warnings
from napari_pyramid._napari._progressive import watch_viewers
from napari_pyramid.errors import one_line
from napari_pyramid.image import Image
from napari_pyramid.layer_image import LayerTuple
from napari_pyramid.layouts.entry import Entry

__all__ = ["EntryOpener", "Reader", "readers_of"]

Reader = Callable[[], Sequence[Image]]


class EntryOpener:
    """Opens one selection after the other; one that cannot be read does not stop the others.

    Parameters
    ----------
    owner
        The work ends when it is destroyed.
    on_change
        Called when the state has changed.
    on_problem
        Called with the reason, in one line, why an entry cannot be read.
    """

    def __init__(
        self,
        viewer: Viewer,
        owner: QWidget,
        on_change: Callable[[], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._background = Background(owner, on_warnings=show_store_warnings)
        self._adder = LayerAdder(viewer, owner, on_change)
        self._on_change, self._on_problem = on_change, on_problem
        self._task: BackgroundTask | None = None
        self._n_read = self._n = 0

    @property
    def is_reading(self) -> bool:
        """Whether entries are still being read."""
        return self._task is not None

    @property
    def is_busy(self) -> bool:
        """Whether entries are being read, or layers wait to be added."""
        return self.is_reading or self._adder.is_busy

    @property
    def words(self) -> str:
        """The progress in words."""
        if self._n == 1:
            return "Opening …"
        return f"Opening {min(self._n_read + 1, self._n):,} of {self._n:,} …"

    def open(self, readers: Iterator[Reader], n: int, source: str) -> None:
        """Open about `n` images; `readers` is iterated on a thread."""
        self._n_read, self._n = 0, n

        def take(layers: list[LayerTuple] | Exception) -> None:
            self._n_read += 1
            if isinstance(layers, Exception):
                self._on_problem(one_line(layers))
            else:
                self._adder.add(layers, source)
            self._on_change()

        layers = _layers(readers, source, virtual_levels=watch_viewers())
        self._task = self._background.stream(layers, take, self._on_end)

    def stop(self) -> None:
        """Stop reading, and add no more layers."""
        if self._task is not None:
            self._task.stop()
            self._task = None
        self._adder.stop()

    def _on_end(self, outcome: Outcome) -> None:
        self._task = None
        if outcome.error is not None:
            self._on_problem(one_line(outcome.error))
        self._on_change()


def readers_of(entries: Sequence[Entry], system: str | None, *, by_field: bool) -> Iterator[Reader]:
    """Yield a function that opens each entry, or each field of each entry; for a thread.

    Entries that do not know the coordinate system are placed in their own.
    """
    for entry in entries:
        parts = entry.fields() if by_field and entry.fields is not None else [entry]
        for part in parts:
            yield _reader(part, system if system in part.systems else None)


def _reader(entry: Entry, system: str | None) -> Reader:
    return lambda: entry.read(system)


def _layers(
    readers: Iterator[Reader], source: str, *, virtual_levels: bool
) -> Iterator[list[LayerTuple] | Exception]:
    """Yield the layers of each reader, or its error."""
    for read in readers:
        try:
            yield layers_of(read(), source, virtual_levels=virtual_levels)
        except Exception as error:  # the GUI thread shows it
            yield error
