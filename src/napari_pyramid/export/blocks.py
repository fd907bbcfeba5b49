"""Read an array block by block, in bounded memory and each chunk once where memory allows."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.build.progress import Progress
from napari_pyramid.errors import STORAGE_ERRORS, PyramidError, SourceError, one_line
from napari_pyramid.plan.chunks import regular_chunks
from napari_pyramid.regions import Region

__all__ = ["BLOCK_BYTES", "ExportBlocks"]

BLOCK_BYTES = 32 * 2**20
"""Bytes of a block at most, unless one sample is larger."""


class ExportBlocks:
    """The blocks of an array, which together are all of it.

    A block is a whole number of chunks, as long along the last axes as memory allows, so that it
    can be written in few pieces.

    Parameters
    ----------
    start
        Position of the first sample in the array that has the chunks: blocks end where its chunks
        end.
    tiles
        Lengths along some axes, whose multiples blocks end at in place of the ends of chunks.
    """

    def __init__(
        self,
        array: Any,
        start: Sequence[int],
        *,
        limit: int = BLOCK_BYTES,
        tiles: Mapping[int, int] | None = None,
    ) -> None:
        self._array = array
        shape = tuple(int(n) for n in array.shape)
        samples = max(1, limit // max(1, int(np.dtype(array.dtype).itemsize)))
        chunks = list(regular_chunks(array) or (1,) * len(shape))
        if tiles:
            start = [0 if a in tiles else s for a, s in enumerate(start)]
            chunks = [tiles.get(a, c) for a, c in enumerate(chunks)]
            samples = max(samples, math.prod(chunks[min(tiles) :]))
        self._edges = [
            _edges(n, s, c, b)
            for n, s, c, b in zip(shape, start, chunks, _block(shape, chunks, samples), strict=True)
        ]

    def __len__(self) -> int:
        return math.prod(len(edges) - 1 for edges in self._edges)

    def __iter__(self) -> Iterator[Region]:
        spans = [[slice(a, b) for a, b in itertools.pairwise(edges)] for edges in self._edges]
        return itertools.product(*spans)

    @property
    def nbytes(self) -> int:
        """Bytes of the largest block."""
        longest = [max(np.diff(edges), default=0) for edges in self._edges]
        return int(math.prod(longest)) * int(np.dtype(self._array.dtype).itemsize)

    def read(self) -> Iterator[tuple[Region, npt.NDArray[Any], Progress]]:
        """Yield each block with its samples, and the progress once the block is written.

        Raises
        ------
        SourceError
            If a block cannot be read.
        """
        began, size = time.monotonic(), 0
        for done, region in enumerate(self, start=1):
            try:
                values = np.asarray(self._array[region])
            except PyramidError:
                raise
            except STORAGE_ERRORS as error:
                where = ", ".join(f"{s.start}:{s.stop}" for s in region)
                raise SourceError(f"[{where}] cannot be read: {one_line(error)}") from error
            size += values.nbytes
            elapsed = time.monotonic() - began
            left = elapsed / done * (len(self) - done)
            yield region, values, Progress(0, done, len(self), size, size, elapsed, left)


def _block(shape: Sequence[int], chunks: Sequence[int], samples: int) -> list[int]:
    """Return the lengths of a block of at most `samples` samples."""
    block = [max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True)]
    for axis in range(len(block)):  # larger chunks than that are read in parts
        rest = math.prod(block[axis + 1 :])
        block[axis] = max(1, min(block[axis], samples // rest))
    for axis in reversed(range(len(block))):
        times = max(1, samples // math.prod(block))
        block[axis] = max(1, min(shape[axis], block[axis] * times))
        if block[axis] < shape[axis]:
            break
    return block


def _edges(length: int, start: int, chunk: int, block: int) -> list[int]:
    """Return where blocks begin and end along one axis: at edges of chunks, if they are long."""
    if block >= length:
        return [0, length]
    first = chunk - start % chunk if block >= chunk else block
    first += max(0, (block - first) // chunk) * chunk
    return [0, *range(first, length, block), length]
