"""Contrast limits from pixels: robust percentiles of a bounded sample. Pure, but for reading the sample.

Knows arrays and axes; knows nothing of layouts, builds or viewers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.axes import Axis
from napari_pyramid.errors import SourceError
from napari_pyramid.lazy import LazyArray

__all__ = ["channel_windows", "contrast_limits", "window_of"]

LARGEST_SAMPLE = 2**22
"""Samples read of one channel at most: the middle of it, in whole planes as far as they fit."""
LARGEST_SORTED = 2**20
"""Samples that percentiles are taken of at most, evenly spaced: more need memory and change nothing one sees."""
MOST_CHUNKS = 16
"""Chunks decoded at most where somebody waits for the image to open."""
MOST_CHUNK_BYTES = 2**27
"""A chunk of more than this is not decoded for the sake of contrast."""
PERCENTILES = (0.1, 99.9)

Window = tuple[float, float]


def channel_windows(array: Any, axes: Sequence[Axis]) -> tuple[list[Window], list[Window]]:
    """Contrast window, and lowest and highest pixel, of each channel of a (coarse) level; one of each without a channel axis.

    Where all integers are equal they say nothing, and the window is the range of their dtype.
    """
    at = next((i for i, a in enumerate(axes) if a.type == "channel"), None)
    windows, ranges = [], []
    for c in range(array.shape[at] if at is not None else 1):
        region = tuple(slice(c, c + 1) if i == at else s for i, s in enumerate(_middle(array.shape, whole=at)))
        values = np.asarray(array[region])
        low, high = _range_of(values)
        says_nothing = low == high and values.dtype.kind in "iu"
        windows.append(_range_of_dtype(values.dtype) if says_nothing else window_of(values))
        ranges.append((low, high))
    return windows, ranges


def contrast_limits(coarsest: LazyArray) -> Window:
    """Limits to show an image with that brings none, low < high and finite, whatever its pixels.

    uint8 shows its full range and bool 0 to 1. For other types the middle of the coarsest level is read: few samples of
    few chunks, or one chunk if that is more. Where that cannot be read, the limits are the range of the dtype, with a warning.
    """
    dtype = coarsest.dtype
    if dtype in (np.uint8, np.bool_) or math.prod(coarsest.chunks) * dtype.itemsize > MOST_CHUNK_BYTES:
        return _range_of_dtype(dtype)
    try:
        return window_of(np.asarray(coarsest[_middle(coarsest.shape, coarsest.chunks)]))
    except SourceError as error:
        warnings.warn(f"contrast limits are those of {dtype}: {error}", stacklevel=2)
        return _range_of_dtype(dtype)


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
    return (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "iu" else (0.0, 1.0)


def _middle(shape: Sequence[int], chunks: Sequence[int] | None = None, *, whole: int | None = None) -> tuple[slice, ...]:
    """A centred box of few samples (and, if `chunks` are given, in few of them).

    Leading axes shrink first, so that planes stay whole; the axis `whole` is not counted and not shrunk.
    """
    lengths = list(shape)
    for axis in (i for i in range(len(lengths)) if i != whole):
        over = math.prod(n for i, n in enumerate(lengths) if i != whole) / LARGEST_SAMPLE
        if chunks is not None:
            over = max(over, math.prod(-(-n // c) for n, c in zip(lengths, chunks, strict=True)) / MOST_CHUNKS)
        lengths[axis] = max(1, int(lengths[axis] / max(over, 1)))
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, lengths, strict=True))
