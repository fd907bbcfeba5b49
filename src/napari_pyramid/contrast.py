"""Compute contrast limits: robust percentiles of a bounded sample of the pixels.

Knows arrays and axes; knows nothing of layouts, builds or viewers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.axes import Axis
from napari_pyramid.errors import SourceError

__all__ = ["Place", "channel_windows", "contrast_limits", "window_of"]

LARGEST_SAMPLE = 2**22
"""At most so many samples of a channel are read: its middle, in whole planes where they fit."""
LARGEST_SORTED = 2**20
"""Percentiles are taken of at most so many samples, evenly spaced.

More samples need more memory and make no visible difference.
"""
MOST_CHUNKS = 16
"""At most so many chunks are decoded in one look, since somebody waits for the image to open."""
MOST_LOOKS = 3
"""An image counts as blank if so many looks, each at other chunks, find equal samples only."""
MOST_CHUNK_BYTES = 2**27
"""Larger chunks are not decoded for the sake of contrast."""
PERCENTILES = (0.1, 99.9)
_AT_ONCE = 8
"""Chunks that are read at the same time, since a server takes long to answer."""

Window = tuple[float, float]
Place = tuple[float, float]
"""Row and column, as fractions of the plane."""


def channel_windows(array: Any, axes: Sequence[Axis]) -> tuple[list[Window], list[Window]]:
    """Return the contrast windows, and the lowest and highest pixels, of the channels of a level.

    Both lists have one entry per channel, or one entry for a level without a channel axis. Where
    all pixels are one integer, the window is the range of the dtype. Meant for a coarse level, of
    which it reads the middle.
    """
    at = next((i for i, a in enumerate(axes) if a.type == "channel"), None)
    windows, ranges = [], []
    for c in range(array.shape[at] if at is not None else 1):
        region = tuple(
            slice(c, c + 1) if i == at else s for i, s in enumerate(_middle(array.shape, whole=at))
        )
        values = np.asarray(array[region])
        low, high = _range_of(values)
        is_blank = low == high and values.dtype.kind in "iu"
        windows.append(_range_of_dtype(values.dtype) if is_blank else window_of(values))
        ranges.append((low, high))
    return windows, ranges


def contrast_limits(coarsest: LazyArray, places: Sequence[Place] = ()) -> Window:
    """Return contrast limits for an image whose metadata has none: always finite, low < high.

    uint8 gets its full range and bool 0 to 1. For other types few chunks are read, spread over the
    coarsest level. Where they are blank (a stack begins and ends in the dark, a plate has empty
    wells), other chunks are read. Integers that are all equal get the range of their dtype. So do
    pixels that cannot be read, with a warning.

    Parameters
    ----------
    coarsest
        The coarsest level.
    places
        Positions in its last two axes that have pixels, if they are known: a plate of few wells is
        mostly empty.
    """
    dtype = coarsest.dtype
    if (
        dtype in (np.uint8, np.bool_)
        or math.prod(coarsest.chunks) * dtype.itemsize > MOST_CHUNK_BYTES
    ):
        return _range_of_dtype(dtype)
    try:
        return _window_of_some(coarsest, places)
    except SourceError as error:
        warnings.warn(f"contrast limits are the limits of {dtype}: {error}", stacklevel=2)
        return _range_of_dtype(dtype)


def _window_of_some(array: LazyArray, places: Sequence[Place]) -> Window:
    """Return the window of the first look that finds more than one value.

    Raises
    ------
    SourceError
        If a chunk cannot be read.
    """
    at_once = min(MOST_CHUNKS, max(1, LARGEST_SAMPLE // math.prod(array.chunks)))
    boxes = _boxes(array, at_once, places)
    values = np.zeros(0, array.dtype)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, min(len(boxes), MOST_LOOKS * at_once), at_once):
            parts = pool.map(
                lambda box: np.asarray(array[box]).ravel(), boxes[start : start + at_once]
            )
            values = np.concatenate(list(parts))
            finite = _finite(values)
            if finite.size and finite.min() < finite.max():
                return window_of(values)
    return _range_of_dtype(array.dtype) if array.dtype.kind in "iu" else window_of(values)


def _boxes(array: LazyArray, at_once: int, places: Sequence[Place]) -> list[tuple[slice, ...]]:
    """Return the regions of the chunks to look at, in order.

    These are all chunks if one look can read them, else some that are spread over the array.
    """
    grid = [-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]
    found = (
        product(*map(range, grid))
        if math.prod(grid) <= at_once
        else dict.fromkeys(_spread(array, grid, places))
    )
    return [
        tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, array.chunks, strict=True))
        for index in found
    ]


def _spread(
    array: LazyArray, grid: Sequence[int], places: Sequence[Place]
) -> Iterator[tuple[int, ...]]:
    """Yield indices of chunks that fill the grid evenly, the middle one first.

    The indices follow the R sequence of M. Roberts. A regular grid would be as even, but could
    coincide with the blank wells of a plate. Some chunks come more than once.
    """
    ratio = 2.0
    for _ in range(50):  # converges to the root of x ** (ndim + 1) = x + 1
        ratio = (1 + ratio) ** (1 / (len(grid) + 1))
    for k in range(2 * MOST_LOOKS * MOST_CHUNKS):
        at = [(0.5 + k * ratio**-axis) % 1 for axis in range(1, len(grid) + 1)]
        if places:
            at[-2:] = places[int(at[-1] * len(places))]
        yield tuple(
            min(int(f * n) // c, m - 1)
            for f, n, c, m in zip(at, array.shape, array.chunks, grid, strict=True)
        )


def window_of(values: npt.NDArray[Any]) -> Window:
    """Return the 0.1 and 99.9 percentiles of the finite values of a sample; always low < high.

    Where these are equal, the lowest and highest values are taken, so that few bright spots stay
    visible. Where all values are equal, the range begins at that value and is 1 wide.
    """
    finite = _finite(values)
    if not finite.size:
        return 0.0, 1.0
    some = finite[:: -(-finite.size // LARGEST_SORTED)]
    low, high = (float(v) for v in np.percentile(some.astype(np.float64, copy=False), PERCENTILES))
    if low >= high:
        low, high = _range_of(finite)
    return (low, high) if low < high else (low, max(low + 1.0, float(np.nextafter(low, np.inf))))


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()


def _range_of(values: npt.NDArray[Any]) -> Window:
    finite = _finite(values)
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _range_of_dtype(dtype: np.dtype[Any]) -> Window:
    return (
        (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
        if dtype.kind in "iu"
        else (0.0, 1.0)
    )


def _middle(shape: Sequence[int], *, whole: int | None = None) -> tuple[slice, ...]:
    """Return a centred region of at most `LARGEST_SAMPLE` samples.

    Leading axes shrink first, so that planes stay whole. The axis `whole` is neither counted nor
    shrunk.
    """
    lengths = list(shape)
    for axis in (i for i in range(len(lengths)) if i != whole):
        over = math.prod(n for i, n in enumerate(lengths) if i != whole) / LARGEST_SAMPLE
        lengths[axis] = max(1, int(lengths[axis] / max(over, 1)))
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, lengths, strict=True))
