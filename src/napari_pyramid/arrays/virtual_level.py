"""Compute coarser levels of an array when they are displayed, and keep them in memory.

A virtual level is halved along the axes of a plane, perhaps also along the depth, from the level
before it. It has the same grid of chunks, so a chunk of any level is computed from one chunk of the
array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.image import ArrayLike

__all__ = [
    "SMALL",
    "RechunkedArray",
    "VirtualLevel",
    "stored_levels",
    "unwrapped_array",
    "with_virtual_levels",
]

Array = npt.NDArray[Any]
SMALL = 512
"""Longest side of a level that needs no coarser one."""
SMALL_VOLUME = 256**3
"""Samples of a volume that needs no coarser one."""
BLOCK = 1024
"""Side of the chunks of an array that has none, or none that can be halved."""

_SUMS: Mapping[str, np.dtype[Any]] = {
    **dict.fromkeys(("uint8", "uint16"), np.dtype(np.uint32)),
    **dict.fromkeys(("int8", "int16"), np.dtype(np.int32)),
    **dict.fromkeys(("uint32", "int32"), np.dtype(np.int64)),
}
"""Type that the sum of a window is exact in; float64 for other types."""


class VirtualLevel:
    """An array halved along some axes: the mean of each window, or its first sample.

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
        values, axes = np.asarray(self._finer[tuple(wide)]), range(self.ndim)
        if self._nearest:
            return values[tuple(slice(None, None, 2 if a in self._axes else 1) for a in axes)]
        return _means(values, self._axes)


class RechunkedArray:
    """An array read as if it were stored in chunks.

    Attributes
    ----------
    array : ArrayLike
        The array as it is.
    """

    def __init__(self, array: ArrayLike, chunks: Sequence[int]) -> None:
        self.array = array
        self.shape = tuple(array.shape)
        self.chunks = tuple(chunks)
        self.dtype, self.ndim = np.dtype(array.dtype), len(self.shape)

    def __getitem__(self, key: Any, /) -> Array:
        return np.asarray(self.array[key])


def with_virtual_levels(
    array: Any,
    plane: Sequence[int],
    *,
    depth: int | None = None,
    nearest: bool = False,
    at_least: int = 0,
) -> list[LazyArray]:
    """Return `array` as level 0, and virtual levels until a plane is at most `SMALL` wide and high.

    Parameters
    ----------
    array
        A LazyArray, or anything with ``shape``, ``dtype`` and basic indexing.
    plane
        The two axes that are halved for each level.
    depth
        Axis that is halved as well where it is at least half as long as the plane, as far as its
        chunks can be halved; then levels follow until one has at most `SMALL_VOLUME` samples.
    at_least
        Number of virtual levels to return, even if the array is small.
    """
    steps = _steps(array, plane, depth)
    steps += [tuple(plane)] * (at_least - len(steps))
    finer = _chunked(array, plane, 2 ** len(steps))
    levels = [array if isinstance(array, LazyArray) and array.is_chunked else finer]
    for axes in steps:
        finer = LazyArray(VirtualLevel(finer, axes, nearest=nearest))
        levels.append(finer)
    return levels


def _steps(array: Any, plane: Sequence[int], depth: int | None) -> list[tuple[int, ...]]:
    """Return the axes to halve for each virtual level."""
    lengths = list(array.shape)
    thick = array.chunks[depth] if depth is not None and isinstance(array, LazyArray) else 1
    steps: list[tuple[int, ...]] = []
    while True:
        longest = max(lengths[axis] for axis in plane)
        deep = depth is not None and thick % 2 == 0 and 2 * lengths[depth] >= longest
        volume = math.prod(lengths[axis] for axis in plane) * (
            lengths[depth] if depth is not None else 1
        )
        if longest <= SMALL and not (deep and volume > SMALL_VOLUME):
            return steps
        axes = (*plane, depth) if depth is not None and deep else tuple(plane)
        for axis in axes:
            lengths[axis] = -(-lengths[axis] // 2)
        thick = thick // 2 if deep else thick
        steps.append(axes)


def stored_levels(levels: Sequence[Any]) -> list[Any]:
    """Return `levels` without the virtual ones, of which nothing is stored."""
    return [v for v in levels if not (isinstance(v, LazyArray) and _is_virtual(v.source))]


def unwrapped_array(source: Any) -> Any:
    """Return the array in a `RechunkedArray`, and any other array as it is."""
    return unwrapped_array(source.array) if isinstance(source, RechunkedArray) else source


def _is_virtual(source: Any) -> bool:
    return isinstance(source, VirtualLevel)


def _chunked(array: Any, axes: Sequence[int], multiple: int) -> LazyArray:
    """Return `array` with chunks whose sides along `axes` are multiples of `multiple`."""
    lazy = array if isinstance(array, LazyArray) and array.is_chunked else None
    if lazy is not None and all(lazy.chunks[a] % multiple == 0 for a in axes):
        return lazy
    chunks = list(lazy.chunks) if lazy is not None else [1] * len(array.shape)
    is_flat = all(n == 1 for a, n in enumerate(chunks) if a not in axes)
    for axis in axes:  # chunks of many planes are large enough as they are
        side = BLOCK if is_flat else chunks[axis]
        chunks[axis] = -(-side // multiple) * multiple
    return LazyArray(RechunkedArray(array, chunks))


def _means(values: Array, axes: Sequence[int]) -> Array:
    """Return the means of pairs of samples along all `axes`; integers are rounded half to even."""
    wide = _SUMS.get(values.dtype.newbyteorder("=").name, np.dtype(np.float64))
    total = values
    for axis in axes:
        before = (slice(None),) * axis
        first, second = total[(*before, slice(0, None, 2))], total[(*before, slice(1, None, 2))]
        sums = first.astype(wide)
        sums[(*before, slice(0, second.shape[axis]))] += second
        if second.shape[axis] < first.shape[axis]:  # the last window has one sample
            sums[(*before, slice(-1, None))] *= 2
        total = sums
    n = len(axes)
    if wide.kind == "f":
        means = total / 2**n
        means = np.rint(means) if values.dtype.kind in "iu" else means
        return np.asarray(means, values.dtype)
    total += ((total >> n) & 1) + (2 ** (n - 1) - 1)
    total >>= n
    found: Array = total.astype(values.dtype)
    return found
