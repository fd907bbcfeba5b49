"""Keep thumbnails of catalog entries, and read missing ones in the background: `Previews`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]  # qtpy's own name for pyqtSignal
from qtpy.QtGui import QImage, QPixmap

from napari_pyramid._napari._background import Background, Outcome
from napari_pyramid._napari._thumbnails import SIDE, Pixels, preview_of
from napari_pyramid.errors import one_line
from napari_pyramid.layouts.entry import Entry

__all__ = ["Previews", "Shown"]

_THREADS = 2
_WAITING = 400
"""Number of entries that wait for a preview; older ones are asked for again when painted."""
_KEPT = 3000
"""Number of previews kept for all stores, of up to 64 KiB each."""

_Key = tuple[str, str, str]
_kept: OrderedDict[_Key, _Kept] = OrderedDict()


@dataclass(frozen=True, slots=True)
class _Kept:
    image: QImage | None
    details: str
    is_good: bool = True
    """Whether the entry could be read; a server may answer the next time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Picture and size of an entry; both are empty until they have been read."""

    pixmap: QPixmap | None = None
    details: str = ""
    is_read: bool = False


class Previews(QObject):
    """The previews of one store. Entries that were asked for last are read first.

    Previews are kept for the session, so that a store that is opened again shows them at once.
    """

    changed = Signal(object)
    """Emitted in the GUI thread with the entry whose preview has been read."""

    def __init__(self, parent: QObject, source: str) -> None:
        super().__init__(parent)
        self._source = source
        self._background = Background(self, threads=_THREADS)
        self._lock = threading.Lock()
        self._waiting: OrderedDict[_Key, Entry] = OrderedDict()
        self._asked: set[_Key] = set()
        self._shown: dict[_Key, Shown] = {}

    @property
    def is_busy(self) -> bool:
        """Whether previews are being read."""
        return self._background.is_busy

    def of(self, entry: Entry) -> Shown:
        """Return the preview of an entry; a missing one is read in the background."""
        key = (self._source, entry.path, entry.name)
        if key in self._shown:
            return self._shown[key]
        if key in _kept:
            _kept.move_to_end(key)
            return self._take(key, _kept[key])
        self._ask(key, entry)
        return Shown()

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._waiting.clear()
        self._background.close()

    def _take(self, key: _Key, kept: _Kept) -> Shown:
        pixmap = QPixmap.fromImage(kept.image) if kept.image is not None else None
        shown = self._shown[key] = Shown(pixmap, kept.details, True)
        return shown

    def _ask(self, key: _Key, entry: Entry) -> None:
        with self._lock:
            is_new = key not in self._waiting
            if is_new and key in self._asked:
                return  # a thread reads it now
            self._waiting[key] = entry
            self._waiting.move_to_end(key)
            self._asked.add(key)
            if len(self._waiting) > _WAITING:
                self._asked.discard(self._waiting.popitem(last=False)[0])
        if is_new:
            self._background.run(self._read_newest, self._keep)

    def _read_newest(self) -> tuple[_Key, Entry, _Kept] | None:
        """Read the preview of the entry that was asked for last. Called on a thread."""
        with self._lock:
            if not self._waiting:
                return None
            key, entry = self._waiting.popitem(last=True)
        try:
            preview = preview_of(entry.read(None))
            image = _as_image(preview.pixels) if preview.pixels is not None else None
        except Exception as error:  # the row shows the reason
            return key, entry, _Kept(None, one_line(error), is_good=False)
        return key, entry, _Kept(image, preview.details)

    def _keep(self, outcome: Outcome) -> None:
        if outcome.result is None:
            return
        key, entry, kept = outcome.result
        with self._lock:
            self._asked.discard(key)
        if kept.is_good:
            _kept[key] = kept
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
        self._take(key, kept)
        self.changed.emit(entry)


def _as_image(pixels: Pixels) -> QImage:
    """Return pixels as an image of at most `SIDE` pixels a side."""
    data = np.ascontiguousarray(pixels)
    height, width = data.shape[:2]
    # The copy owns its bytes, which QImage only refers to.
    image = QImage(data.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
    if max(width, height) <= SIDE:
        return image
    return image.scaled(
        SIDE,
        SIDE,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
