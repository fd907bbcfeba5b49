"""LazyArray: a composing, read-on-demand view of an array, with a bounded cache of decoded chunks.

Knows shapes, chunks and memory; knows nothing of levels, layouts or viewers.

napari slices a multiscale layer in two steps, first the visible tile over all hidden axes, then the plane
(napari issue 9515). An array that reads when indexed decodes the whole column of planes for each slider step;
a view that composes its indexes decodes the chunks of the one plane.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterator, Sequence
from itertools import count, groupby, product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays._chunk_cache import ChunkCache, default_budget
from napari_pyramid.arrays.indexes import written_out
from napari_pyramid.errors import SourceError
from napari_pyramid.storage.irregular import with_regular_chunks

if TYPE_CHECKING:
    from napari_pyramid.image import ArrayLike

__all__ = ["LazyArray", "forget_stored", "whole_of"]

_Index = tuple[int, ...]
_Array = npt.NDArray[Any]


class LazyArray:
    """A view of `source` that reads nothing until it is asked for its values.

    Basic indexing (integers, slices with any step, Ellipsis) gives another view, without reading. `numpy.asarray`
    reads the chunks that the view touches, each of them once, and gives an array that belongs to the caller.
    Any other index (lists, arrays, masks, newaxis) reads the view first and indexes the result.

    Parameters
    ----------
    source : ArrayLike
        A zarr array, or anything with ``shape``, ``dtype`` and basic indexing. Its ``chunks`` (inner chunks where there
        are shards) are what is read and cached; without them each read goes to the source.

    Raises
    ------
    SourceError
        On reading, if a chunk cannot be read or decoded; the message names the array and the chunk.
    """

    __slots__ = ("_origin", "_ranges", "shape")

    shape: tuple[int, ...]

    def __init__(self, source: ArrayLike) -> None:
        source = with_regular_chunks(source)
        self._origin = _Origin(
            source,
            cached=bool(getattr(source, "chunks", None)) and getattr(source, "is_chunked", True),
        )
        self._set_ranges(tuple(range(n) for n in source.shape))

    def _set_ranges(self, ranges: tuple[int | range, ...]) -> None:
        self._ranges = ranges
        self.shape = tuple(len(r) for r in ranges if isinstance(r, range))

    @property
    def source(self) -> ArrayLike:
        """The array that is viewed, as it was given; `Irregular` if it is a zarr array whose chunks differ in size."""
        return self._origin.source

    @property
    def shows_all(self) -> bool:
        """Whether the view has the samples of `source`, all of them and in their order."""
        return self._ranges == tuple(range(n) for n in self._origin.shape)

    def uncached(self) -> LazyArray:
        """The same view, read past the cache: for those who read everything once."""
        view = object.__new__(LazyArray)
        view._origin = _Origin(self.source, cached=False)
        view._set_ranges(self._ranges)
        return view

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._origin.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that reading the whole view would take."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk lengths along the axes of the view; napari widens what it asks for to their edges."""
        return tuple(
            -(-chunk // abs(r.step))
            for r, chunk in zip(self._ranges, self._origin.chunks, strict=True)
            if isinstance(r, range)
        )

    @property
    def is_chunked(self) -> bool:
        """False where any region costs the same: `chunks` are then all of the array."""
        return self._origin.cached

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d LazyArray")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<LazyArray {self.shape} {self.dtype} of {self._origin.location}>"

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if not all(_is_basic(k) for k in keys):
            return np.asarray(self)[key]
        expanded = iter(written_out(keys, self.ndim))
        view = object.__new__(LazyArray)
        view._origin = self._origin
        view._set_ranges(
            tuple(r[next(expanded)] if isinstance(r, range) else r for r in self._ranges)
        )
        return view

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> _Array:
        if copy is False:
            raise ValueError(
                "a LazyArray is read from its store: its values cannot be had without a copy"
            )
        # An integer is read as a range of one sample, and its axis dropped in the end.
        ranges = tuple(r if isinstance(r, range) else range(r, r + 1) for r in self._ranges)
        values = self._origin.read(ranges).reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)


def forget_stored(directory: str | os.PathLike[str]) -> None:
    """Drop the cached chunks of arrays in `directory`, which have changed there.

    Arrays of unknown location are forgotten, too: they may be made of these.
    """
    written = os.path.realpath(directory)
    for origin in filter(None, (reference() for reference in _Origin.alive.valuerefs())):
        root = getattr(getattr(origin.source, "store", None), "root", None)
        place = (
            written
            if root is None
            else os.path.realpath(os.path.join(root, getattr(origin.source, "path", "")))
        )
        if f"{place}{os.sep}".startswith(f"{written}{os.sep}"):
            _CACHE.forget(origin.token)


def whole_of(views: Sequence[LazyArray], axis: int) -> ArrayLike | None:
    """The source that `views` are all the integer indexes of along `axis`, in order; None if they are not."""
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


def _is_basic(key: object) -> bool:
    """True for integers, slices and Ellipsis; a bool is a mask to NumPy, though Python calls it an integer."""
    return not isinstance(key, bool | np.bool_) and (
        isinstance(key, slice | int | np.integer) or key is Ellipsis
    )


