"""Choose the passes of a build: which levels to fuse, the size of tiles and parts, the workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from napari_pyramid.downsample import Reduction
from napari_pyramid.errors import SpecError
from napari_pyramid.plan.chunks import regular_chunks
from napari_pyramid.plan.level import Level, format_bytes
from napari_pyramid.plan.memory import OVERHEAD, peak_of, worker_bytes
from napari_pyramid.plan.passes import Pass, aligned_part, aligned_tile, factors_between
from napari_pyramid.plan.workers import Limits

__all__ = [
    "PassPlan",
    "Plannable",
    "SourceChunks",
    "peak_of",
    "plan_passes",
    "planned_passes",
]

TILE_BYTES = 32 * 2**20
"""Size of tiles up to which levels are fused.

Deeper fusing pays until little is left for later passes; larger tiles balance badly.
"""
PART_BYTES = 2**20
"""Size of a part that stays in the processor's cache between decoding and reducing."""
TILES_PER_WORKER = 4


class Plannable(Protocol):
    """The members of a `PyramidSpec` on which its passes depend."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, largest first."""

    @property
    def chains(self) -> tuple[tuple[Level, ...], ...]:
        """Chains of levels, each level computed from the one before."""

    def reduction_for(self, level: Level, /) -> Reduction:
        """Return the method that computes a level."""


@dataclass(frozen=True, slots=True)
class PassPlan:
    """The members of a `Pass` that decide which tile has which number, without workers."""

    first: int
    last: int
    source: int | None
    tile: tuple[int, ...]
    part: tuple[int, ...]
    residual: bool
    """Whether the pass writes the residual of level `first`, not the level."""

    @classmethod
    def of(cls, p: Pass) -> PassPlan:
        """Return the plan of a pass."""
        of = p.levels[p.last].residual_of
        first, last = (p.first, p.last) if of is None else (of, of)
        return cls(first, last, p.source, p.tile, p.part, of is not None)


@dataclass(frozen=True, slots=True)
class SourceChunks:
    """Geometry of one given source array."""

    block: tuple[int, ...] | None
    """Shape of the chunks, which are best read whole and once; None if any region costs the same.

    In an array with shards: of the chunks inside the shards.
    """
    is_level_0: bool = False
    """Whether the array already is level 0 of the pyramid, in place."""

    @classmethod
    def like(cls, level: Level) -> SourceChunks:
        """Return the geometry of an array that is chunked like a level."""
        return cls(level.chunks)

    @classmethod
    def of(cls, array: Any, *, is_level_0: bool = False) -> SourceChunks:
        """Return the geometry of an array-like."""
        return cls(regular_chunks(array), is_level_0)


def plan_passes(
    spec: Plannable,
    sources: Sequence[SourceChunks],
    *,
    max_workers: int | None = None,
    memory_limit: int | None = None,
    processes: int = 1,
) -> tuple[Pass, ...]:
    """Return the passes that fill all levels.

    One source is reduced. Several are copied, and the last one is reduced to the levels after it.

    Parameters
    ----------
    sources
        One source, or one for each level of an existing pyramid.
    max_workers
        Largest number of threads; the number of processors if None.
    memory_limit
        Bytes; see `memory.default_limit`.
    processes
        Number of processes with so many threads and bytes each.

    Raises
    ------
    SpecError
        If a chunk or shard does not fit the limit.
    """
    limits = Limits.of(max_workers, memory_limit).beside(processes)
    room = _Room.of(spec, spec.levels, limits)
    passes: list[Pass] = []
    first = 1 if len(sources) == 1 and sources[0].is_level_0 else 0
    while first < len(spec.levels):
        if 1 < len(sources) > first:
            p = room.choose(first, first, first, sources[first].block)
        else:
            block = sources[0].block if not passes else spec.levels[first - 1].chunks
            p = room.deepest(first, None if passes else 0, block)
        passes.append(p)
        first = p.last + 1
        for chain in spec.chains[max(p.first, 1) : p.last + 1]:  # while caches hold their levels
            beside = _Room.of(spec, chain, limits)
            end = len(chain) - 1
            passes.append(beside.choose(end, end, None, chain[-2].chunks))
    return tuple(passes)


def planned_passes(
    spec: Plannable,
    plan: Sequence[PassPlan],
    sources: Sequence[SourceChunks],
    *,
    max_workers: int | None = None,
    memory_limit: int | None = None,
) -> tuple[Pass, ...]:
    """Return the passes of an earlier plan, with as many workers as now fit.

    Unfinished work keeps its tiles.
    """
    limits = Limits.of(max_workers, memory_limit)
    passes = []
    for q in plan:
        levels = spec.chains[q.first if q.residual else 0]
        first, last = (q.first + q.residual, q.last + q.residual)
        p = Pass(levels, first, last, q.source, q.tile, q.part)
        block = sources[q.source].block if q.source is not None else levels[p.reads].chunks
        passes.append(_Room.of(spec, levels, limits).staffed(p, block))
    return tuple(passes)


