"""Divide the work of a build into passes, tiles and parts.

A *pass* reads one level and writes one or more coarser ones. It is cut into *tiles*; a tile is the
region under some whole write blocks (chunks or shards) of the coarsest level of the pass, and
covers whole write blocks of every level that the pass writes. Two tiles never share a chunk or
shard. A tile is read in *parts*, which hold whole windows and, when level 0 is written, whole
blocks.

Laws: every write block belongs to exactly one tile of one pass, every sample of the level read to
exactly one part. A tile is computed from its number and never listed, so that a million tiles cost
no memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from napari_pyramid.downsample import downsampled_shape
from napari_pyramid.plan.level import Level
from napari_pyramid.regions import Region

__all__ = ["Pass", "Tile", "aligned_part", "aligned_tile", "factors_between"]


@dataclass(frozen=True, slots=True)
class Tile:
    """One unit of work; `number` counts the tiles of its pass."""

    number: int
    regions: tuple[Region, ...]
    """One region per level that the pass writes, `first` to `last`."""
    read: Region
    """Region of the level that is read."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the data, which fills the levels `first` to `last`; sizes are in samples."""

    levels: tuple[Level, ...]
    """Chain of levels, each computed from the one before; a residual may be the last."""
    first: int
    last: int
    source: int | None
    """Index of the given source array, None to read the stored level before `first`."""
    tile: tuple[int, ...]
    """Shape of a tile in samples of level `last`: multiples of its write blocks, or whole axes."""
    part: tuple[int, ...]
    """Shape of a part in samples of the level that is read."""
    workers: int = 1
    """Number of tiles that are filled at once."""
    codec_threads: int = 1
    """Threads per worker: they read parts in parallel, or decode the chunks of one part."""

    @property
    def reads(self) -> int:
        """The level whose geometry is read: `first` itself for a copy, else the one before."""
        return self.source if self.source is not None else self.first - 1

    @property
    def coarsest(self) -> int:
        """The coarsest level that is written; for a residual, the level that it belongs to."""
        of = self.levels[self.last].residual_of
        return self.last if of is None else of

    @property
    def copies(self) -> bool:
        """Whether the level that is read is also written."""
        return self.reads == self.first

    @property
    def readers(self) -> int:
        """Threads that share the parts of one tile; 1 if there are fewer parts than threads."""
        return self.codec_threads if self._n_parts >= self.codec_threads else 1

    @property
    def _n_parts(self) -> int:
        """Parts of the largest tile."""
        between = factors_between(self.levels, self.reads, self.last)
        extent = [
            min(t * f, n)
            for t, f, n in zip(self.tile, between, self.levels[self.reads].shape, strict=True)
        ]
        return math.prod(downsampled_shape(extent, self.part))

    @property
    def grid(self) -> tuple[int, ...]:
        """Tiles along each axis."""
        return downsampled_shape(self.levels[self.last].shape, self.tile)

    @property
    def n_tiles(self) -> int:
        """Number of tiles of the pass."""
        return math.prod(self.grid)

    def __getitem__(self, number: int) -> Tile:
        index, rest = [], number
        for n in reversed(self.grid):
            rest, i = divmod(rest, n)
            index.append(i)
        start = [i * t for i, t in zip(reversed(index), self.tile, strict=True)]
        at = {k: self._region(k, start) for k in range(min(self.reads, self.first), self.last + 1)}
        return Tile(number, tuple(at[k] for k in range(self.first, self.last + 1)), at[self.reads])

    def _region(self, k: int, start: Sequence[int]) -> Region:
        """Return the region of level `k` under the tile of level `last` that begins at `start`."""
        f = factors_between(self.levels, k, self.last)
        shape = self.levels[k].shape
        return tuple(
            slice(s * g, min((s + t) * g, n))
            for s, t, g, n in zip(start, self.tile, f, shape, strict=True)
        )

    def parts(self, tile: Tile) -> Iterator[Region]:
        """Yield the parts of a tile's `read` region, in C order."""
        steps = [range(s.start, s.stop, p) for s, p in zip(tile.read, self.part, strict=True)]
        for start in itertools.product(*steps):
            yield tuple(
                slice(a, min(a + p, s.stop))
                for a, p, s in zip(start, self.part, tile.read, strict=True)
            )

    def touching(self, region: Region) -> Iterator[int]:
        """Yield the numbers of the tiles whose `read` region meets `region` of the level read."""
        f = factors_between(self.levels, self.reads, self.last)
        spans = [
            range(r.start // (t * g), -(-r.stop // (t * g)))
            for r, t, g in zip(region, self.tile, f, strict=True)
        ]
        for index in itertools.product(*spans):
            number = 0
            for i, n in zip(index, self.grid, strict=True):
                number = number * n + i
            yield number


def factors_between(levels: Sequence[Level], fine: int, coarse: int) -> tuple[int, ...]:
    """Return the samples of level `fine` per sample of level `coarse`, along each axis."""
    out = (1,) * len(levels[0].shape)
    for k in range(fine + 1, coarse + 1):
        out = tuple(a * b for a, b in zip(out, levels[k].factors, strict=True))
    return out


def aligned_tile(levels: Sequence[Level], first: int, last: int) -> tuple[int, ...]:
    """Return the smallest tile of whole write blocks of each of the levels `first` to `last`.

    Its shape is in samples of level `last`.
    """
    tile = []
    for axis, n in enumerate(levels[last].shape):
        step = levels[last].write_shape[axis]
        for k in range(first, last):
            f = factors_between(levels, k, last)[axis]
            block = levels[k].write_shape[axis]
            # A block that spans the axis is whole in any tile that spans the axis.
            if block < levels[k].shape[axis]:
                step = math.lcm(step, block // math.gcd(block, f))
            elif f * step < levels[k].shape[axis]:
                step = n
        tile.append(min(step, n))
    return tuple(tile)


def aligned_part(
    levels: Sequence[Level],
    first: int,
    reads: int,
    tile: Sequence[int],
    last: int,
    grid: Sequence[int] | None,
) -> tuple[int, ...]:
    """Return the shape of the smallest part of a tile.

    It holds whole windows, whole blocks of `grid`, and whole write blocks if `reads` is written.
    """
    part = []
    between = factors_between(levels, reads, last)
    for axis, n in enumerate(levels[reads].shape):
        extent = min(tile[axis] * between[axis], n)
        step = levels[reads + 1].factors[axis] if last > reads else 1
        if first == reads:
            step = math.lcm(step, levels[reads].write_shape[axis])
        if grid is not None:
            step = math.lcm(step, grid[axis])
        part.append(min(step, extent))
    return tuple(part)
