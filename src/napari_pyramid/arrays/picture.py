"""Paint the visible samples of a level chunk by chunk, with coarser samples at first: `Picture`."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.chunk_reader import Index
from napari_pyramid.arrays.chunked_source import ChunkedSource, chunk_parts
from napari_pyramid.arrays.grid import Grid

__all__ = ["LevelSource", "Picture"]

Array = npt.NDArray[Any]
Find = Callable[[int, Index], Array | None]
"""Returns a chunk of a level if it is in memory, else None."""

_Piece = tuple[int, slice, npt.NDArray[np.intp]]
"""Number of a chunk along one axis, its place in the picture, and its samples at that place."""

STRIPE = 8
"""Width in samples of the stripes over a chunk that cannot be read."""


class LevelSource:
    """One level: its chunks, and the positions of its samples.

    Parameters
    ----------
    source
        Chunks of the array that contains the level.
    grid
        Positions of the samples over all axes of the array, including a hidden channel axis.
    """

    __slots__ = ("grid", "source")

    def __init__(self, source: ChunkedSource, grid: Grid) -> None:
        self.source = source
        self.grid = grid


class Picture:
    """Samples of ``levels[level]`` at the product of `ranges`; safe to paint from any thread.

    Parameters
    ----------
    find
        Finds chunks in memory.
    behind
        Whether coarser samples are painted where chunks are missing.

    Attributes
    ----------
    pixels : ndarray
        The picture so far: exact samples where chunks have been painted, samples of coarser levels
        elsewhere, and the fill value where nothing is in memory.
    missing : dict
        Chunks that have not been painted, nearest to the centre first, with the place of each in
        `pixels` and the part of the chunk that is visible.
    """

    def __init__(
        self,
        levels: Sequence[LevelSource],
        level: int,
        ranges: tuple[range, ...],
        find: Find,
        *,
        behind: bool = True,
    ) -> None:
        self._levels = levels
        self._find = find
        self._lock = threading.Lock()
        self.level = level
        self.ranges = ranges
        self.source = levels[level].source
        self.failed: set[Index] = set()
        self.pixels = np.empty([len(r) for r in ranges], self.source.dtype)
        axes = [list(chunk_parts(r, c)) for r, c in zip(ranges, self.source.chunks, strict=True)]
        self._spans = [{number: target for number, target, _ in parts} for parts in axes]
        self._kept_pieces: dict[tuple[int, int, int], list[_Piece]] = {}
        self.missing: dict[Index, tuple[Any, Any]] = {}
        absent: dict[Index, tuple[Any, Any]] = {}
        for parts in product(*axes):
            index, target, inside = zip(*parts, strict=True) if parts else ((), (), ())
            chunk = find(level, index)
            if chunk is None:
                absent[index] = target, inside
            else:
                self.pixels[target] = chunk[inside]
        centre = [len(r) / 2 for r in ranges]
        for index in sorted(absent, key=lambda i: _distance(absent[i][0], centre)):
            self.missing[index] = absent[index]
        self._shown_level: dict[Index, int] = {}
        """Level that is shown in place of a missing chunk."""
        self._behind = behind
        for index in self.missing if behind else ():
            self._paint_coarser(index)

    def shows(self, level: int, ranges: tuple[range, ...]) -> bool:
        """Return whether this is the picture of the samples `ranges` of `level`."""
        return (self.level, self.ranges) == (level, ranges)

    def paint(self, index: Index, chunk: Array) -> bool:
        """Paint a chunk; return whether it was missing."""
        with self._lock:
            place = self.missing.pop(index, None)
            if place is None:
                return False
            self.failed.discard(index)
            target, inside = place
            self.pixels[target] = chunk[inside]
        return True

    def paint_behind(self, level: int) -> bool:
        """Paint missing chunks from a coarser level; return whether pixels changed."""
        changed = False
        with self._lock:
            for index in self.missing if self._behind else ():
                if level < self._shown_level.get(index, len(self._levels)):
                    changed |= self._paint_coarser(index)
        return changed

    def fail(self, index: Index) -> bool:
        """Paint stripes over a chunk that cannot be read; return whether it was missing."""
        with self._lock:
            if index not in self.missing or index in self.failed:
                return False
            self.failed.add(index)
            self._paint_stripes(index)
        return True

    @property
    def grid(self) -> tuple[list[int], ...]:
        """Numbers of the chunks in the picture, along each axis."""
        return tuple(sorted(spans) for spans in self._spans)

    @property
    def coarsest_shown(self) -> int:
        """The coarsest level in the picture; the number of levels if some samples have no level."""
        with self._lock:
            shown = [self._shown_level.get(index, len(self._levels)) for index in self.missing]
        return max(shown, default=self.level)

    def chunks_at(self, level: int) -> list[Index]:
        """Return the chunks of a level that cover the missing chunks, central ones first."""
        with self._lock:
            missing = list(self.missing)
        found: dict[Index, None] = {}
        for index in missing:
            for pieces in self._under(index, level):
                found[tuple(number for number, _, _ in pieces)] = None
        return list(found)

    def _under(self, index: Index, level: int) -> Iterator[tuple[_Piece, ...]]:
        """Yield the parts of chunks of another level that cover a chunk of the picture."""
        return product(*(self._pieces(level, axis, number) for axis, number in enumerate(index)))

    def _pieces(self, level: int, axis: int, number: int) -> list[_Piece]:
        """Return the parts of another level's chunks, along one axis, that cover chunk `number`."""
        key = level, axis, number
        if key not in self._kept_pieces:
            fine, coarse = self._levels[self.level], self._levels[level]
            centres = fine.grid.centres(self.ranges[axis][self._spans[axis][number]], axis)
            samples = coarse.grid.nearest(centres, axis, coarse.source.shape[axis])
            numbers, insides = np.divmod(samples, coarse.source.chunks[axis])
            cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(samples)]
            self._kept_pieces[key] = [
                (int(numbers[a]), slice(a, b), insides[a:b]) for a, b in pairwise(cuts)
            ]
        return self._kept_pieces[key]

    def _paint_coarser(self, index: Index) -> bool:
        """Paint a missing chunk from the finest coarser level that covers it from memory."""
        best = self._shown_level.get(index, len(self._levels))
        part = self.pixels[self.missing[index][0]]
        for level in range(self.level + 1, best):
            under = list(self._under(index, level))
            chunks = [self._find(level, tuple(n for n, _, _ in pieces)) for pieces in under]
            if any(chunk is None for chunk in chunks):
                continue
            for pieces, chunk in zip(under, chunks, strict=True):
                assert chunk is not None
                part[tuple(t for _, t, _ in pieces)] = chunk[np.ix_(*(i for _, _, i in pieces))]
            self._shown_level[index] = level
            if index in self.failed:
                self._paint_stripes(index)
            return True
        if best == len(self._levels):
            part[...] = self.source.fill_value
        return False

    def _paint_stripes(self, index: Index) -> None:
        part = self.pixels[self.missing[index][0]]
        axes = [axis for axis, n in enumerate(part.shape) if n > 1][-2:]
        diagonal = sum(np.indices(part.shape, sparse=True)[axis] for axis in axes)
        part[np.broadcast_to(diagonal, part.shape) // STRIPE % 2 == 0] = self.source.fill_value


def _distance(target: Sequence[slice], centre: Sequence[float]) -> float:
    """Return the distance of a part's middle from a centre."""
    return math.dist([(t.start + t.stop) / 2 for t in target], centre)
