"""Compute coarser levels of an array when they are displayed, and keep them in memory.

A virtual level is halved along two axes from the level before it and has the same grid of chunks,
so a chunk of any level is computed from one chunk of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.image import ArrayLike

__all__ = ["SMALL", "VirtualLevel", "with_virtual_levels"]

Array = npt.NDArray[Any]
SMALL = 512
"""Longest side of a level that needs no coarser one."""
BLOCK = 1024
"""Side of the chunks of an array that has none, or none that can be halved."""


class VirtualLevel:
    """An array halved along two axes: the mean of each window, or its first sample.

    The last window along an axis may be partial. Integer means round half to even.

    Parameters
    ----------
    finer
        The level before it, of which the chunks have even sides along `axes`.
    axes
        Axes that are halved.
    nearest
        Whether a sample is the first one of its window: labels have no mean.
    """

    def __init__(self, finer: LazyArray, axes: Sequence[int], *, nearest: bool = False) -> None:
        self._finer, self._axes, self._nearest = finer, tuple(axes), nearest
        halved = [2 if axis in self._axes else 1 for axis in range(finer.ndim)]
        self.shape = tuple(-(-n // f) for n, f in zip(finer.shape, halved, strict=True))
        self.chunks = tuple(c // f for c, f in zip(finer.chunks, halved, strict=True))
        self.dtype, self.ndim = finer.dtype, finer.ndim

    def __getitem__(self, key: Any, /) -> Array:
        """Return a region, given as one slice without step for each axis."""
        wide = [
            slice(2 * k.start, min(2 * k.stop, n)) if axis in self._axes else k
            for axis, (k, n) in enumerate(zip(key, self._finer.shape, strict=True))
        ]
        values = np.asarray(self._finer[tuple(wide)])
        for axis in self._axes:
            values = _halved(values, axis, nearest=self._nearest)
        if values.dtype != self.dtype:
            values = np.rint(values) if self.dtype.kind in "iu" else values
            values = values.astype(self.dtype)
        return values


class _Blocks:
    """An array read as if it were stored in chunks."""

    def __init__(self, array: ArrayLike, chunks: Sequence[int]) -> None:
        self._array = array
        self.shape = tuple(array.shape)
        self.chunks = tuple(chunks)
        self.dtype, self.ndim = np.dtype(array.dtype), len(self.shape)

    def __getitem__(self, key: Any, /) -> Array:
        return np.asarray(self._array[key])


def with_virtual_levels(
    array: Any, axes: Sequence[int], *, nearest: bool = False
) -> list[LazyArray]:
    """Return `array` as level 0, and virtual levels until both `axes` have at most `SMALL` samples.

    Parameters
    ----------
    array
        A LazyArray, or anything with ``shape``, ``dtype`` and basic indexing.
    """
    n_levels = 1
    while max(-(-array.shape[axis] // 2 ** (n_levels - 1)) for axis in axes) > SMALL:
        n_levels += 1
    levels = [_chunked(array, axes, 2 ** (n_levels - 1))]
    for _ in range(n_levels - 1):
        levels.append(LazyArray(VirtualLevel(levels[-1], axes, nearest=nearest)))
    return levels


def _chunked(array: Any, axes: Sequence[int], multiple: int) -> LazyArray:
    """Return `array` with chunks whose sides along `axes` are multiples of `multiple`."""
    lazy = array if isinstance(array, LazyArray) else None
    if lazy is not None and lazy.is_chunked and all(lazy.chunks[a] % multiple == 0 for a in axes):
        return lazy
    side = -(-BLOCK // multiple) * multiple
    return LazyArray(_Blocks(array, [side if a in axes else 1 for a in range(len(array.shape))]))


def _halved(values: Array, axis: int, *, nearest: bool) -> Array:
    """Return the mean (as float64) or the first sample of each pair along an axis."""
    first = values[(slice(None),) * axis + (slice(0, None, 2),)]
    if nearest:
        return first
    second = values[(slice(None),) * axis + (slice(1, None, 2),)].astype(np.float64)
    if second.shape[axis] < first.shape[axis]:  # the last window has one sample
        last = first[(slice(None),) * axis + (slice(-1, None),)]
        second = np.concatenate([second, last], axis)
    mean: Array = (first + second) / 2
    return mean
