"""View an array with edits over it, and edit it like a NumPy array: `EditedArray`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.chunked_source import ChunkedSource
from napari_pyramid.arrays.edits import Edits
from napari_pyramid.arrays.indexes import is_basic
from napari_pyramid.arrays.lazy import LazyArray

__all__ = ["EditedArray"]

_Array = npt.NDArray[Any]


class EditedArray:
    """A view of an array that can be written to: what is written is kept in `edits`.

    Basic indexing returns another view, without reading, or a value if all indexes are integers.
    `numpy.asarray` reads the samples, with the edits over them. Setting samples reads nothing.

    Parameters
    ----------
    view
        The samples as they are stored.
    edits
        Edits of the array behind `view`.
    """

    __slots__ = ("_view", "edits")

    def __init__(self, view: LazyArray, edits: Edits) -> None:
        self._view = view
        self.edits = edits

    @property
    def stored(self) -> LazyArray:
        """The samples without the edits."""
        return self._view

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the view."""
        return self._view.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the samples."""
        return self._view.dtype

    @property
    def ndim(self) -> int:
        """Number of axes of the view."""
        return self._view.ndim

    @property
    def size(self) -> int:
        """Number of samples of the view."""
        return self._view.size

    @property
    def nbytes(self) -> int:
        """Bytes of the whole view in memory."""
        return self._view.nbytes

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk lengths along the axes of the view."""
        return self._view.chunks

    @property
    def ranges(self) -> tuple[int | range, ...]:
        """Viewed indexes along each axis of the array, as `LazyArray.ranges`."""
        return self._view.ranges

    @property
    def chunked_source(self) -> ChunkedSource:
        """Chunks of the array as they are stored."""
        return self._view.chunked_source

    def __len__(self) -> int:
        return len(self._view)

    def __repr__(self) -> str:
        return f"<EditedArray {self.shape} {self.dtype} of {self.chunked_source.location}>"

    def __getitem__(self, key: Any) -> Any:
        if is_basic(key):
            edited = EditedArray(self._view[key], self.edits)
            return edited if edited.ndim else np.asarray(edited)[()]
        found = _points(key, self.shape)
        if found is None:
            return np.asarray(self)[key]
        points, shape = found
        return self._read_points(points).reshape(shape)

    def __setitem__(self, key: Any, values: npt.ArrayLike) -> None:
        if is_basic(key):
            view = self._view[key]
            ranges = _as_ranges(view.ranges)
            given = np.asarray(values)
            try:
                given = np.broadcast_to(given, view.shape)
            except ValueError as error:
                raise ValueError(
                    f"values of shape {given.shape} cannot be set in a region of shape {view.shape}"
                ) from error
            self.edits.write(ranges, given.reshape([len(r) for r in ranges]))
            return
        found = _points(key, self.shape)
        if found is None:
            raise IndexError(
                "these indexes cannot be set: use integers and slices, one array of integers for "
                "each axis, or a mask of the whole shape"
            )
        points, shape = found
        axes = iter(points)
        n = points[0].shape
        placed = [
            np.asarray(r)[next(axes)] if isinstance(r, range) else np.full(n, r, np.intp)
            for r in self._view.ranges
        ]
        self.edits.write_points(placed, np.broadcast_to(np.asarray(values), shape).reshape(-1))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> _Array:
        if copy is False:
            raise ValueError("an EditedArray is read from its store, which makes a copy")
        ranges = _as_ranges(self._view.ranges)
        values = np.asarray(self._view).reshape([len(r) for r in ranges])
        self.edits.lay_over(ranges, values)
        values = values.reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)

    def in_memory(self) -> tuple[_Array, npt.NDArray[np.bool_]]:
        """Return the samples that are edited or in memory, without reading; and which these are.

        Returns
        -------
        values : ndarray
            The samples of the view; 0 where they are unknown.
        known : ndarray of bool
            Mask of the known samples.
        """
        ranges = _as_ranges(self._view.ranges)
        values, known = self.chunked_source.in_memory(ranges)
        self.edits.lay_over(ranges, values, edited=known)
        return values.reshape(self.shape), known.reshape(self.shape)

    def lay_over(self, values: _Array) -> None:
        """Replace the edited samples in `values`, a contiguous array of the samples of the view."""
        ranges = _as_ranges(self._view.ranges)
        self.edits.lay_over(ranges, values.reshape([len(r) for r in ranges]))

    def set_where(self, where: npt.NDArray[np.bool_], values: npt.ArrayLike) -> None:
        """Set the samples of the view at which the mask `where` is true.

        Parameters
        ----------
        values
            One value, or one for each sample of the view.
        """
        ranges = _as_ranges(self._view.ranges)
        shape = [len(r) for r in ranges]
        given = np.broadcast_to(np.asarray(values), self.shape).reshape(shape)
        self.edits.write(ranges, given, where.reshape(shape))

    def forget_where(self, where: npt.NDArray[np.bool_]) -> None:
        """Make the samples of the view at which the mask `where` is true unedited again."""
        ranges = _as_ranges(self._view.ranges)
        self.edits.forget(ranges, where.reshape([len(r) for r in ranges]))

    def _read_points(self, points: Sequence[npt.NDArray[np.intp]]) -> _Array:
        """Return single samples; the box around them is read."""
        if not points[0].size:
            return np.empty(0, self.dtype)
        box = tuple(slice(int(p.min()), int(p.max()) + 1) for p in points)
        values = np.asarray(self[box])
        inside = tuple(p - s.start for p, s in zip(points, box, strict=True))
        return np.asarray(values[inside])


def _as_ranges(ranges: Sequence[int | range]) -> list[range]:
    return [r if isinstance(r, range) else range(r, r + 1) for r in ranges]


def _points(
    key: Any, shape: Sequence[int]
) -> tuple[list[npt.NDArray[np.intp]], tuple[int, ...]] | None:
    """Return the indexes of single samples, one flat array per axis, and the shape of the result.

    None if `key` is neither a mask nor one array of integers per axis.
    """
    if isinstance(key, np.ndarray) and key.dtype == bool and key.shape == tuple(shape):
        axes = list(np.nonzero(key))
        return axes, axes[0].shape
    if not isinstance(key, tuple) or len(key) != len(shape):
        return None
    if not all(isinstance(k, np.ndarray | list | int | np.integer) for k in key):
        return None
    arrays = [np.asarray(k) for k in key]
    if any(a.dtype.kind not in "iu" for a in arrays):
        return None
    wide = np.broadcast_arrays(*arrays)
    found = []
    for axis, (values, n) in enumerate(zip(wide, shape, strict=True)):
        flat = values.reshape(-1).astype(np.intp)
        outside = flat[(flat < -n) | (flat >= n)]
        if outside.size:
            raise IndexError(
                f"index {outside[0]} is out of bounds for axis {axis} of an array of shape "
                f"{tuple(shape)}"
            )
        found.append(np.where(flat < 0, flat + n, flat))
    return found, wide[0].shape
