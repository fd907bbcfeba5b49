"""Measure how far a build is: regions done, time left; and iterate over its steps."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from napari_pyramid.plan.level import Level
from napari_pyramid.plan.passes import Pass

__all__ = ["Meter", "Progress", "Steps"]

S = TypeVar("S")
R = TypeVar("R")

PACE = 0.05
"""Shortest time between two reports in seconds; the last one may come earlier."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a build."""

    level: int
    """The coarsest level that is being written."""
    done: int
    """Regions done, including the regions that an earlier, interrupted build did."""
    total: int
    """Regions to write, and with `verify` to compare."""
    bytes_read: int
    """Bytes of pixels, before compression, in this run."""
    bytes_written: int
    elapsed: float
    """Seconds since this run began."""
    remaining: float | None
    """Estimated seconds to the end; None until there is something to estimate from."""


class Steps(Generic[S, R]):
    """Iterate over a generator, and keep what the generator returns."""

    result: R
    """Set once the iteration has reached its end."""

    def __init__(self, generator: Generator[S, None, R]) -> None:
        self._generator = generator

    def __iter__(self) -> Iterator[S]:
        self.result = yield from self._generator

    def close(self) -> None:
        """Close the generator, so that it cleans up after itself."""
        self._generator.close()


class Meter:
    """Counter of regions, bytes and work, from which the remaining time is estimated.

    Work is the number of samples read: the time of a tile is roughly proportional to it.

    Parameters
    ----------
    n_tiles
        Number of tiles to fill in each pass.
    compared
        Levels that are read again to verify the build, in `n_comparisons` regions.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        n_tiles: Sequence[int],
        compared: Sequence[Level] = (),
        n_comparisons: int = 0,
    ) -> None:
        samples = sum(float(math.prod(level.shape)) for level in compared)
        self._work_of_comparing = samples / max(1, n_comparisons)
        self._total = sum(n_tiles) + n_comparisons
        self._all_work = (
            sum(_work(p) * n for p, n in zip(passes, n_tiles, strict=True))
            + self._work_of_comparing * n_comparisons
        )
        self._began = time.monotonic()
        self._reported = 0.0
        self._read = self._written = 0
        self._work = self._work_before = 0.0
        self.done = 0

    def count_as_done(self, p: Pass, n_tiles: int) -> None:
        """Count tiles that an earlier run filled."""
        self.done += n_tiles
        self._work_before += _work(p) * n_tiles
        self._work += _work(p) * n_tiles

    def filled(self, p: Pass, bytes_read: int, bytes_written: int) -> None:
        """Count a tile that was filled."""
        self.done += 1
        self._read += bytes_read
        self._written += bytes_written
        self._work += _work(p)

    def compared(self, n_regions: int) -> None:
        """Count regions that were compared."""
        self.done += n_regions
        self._work += n_regions * self._work_of_comparing

    def is_due(self) -> bool:
        """Return whether the next report is due; if it is, the clock starts again."""
        now = time.monotonic()
        if now - self._reported < PACE:
            return False
        self._reported = now
        return True

    def progress(self, level: int) -> Progress:
        """Return the progress of the build, which is writing `level`."""
        elapsed = time.monotonic() - self._began
        fresh = self._work - self._work_before
        remaining = elapsed * (self._all_work - self._work) / fresh if fresh > 0 else None
        return Progress(
            level, self.done, self._total, self._read, self._written, elapsed, remaining
        )


def _work(p: Pass) -> float:
    """Return the number of samples that a tile of a pass reads, on average."""
    return float(math.prod(p.levels[p.reads].shape)) / p.n_tiles
