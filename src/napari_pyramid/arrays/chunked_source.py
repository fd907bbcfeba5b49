"""Share the decoded chunks of an array between all its views: `ChunkedSource`.

The chunks of all arrays are kept in one cache of bounded size.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count, product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.chunk_cache import ChunkCache, default_budget
from napari_pyramid.arrays.chunk_reader import ChunkReader, Index, SlicedChunks, chunk_reader
from napari_pyramid.errors import SourceError
from napari_pyramid.image import ArrayLike
from napari_pyramid.regions import Region, blocks_in
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.run_together import THREADS, run_together

__all__ = ["ChunkedSource", "chunk_parts", "forget_stored"]

_Array = npt.NDArray[Any]
_Part = tuple[int, slice, slice]
"""Number of a chunk along one axis, part of the result, and place of that part in the chunk."""
BATCH_BYTES = 64 * 2**20
"""Decoded bytes of one call to a reader that reads in parallel, where all chunks are needed."""
_cached_or_forgotten = threading.Lock()
"""Held while chunks are kept or forgotten: what was read before a write is not kept after it."""


class ChunkedSource:
    """The array behind a group of views.

    Its cached chunks are dropped when the last view is garbage collected.

    Parameters
    ----------
    source
        The array. Without ``chunks``, or if ``is_chunked`` is False, the whole array counts as one
        chunk, which is never kept.
    cached
        Whether decoded chunks are kept.
    """

    _tokens = count()
    _alive: ClassVar[weakref.WeakValueDictionary[int, ChunkedSource]] = (
        weakref.WeakValueDictionary()
    )

    def __init__(self, source: ArrayLike, *, cached: bool = True) -> None:
        self.source = source
        self.shape = tuple(source.shape)
        self.dtype = np.dtype(source.dtype)
        self.chunked = bool(getattr(source, "chunks", None)) and getattr(source, "is_chunked", True)
        self.cached = cached and self.chunked
        self.chunks = tuple(max(1, int(c)) for c in getattr(source, "chunks", None) or self.shape)
        self.location = str(getattr(source, "store_path", None) or f"a {type(source).__name__}")
        # Not the id() of the array: it may be used again for another one after garbage collection.
        self.token = next(self._tokens)
        self.n_forgotten = 0
        self._alive[self.token] = self
        weakref.finalize(self, CACHE.release, self.token)

    @classmethod
    def alive(cls) -> list[ChunkedSource]:
        """Return the sources that still have a view."""
        return [source for ref in cls._alive.valuerefs() if (source := ref()) is not None]

    def forget(self, indexes: Iterable[Index] | None = None) -> None:
        """Drop the cached chunks at `indexes` (None: all), since they have changed in the store."""
        if "reader" in vars(self):
            self.reader.forget()
        with _cached_or_forgotten:
            self.n_forgotten += 1
            CACHE.forget(self.token, indexes)

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def fill_value(self) -> Any:
        """Value of samples that are not stored; 0 if the array has no fill value."""
        value = getattr(self.source, "fill_value", None)
        return 0 if value is None else value

    @cached_property
    def reader(self) -> ChunkReader:
        """Reader of the chunks."""
        return chunk_reader(self.source, self.chunks)

    def read(self, ranges: tuple[range, ...]) -> _Array:
        """Return the samples at the product of `ranges` as a new array."""
        out = np.empty([len(r) for r in ranges], self.dtype)
        if not out.size:
            return out
        if not self.chunked or not (self.cached or self.reads_chunks_alone):
            self._read_box(ranges, out)
            return out
        axes = [list(chunk_parts(r, c)) for r, c in zip(ranges, self.chunks, strict=True)]
        touched = math.prod(
            len(parts) * min(c, n)
            for parts, c, n in zip(axes, self.chunks, self.shape, strict=True)
        )
        if touched * self.dtype.itemsize <= CACHE.budget // 2 and self.cached:
            self._read_chunks(axes, out, keep=True)
        elif self.reads_chunks_alone or any(abs(r.step) != 1 for r in ranges):
            self._read_chunks(axes, out, keep=False)
        else:
            self._read_box(ranges, out)
        return out

    def in_memory(self, ranges: Sequence[range]) -> tuple[_Array, npt.NDArray[np.bool_]]:
        """Return the samples at the product of `ranges` that are in memory, without reading.

        The second array is the mask of these samples; the other samples are 0.
        """
        shape = [len(r) for r in ranges]
        values, known = np.zeros(shape, self.dtype), np.zeros(shape, bool)
        axes = [list(chunk_parts(r, c)) for r, c in zip(ranges, self.chunks, strict=True)]
        for parts in product(*axes):
            index, target, inside = zip(*parts, strict=True) if parts else ((), (), ())
            chunk = self.get(index)
            if chunk is not None:
                values[target], known[target] = chunk[inside], True
        return values, known

    @property
    def reads_chunks_alone(self) -> bool:
        """Whether reading neighbouring chunks one by one costs as much as in one call."""
        return not isinstance(self.reader, SlicedChunks)

    def _read_chunks(self, axes: list[list[_Part]], out: _Array, *, keep: bool) -> None:
        """Fill `out` chunk by chunk: first from the cache, then batch by batch from the source."""
        missing: dict[Index, tuple[Any, Any]] = {}
        for parts in product(*axes):
            index, target, inside = zip(*parts, strict=True) if parts else ((), (), ())
            chunk = self.get(index) if keep else None
            if chunk is None:
                missing[index] = target, inside
            else:
                out[target] = chunk[inside]

        def read(batch: list[Index]) -> None:
            chunks = self.load(batch) if keep else self.fetch(batch)
            for index in batch:
                target, inside = missing[index]
                out[target] = chunks[index][inside]

        left = list(missing)
        size = self.batch_size(len(left)) if left else 1
        if left and self.reader.reads_in_parallel:
            # All at once: chunks of one shard should be in one call.
            size = max(size, BATCH_BYTES // self.chunk_nbytes)
        run_together(read, [left[i : i + size] for i in range(0, len(left), size)])

    def batch_size(self, n_chunks: int, n_threads: int = THREADS) -> int:
        """Return the number of chunks to read in one call, so that all threads end together."""
        size = self.reader.chunks_per_call
        if not self.reads_chunks_alone or not n_chunks:
            return size
        n_rounds = -(-n_chunks // (n_threads * size))
        return -(-n_chunks // (n_threads * n_rounds))

    def has(self, index: Index) -> bool:
        """Return whether a chunk is in memory."""
        return (self.token, index) in CACHE

    def get(self, index: Index) -> _Array | None:
        """Return a chunk if it is in memory, else None."""
        return CACHE.get(self.token, index)

    def load(self, indexes: list[Index]) -> dict[Index, _Array]:
        """Return the chunks at `indexes`, from memory or else from the source.

        The chunks are kept, and must not be written to.

        Raises
        ------
        SourceError
            If one of them cannot be read; see `fetch`.
        """
        kept = {index: chunk for index in indexes if (chunk := self.get(index)) is not None}
        missing = [index for index in indexes if index not in kept]
        if missing:
            written = self.n_forgotten
            found = self.fetch(missing)
            with _cached_or_forgotten:
                # Else the store has been written to since.
                if self.cached and written == self.n_forgotten:
                    CACHE.put(self.token, found)
            kept |= found
        return kept

    def fetch(self, indexes: list[Index]) -> dict[Index, _Array]:
        """Return the chunks at `indexes` from the source.

        Raises
        ------
        SourceError
            If one of them cannot be read; the message names array and chunk.
        """
        try:
            return self.reader.read(indexes)
        except MemoryError:
            raise
        except Exception as error:
            # Every exception: codecs raise any, even RuntimeError and plain Exception.
            raise SourceError(
                f"{self.location}: cannot read chunk {self._culprit(indexes)}: "
                f"{error or type(error).__name__}"
            ) from error

    def _culprit(self, indexes: list[Index]) -> str:
        """Return in words the first chunk that cannot be read by itself."""
        for index in indexes if len(indexes) > 1 else ():
            try:
                self.reader.read([index])
            except Exception:  # as in fetch
                return ", ".join(map(str, index))
        return ", ".join(map(str, indexes[0]))

    def _read_box(self, ranges: tuple[range, ...], out: _Array) -> None:
        """Fill `out` with one read of the source, the fastest way to read a whole region."""
        box = tuple(slice(min(r[0], r[-1]), max(r[0], r[-1]) + 1) for r in ranges)
        try:
            values = np.asarray(self.source[box], dtype=self.dtype)
        except MemoryError:
            raise
        except Exception as error:  # as in fetch
            region = ", ".join(f"{s.start}:{s.stop}" for s in box)
            raise SourceError(
                f"{self.location}: cannot read [{region}]: {error or type(error).__name__}"
            ) from error
        out[...] = values[tuple(slice(None, None, r.step) for r in ranges)]


def forget_stored(
    written: Place, regions: Sequence[Region] | None = None, *, replaced: bool = True
) -> None:
    """Drop the cached chunks of every array at a place or below it.

    Chunks of arrays of unknown location are dropped too, since these may wrap one of the arrays.

    Parameters
    ----------
    regions
        Parts of the array at the place that have been written; None for all of every array.
    replaced
        Whether arrays that were readable there have been replaced. If not, chunks of arrays of
        unknown location are kept: a view of them would show nothing until they are read again.
    """
    is_folder = isinstance(written, Folder)
    place, slash = (str(written), "/") if is_folder else (os.path.realpath(str(written)), os.sep)
    for source in ChunkedSource.alive():
        known = _location(source.source)
        if regions is not None and known == place:
            source.forget(_chunks_in(regions, source.chunks))
        elif replaced if known is None else f"{known}{slash}".startswith(f"{place}{slash}"):
            source.forget()


def _location(array: Any) -> str | None:
    """Return the directory or the URL of a zarr array; None if it is neither, or unknown."""
    store, path = getattr(array, "store", None), getattr(array, "path", "")
    root, address = getattr(store, "root", None), getattr(store, "address", None)
    if root is not None:
        return os.path.realpath(os.path.join(root, path))
    return None if address is None else f"{address.public}/{path}".rstrip("/")


def _chunks_in(regions: Sequence[Region], chunks: Sequence[int]) -> Iterator[Index]:
    """Yield the chunks that regions touch."""
    for region in regions:
        for block in blocks_in(region, chunks):
            yield tuple(s.start // c for s, c in zip(block, chunks, strict=True))


def chunk_parts(indexes: range, chunk: int) -> Iterator[_Part]:
    """Yield the parts of `indexes` between chunk edges."""
    step, start = indexes.step, 0
    while start < len(indexes):
        number, inside = divmod(indexes[start], chunk)
        room = chunk - 1 - inside if step > 0 else inside
        n = min(room // abs(step) + 1, len(indexes) - start)
        stop = inside + n * step
        yield number, slice(start, start + n), slice(inside, stop if stop >= 0 else None, step)
        start += n


CACHE = ChunkCache(default_budget())
