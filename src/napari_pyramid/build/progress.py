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
"""Seconds between two reports at least, but for the last."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is."""

    level: int
    """The coarsest level that is being written."""
    done: int
    """Regions done, those of an earlier, interrupted build included."""
    total: int
    """Regions to write, and with `verify` to compare."""
    bytes_read: int
    """Of pixels, before compression, in this run."""
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
    """Counts regions, bytes and work; work is the samples that are read, which time is proportional to.

    Parameters
    ----------
    n_tiles
        Of each pass, to fill.
    compared
        The levels that others are compared with after the build, in `n_comparisons` regions.
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

    def had_done(self, p: Pass, n_tiles: int) -> None:
        """An earlier run filled these tiles."""
        self.done += n_tiles
        self._work_before += _work(p) * n_tiles
        self._work += _work(p) * n_tiles

    def filled(self, p: Pass, bytes_read: int, bytes_written: int) -> None:
        """A tile is filled."""
        self.done += 1
        self._read += bytes_read
        self._written += bytes_written
        self._work += _work(p)

    def compared(self, n_regions: int) -> None:
        self.done += n_regions
        self._work += n_regions * self._work_of_comparing

    def is_due(self) -> bool:
        """Whether enough time has passed since the last time it was."""
        now = time.monotonic()
        if now - self._reported < PACE:
            return False
        self._reported = now
        return True

    def progress(self, level: int) -> Progress:
        elapsed = time.monotonic() - self._began
        fresh = self._work - self._work_before
        remaining = elapsed * (self._all_work - self._work) / fresh if fresh > 0 else None
        return Progress(
            level, self.done, self._total, self._read, self._written, elapsed, remaining
        )


def _work(p: Pass) -> float:
    """Samples that a tile reads."""
    return float(math.prod(p.levels[p.reads].shape)) / p.n_tiles
