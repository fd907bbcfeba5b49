"""Remember what samples were before an edit, without waiting for their store: `OldValues`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray

__all__ = ["OldValues"]

_Array = npt.NDArray[Any]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Unread:
    """Values of an edit of which some have not been read."""

    view: LazyArray
    where: _Mask
    values: _Array
    unread: _Mask


class OldValues:
    """The values before edits that were made before their chunks were read.

    An edited sample that was as stored gets its value from the store. It must be read before the
    edit is saved, because the store has the new value afterwards. Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[int, _Unread] = {}
        """By the identity of the array of values, which is kept alive here."""

    def __bool__(self) -> bool:
        """Return whether values are still unknown."""
        return bool(self._pending)

    def add(self, view: LazyArray, where: _Mask, values: _Array, unread: _Mask) -> None:
        """Take values before an edit, of which some are still to be read.

        Parameters
        ----------
        view
            Samples as they are stored, in a box around the edit.
        where
            Mask of the edited samples in the box.
        values
            Values before the edit, one for each edited sample in C order; filled by `read`.
        unread
            Mask of the unknown ones among `values`.
        """
        with self._lock:
            self._pending[id(values)] = _Unread(view, where, values, unread)

    def unread(self, values: _Array) -> _Mask | None:
        """Return the mask of `values` that are still unknown; None if all are known."""
        with self._lock:
            found = self._pending.get(id(values))
            return None if found is None else found.unread

    def read(self) -> None:
        """Read all values that are unknown when this is called.

        Raises
        ------
        SourceError
            If a chunk cannot be read; its values stay unknown.
        """
        with self._lock:
            pending = list(self._pending.items())
        for key, found in pending:
            stored = np.asarray(found.view).reshape(found.where.shape)[found.where]
            with self._lock:
                flat = found.values.reshape(-1)  # a view, since the array is contiguous
                flat[found.unread.reshape(-1)] = stored[found.unread.reshape(-1)]
                self._pending.pop(key, None)
