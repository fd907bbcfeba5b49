"""Make read-only arrays of other arrays: converted, cropped, transposed, stacked, side by side.

They read nothing until they are indexed.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from gzip import BadGzipFile
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.indexes import written_out
from napari_pyramid.image import ArrayLike
from napari_pyramid.plan.chunks import regular_chunks
from napari_pyramid.regions import Region

__all__ = ["Cast", "Crop", "Mosaic", "MosaicTile", "Squeeze", "Stack", "Transpose"]

_Array = npt.NDArray[Any]


class _Virtual(ABC):
    """Base class of virtual arrays, which reduces basic indexing to reading one region.

    Parameters
    ----------
    chunks
        Chunk shape; None if any region costs the same to read. Then the attribute `chunks` is the
        shape, and `is_chunked` is False.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike, chunks: tuple[int, ...] | None
    ) -> None:
        self.shape = shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.is_chunked = chunks is not None
        self.chunks = tuple(max(1, min(c, n)) for c, n in zip(chunks or shape, shape, strict=True))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape} {self.dtype}>"

    @abstractmethod
    def _read(self, region: Region) -> _Array:
        """Return the samples of a region that is not empty."""

    def __getitem__(self, key: Any) -> _Array:
        """Return the samples at integers, slices (any step) and an Ellipsis, like NumPy.

        Raises
        ------
        IndexError
            If there are more indexes than axes, an integer is out of bounds, or an index is of
            another kind.
        """
        keys = written_out(key, self.ndim)
        ranges = [_range(k, n) for k, n in zip(keys, self.shape, strict=True)]
        spans = [range(r, r + 1) if isinstance(r, int) else r for r in ranges]
        if not all(spans):
            values = np.empty([len(s) for s in spans], self.dtype)
        else:
            values = self._read(tuple(slice(min(s), max(s) + 1) for s in spans))
            values = values[tuple(slice(None, None, s.step) for s in spans)]
        return values[tuple(0 if isinstance(r, int) else slice(None) for r in ranges)]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> _Array:
        if copy is False:
            raise ValueError(f"a {type(self).__name__} is read from its source, which makes a copy")
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)


class Cast(_Virtual):
    """An array in another data type."""

    def __init__(self, array: ArrayLike, dtype: npt.DTypeLike) -> None:
        super().__init__(array.shape, dtype, regular_chunks(array))
        self.array = array

    def _read(self, region: Region) -> _Array:
        return np.asarray(self.array[region]).astype(self.dtype)


class Crop(_Virtual):
    """The part of an array with the given shape that starts at `start` (default: all zeros)."""

    def __init__(
        self, array: ArrayLike, shape: Sequence[int], start: Sequence[int] | None = None
    ) -> None:
        super().__init__(tuple(shape), array.dtype, regular_chunks(array))
        self.array = array
        self.start = tuple(start) if start is not None else (0,) * array.ndim

    def _read(self, region: Region) -> _Array:
        inside = tuple(
            slice(r.start + o, r.stop + o) for r, o in zip(region, self.start, strict=True)
        )
        return np.asarray(self.array[inside])


class Squeeze(_Virtual):
    """An array without one of its axes, which has length 1."""

    def __init__(self, array: ArrayLike, axis: int) -> None:
        chunks = regular_chunks(array)
        super().__init__(
            _without(array.shape, axis), array.dtype, chunks and _without(chunks, axis)
        )
        self._array = array
        self._axis = axis

    def _read(self, region: Region) -> _Array:
        return np.asarray(self._array[(*region[: self._axis], 0, *region[self._axis :])])


class Transpose(_Virtual):
    """An array with its axes in another order: axis i is axis ``order[i]`` of `array`."""

    def __init__(self, array: ArrayLike, order: Sequence[int]) -> None:
        chunks = regular_chunks(array)
        super().__init__(
            tuple(array.shape[i] for i in order),
            array.dtype,
            chunks and tuple(chunks[i] for i in order),
        )
        self.array = array
        self.order = tuple(order)

    def _read(self, region: Region) -> _Array:
        inner = [slice(None)] * len(self.order)
        for axis, span in zip(self.order, region, strict=True):
            inner[axis] = span
        return np.asarray(self.array[tuple(inner)]).transpose(self.order)


class Stack(_Virtual):
    """Arrays along a new axis, each one sample thick; a missing array (None) reads as `fill`.

    Parameters
    ----------
    arrays
        The arrays or None, at least one of them an array; the first array gives shape, dtype and
        chunks. Smaller arrays are filled up at their ends.
    axis
        Position of the new axis in the stack.
    fill
        The value where nothing is stored.
    """

    def __init__(
        self, arrays: Sequence[ArrayLike | None], axis: int = 0, *, fill: float = 0
    ) -> None:
        like = next(array for array in arrays if array is not None)
        chunks = regular_chunks(like)
        super().__init__(
            _with(like.shape, axis, len(arrays)), like.dtype, chunks and _with(chunks, axis, 1)
        )
        self._arrays = tuple(arrays)
        self._axis = axis
        self._fill = fill

    def _read(self, region: Region) -> _Array:
        inner = (*region[: self._axis], *region[self._axis + 1 :])
        values = np.full([s.stop - s.start for s in region], self._fill, self.dtype)
        planes = np.moveaxis(values, self._axis, 0)
        for out, array in zip(planes, self._arrays[region[self._axis]], strict=True):
            if array is not None:
                _paste(out, array, inner, (0,) * len(inner))
        return values


