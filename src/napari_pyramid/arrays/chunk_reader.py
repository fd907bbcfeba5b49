"""ChunkReader: what decodes the chunks of one array, and which reader an array has. Keeps no pixels.

A reader works on the calling thread; who wants several chunks at once calls it from several threads.
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
from napari_pyramid.storage.stored_chunks import StoredChunks

__all__ = ["ChunkReader", "Index", "SlicedChunks", "chunk_box", "chunk_reader"]

Index = tuple[int, ...]
"""Coordinates of a chunk in the grid of chunks."""
Array = npt.NDArray[Any]


class ChunkReader(Protocol):
    """Reads and decodes chunks of one array; several threads may call it at once."""

    @property
    def chunks_per_call(self) -> int:
        """Number of chunks that one call of `read` reads at best."""

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the decoded chunks at `indexes`; they must not be written to.

        A chunk at the end of the array has at least the samples that are in the array. Chunks may share memory with each
        other, or be broadcast from a single fill value. Raises whatever the store or codec raises.
        """

    def forget(self) -> None:
        """Drop what was remembered of the store: it has been written to."""


def chunk_reader(array: ArrayLike, chunks: Sequence[int]) -> ChunkReader:
    """Return the quickest reader for the chunks of `array`, which have the shape `chunks`."""
    stored = StoredChunks.of(array)
    if stored is not None:
        return stored
    if isinstance(array, zarr.Array) and type(array.store) is LocalStore and array.ndim:
        return _PipelineChunks(array)
    return SlicedChunks(array, chunks)


def chunk_box(
    first: Sequence[int], last: Sequence[int], chunks: Sequence[int], shape: Sequence[int]
) -> tuple[slice, ...]:
    """Return the region from chunk `first` to chunk `last`, inclusive, within an array of the given shape."""
    return tuple(
        slice(a * c, min((b + 1) * c, n))
        for a, b, c, n in zip(first, last, chunks, shape, strict=True)
    )


class SlicedChunks:
    """Chunks of anything with basic indexing: neighbouring chunks are read in one call."""

    chunks_per_call = 16
    """zarr asks a server for about as many chunks at once."""

    def __init__(self, array: ArrayLike, chunks: Sequence[int]) -> None:
        self._array = array
        self._chunks = tuple(chunks)

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`; chunks of one box are views of one array."""
        found: dict[Index, Array] = {}
        for first, last in _boxes(indexes):
            block = np.asarray(self._array[chunk_box(first, last, self._chunks, self._array.shape)])
            for index in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True))):
                found[index] = block[
                    tuple(
                        slice((i - a) * c, (i - a + 1) * c)
                        for i, a, c in zip(index, first, self._chunks, strict=True)
                    )
                ]
        return found

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""


class _PipelineChunks:
    """Chunks of a local zarr array with unusual codecs, through zarrs where it knows them, else through zarr."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        from napari_pyramid.storage.chunk_io import Blocks  # only few arrays pay for zarrs

        self._chunks: tuple[int, ...] = array.chunks
        self._blocks = Blocks(array)
        self._fill = np.asarray(array.fill_value or 0, self._blocks.dtype)

    @property
    def chunks_per_call(self) -> int:
        """Number of chunks that one call of `read` reads at best."""
        nbytes = math.prod(self._chunks) * self._blocks.dtype.itemsize
        return max(1, 4 * 2**20 // max(1, nbytes))

    def read(self, indexes: Sequence[Index]) -> dict[Index, Array]:
        """Return the chunks at `indexes`, each with the samples that are in the array."""
        return {index: self._read(index) for index in indexes}

    def _read(self, index: Index) -> Array:
        box = chunk_box(index, index, self._chunks, self._blocks.shape)
        shape = tuple(s.stop - s.start for s in box)
        block = tuple(s.start // b for s, b in zip(box, self._blocks.block, strict=True))
        if not self._blocks.file_of(block).exists():
            return np.broadcast_to(self._fill, shape)
        out = np.empty(shape, self._blocks.dtype)
        self._blocks.read(box, out)
        return out

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""


def _boxes(indexes: Sequence[Index]) -> Iterator[tuple[Index, Index]]:
    """Cover exactly the chunks `indexes` with boxes: one if they fill it, else runs along the last axis."""
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
