"""Find out how many tiles the workers of an executor fill at once, and the memory they have."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from napari_pyramid.build.dask_executor import DaskExecutor
from napari_pyramid.plan.memory import default_limit
from napari_pyramid.plan.workers import Limits
from napari_pyramid.storage.private_names import width_of

__all__ = ["SHARE", "Capacity", "Pace", "Window", "is_remote", "limits_for"]

SHARE = 0.5
"""Part of a dask worker's memory limit that tiles may fill.

The rest is for the interpreter, and for dask, which pauses a worker at 80 %.
"""
AHEAD = 32
"""Calls that wait at a scheduler beyond two for each thread, to hide the time of its answers."""
CALLS_PER_SECOND = 50
"""Calls that a scheduler passes on with ease: see `docs/benchmarks/scale.md`."""
LARGEST_GROUP = 64
"""Most tiles of a call."""
REFRESH = 5.0
"""Seconds after which a scheduler is asked for its workers again."""


def is_remote(executor: Executor | None) -> bool:
    """Return whether tiles are filled outside of this process, that is, not in its threads."""
    return executor is not None and not isinstance(executor, ThreadPoolExecutor)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Threads and memory of the workers of an executor."""

    threads: int
    """Threads of all worker processes."""
    per_process: int
    """Most threads of one worker process."""
    memory: int | None
    """Fewest bytes that a worker process may fill with tiles; None if the executor knows none."""

    @classmethod
    def of(cls, executor: Executor) -> Capacity:
        """Return the capacity of an executor of other processes, as it is now.

        A dask scheduler is asked for its workers. Without any workers, and for all other
        executors, each process has one thread.
        """
        if not isinstance(executor, DaskExecutor):
            width = width_of(executor)
            return cls(width, 1, default_limit() // width)
        workers = _workers_of(executor.client)
        if not workers:
            return cls(1, 1, None)
        threads = [int(w.get("nthreads") or 1) for w in workers]
        memory = [int(w["memory_limit"]) for w in workers if w.get("memory_limit")]
        return cls(sum(threads), max(threads), int(SHARE * min(memory)) if memory else None)


def _workers_of(client: Any) -> list[dict[str, Any]]:
    """Return what a dask scheduler knows of each worker; empty if it cannot be reached."""
    try:
        return list(client.scheduler_info(n_workers=-1)["workers"].values())
    except (OSError, KeyError, TypeError):
        return []


def limits_for(
    executor: Executor | None, max_workers: int | None, memory_limit: int | None
) -> Limits:
    """Return the limits of one process of `executor`, or of this process if it runs here.

    Limits that were given are used; the others are read from the executor.

    Raises
    ------
    SpecError
        If the number of workers is below 1.
    """
    if executor is None or not is_remote(executor):
        return Limits.of(max_workers, memory_limit)
    found = Capacity.of(executor)
    limits = Limits.of(
        max_workers if max_workers is not None else found.per_process,
        memory_limit if memory_limit is not None else found.memory,
    )
    return limits.beside(-(-found.threads // found.per_process))


class Pace:
    """Number of tiles that are handed out with one call, so that the scheduler keeps up.

    A call takes about a second, and more if a second of all threads were more than
    `CALLS_PER_SECOND` calls. It gets an eighth of the tiles for each thread at most, because large
    calls balance badly at the end of a pass.

    Parameters
    ----------
    threads
        Number of tiles that the executor fills at once.
    n_tiles
        Number of tiles of the pass.
    """

    def __init__(self, executor: Executor | None, threads: int, n_tiles: int) -> None:
        most = min(LARGEST_GROUP, n_tiles // (8 * threads)) if is_remote(executor) else 1
        self._most = max(1, most)
        self._call = max(1.0, threads / CALLS_PER_SECOND)
        self._seconds: float | None = None

    def add(self, seconds: float) -> None:
        """Count a tile that was filled."""
        before = self._seconds if self._seconds is not None else seconds
        self._seconds = before + (seconds - before) / 16

    @property
    def tiles(self) -> int:
        """The number; 1 until a tile was filled."""
        if self._seconds is None:
            return 1
        return max(1, min(self._most, int(self._call / max(self._seconds, 1e-6))))


class Window:
    """Number of calls that may be pending at once: at least twice as many as are filled at once.

    Parameters
    ----------
    workers
        Number of tiles that fit in the memory of this process, for threads.
    """

    def __init__(self, executor: Executor | None, workers: int) -> None:
        self._executor, self._workers = executor, workers
        self.threads = workers
        """Tiles that are filled at once."""
        if executor is None:
            self._size = 2 * workers  # threads of our own: exactly `workers` of them run
        elif not is_remote(executor):
            self._size = workers
        else:
            self._set(Capacity.of(executor).threads)
        self._asked = time.monotonic()
        self._asking: threading.Thread | None = None

    @property
    def size(self) -> int:
        """The number, which follows the workers that a dask cluster gains and loses."""
        if isinstance(self._executor, DaskExecutor) and time.monotonic() - self._asked > REFRESH:
            self._asked = time.monotonic()
            if self._asking is None or not self._asking.is_alive():
                # A scheduler that does not answer must not keep the build from being stopped.
                self._asking = threading.Thread(
                    target=self._ask, name="napari-pyramid-capacity", daemon=True
                )
                self._asking.start()
        return self._size

    def _ask(self) -> None:
        assert isinstance(self._executor, DaskExecutor)
        workers = _workers_of(self._executor.client)
        if workers:
            threads = sum(int(w.get("nthreads") or 1) for w in workers)
            self._set(threads)

    def _set(self, threads: int) -> None:
        self.threads = max(self._workers, threads)
        self._size = 2 * self.threads + AHEAD
