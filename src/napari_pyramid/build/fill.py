"""Fill one tile: read its parts, reduce them level after level in memory, write whole blocks.

Knows no schedule.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.build.reader import Reader
from napari_pyramid.downsample import Reduction
from napari_pyramid.errors import STORAGE_ERRORS, DestinationError, SourceError, explained
from napari_pyramid.plan.passes import Pass, Tile
from napari_pyramid.regions import Region, blocks_in, relative_to, shape_of, with_halo
from napari_pyramid.storage.chunk_io import StoredBlocks

__all__ = ["Filled", "TileFiller"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Filled:
    """Record of a filled tile; bytes are bytes of pixels, before compression."""

    number: int
    bytes_read: int = 0
    bytes_written: int = 0
    unreadable: tuple[Region, ...] = ()
    """Unreadable regions of the level that is read; they count as fill value."""
    seconds: float = 0.0
    """Time that it took, if another process filled it."""


class TileFiller:
    """Filler of the tiles of one pass, in any order, from any number of threads.

    Parameters
    ----------
    writers
        Arrays of the levels by number, opened for writing.
    reduction
        Method that makes each level of the pass from the level before.
    rereads
        Levels are read back after writing, because their codec may change them: level k is the
        reduction of level k - 1 *as stored*.
    skip_unreadable
        Read blocks of the source that cannot be read as fill value.
    skips_absent
        Skip regions whose source chunks are all missing. Only for new levels, which read as fill
        value anyway.
    check
        Function that is called often, and raises to stop the build.
    """

    def __init__(
        self,
        p: Pass,
        reader: Reader,
        writers: Mapping[int, StoredBlocks],
        *,
        reduction: Reduction,
        rereads: bool = False,
        skip_unreadable: bool = False,
        skips_absent: bool = True,
        check: Callable[[], None],
    ) -> None:
        self.p = p
        self._reader = reader
        self._writers = writers
        self._reduction = reduction
        self._rereads = rereads
        self._skip_unreadable = skip_unreadable
        self._check = check
        self._scratch = _Scratch()
        self._copied = self._copied_from(reader.blocks)
        same_fill = all(_is_same(w.array.fill_value, reader.fill_value) for w in writers.values())
        self._skips_absent = (
            skips_absent and same_fill and reduction.keeps_constant(reader.fill_value)
        )

    def _copied_from(self, source: StoredBlocks | None) -> StoredBlocks | None:
        """Return the source if its blocks can be copied as stored: encoding is most of the work."""
        same = (
            self.p.copies
            and source is not None
            and self._writers[self.p.first].takes_encoded_from(source)
        )
        return source if same else None

    def fill(self, number: int) -> Filled:
        """Fill one tile.

        Raises
        ------
        SourceError
            If a region of the source cannot be read.
        DestinationError
            If a block cannot be written.
        """
        tile = self.p[number]
        if self._skips_absent and self._reader.is_absent(self._with_halo(tile.read)[0]):
            return Filled(number)
        levels = {
            k: self._scratch.take(k, shape_of(self._region(tile, k)), self._writers[k].dtype)
            for k in range(self.p.reads + 1, self.p.last + 1)
        }
        parts = self._fill_parts(tile, levels.get(self.p.reads + 1))
        written = sum(part.bytes_written for part in parts)
        for k in range(self.p.reads + 1, self.p.last + 1):
            self._check()
            written += self._write(k, self._region(tile, k), levels[k])
            if k < self.p.last:
                factors = self.p.levels[k + 1].factors
                levels[k + 1][...] = self._reduction.reduce(levels[k], factors)
        unreadable = sorted(
            (region for part in parts for region in part.unreadable),
            key=lambda region: [s.start for s in region],
        )
        return Filled(number, sum(part.bytes_read for part in parts), written, tuple(unreadable))

    def _fill_parts(self, tile: Tile, below: Array | None) -> list[Filled]:
        """Fill all parts of a tile, in as many threads as read it."""
        parts, one_at_a_time, failed = self.p.parts(tile), threading.Lock(), threading.Event()

        def fill_some() -> list[Filled]:
            done = []
            try:
                while not failed.is_set():
                    self._check()
                    with one_at_a_time:
                        part = next(parts, None)
                    if part is None:
                        break
                    done.append(self._fill_part(tile, part, below))
            except BaseException:
                failed.set()
                raise
            return done

        if self.p.readers == 1:
            return fill_some()
        with ThreadPoolExecutor(self.p.readers, thread_name_prefix="napari-pyramid-part") as pool:
            shares = [pool.submit(fill_some) for _ in range(self.p.readers)]
        return [filled for share in shares for filled in share.result()]

    def _fill_part(self, tile: Tile, part: Region, below: Array | None) -> Filled:
        """Read one part, write it if its level is written, and reduce it into the level below."""
        around, margins = self._with_halo(part)
        factors = self.p.levels[self.p.reads + 1].factors if below is not None else ()
        place = tuple(
            slice((s.start - t.start) // f, -(-(s.stop - t.start) // f))
            for s, t, f in zip(part, tile.read, factors, strict=False)
        )
        if self._skips_absent and self._reader.is_absent(around):
            if below is not None:
                below[place] = self._reader.fill_value
            return Filled(tile.number)
        block = self._scratch.take("part", shape_of(around), self._reader.dtype)
        unreadable = self._read(around, block)
        written = (
            self._write(self.p.first, part, block, None if unreadable else self._copied)
            if self.p.copies
            else 0
        )
        if below is not None:
            below[place] = self._reduction.reduce(block, factors, margins)
        return Filled(tile.number, block.nbytes, written, tuple(unreadable))

    def _region(self, tile: Tile, k: int) -> Region:
        return tile.regions[k - self.p.first]

    def _with_halo(self, region: Region) -> tuple[Region, tuple[tuple[int, int], ...]]:
        """Return a region widened by the halo, and the width of the halo on each side."""
        halo = (0,) * len(region)
        if self.p.last > self.p.reads:
            halo = self._reduction.halo(self.p.levels[self.p.reads + 1].factors)
        return with_halo(region, halo, self.p.levels[self.p.reads].shape)

    def _read(self, region: Region, out: Array) -> list[Region]:
        try:
            self._reader.read(region, out)
        except SourceError:
            if not self._skip_unreadable:
                raise
            return self._read_what_can_be(region, out)
        return []

    def _read_what_can_be(self, region: Region, out: Array) -> list[Region]:
        """Read block by block; blocks that fail become fill value and are returned."""
        lost = []
        for piece in blocks_in(region, self._reader.block or shape_of(region)):
            found = np.empty(shape_of(piece), out.dtype)
            try:
                self._reader.read(piece, found)
            except SourceError:
                found[...] = self._reader.fill_value
                lost.append(piece)
            out[relative_to(piece, region)] = found
        return lost

    def _write(
        self, k: int, region: Region, data: Array, source: StoredBlocks | None = None
    ) -> int:
        try:
            if source is not None:
                self._writers[k].copy_encoded(region, data, source)
                return data.nbytes
            self._writers[k].write(region, data)
            if self._rereads:
                self._writers[k].read(region, data)
        except STORAGE_ERRORS as exc:
            raise DestinationError(
                f"level {self.p.levels[k].path} cannot be written: {explained(exc)}"
            ) from exc
        return data.nbytes


class _Scratch(threading.local):
    """Buffers of one thread, kept from tile to tile: new memory costs more time than reducing."""

    def __init__(self) -> None:
        self._kept: dict[object, Array] = {}

    def take(self, key: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an uninitialised C-contiguous array, valid until `key` is taken again."""
        size = math.prod(shape)
        if key not in self._kept or self._kept[key].size < size:
            self._kept[key] = np.empty(size, dtype)
        return self._kept[key][:size].reshape(shape)


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two fill values are equal; NaN equals NaN."""
    return bool(a is not None and (a == b or (a != a and b != b)))
