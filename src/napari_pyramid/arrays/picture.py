"""Paint the visible samples of a level chunk by chunk, with coarser samples at first: `Picture`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
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

_Samples = npt.NDArray[np.intp]

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
        Chunks that have not been painted, nearest to the centre first; the values are None.
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
        self._places = [
            {number: (target, inside) for number, target, inside in chunk_parts(r, c)}
            for r, c in zip(ranges, self.source.chunks, strict=True)
        ]
        """Place of each chunk in `pixels`, and its visible part, along each axis.

        By axis, since objects for each chunk would make Python collect garbage while a view moves.
        """
        self._kept_samples: dict[tuple[int, int], _Samples] = {}
        self._kept_numbers: dict[tuple[int, int], dict[int, tuple[int, ...]]] = {}
        absent: list[Index] = []
        for index in product(*self._places):
            chunk = find(level, index)
            if chunk is None:
                absent.append(index)
            else:
                target, inside = self._place(index)
                _copy(chunk[inside], self.pixels[target])
        distances = [_distances(r, places) for r, places in zip(ranges, self._places, strict=True)]
        absent.sort(key=lambda i: sum(d[n] for d, n in zip(distances, i, strict=True)))
        self.missing: dict[Index, None] = dict.fromkeys(absent)
        self._shown_level: dict[Index, int] = {}
        """Level that is shown in place of a missing chunk."""
        self._behind = behind
        if behind and absent:
            self._paint_first(absent)

    def shows(self, level: int, ranges: tuple[range, ...]) -> bool:
        """Return whether this is the picture of the samples `ranges` of `level`."""
        return (self.level, self.ranges) == (level, ranges)

    def paint(self, index: Index, chunk: Array) -> bool:
        """Paint a chunk; return whether it was missing."""
        with self._lock:
            if index not in self.missing:
                return False
            del self.missing[index]
            self.failed.discard(index)
            target, inside = self._place(index)
            _copy(chunk[inside], self.pixels[target])
        return True

    def paint_behind(self, level: int) -> bool:
        """Paint missing chunks from a coarser level; return whether pixels changed."""
        if not self._behind:
            return False
        with self._lock:
            worst = len(self._levels)
            blurred = [i for i in self.missing if self._shown_level.get(i, worst) > level]
            return bool(self._paint_from(level, blurred))

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
        return tuple(sorted(places) for places in self._places)

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
        numbers = [self._numbers(level, axis) for axis in range(len(self.ranges))]
        return list(dict.fromkeys(c for index in missing for c in _under(index, numbers)))

    def _place(self, index: Index) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the place of a chunk in `pixels`, and its visible part."""
        places = [axis[number] for axis, number in zip(self._places, index, strict=True)]
        return tuple(target for target, _ in places), tuple(inside for _, inside in places)

    def _samples(self, level: int, axis: int) -> _Samples:
        """Return the samples of another level that are nearest to the samples of an axis."""
        key = level, axis
        if key not in self._kept_samples:
            fine, coarse = self._levels[self.level], self._levels[level]
            centres = fine.grid.centres(self.ranges[axis], axis)
            length = coarse.source.shape[axis]
            self._kept_samples[key] = coarse.grid.nearest(centres, axis, length)
        return self._kept_samples[key]

    def _numbers(self, level: int, axis: int) -> dict[int, tuple[int, ...]]:
        """Return the chunks of another level, along an axis, that cover each chunk."""
        key = level, axis
        if key not in self._kept_numbers:
            numbers = self._samples(level, axis) // self._levels[level].source.chunks[axis]
            self._kept_numbers[key] = {
                number: tuple(dict.fromkeys(numbers[target].tolist()))
                for number, (target, _) in self._places[axis].items()
            }
        return self._kept_numbers[key]

    def _paint_first(self, absent: Collection[Index]) -> None:
        """Paint each absent chunk from the finest level that covers it, else with fill value."""
        left = absent
        for level in range(self.level + 1, len(self._levels)):
            painted = self._paint_from(level, left)
            left = [index for index in left if index not in painted] if painted else left
            if not left:
                return
        for first, last in _boxes(left):
            self.pixels[self._region(first, last)] = self.source.fill_value

    def _paint_from(self, level: int, indexes: Collection[Index]) -> set[Index]:
        """Paint the chunks at `indexes` that chunks of `level` in memory cover; return them."""
        numbers = [self._numbers(level, axis) for axis in range(len(self.ranges))]
        needed = dict.fromkeys(c for index in indexes for c in _under(index, numbers))
        chunks = {c: chunk for c in needed if (chunk := self._find(level, c)) is not None}
        if not chunks:
            return set()
        covered = set(indexes)
        if len(chunks) < len(needed):
            covered = {i for i in indexes if all(c in chunks for c in _under(i, numbers))}
        for first, last in _boxes(covered):
            self._paint_box(level, first, last, chunks)
        self._shown_level.update(dict.fromkeys(covered, level))
        for index in covered & self.failed:
            self._paint_stripes(index)
        return covered

    def _paint_box(
        self, level: int, first: Index, last: Index, chunks: Mapping[Index, Array]
    ) -> None:
        """Paint a box of chunks, from `first` to `last`, from the chunks of a coarser level."""
        region = self._region(first, last)
        samples = [self._samples(level, axis)[span] for axis, span in enumerate(region)]
        spans = [range(int(along.min()), int(along.max()) + 1) for along in samples]
        coarse = np.empty([len(span) for span in spans], self.pixels.dtype)
        parts = map(chunk_parts, spans, self._levels[level].source.chunks)
        for pieces in product(*parts):
            chunk = chunks.get(tuple(number for number, _, _ in pieces))
            if chunk is not None:  # no sample is shown of a chunk that is not needed
                inside = tuple(part for _, _, part in pieces)
                _copy(chunk[inside], coarse[tuple(target for _, target, _ in pieces)])
        nearest = [along - span.start for along, span in zip(samples, spans, strict=True)]
        self.pixels[region] = _taken(coarse, nearest)

    def _region(self, first: Index, last: Index) -> tuple[slice, ...]:
        """Return the place in `pixels` of the chunks from `first` to `last`."""
        ends = [
            (places[a][0], places[b][0])
            for places, a, b in zip(self._places, first, last, strict=True)
        ]
        return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in ends)

    def _paint_stripes(self, index: Index) -> None:
        part = self.pixels[self._place(index)[0]]
        axes = [axis for axis, n in enumerate(part.shape) if n > 1][-2:]
        diagonal = sum(np.indices(part.shape, sparse=True)[axis] for axis in axes)
        part[np.broadcast_to(diagonal, part.shape) // STRIPE % 2 == 0] = self.source.fill_value


def _copy(samples: Array, target: Array) -> None:
    """Copy samples into an array of the same shape, by whole rows where both have them.

    NumPy lets other threads have the interpreter while it copies more than 500 items. A view has
    hundreds of chunks, and after each one the window would wait for threads that build.
    """
    itemsize = target.itemsize
    if samples.dtype == target.dtype and samples.strides[-1] == target.strides[-1] == itemsize:
        row = f"V{target.shape[-1] * itemsize}"
        samples, target = samples.view(row), target.view(row)
    target[...] = samples


def _distances(r: range, places: Mapping[int, tuple[slice, slice]]) -> dict[int, float]:
    """Return the squared distance of each chunk's middle from the centre of an axis."""
    return {
        number: ((target.start + target.stop - len(r)) / 2) ** 2
        for number, (target, _) in places.items()
    }


def _under(index: Index, numbers: Sequence[Mapping[int, tuple[int, ...]]]) -> Iterable[Index]:
    """Return the chunks of another level that cover a chunk; `numbers` has them by axis."""
    return product(*(axis[n] for axis, n in zip(numbers, index, strict=True)))


def _boxes(indexes: Iterable[Index]) -> Iterator[tuple[Index, Index]]:
    """Yield boxes (first and last chunk) that cover exactly the chunks `indexes`.

    Runs along the last axis; runs of neighbouring rows from the same to the same column are joined.
    """
    runs: list[tuple[Index, Index]] = []
    for index in sorted(indexes):
        if runs and _next_along(runs[-1][1], index, -1):
            runs[-1] = runs[-1][0], index
        else:
            runs.append((index, index))
    runs.sort(key=lambda run: (run[0][:-2], run[0][-1:], run[0]))
    box: tuple[Index, Index] | None = None
    for first, last in runs:
        if box and box[0][-1:] == first[-1:] and _next_along(box[1], last, -2):
            box = box[0], last
            continue
        if box:
            yield box
        box = first, last
    if box:
        yield box


def _next_along(before: Index, index: Index, axis: int) -> bool:
    """Return whether a chunk follows another one along an axis."""
    return (
        len(index) >= -axis
        and before[axis] + 1 == index[axis]
        and before[:axis] == index[:axis]
        and (axis == -1 or before[axis + 1 :] == index[axis + 1 :])
    )


def _taken(chunk: Array, samples: Sequence[_Samples]) -> Array:
    """Return the product of some samples of each axis, as with `numpy.ix_` but faster.

    Axes that get shorter go first, and then the last ones, so that most is copied by whole rows.
    """
    axes = reversed(range(chunk.ndim))
    for axis in sorted(axes, key=lambda a: len(samples[a]) / chunk.shape[a]):
        chunk = chunk.take(samples[axis], axis)
    return chunk
