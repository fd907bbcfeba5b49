"""Compute with regions: boxes of samples, as one slice per axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

__all__ = ["Region", "blocks_in", "relative_to", "shape_of", "with_halo"]

Region = tuple[slice, ...]
"""One slice per axis, with start and stop and without a step."""


def shape_of(region: Region) -> tuple[int, ...]:
    """Return the samples along each axis."""
    return tuple(s.stop - s.start for s in region)


def relative_to(part: Region, whole: Region) -> Region:
    """Return a part of a region, relative to the start of the region."""
    return tuple(
        slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True)
    )


def blocks_in(region: Region, block: Sequence[int]) -> Iterator[Region]:
    """Yield the parts of a region in each block of a regular grid, in C order."""
    spans = [range(s.start // b, -(-s.stop // b)) for s, b in zip(region, block, strict=True)]
    for index in itertools.product(*spans):
        yield tuple(
            slice(max(s.start, i * b), min(s.stop, (i + 1) * b))
            for i, s, b in zip(index, region, block, strict=True)
        )


def with_halo(
    region: Region, halo: Sequence[int], shape: Sequence[int]
) -> tuple[Region, tuple[tuple[int, int], ...]]:
    """Return a region widened by `halo` samples on each side, but not beyond an array of `shape`.

    Returns
    -------
    region
        The wider region.
    margins
        How many samples it has before and after the given region, along each axis.
    """
    wide = tuple(
        slice(max(0, s.start - h), min(n, s.stop + h))
        for s, h, n in zip(region, halo, shape, strict=True)
    )
    margins = tuple((s.start - w.start, w.stop - s.stop) for s, w in zip(region, wide, strict=True))
    return wide, margins