@dataclass(frozen=True, slots=True)
class _Room:
    """Limits and geometry that a pass must fit."""

    levels: tuple[Level, ...]
    reduction: Reduction
    workers: int
    limit: int
    processes: int

    @classmethod
    def of(cls, spec: Plannable, levels: tuple[Level, ...], limits: Limits) -> _Room:
        reduction = spec.reduction_for(levels[-1])
        return cls(levels, reduction, limits.workers, limits.memory, limits.processes)

    @property
    def itemsize(self) -> int:
        return self.levels[0].dtype.itemsize

    def deepest(self, first: int, source: int | None, block: tuple[int, ...] | None) -> Pass:
        """Return the pass from `first` that fuses the most levels, with small and many tiles."""
        levels = self.levels
        shallowest = first if source is None or first == 1 else 0
        # A halo reads samples of neighbouring tiles, which must be stored before: no fusing.
        if self.reduction.has_halo:
            return self.choose(first, first, source, block)
        shallow = self.choose(first, shallowest, source, block)
        for last in range(len(levels) - 1, shallowest, -1):
            try:
                p = self.choose(first, last, source, block)
            except SpecError:
                continue
            read = math.prod(
                t * f for t, f in zip(p.tile, factors_between(levels, p.reads, last), strict=True)
            )
            workers = self.workers * self.processes
            small = read * self.itemsize <= TILE_BYTES and p.n_tiles >= TILES_PER_WORKER * workers
            costs_nothing = p.n_tiles == shallow.n_tiles
            if small or costs_nothing or (last == max(shallowest + 1, first) and first == 0):
                return p
        return shallow

    def choose(
        self, first: int, last: int, source: int | None, block: tuple[int, ...] | None
    ) -> Pass:
        """Return the pass `first` to `last` with as many workers as fit.

        Source blocks are read once if that fits as well.
        """
        levels = self.levels
        reads = source if source is not None else first - 1
        for grid in (block, None):
            tile = aligned_tile(levels, first, last)
            part = aligned_part(levels, first, reads, tile, last, None)
            p = Pass(levels, first, last, source, tile, part)
            if grid is not None:
                p = self._read_once(p, grid)
            p = self.staffed(p, block)
            if self._bytes(p, block) * p.workers + OVERHEAD <= self.limit:
                return self._grown(p, block)
        needed = self._bytes(p, block) + OVERHEAD
        what = "shards" if levels[last].shards else "chunks"
        raise SpecError(
            f"level {levels[last].path} with {what} {levels[last].write_shape} needs "
            f"{format_bytes(needed)} of memory, but the limit is {format_bytes(self.limit)}: "
            f"choose smaller {what} or a higher memory limit"
        )

    def _bytes(self, p: Pass, block: tuple[int, ...] | None) -> int:
        return worker_bytes(p, self.reduction, math.prod(block) * self.itemsize if block else 0)

    def _read_once(self, p: Pass, block: tuple[int, ...]) -> Pass:
        """Return the pass with tile and parts widened to whole source blocks.

        Axis by axis, as long as one worker fits the memory limit.
        """
        between = factors_between(p.levels, p.reads, p.last)
        for axis in sorted(range(len(block)), key=lambda i: p.tile[i] * between[i] / block[i]):
            tile = list(p.tile)
            tile[axis] = min(
                math.lcm(tile[axis] * between[axis], block[axis]) // between[axis],
                p.levels[p.last].shape[axis],
            )
            grid = [
                b if i == axis else n for i, (b, n) in enumerate(zip(block, p.part, strict=True))
            ]
            part = list(p.part)
            part[axis] = aligned_part(p.levels, p.first, p.reads, tile, p.last, grid)[axis]
            wider = replace(p, tile=tuple(tile), part=tuple(part))
            if self._bytes(wider, block) + OVERHEAD <= self.limit:
                p = wider
        return p

    def staffed(self, p: Pass, block: tuple[int, ...] | None) -> Pass:
        """Return the pass with as many workers as its tiles and the memory allow.

        The processors left over become threads of the workers.
        """
        for n in range(min(self.workers, p.n_tiles), 0, -1):
            p = replace(p, workers=n, codec_threads=max(1, self.workers // n))
            if self._bytes(p, block) * n + OVERHEAD <= self.limit:
                return p
        return replace(p, codec_threads=1)

    def _grown(self, p: Pass, block: tuple[int, ...] | None) -> Pass:
        """Return the pass with parts doubled from the last axis on while they stay small.

        Larger parts mean fewer calls for the same work.
        """
        extent = [
            min(t * f, n)
            for t, f, n in zip(
                p.tile,
                factors_between(p.levels, p.reads, p.last),
                p.levels[p.reads].shape,
                strict=True,
            )
        ]
        # With a halo each part has margins: fewer parts read fewer samples twice.
        if self.reduction.has_halo:
            whole = replace(p, part=tuple(extent))
            return whole if self._bytes(whole, block) * p.workers + OVERHEAD <= self.limit else p
        for axis in reversed(range(len(extent))):
            while p.part[axis] < extent[axis]:
                part = tuple(
                    min(2 * n, extent[axis]) if i == axis else n for i, n in enumerate(p.part)
                )
                wider = replace(p, part=part)
                fits = self._bytes(wider, block) * p.workers + OVERHEAD <= self.limit
                if not fits or math.prod(part) * self.itemsize > PART_BYTES:
                    return p
                p = wider
        return p
