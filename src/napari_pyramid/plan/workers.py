"""Limit the number of workers and their memory; `schedule` takes fewer where memory is short."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from napari_pyramid.errors import SpecError
from napari_pyramid.plan.memory import default_limit

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Number of threads and bytes that a build may use in each of its processes."""

    workers: int
    """Largest number of threads."""
    memory: int
    """Largest number of bytes, beyond the interpreter."""
    processes: int = 1
    """Number of processes that have these limits, each for itself."""

    def beside(self, processes: int) -> Limits:
        """Return the same limits, for each of a number of processes."""
        return replace(self, processes=max(1, processes))

    @classmethod
    def of(cls, max_workers: int | None, memory_limit: int | None) -> Limits:
        """Return the limits that were given; None means one worker per core, `default_limit`.

        Raises
        ------
        SpecError
            If the number of workers is below 1.
        """
        workers = max_workers if max_workers is not None else os.cpu_count() or 1
        if workers < 1:
            raise SpecError(f"{workers} workers cannot build anything: give at least 1")
        return cls(workers, memory_limit if memory_limit is not None else default_limit())
