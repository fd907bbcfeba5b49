"""Keep the edited samples of an array in memory, without a copy of the others: `Edits`.

The samples are kept in small blocks, each with a mask of what was edited, so that writing reads
nothing, and a stroke on an array of any size takes the memory of the stroke.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.chunked_source import chunk_parts
from napari_pyramid.regions import Region

__all__ = ["Edits"]

_Array = npt.NDArray[Any]
_Index = tuple[int, ...]

_BLOCK, _FLAT_BLOCK = (4, 64, 64), (128, 128)
"""Shapes of the blocks in three and in two axes: little for one stroke, few for a large one."""


class _Block:
    """The edited samples of one block of the array."""

    __slots__ = ("mask", "values")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.values: _Array = np.zeros(shape, dtype)
        self.mask = np.zeros(shape, bool)

    def add(self, other: _Block) -> None:
        """Take over the samples that were edited in another block at the same place."""
        self.values[other.mask] = other.values[other.mask]
        self.mask |= other.mask

    def box(self) -> list[tuple[int, int]]:
        """Return the first edited sample, and the end of the edited samples, along each axis."""
        found = []
        for axis in range(self.mask.ndim):
            others = tuple(a for a in range(self.mask.ndim) if a != axis)
            used = np.flatnonzero(self.mask.any(others))
            found.append((int(used[0]), int(used[-1]) + 1))
        return found


class Edits:
    """The edited samples of one array; safe to use from any thread.

    Parameters
    ----------
    shape, dtype
        Shape and data type of the array.
    """

    def __init__(self, shape: Sequence[int], dtype: npt.DTypeLike) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.block = _block_shape(self.shape)
        self._lock = threading.RLock()
        self._held: dict[_Index, _Block] = {}
        """Blocks that are being saved, and do not change."""
        self._current: dict[_Index, _Block] = {}

    def __bool__(self) -> bool:
        return bool(self._held or self._current)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the edits take."""
        n_blocks = len(self._held) + len(self._current)
        return n_blocks * math.prod(self.block) * (self.dtype.itemsize + 1)

    # ---- writing ---------------------------------------------------------------------------------

    def write(
        self, ranges: Sequence[range], values: npt.ArrayLike, where: npt.ArrayLike = True
    ) -> None:
        """Set the samples at the product of `ranges`, if `where` is true.

        `values` and `where` are broadcast to the shape of the product.
        """
        shape = [len(r) for r in ranges]
        given = np.broadcast_to(np.asarray(values), shape)
        chosen = np.broadcast_to(np.asarray(where, bool), shape)
        axes = [list(chunk_parts(r, b)) for r, b in zip(ranges, self.block, strict=True)]
        with self._lock:
            for parts in product(*axes):
                index, target, inside = zip(*parts, strict=True)
                if not chosen[target].any():
                    continue
                block = self._block(index)
                np.copyto(block.values[inside], given[target], "unsafe", where=chosen[target])
                block.mask[inside] |= chosen[target]

    def forget(self, ranges: Sequence[range], where: npt.ArrayLike) -> None:
        """Make samples at the product of `ranges` unedited again, where `where` is true.

        Edits that are held stay.
        """
        chosen = np.broadcast_to(np.asarray(where, bool), [len(r) for r in ranges])
        axes = [list(chunk_parts(r, b)) for r, b in zip(ranges, self.block, strict=True)]
        with self._lock:
            for parts in product(*axes):
                index, target, inside = zip(*parts, strict=True)
                block = self._current.get(index)
                if block is not None:
                    block.mask[inside] &= ~chosen[target]
                    if not block.mask.any():
                        del self._current[index]

    def write_points(self, points: Sequence[npt.NDArray[np.intp]], values: npt.ArrayLike) -> None:
        """Set single samples.

        Parameters
        ----------
        points
            Indexes of the samples: one array per axis, all of the same length.
        values
            One value for all samples, or one per sample; of a sample that is given twice, the last
            value counts.
        """
        given = np.broadcast_to(np.asarray(values), points[0].shape)
        if not given.size:
            return
        numbers = np.stack([p // b for p, b in zip(points, self.block, strict=True)])
        indexes, which = np.unique(numbers, axis=1, return_inverse=True)
        with self._lock:
            for i, index in enumerate(indexes.T.tolist()):
                chosen = which.reshape(-1) == i
                inside = tuple(p[chosen] % b for p, b in zip(points, self.block, strict=True))
                block = self._block(tuple(index))
                block.values[inside] = given[chosen]
                block.mask[inside] = True

    def _block(self, index: _Index) -> _Block:
        found = self._current.get(index)
        if found is None:
            found = self._current[index] = _Block(self.block, self.dtype)
        return found

    # ---- saving ----------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep the edits made so far apart from later ones, until `drop_held` or `unhold`."""
        with self._lock:
            self.unhold()
            self._held, self._current = self._current, {}

    def unhold(self) -> None:
        """Join the held edits with those made since."""
        with self._lock:
            for index, block in self._current.items():
                if index in self._held:
                    self._held[index].add(block)
                else:
                    self._held[index] = block
            self._held, self._current = {}, self._held

    def drop_held(self) -> None:
        """Forget the held edits, since they have been saved."""
        with self._lock:
            self._held = {}

    def clear(self) -> None:
        """Forget all edits."""
        with self._lock:
            self._held, self._current = {}, {}

    def held_boxes(self) -> list[Region]:
        """Return boxes of the array that hold all held edits, at most one for each block."""
        with self._lock:
            return [
                tuple(
                    slice(i * b + start, i * b + stop)
                    for i, b, (start, stop) in zip(index, self.block, block.box(), strict=True)
                )
                for index, block in sorted(self._held.items())
            ]

    # ---- reading ---------------------------------------------------------------------------------

    def lay_over(
        self,
        ranges: Sequence[range],
        out: _Array,
        *,
        held_only: bool = False,
        edited: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Replace the edited samples in `out`, which has the samples at the product of `ranges`.

        In `edited`, of the same shape, they are set to true.
        """
        axes = [
            {number: (target, inside) for number, target, inside in chunk_parts(r, b)}
            for r, b in zip(ranges, self.block, strict=True)
        ]
        with self._lock:
            for blocks in (self._held,) if held_only else (self._held, self._current):
                for index, block in _among(blocks, axes):
                    target, inside = zip(
                        *(axis[i] for axis, i in zip(axes, index, strict=True)), strict=True
                    )
                    values, mask = block.values[inside], block.mask[inside]
                    np.copyto(out[target], values, "unsafe", where=mask)
                    if edited is not None:
                        edited[target] |= mask

    def lay_over_coarser(
        self,
        ranges: Sequence[range],
        factors: Sequence[float],
        planes: Mapping[int, int],
        out: _Array,
    ) -> None:
        """Show the edits in samples of a coarser level.

        A coarser sample shows the largest of the edited samples that it covers, and stays as it is
        if it covers none: a stroke stays visible however far the view is zoomed out.

        Parameters
        ----------
        ranges
            Indexes of the coarser level along each axis, without steps.
        factors
            Samples of the array to a sample of the coarser level, along each axis.
        planes
            Axes of which only one sample of the array is looked at, and its index; `out` has one
            sample along them.
        out
            The samples of the coarser level at the product of `ranges`.
        """
        axes = [
            _windows(r, f, b, n, planes.get(axis))
            for axis, (r, f, b, n) in enumerate(
                zip(ranges, factors, self.block, self.shape, strict=True)
            )
        ]
        with self._lock:
            for blocks in (self._held, self._current):
                for index, block in _among(blocks, axes):
                    parts = [axis[i] for axis, i in zip(axes, index, strict=True)]
                    inside = tuple(p[1] for p in parts)
                    mask = block.mask[inside]
                    if not mask.any():
                        continue
                    least = np.iinfo(self.dtype).min if self.dtype.kind in "iu" else 0
                    values = np.where(mask, block.values[inside], self.dtype.type(least))
                    for axis, (_, _, starts) in enumerate(parts):
                        if len(starts) < mask.shape[axis]:
                            values = np.maximum.reduceat(values, starts, axis)
                            mask = np.logical_or.reduceat(mask, starts, axis)
                    np.copyto(out[tuple(p[0] for p in parts)], values, "unsafe", where=mask)


def _block_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the blocks.

    They are flat, since people paint in planes of the last two axes; their sides are powers of 2,
    so that the windows of halved levels do not cross blocks.
    """
    found = [1] * (len(shape) - 3) + list(_BLOCK if len(shape) > 2 else _FLAT_BLOCK)[-len(shape) :]
    return tuple(min(b, n) for b, n in zip(found, shape, strict=True))


def _among(
    blocks: Mapping[_Index, _Block], axes: Sequence[Mapping[int, Any]]
) -> Iterator[tuple[_Index, _Block]]:
    """Yield the blocks whose index is in the product of `axes`, looking at as few as possible."""
    if math.prod(map(len, axes)) < len(blocks):
        for index in product(*axes):
            if index in blocks:
                yield index, blocks[index]
    else:
        for index, block in blocks.items():
            if all(i in axis for i, axis in zip(index, axes, strict=True)):
                yield index, block


_Window = tuple[slice, slice, npt.NDArray[np.intp]]
"""Place in the coarser samples, part of the block, and where the windows of that part begin."""


def _windows(
    coarse: range, factor: float, block: int, length: int, plane: int | None
) -> dict[int, _Window]:
    """Return, by the number of each block along one axis, the windows of the coarser samples."""
    if plane is not None:
        inside = plane % block
        whole = np.zeros(1, np.intp)
        return {plane // block: (slice(0, 1), slice(inside, inside + 1), whole)}
    first, end = math.ceil(coarse.start * factor), min(length, math.ceil(coarse.stop * factor))
    found = {}
    for number in range(first // block, -(-end // block)):
        start, stop = max(first, number * block), min(end, (number + 1) * block)
        samples = np.floor(np.arange(start, stop) / factor).astype(np.intp)
        # The last sample of a level that was rounded down covers the rest.
        samples = np.minimum(samples, coarse.stop - 1)
        starts = np.flatnonzero(np.diff(samples, prepend=samples[0] - 1))
        target = slice(int(samples[0]) - coarse.start, int(samples[-1]) + 1 - coarse.start)
        inside_block = slice(start - number * block, stop - number * block)
        found[number] = target, inside_block, starts
    return found
