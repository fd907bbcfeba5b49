"""Show an image at once from coarse samples, and sharpen it as chunks arrive: `ProgressiveLevels`.

This module chooses the chunks that a picture needs, the coarser chunks to read before them, and the
chunks to read ahead; the loader reads them. Only `show` approximates: indexing a level itself
returns exact samples.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal

import numpy.typing as npt

from napari_pyramid.arrays import chunked_source
from napari_pyramid.arrays.chunk_loader import ChunkLoader, Wanted
from napari_pyramid.arrays.chunk_reader import Index
from napari_pyramid.arrays.chunked_source import ChunkedSource
from napari_pyramid.arrays.grid import Grid, grids_of
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.picture import LevelSource, Picture
from napari_pyramid.arrays.virtual_level import VirtualLevel

__all__ = ["ProgressiveLevels", "Role"]

Array = npt.NDArray[Any]
Role = Literal["view", "thumbnail", "prepared"]

PATIENCE = 0.012
"""Seconds to wait for chunks before coarser samples are shown: fast reads need none.

If the reads are expected to take longer, coarser samples are shown without waiting.
"""
FIRST_PATIENCE = 0.04
"""Seconds to wait if nothing at all is in memory."""
COARSE_STEPS = 2
"""Chunks this many levels coarser are read first if only coarser ones are in memory."""
BASE_BYTES = 64 * 2**20
"""Largest coarsest level, in bytes, that is read as a whole and kept."""
AHEAD_SHARE = 0.25
"""The chunks read ahead of the view take at most this part of the cache."""


class ProgressiveLevels:
    """The levels of one image for one viewer.

    Parameters
    ----------
    levels
        Views of chunked arrays, largest first, all with the same axes; each lacks at most one axis
        of its array, dropped by an integer index.
    grids
        Positions of the samples of each level, over the axes of the arrays; by default they follow
        from the shapes.
    ahead_share
        Part of the cache, 0 to 1, that the chunks read ahead of the view may take.
    loader
        Loader of the chunks.
    on_change
        Called on any thread when a picture has changed.
    on_failure
        Called on any thread with a message (array and reason), once for each chunk that cannot be
        read.
    """

    def __init__(
        self,
        levels: Sequence[LazyArray],
        loader: ChunkLoader,
        *,
        grids: Sequence[Grid] | None = None,
        ahead_share: float = AHEAD_SHARE,
        on_change: Callable[[], None] = lambda: None,
        on_failure: Callable[[str], None] = lambda message: None,
    ) -> None:
        sources = [level.chunked_source for level in levels]
        grids = grids or grids_of([source.shape for source in sources])
        self.levels = [LevelSource(s, g) for s, g in zip(sources, grids, strict=True)]
        self._views = tuple(levels)
        self._n_stored = sum(not isinstance(level.source, VirtualLevel) for level in levels)
        """Number of stored levels.

        Virtual levels are computed from all of a stored level, so only visible parts are read.
        """
        self._loader = loader
        self._ahead_share = ahead_share
        self._on_change = on_change
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._pictures: dict[Role, Picture] = {}
        self.n_views = 0
        """Number of different views that have been shown."""
        self._moved: tuple[int, int] | None = None
        """Axis and direction of the last move of the view."""
        self._base: dict[Index, Array] = {}
        """Chunks of the coarsest level, kept while the image is shown."""
        self._reported: set[tuple[int, Index]] = set()
        self._written: tuple[int, ...] = ()
        self._number_of = {source.token: i for i, source in enumerate(sources)}

    @classmethod
    def fits(cls, levels: Sequence[Any]) -> bool:
        """Return whether `levels` can be shown progressively."""
        return all(
            isinstance(level, LazyArray)
            and level.is_chunked
            and len(level.ranges) == len(levels[0].ranges)
            for level in levels
        )

    @property
    def is_waiting(self) -> bool:
        """Whether chunks in view have not arrived yet."""
        return self._loader.is_waiting(self)

    @property
    def has_failed(self) -> bool:
        """Whether chunks in view cannot be read."""
        return any(picture.failed for picture in list(self._pictures.values()))

    def close(self) -> None:
        """Stop reading; the next call of `show` starts it again."""
        self._loader.drop(self)
        with self._lock:  # napari may slice on a thread of its own
            self._pictures.clear()

    def show(self, level: int, view: LazyArray, role: Role = "view") -> Array:
        """Return a picture of `view`, a part of ``levels[level]``, from memory; have the rest read.

        The picture is painted further while chunks arrive, and `on_change` is called. A later call
        for the same view returns the same array. It must not be written to.
        """
        ranges = _ranges_of(view)
        with self._lock:
            written = tuple(v.source.n_forgotten for v in self.levels)
            if written != self._written:  # the store has been written to
                self._written = written
                self._pictures.clear()
                self._base = {}
            prepared = self._pictures.get("prepared")
            if role == "view" and prepared is not None and prepared.shows(level, ranges):
                self._pictures["view"] = self._pictures.pop("prepared")
            picture = self._pictures.get(role)
            if picture is None or not picture.shows(level, ranges):
                picture = self._look(level, ranges, role)
        return picture.pixels.reshape(view.shape)

    def prepare(self, level: int, view: LazyArray) -> None:
        """Have `view`, a part of ``levels[level]``, read for a later `show`.

        Chunks in view are read before it.
        """
        with self._lock:
            # Nothing is painted here: a whole volume would block the caller.
            picture = Picture(self.levels, level, _ranges_of(view), _nowhere, behind=False)
            self._pictures["prepared"] = picture
            self._loader.want(self, self._urgent(), self._ahead())

    def unprepare(self) -> None:
        """Stop preparing."""
        with self._lock:
            if self._pictures.pop("prepared", None) is not None:
                self._loader.want(self, self._urgent(), self._ahead())

    @property
    def prepared_level(self) -> int | None:
        """The prepared level once all of it has been read, else None."""
        picture = self._pictures.get("prepared")
        return picture.level if picture is not None and not picture.missing else None

    def retry(self) -> None:
        """Try again to read the chunks that could not be read."""
        with self._lock:
            wanted = list(self._urgent())
        self._loader.retry(self, wanted)

    def deliver(self, source: ChunkedSource, chunks: dict[Index, Array]) -> None:
        """Paint chunks that have been read. Called by the loader."""
        level = self._number_of[source.token]
        if level == len(self.levels) - 1 and self._views[-1].nbytes <= BASE_BYTES:
            self._base |= chunks
        changed = False
        for picture in list(self._pictures.values()):
            if picture.level == level:
                for index, chunk in chunks.items():
                    changed |= picture.paint(index, chunk)
            elif picture.level < level:
                changed |= picture.paint_behind(level)
        if changed:
            self._on_change()
        if self._n_stored <= level < len(self.levels) - 1:
            # Of a virtual level the coarsest one is computed from memory, for the thumbnail.
            coarsest = self.levels[-1].source
            self.deliver(coarsest, coarsest.load(list(chunks)))

    def fail(self, source: ChunkedSource, index: Index, error: Exception) -> None:
        """Mark a chunk that cannot be read. Called by the loader."""
        level = self._number_of[source.token]
        pictures = [p for p in list(self._pictures.values()) if p.level == level]
        failed = [picture.fail(index) for picture in pictures]
        if any(failed):
            self._on_change()
        if (source.token, index) not in self._reported:
            self._reported.add((source.token, index))
            self._on_failure(str(error))

    def _look(self, level: int, ranges: tuple[range, ...], role: Role) -> Picture:
        """Return the picture of a new view, and request its missing chunks."""
        moved = self._moved
        if role == "view":
            self.n_views += 1
            moved = self._moved_to(level, ranges) or moved
        picture = self._pictures[role] = Picture(self.levels, level, ranges, self._find)
        # After the picture: a thread of the loader would look from the former one in the direction
        # of this move, and read chunks that nobody comes to.
        self._moved = moved
        self._loader.want(self, self._urgent(), self._ahead())
        if picture.missing:
            nothing = picture.coarsest_shown == len(self.levels)
            is_quick = self._loader.expected_seconds(len(picture.missing)) <= PATIENCE
            patience = FIRST_PATIENCE if nothing else PATIENCE if is_quick else 0
            if not self._loader.wait(self, patience):
                self._on_change()  # so that a sign can say that chunks are on their way
        return picture

    def _find(self, level: int, index: Index) -> Array | None:
        if level == len(self.levels) - 1 and index in self._base:
            return self._base[index]
        return self.levels[level].source.get(index)

    def _urgent(self) -> Iterator[Wanted]:
        """Yield the missing chunks of the pictures.

        A few coarse chunks come first if only much coarser ones are in memory.
        """
        for role, picture in self._pictures.items():
            quick = picture.level + COARSE_STEPS
            if role != "prepared" and quick < min(picture.coarsest_shown, self._n_stored):
                source = self.levels[quick].source
                yield from ((source, index) for index in picture.chunks_at(quick))
        for role, picture in sorted(self._pictures.items(), key=lambda item: item[0] == "prepared"):
            if role == "thumbnail" and picture.level >= self._n_stored:
                continue
            yield from ((picture.source, index) for index in list(picture.missing))

    def _ahead(self) -> Iterator[Wanted]:
        """Yield chunks to read ahead. Iterated on a thread of the loader.

        First the coarsest level, then chunks in the direction of the last move and around the view.
        """
        if self._reads_base:
            yield from self._base_chunks()
        picture = self._pictures.get("view")
        if picture is None or picture.level >= self._n_stored:
            return
        source, room = picture.source, chunked_source.CACHE.budget * self._ahead_share
        nbytes = source.chunk_nbytes
        for index in self._neighbours(picture):
            room -= nbytes
            if room < 0:
                return
            yield source, index

    def _neighbours(self, picture: Picture) -> Iterator[Index]:
        grid, source = picture.grid, picture.source
        counts = [-(-n // c) for n, c in zip(source.shape, source.chunks, strict=True)]
        if self._moved is not None:
            axis, direction = self._moved
            edge = grid[axis][-1 if direction > 0 else 0] + direction
            if 0 <= edge < counts[axis]:
                yield from product(*grid[:axis], [edge], *grid[axis + 1 :])
        wide = [
            [n for n in range(numbers[0] - 1, numbers[-1] + 2) if 0 <= n < count]
            if len(r) > 1 and view_axis
            else numbers
            for numbers, count, r, view_axis in zip(
                grid, counts, picture.ranges, self._is_view_axis(), strict=True
            )
        ]
        inside = set(product(*grid))
        yield from (index for index in product(*wide) if index not in inside)

    def _is_view_axis(self) -> list[bool]:
        """Return whether the levels have each axis of the arrays (a channel may be fixed)."""
        return [isinstance(r, range) for r in self._views[0].ranges]

    def _moved_to(self, level: int, ranges: tuple[range, ...]) -> tuple[int, int] | None:
        """Return the axis and the direction of a move to a new view; None if it did not move."""
        before = self._pictures.get("view")
        if before is None:
            return None
        moved = None
        earlier, grid = self.levels[before.level].grid, self.levels[level].grid
        for axis, (old, new) in enumerate(zip(before.ranges, ranges, strict=True)):
            if len(old) == len(new) == 1:
                step = grid.centres(new, axis)[0] - earlier.centres(old, axis)[0]
                if abs(step) > max(grid.factors[axis], earlier.factors[axis]) / 2:
                    moved = axis, 1 if step > 0 else -1
        return moved

    @property
    def _reads_base(self) -> bool:
        """Whether all of the coarsest level is read ahead; a virtual one would need all samples."""
        return self._n_stored == len(self.levels) and self._views[-1].nbytes <= BASE_BYTES

    def _base_chunks(self) -> Iterator[Wanted]:
        base, source = self._base, self.levels[-1].source
        axes = [
            range(-(-n // c)) if isinstance(r, range) else [r // c]
            for r, n, c in zip(self._views[-1].ranges, source.shape, source.chunks, strict=True)
        ]
        for index in product(*axes):
            if index in base:
                continue
            chunk = source.get(index)
            if chunk is None:
                yield source, index
            else:
                base[index] = chunk


def _nowhere(level: int, index: Index) -> None:
    """Find no chunk in memory."""


def _ranges_of(view: LazyArray) -> tuple[range, ...]:
    """Return the viewed range along each axis of the array.

    A dropped axis has a range of one sample.
    """
    return tuple(r if isinstance(r, range) else range(r, r + 1) for r in view.ranges)
