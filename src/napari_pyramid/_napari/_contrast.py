"""Contrast limits of an image that brings none, from a bounded sample of its coarsest level."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_pyramid.contrast import window_of
from napari_pyramid.errors import SourceError
from napari_pyramid.lazy import LazyArray

__all__ = ["contrast_limits"]

_SAMPLES = 2**20
_CHUNKS = 16
_CHUNK_BYTES = 2**27
"""A chunk of more than this is not decoded for the sake of contrast."""


def contrast_limits(levels: Sequence[LazyArray]) -> tuple[float, float]:
    """Limits for all of an image, low < high and finite, whatever its pixels.

    uint8 shows its full range and bool 0 to 1. For other types the middle of the last level is read (the coarsest;
    an image with one level is read only there): at most 2**20 samples or one chunk, whichever is more.
    An image that cannot be read here gets the range of its dtype, and a warning.
    """
    coarsest = levels[-1]
    if coarsest.dtype == np.uint8 or coarsest.dtype == bool:
        return _range_of(coarsest.dtype)
    if math.prod(coarsest.chunks) * coarsest.dtype.itemsize > _CHUNK_BYTES:
        return _range_of(coarsest.dtype)
    try:
        sample = np.asarray(coarsest[_middle(coarsest.shape, coarsest.chunks)])
    except SourceError as error:
        warnings.warn(f"contrast limits are those of {coarsest.dtype}: {error}", stacklevel=2)
        return _range_of(coarsest.dtype)
    return window_of(sample)


def _range_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind in "iu":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return 0.0, 1.0


def _middle(shape: Sequence[int], chunks: Sequence[int]) -> tuple[slice, ...]:
    """A centred box of few samples in few chunks; leading axes shrink first, so that planes stay whole."""
    lengths = list(shape)
    for axis in range(len(lengths)):
        samples = math.prod(lengths) / _SAMPLES
        touched = math.prod(-(-n // c) for n, c in zip(lengths, chunks, strict=True)) / _CHUNKS
        lengths[axis] = max(1, int(lengths[axis] / max(samples, touched, 1)))
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, lengths, strict=True))
