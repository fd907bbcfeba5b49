"""Choose the reader for the chunks of an array, and decode them: `ChunkReader`.

A reader works on the calling thread; callers read in parallel from several threads. Readers keep no
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from napari_pyramid.image import ArrayLike
from napari_pyramid.storage.chunk_places import chunk_places
from napari_pyramid.storage.stored_chunks import StoredChunks

__all__ = ["ChunkReader", "Index", "SlicedChunks", "chunk_reader"]

Index = tuple[int, ...]
"""Coordinates of a chunk in the grid of chunks."""
Array = npt.NDArray[Any]


class ChunkReader(Protocol):
    """Reader of the chunks of one array; several threads may call it at once."""

    reads_in_parallel: bool
    """Whether one call of `read` reads its chunks side by side, on threads of its own."""

    @property
    def chunks_per_call(self) -> int:
        """Best number of chunks for one call of `read`."""

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the decoded chunks at `indexes`; they must not be written to.

        A chunk at the end of the array has at least the samples that are in the array. Chunks may
        share memory with each other, or be broadcast from a single fill value. Exceptions of the
        store and the codecs are passed on.
        """

    def forget(self) -> None:
        """Drop everything that is cached about the store, since it has been written to."""


def chunk_reader(array: ArrayLike, chunks: Sequence[int]) -> ChunkReader:
    """Return the fastest reader for the chunks of `array`; `chunks` is the shape of a chunk."""
    stored = StoredChunks.of(array) or _remote_chunks(array)
    if stored is not None:
        return stored
    if isinstance(array, zarr.Array) and type(array.store) is LocalStore and array.ndim:
        return _PipelineChunks(array)
    return SlicedChunks(array, chunks)


def _remote_chunks(array: ArrayLike) -> ChunkReader | None:
    if not isinstance(array, zarr.Array):
        return None
    store, _ = chunk_places(array)
    if not hasattr(store, "fetch_ranges_now"):
        return None
    from napari_pyramid.storage.remote_chunks import RemoteChunks  # only URLs pay for it

    return RemoteChunks.of(array)


def _chunk_box(
    first: Sequence[int], last: Sequence[int], chunks: Sequence[int], shape: Sequence[int]
) -> tuple[slice, ...]:
    """Return the region from chunk `first` to chunk `last`, inclusive, cut at the array's end."""
    return tuple(
        slice(a * c, min((b + 1) * c, n))
        for a, b, c, n in zip(first, last, chunks, shape, strict=True)
    )


class SlicedChunks:
    """Reader for any array with basic indexing; reads neighbouring chunks in one call."""

    reads_in_parallel = False
    chunks_per_call = 16
    """About the number of chunks that zarr requests from a server at once."""

    def __init__(self, array: ArrayLike, chunks: Sequence[int]) -> None:
        self._array = array
        self._chunks = tuple(chunks)

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`; chunks of one box are views of one array."""
        found: dict[Index, Array] = {}
        for first, last in _boxes(indexes):
            block = np.asarray(
                self._array[_chunk_box(first, last, self._chunks, self._array.shape)]
            )
            for index in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True))):
                found[index] = block[
                    tuple(
                        slice((i - a) * c, (i - a + 1) * c)
                        for i, a, c in zip(index, first, self._chunks, strict=True)
                    )
                ]
        return found

    def forget(self) -> None:
        """Do nothing, since nothing is cached."""


class _PipelineChunks:
    """Reader for local zarr arrays with unusual codecs, with zarrs if it can, else with zarr."""

    reads_in_parallel = False

    def __init__(self, array: zarr.Array[Any]) -> None:
        # zarrs is imported only for the few arrays that need it.
        from napari_pyramid.storage.chunk_io import StoredBlocks

        self._chunks: tuple[int, ...] = array.chunks
        self._blocks = StoredBlocks(array)
        self._fill = np.asarray(array.fill_value or 0, self._blocks.dtype)

    @property
    def chunks_per_call(self) -> int:
        """Best number of chunks for one call of `read`."""
        nbytes = math.prod(self._chunks) * self._blocks.dtype.itemsize
        return max(1, 4 * 2**20 // max(1, nbytes))

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`, each with the samples that are in the array."""
        return {index: self._read(index) for index in indexes}

    def _read(self, index: Index) -> Array:
        box = _chunk_box(index, index, self._chunks, self._blocks.shape)
        shape = tuple(s.stop - s.start for s in box)
        block = tuple(s.start // b for s, b in zip(box, self._blocks.block, strict=True))
        if not self._blocks.file_of(block).exists():
            return np.broadcast_to(self._fill, shape)
        out = np.empty(shape, self._blocks.dtype)
        self._blocks.read(box, out)
        return out

    def forget(self) -> None:
        """Do nothing, since nothing is cached."""


def _boxes(indexes: Sequence[Index]) -> Iterator[tuple[Index, Index]]:
    """Yield boxes (first and last chunk) that cover exactly the chunks `indexes`.

    One box if the chunks fill it, else runs along the last axis.
    """
    if not indexes:
        return
    low, high = (tuple(f(axis) for axis in zip(*indexes, strict=True)) for f in (min, max))
    if math.prod(b - a + 1 for a, b in zip(low, high, strict=True)) == len(indexes):
        yield low, high
        return
    for _, group in groupby(
        enumerate(sorted(indexes)), key=lambda item: (item[1][:-1], item[1][-1] - item[0])
    ):
        run = [index for _, index in group]
        yield run[0], run[-1]