@dataclass(frozen=True, slots=True)
class MosaicTile:
    """One array of a `Mosaic`."""

    origin: tuple[int, int]
    """Row and column of the first sample in the mosaic."""
    open: Callable[[], ArrayLike | None]
    """Returns the array, or None if it is missing; called only when the tile is read."""
    on_damage: Callable[[Exception], None] | None = None
    """Called with the error each time the tile cannot be read and reads as fill.

    Without it, the error is raised.
    """


class Mosaic(_Virtual):
    """Arrays side by side in the plane of the last two axes, with `fill` between them.

    Missing arrays read as `fill` too.

    Parameters
    ----------
    tiles
        The arrays and their places; where tiles overlap, the later tile is shown.
    shape
        Shape of the mosaic.
    like
        The array that gives dtype and chunks. A chunk of the mosaic is one chunk of this array, or
        one tile along axes where the tile's length is not a multiple of the chunk's.
    tile_shape
        Height and width of the largest tile.
    fill
        The value where nothing is stored.
    """

    def __init__(
        self,
        tiles: Sequence[MosaicTile],
        shape: Sequence[int],
        like: ArrayLike,
        tile_shape: tuple[int, int],
        fill: float = 0,
    ) -> None:
        plane = tuple(
            c if n % c == 0 else n for c, n in zip(like.chunks[-2:], tile_shape, strict=True)
        )
        super().__init__(tuple(shape), like.dtype, (*like.chunks[:-2], *plane))
        self._tiles = tuple(tiles)
        self._tile_shape = tile_shape
        self._fill = fill
        self._first = np.array([tile.origin for tile in tiles]).reshape(-1, 2)

    def _read(self, region: Region) -> _Array:
        values = np.full([s.stop - s.start for s in region], self._fill, self.dtype)
        start, stop = ([getattr(s, end) for s in region[-2:]] for end in ("start", "stop"))
        touched = np.all((self._first < stop) & (self._first + self._tile_shape > start), axis=1)
        for i in np.flatnonzero(touched):
            tile = self._tiles[i]
            try:
                self._show(values, region, tile)
            except Exception as error:  # codecs may raise any exception
                if tile.on_damage is None or _may_be_there_later(error):
                    raise
                tile.on_damage(error)
        return values

    def _show(self, values: _Array, region: Region, tile: MosaicTile) -> None:
        array = tile.open()
        if array is not None and array.ndim == self.ndim:
            _paste(values, array, region, (*(0,) * (self.ndim - 2), *tile.origin))


def _may_be_there_later(error: Exception) -> bool:
    """Return whether an error may pass: a failure of memory or storage.

    Fill must not stand in for such tiles, since it would stay in caches. gzip's error for bad data
    is an OSError too, but lasts.
    """
    return isinstance(error, (MemoryError, OSError)) and not isinstance(error, BadGzipFile)


def _paste(out: _Array, array: ArrayLike, region: Region, origin: Sequence[int]) -> None:
    """Copy the part of `array` that is in `region` into `out`.

    `out` has the samples of `region`; the first sample of `array` is at `origin` of the same space.
    """
    starts = [max(s.start, o) for s, o in zip(region, origin, strict=True)]
    stops = [min(s.stop, o + n) for s, o, n in zip(region, origin, array.shape, strict=True)]
    if any(stop <= start for start, stop in zip(starts, stops, strict=True)):
        return
    inside = tuple(slice(a - o, b - o) for a, b, o in zip(starts, stops, origin, strict=True))
    outside = tuple(
        slice(a - s.start, b - s.start) for a, b, s in zip(starts, stops, region, strict=True)
    )
    out[outside] = array[inside]


def _range(key: Any, length: int) -> int | range:
    """Return the positions that an index selects along an axis; an int if the axis is dropped."""
    if isinstance(key, slice):
        return range(*key.indices(length))
    try:
        position = operator.index(key)
    except TypeError:
        raise IndexError(
            f"only integers, slices and Ellipsis are valid indices, not {type(key).__name__}"
        ) from None
    if not -length <= position < length:
        raise IndexError(f"index {position} is out of bounds for an axis of length {length}")
    return position % length


def _without(values: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return values[:axis] + values[axis + 1 :]


def _with(values: tuple[int, ...], axis: int, value: int) -> tuple[int, ...]:
    return (*values[:axis], value, *values[axis:])
