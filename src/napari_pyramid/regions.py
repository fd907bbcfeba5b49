"""Regions: boxes of samples, as one slice per axis. Arithmetic only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

__all__ = ["Region", "blocks_in", "shape_of"]

Region = tuple[slice, ...]


def shape_of(region: Region) -> tuple[int, ...]:
    return tuple(s.stop - s.start for s in region)


def blocks_in(region: Region, block: Sequence[int]) -> Iterator[Region]:
    """The parts of a region in each block of a regular grid, in C order."""
    spans = [range(s.start // b, -(-s.stop // b)) for s, b in zip(region, block, strict=True)]
    for index in itertools.product(*spans):
        yield tuple(
            slice(max(s.start, i * b), min(s.stop, (i + 1) * b))
            for i, s, b in zip(index, region, block, strict=True)
        )