class _Origin:
    """The array behind a family of views; its cached chunks are dropped when the last view is gone."""

    __slots__ = ("__weakref__", "cached", "chunks", "dtype", "location", "shape", "source", "token")

    _tokens = count()
    alive: ClassVar[weakref.WeakValueDictionary[int, _Origin]] = weakref.WeakValueDictionary()

    def __init__(self, source: ArrayLike, *, cached: bool) -> None:
        self.source, self.cached = source, cached
        self.shape = tuple(int(n) for n in source.shape)
        self.dtype = np.dtype(source.dtype)
        self.chunks = tuple(max(1, int(c)) for c in getattr(source, "chunks", None) or self.shape)
        self.location = str(getattr(source, "store_path", None) or f"a {type(source).__name__}")
        # A number of our own: the id() of an array that is gone may come back with another.
        self.token = next(self._tokens)
        self.alive[self.token] = self
        weakref.finalize(self, _CACHE.release, self.token)

    def read(self, ranges: tuple[range, ...]) -> _Array:
        """The samples at the product of `ranges`, as a new array."""
        out = np.empty([len(r) for r in ranges], self.dtype)
        if not out.size:
            return out
        axes = [list(_parts(r, c)) for r, c in zip(ranges, self.chunks, strict=True)]
        touched = math.prod(
            len(parts) * min(c, n)
            for parts, c, n in zip(axes, self.chunks, self.shape, strict=True)
        )
        if self.cached and touched * self.dtype.itemsize <= _CACHE.budget // 2:
            chunks = self._chunks([[index for index, _, _ in parts] for parts in axes])
            for parts in product(*axes):
                index, target, inside = zip(*parts, strict=True) if parts else ((), (), ())
                out[target] = chunks[index][inside]
        elif all(abs(r.step) == 1 for r in ranges):
            box = tuple(slice(min(r[0], r[-1]), max(r[0], r[-1]) + 1) for r in ranges)
            out[...] = self._fetch(box)[tuple(slice(None, None, r.step) for r in ranges)]
        else:
            for parts in product(*axes):
                index, target, inside = zip(*parts, strict=True)
                out[target] = self._fetch(self._box(index, index))[inside]
        return out

    def _chunks(self, indexes: list[list[int]]) -> dict[_Index, _Array]:
        """The decoded chunks at the product of `indexes`, from the cache or else from the source."""
        found: dict[_Index, _Array] = {}
        missing: list[_Index] = []
        for index in product(*indexes):
            chunk = _CACHE.get(self.token, index)
            if chunk is None:
                missing.append(index)
            else:
                found[index] = chunk
        for first, last in _boxes(missing):
            block = self._fetch(self._box(first, last))
            chunks = {
                index: block[
                    tuple(
                        slice((i - a) * c, (i - a + 1) * c)
                        for i, a, c in zip(index, first, self.chunks, strict=True)
                    )
                ]
                for index in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True)))
            }
            _CACHE.put(self.token, block, chunks)
            found |= chunks
        return found

    def _box(self, first: _Index, last: _Index) -> tuple[slice, ...]:
        return tuple(
            slice(a * c, min((b + 1) * c, n))
            for a, b, c, n in zip(first, last, self.chunks, self.shape, strict=True)
        )

    def _fetch(self, box: tuple[slice, ...]) -> _Array:
        try:
            return np.asarray(self.source[box], dtype=self.dtype)
        except MemoryError:
            raise
        except Exception as error:
            # Codecs raise whatever their authors liked, RuntimeError and plain Exception among them.
            region = ", ".join(f"{s.start}:{s.stop}" for s in box)
            raise SourceError(
                f"{self.location}: cannot read [{region}]{self._culprit(box)}: {error or type(error).__name__}"
            ) from error

    def _culprit(self, box: tuple[slice, ...]) -> str:
        """The first chunk in `box` that cannot be read by itself, in words."""
        grid = [range(s.start // c, -(-s.stop // c)) for s, c in zip(box, self.chunks, strict=True)]
        for index in product(*grid):
            try:
                np.asarray(self.source[self._box(index, index)])
            except Exception:  # as in _fetch
                return f" (chunk {', '.join(map(str, index))})"
        return ""


def _parts(indexes: range, chunk: int) -> Iterator[tuple[int, slice, slice]]:
    """Cut `indexes` at chunk edges: (chunk number, where in the result, where in the chunk) of each piece."""
    step, start = indexes.step, 0
    while start < len(indexes):
        number, inside = divmod(indexes[start], chunk)
        room = chunk - 1 - inside if step > 0 else inside
        n = min(room // abs(step) + 1, len(indexes) - start)
        stop = inside + n * step
        yield number, slice(start, start + n), slice(inside, stop if stop >= 0 else None, step)
        start += n


def _boxes(missing: list[_Index]) -> Iterator[tuple[_Index, _Index]]:
    """Cover exactly the chunks `missing` (in C order) with boxes: one if they fill it, else runs along the last axis.

    One read of many chunks lets zarr decode them side by side; the boxes hold no chunk that is cached already.
    """
    if not missing:
        return
    low, high = (tuple(f(axis) for axis in zip(*missing, strict=True)) for f in (min, max))
    if math.prod(b - a + 1 for a, b in zip(low, high, strict=True)) == len(missing):
        yield low, high
        return
    for _, group in groupby(
        enumerate(missing), key=lambda item: (item[1][:-1], item[1][-1] - item[0])
    ):
        run = [index for _, index in group]
        yield run[0], run[-1]


_CACHE = ChunkCache(default_budget())
