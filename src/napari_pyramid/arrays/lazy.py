"""View an array without reading it, compose indexes, and read on demand: `LazyArray`.

napari slices a multiscale layer in two steps, first the visible tile over all hidden axes, then the
plane (napari issue 9515). An array that reads when indexed decodes the whole column of planes for
each slider step; a view that composes its indexes decodes the chunks of the one plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.chunked_source import ChunkedSource
from napari_pyramid.arrays.indexes import is_basic, out_of_bounds, written_out
from napari_pyramid.storage.irregular import with_regular_chunks

if TYPE_CHECKING:
    from napari_pyramid.image import ArrayLike

__all__ = ["LazyArray", "whole_of"]

_Array = npt.NDArray[Any]


class LazyArray:
    """A view of `source` that reads nothing until its values are needed.

    Basic indexing (integers, slices with any step, Ellipsis) returns another view, without reading.
    `numpy.asarray` reads the chunks that the view touches, each of them once, and returns an array
    that belongs to the caller. Any other index (lists, arrays, masks, newaxis) reads the view first
    and indexes the result.

    Parameters
    ----------
    source : ArrayLike
        A zarr array, or anything with ``shape``, ``dtype`` and basic indexing. Its ``chunks``
        (inner chunks where there are shards) are what is read and cached; without them each read
        goes to the source.

    Raises
    ------
    SourceError
        On reading, if a chunk cannot be read or decoded; the message names the array and the chunk.
    """

    __slots__ = ("_origin", "_ranges", "shape")

    shape: tuple[int, ...]

    def __init__(self, source: ArrayLike) -> None:
        source = with_regular_chunks(source)
        self._origin = ChunkedSource(source)
        self._set_ranges(tuple(range(n) for n in source.shape))

    def _set_ranges(self, ranges: tuple[int | range, ...]) -> None:
        self._ranges = ranges
        self.shape = tuple(len(r) for r in ranges if isinstance(r, range))

    @property
    def source(self) -> ArrayLike:
        """The viewed array; `Irregular` if it is a zarr array with chunks of different sizes."""
        return self._origin.source

    @property
    def chunked_source(self) -> ChunkedSource:
        """Chunks of `source`, shared by all views that were made from this one."""
        return self._origin

    @property
    def ranges(self) -> tuple[int | range, ...]:
        """Viewed indexes along each axis of `source`; an integer if the axis was dropped."""
        return self._ranges

    @property
    def shows_all(self) -> bool:
        """Whether the view has all samples of `source`, in their order."""
        return self._ranges == tuple(range(n) for n in self._origin.shape)

    def uncached(self) -> LazyArray:
        """Return the same view without the cache, for callers that read everything once."""
        view = object.__new__(LazyArray)
        view._origin = ChunkedSource(self.source, cached=False)
        view._set_ranges(self._ranges)
        return view

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the samples."""
        return self._origin.dtype

    @property
    def ndim(self) -> int:
        """Number of axes of the view."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of samples of the view."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole view in memory."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk lengths along the axes of the view; napari widens its requests to chunk edges."""
        return tuple(
            -(-chunk // abs(r.step))
            for r, chunk in zip(self._ranges, self._origin.chunks, strict=True)
            if isinstance(r, range)
        )

    @property
    def is_chunked(self) -> bool:
        """False if any region costs the same to read; then `chunks` is the shape of the array."""
        return self._origin.chunked

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d LazyArray")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<LazyArray {self.shape} {self.dtype} of {self._origin.location}>"

    def __getitem__(self, key: Any) -> Any:
        if not is_basic(key):
            return np.asarray(self)[key]
        keys = key if isinstance(key, tuple) else (key,)
        expanded = iter(written_out(keys, self.ndim))
        view = object.__new__(LazyArray)
        view._origin = self._origin
        try:
            view._set_ranges(
                tuple(r[next(expanded)] if isinstance(r, range) else r for r in self._ranges)
            )
        except IndexError as error:
            raise out_of_bounds(key, self.shape) from error
        return view

    def __deepcopy__(self, memo: object) -> LazyArray:
        """Return the view itself, which never changes: napari copies the data of a duplicate."""
        return self

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> _Array:
        if copy is False:
            raise ValueError("a LazyArray is read from its store, which makes a copy")
        # An integer is read as a range of one sample; its axis is dropped at the end.
        ranges = tuple(r if isinstance(r, range) else range(r, r + 1) for r in self._ranges)
        values = self._origin.read(ranges).reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)


def whole_of(views: Sequence[LazyArray], axis: int) -> ArrayLike | None:
    """Return the source of `views` if they are all its samples along `axis` in order, else None."""
    origin = views[0]._origin
    if not 0 <= axis < len(origin.shape) or origin.shape[axis] != len(views):
        return None
    full = tuple(range(n) for n in origin.shape)
    wanted = ((*full[:axis], i, *full[axis + 1 :]) for i in range(len(views)))
    same = all(
        v._origin.source is origin.source and v._ranges == w
        for v, w in zip(views, wanted, strict=True)
    )
    return origin.source if same else None
