"""Find the samples that a fill changes, reading only around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.edited import EditedArray

__all__ = ["QUICK_FILL", "Flooded", "flood", "if_in_memory", "same_label"]

_Array = npt.NDArray[Any]

QUICK_FILL = 2**16
"""Samples that a fill looks at first; the box grows where the fill reaches its sides."""

Flooded = tuple[_Array, list[int], _Array]
"""Mask of the samples to fill, the index of its first sample along the painted axes, and the
samples."""


def if_in_memory(part: EditedArray) -> _Array | None:
    """Return samples if they are in memory, else None; nothing is read."""
    values, known = part.in_memory()
    return values if known.all() else None


def flood(
    array: EditedArray,
    label: int,
    at: Sequence[int],
    axes: Sequence[int],
    most: int,
    read: Callable[[EditedArray], _Array | None] = np.asarray,
) -> Flooded | None:
    """Return the connected samples of one label around `at`.

    None if they leave `most` samples, or if `read` returns None for a box around them.
    """
    import skimage.segmentation as segmentation

    flooded: Any = segmentation.flood
    shape = [array.shape[a] for a in axes]
    side = max(2, int(QUICK_FILL ** (1 / len(axes))) // 2)
    box = [[max(0, at[a] - side), min(n, at[a] + side)] for a, n in zip(axes, shape, strict=True)]
    while True:
        key: list[Any] = list(at)
        for axis, (start, stop) in zip(axes, box, strict=True):
            key[axis] = slice(start, stop)
        samples = read(array[tuple(key)])
        if samples is None:
            return None
        seed = tuple(at[a] - start for a, (start, _) in zip(axes, box, strict=True))
        same = samples == label
        same[seed] = True  # it may have been painted on since
        mask = flooded(same, seed, connectivity=1)
        grown = False
        for i, (span, n) in enumerate(zip(box, shape, strict=True)):
            length = span[1] - span[0]
            if span[0] > 0 and mask.take(0, i).any():
                span[0], grown = max(0, span[0] - length), True
            if span[1] < n and mask.take(-1, i).any():
                span[1], grown = min(n, span[1] + length), True
        if not grown:
            return _cropped(mask, [start for start, _ in box], samples)
        if np.prod([float(stop - start) for start, stop in box]) > most:
            return None


def same_label(
    array: EditedArray, label: int, at: Sequence[int], axes: Sequence[int], most: int
) -> Flooded | None:
    """Return all samples of the label at `at` along `axes`; None if they are too many."""
    if np.prod([float(array.shape[a]) for a in axes]) > most:
        return None
    key: list[Any] = list(at)
    for axis in axes:
        key[axis] = slice(None)
    samples = np.asarray(array[tuple(key)])
    same = samples == label
    same[tuple(at[a] for a in axes)] = True
    return _cropped(same, [0] * len(axes), samples)


def _cropped(mask: _Array, start: Sequence[int], samples: _Array) -> Flooded:
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    inside = tuple(box)
    first = [s.start + int(o) for s, o in zip(box, start, strict=True)]
    return mask[inside].copy(), first, samples[inside].copy()
