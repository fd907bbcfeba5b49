"""Plan how levels are compared with the levels that they were computed from."""

from __future__ import annotations

import math

from napari_pyramid.downsample import Reduction
from napari_pyramid.plan.level import Level

__all__ = ["compared_block", "comparer_bytes"]

COMPARED_SAMPLES = 2**20
"""Samples of the finer level per compared region, which then stays in the processor's cache."""


def compared_block(fine: Level, coarse: Level) -> tuple[int, ...]:
    """Return the region of `coarse` that is compared with `fine` at once, in samples.

    It covers about one chunk of `fine`, and more if the chunk is small.
    """
    block = [
        min(-(-c // f), n)
        for c, f, n in zip(fine.chunks, coarse.factors, coarse.shape, strict=True)
    ]
    for axis in reversed(range(len(block))):
        while (
            block[axis] < coarse.shape[axis]
            and 2 * math.prod(block) * math.prod(coarse.factors) <= COMPARED_SAMPLES
        ):
            block[axis] = min(2 * block[axis], coarse.shape[axis])
    return tuple(block)


def comparer_bytes(fine: Level, coarse: Level, reduction: Reduction) -> int:
    """Return the bytes that one worker holds while it compares `coarse` with `fine`."""
    size = coarse.dtype.itemsize
    block = compared_block(fine, coarse)
    under = tuple(min(b * f, n) for b, f, n in zip(block, coarse.factors, fine.shape, strict=True))
    decoded = max(math.prod(fine.chunks) * fine.dtype.itemsize, math.prod(coarse.chunks) * size)
    results = math.prod(block) * (2 * size + 5)  # expected, found, and five Boolean arrays
    return reduction.block_bytes(under, coarse.factors, fine.dtype) + results + 2 * decoded
