"""Contrast limits from pixels: robust percentiles of a bounded sample. Pure, but for reading the sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.axes import Axis

__all__ = ["channel_windows", "window_of"]

LARGEST_SAMPLE = 2**22
"""Samples read of one channel at most: the middle of it, in whole planes as far as they fit."""
LARGEST_SORTED = 2**20
"""Samples that percentiles are taken of at most, evenly spaced: more need memory and change nothing one sees."""
PERCENTILES = (0.1, 99.9)

Window = tuple[float, float]


def channel_windows(array: Any, axes: Sequence[Axis]) -> tuple[list[Window], list[Window]]:
    """Contrast window, and lowest and highest pixel, of each channel of a (coarse) level; one of each without a channel axis.

    Where all integers are equal they say nothing, and the window is the range of their dtype.
    """
    at = next((i for i, a in enumerate(axes) if a.type == "channel"), None)
    windows, ranges = [], []
    for c in range(array.shape[at] if at is not None else 1):
        region = tuple(slice(c, c + 1) if i == at else s for i, s in enumerate(_middle(array.shape, at)))
        values = np.asarray(array[region])
        low, high = _range_of(values)
        says_nothing = low == high and values.dtype.kind in "iu"
        windows.append(_range_of_dtype(values.dtype) if says_nothing else window_of(values))
        ranges.append((low, high))
    return windows, ranges


def window_of(values: npt.NDArray[Any]) -> Window:
    """Contrast limits from a sample: the 0.1 and 99.9 percentile of its finite values, always low < high.

    Where nearly all pixels are equal the whole range is taken, so that few bright spots stay visible; where all are,
    the range begins there and is 1 wide.
    """
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if not finite.size:
        return 0.0, 1.0
    some = finite[:: -(-finite.size // LARGEST_SORTED)]
    low, high = (float(v) for v in np.percentile(some.astype(np.float64, copy=False), PERCENTILES))
    if low >= high:
        low, high = _range_of(finite)
    return (low, high) if low < high else (low, max(low + 1.0, float(np.nextafter(low, np.inf))))


def _range_of(values: npt.NDArray[Any]) -> Window:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _range_of_dtype(dtype: np.dtype[Any]) -> Window:
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def _middle(shape: Sequence[int], channel: int | None) -> list[slice]:
    """The middle of an array, narrowed from the first axis on until it is small enough."""
    region = [slice(0, n) for n in shape]
    for axis, n in enumerate(shape):
        size = math.prod(s.stop - s.start for i, s in enumerate(region) if i != channel)
        if size <= LARGEST_SAMPLE:
            break
        if axis != channel:
            keep = max(1, n * LARGEST_SAMPLE // size)
            region[axis] = slice((n - keep) // 2, (n - keep) // 2 + keep)
    return region
