"""Rewrite the chunks of a pyramid that edits have changed, level after level, beside the store.

A chunk of a coarser level is computed again only if a chunk above it has really changed, so the
work depends on the number of edited chunks, not on the size of the pyramid. Nothing in the store
changes here; the new chunks are moved into place when all of them are complete: see
`storage.moves`.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.edits import Edits
from napari_pyramid.build.edited_level import ChunkRewrite, EditedLevel, Index, RewrittenLevel
from napari_pyramid.build.spread import spread
from napari_pyramid.downsample import Reduction
from napari_pyramid.errors import STORAGE_ERRORS, DestinationError, SourceError, explained
from napari_pyramid.regions import Region, relative_to, shape_of, with_halo
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.moves import ArrayMoves

__all__ = ["Rewrite"]

_Array = npt.NDArray[Any]

COPIES = 4
"""Copies of a chunk or shard that a worker holds: the old samples, the new ones, and encoded."""


class Rewrite:
    """The rewriting of the chunks that edits have changed, and of all that depends on them.

    Parameters
    ----------
    levels
        The levels, largest first.
    edits
        Edits of level 0; the held ones are written.
    workspace
        Where the new chunks are written, in a folder of their own: a process that has lost its lock
        without noticing must not overwrite the chunks of another one.
    workers
        Number of threads.
    memory
        Bytes that the threads may use together; fewer threads run if the chunks are large.
    """

    def __init__(
        self,
        levels: Sequence[EditedLevel],
        edits: Edits,
        reduction: Reduction,
        workspace: Place,
        *,
        workers: int,
        memory: int,
    ) -> None:
        self._edits, self._reduction, self._workspace = edits, reduction, workspace
        self._stop = threading.Event()
        fresh = workspace / "new" / uuid.uuid4().hex
        self._levels = [
            RewrittenLevel(level, fresh / str(k), self._check) for k, level in enumerate(levels)
        ]
        self._workers, self._memory = workers, memory

    @property
    def changed(self) -> list[tuple[Place, list[Region]]]:
        """Place of each level, and boxes of the samples that have changed in it."""
        return [(level.place, level.changed) for level in self._levels]

    def moves(self) -> list[ArrayMoves]:
        """Return the new chunks, with the chunks that they replace."""
        found = [level.moves(self._workspace) for level in self._levels if level.rewritten]
        return found[::-1]  # level 0 last

    def n_tasks(self) -> list[int]:
        """Return the largest number of chunks or shards to rewrite at each level."""
        regions: Iterable[Region] = self._edits.held_boxes()
        counts = []
        for k, level in enumerate(self._levels):
            if k:
                regions = [r for region in regions if (r := self._below(k, region))]
            tasks = level.tasks(regions)
            regions = [task.block for task in tasks]
            counts.append(len(tasks))
        return counts

    def steps(self) -> Generator[tuple[int, int], None, None]:
        """Write the new chunks; yield a level and how many of its chunks have been done since.

        A yield follows the last one within about 0.1 seconds.

        Raises
        ------
        SourceError
            If a stored chunk cannot be read.
        DestinationError
            If a new chunk cannot be written.
        """
        regions: list[Region] = self._edits.held_boxes()
        try:
            for k, level in enumerate(self._levels):
                if k:
                    regions = [r for region in regions if (r := self._below(k, region))]
                yield from self._fill(k, level.tasks(regions))
                regions = level.changed
        finally:
            self._stop.set()

    def _fill(self, k: int, tasks: list[ChunkRewrite]) -> Iterator[tuple[int, int]]:
        level = self._levels[k]
        nbytes = math.prod(level.stored.block) * level.stored.dtype.itemsize
        workers = max(1, min(self._workers, self._memory // (COPIES * nbytes), len(tasks)))
        pending: dict[Future[tuple[Index, list[Region]]], ChunkRewrite] = {}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="napari-pyramid")
        try:
            for done in spread(
                pool, partial(self._rewrite, k), iter(tasks), lambda: 2 * workers, pending
            ):
                for future, _ in done:
                    index, changed = future.result()
                    if changed:
                        level.rewritten.add(index)
                        level.changed += changed
                yield k, len(done)
        finally:
            if pending:
                self._stop.set()
            for future in pending:
                future.cancel()
            wait([f for f in pending if not f.cancelled()])
            pool.shutdown()

    def _rewrite(self, k: int, task: ChunkRewrite) -> tuple[Index, list[Region]]:
        """Write a chunk or shard if it changes; return its index and the boxes that change."""
        self._check()
        level = self._levels[k]
        samples = np.empty(shape_of(task.block), level.stored.dtype)
        changed = []
        try:
            level.stored.read(task.block, samples)
        except STORAGE_ERRORS as error:
            raise SourceError(
                f"{level.place}: cannot read chunk {', '.join(map(str, task.index))}: "
                f"{explained(error)}"
            ) from error
        for part in task.parts:
            here = samples[relative_to(part, task.block)]
            before = here.copy()
            if k:
                here[...] = self._reduced(k, part)
            else:
                ranges = [range(s.start, s.stop) for s in part]
                self._edits.lay_over(ranges, here, held_only=True)
            box = _box_of(here != before, part)
            if box is not None:
                changed.append(box)
        if changed:
            try:
                level.new.write(task.block, samples)
            except STORAGE_ERRORS as error:
                raise DestinationError(
                    f"{level.fresh}: cannot be written: {explained(error)}"
                ) from error
        return task.index, changed

    def _reduced(self, k: int, region: Region) -> _Array:
        """Return a region of level `k`, computed from the level before as it will be."""
        level, above = self._levels[k], self._levels[k - 1]
        needed = tuple(
            slice(s.start * f, min(s.stop * f, n))
            for s, f, n in zip(region, level.factors, above.stored.shape, strict=True)
        )
        halo = self._reduction.halo(level.factors)
        wide, margins = with_halo(needed, halo, above.stored.shape)
        block = np.empty(shape_of(wide), above.stored.dtype)
        above.read(wide, block)
        return self._reduction.reduce(block, level.factors, margins)

    def _below(self, k: int, region: Region) -> Region | None:
        """Return what a region of level k - 1 changes in level `k`; None if nothing.

        The last samples of a level change nothing if the level below was rounded down.
        """
        level = self._levels[k]
        halo = self._reduction.halo(level.factors)
        found = tuple(
            slice(max(0, (s.start - h) // f), min(n, -(-(s.stop + h) // f)))
            for s, h, f, n in zip(region, halo, level.factors, level.stored.shape, strict=True)
        )
        return found if all(s.start < s.stop for s in found) else None

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Stopped(Exception):
    """Raised in a worker when the rewriting is to stop; never leaves this module."""


def _box_of(mask: npt.NDArray[np.bool_], region: Region) -> Region | None:
    """Return the box around the samples of `region` where `mask` is True; None if nowhere."""
    spans = []
    for axis, s in enumerate(region):
        used = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        if not used.size:
            return None
        spans.append(slice(s.start + int(used[0]), s.start + int(used[-1]) + 1))
    return tuple(spans)
