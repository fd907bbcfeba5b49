"""Run the passes of a job: fill the tiles in threads or through an executor, compare, and stop."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from napari_pyramid.build import executors
from napari_pyramid.build.capacity import Pace, Window
from napari_pyramid.build.fill import Filled, TileFiller
from napari_pyramid.build.job import Job
from napari_pyramid.build.progress import Meter, Progress
from napari_pyramid.build.spread import HEARTBEAT, Groups, spread
from napari_pyramid.build.state import BuildState, UnreadableRegion
from napari_pyramid.build.verify import Difference
from napari_pyramid.build.workspace_base import TileJournal
from napari_pyramid.errors import DestinationError, VerificationError
from napari_pyramid.plan.passes import Pass
from napari_pyramid.regions import Region
from napari_pyramid.thread_priority import give_way

__all__ = ["PassRunner"]


class _Stopped(Exception):
    """Raised in a worker when the build is to stop; never leaves this module."""


@dataclass
class PassRunner:
    """The passes of a job while they run: the part of `Run` that computes.

    Parameters
    ----------
    executor
        Executor that fills the tiles; None for threads of this process.
    gives_way
        Threads of this process have a low priority, see `thread_priority.give_way`.
    """

    job: Job
    executor: Executor | None = None
    gives_way: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _meter: Meter = field(init=False)
    _state: BuildState = field(init=False)
    """State of the work; `Run` sets it before the first pass."""
    _token: str = ""
    """Token of the pass that other processes fill."""

    def __post_init__(self) -> None:
        passes = self.job.passes
        self._meter = Meter(
            passes,
            [p.n_tiles for p in passes],
            [fine for fine, _ in self.job.computed],
            self.job.n_comparisons,
        )

    def _fill_all(self, journals: Sequence[TileJournal]) -> Iterator[Progress]:
        for i, (p, journal) in enumerate(zip(self.job.passes, journals, strict=True)):
            if journal.n_done < p.n_tiles:
                yield from self._fill_pass(i, p, journal.left(), journal)

    def _fill_pass(
        self, i: int, p: Pass, numbers: Iterator[int], journal: TileJournal | None
    ) -> Iterator[Progress]:
        """Fill tiles with a bounded number of them pending; mark each as soon as it is done."""
        own = self._threads(p.workers) if self.executor is None else None
        executor = own or self.executor
        assert executor is not None
        pending: dict[Future[list[Filled]], tuple[int, ...]] = {}
        try:
            window = Window(self.executor, p.workers)
            pace = Pace(self.executor, window.threads, p.n_tiles)
            groups = Groups(numbers, lambda: pace.tiles)
            with executors.lost_workers_explained(self.executor):
                fill = self._filler(i, p)
                for done in spread(executor, fill, groups, lambda: window.size, pending):
                    for future, group in done:
                        for filled in self._result(future, group, groups):
                            self._count(p, filled, journal)
                            pace.add(filled.seconds)
                    if self._meter.is_due():
                        self._check_intact()
                        yield self._meter.progress(p.coarsest)
            self._check_intact()
        finally:
            self._stop_all(own, pending)

    def _result(
        self, future: Future[list[Filled]], group: tuple[int, ...], groups: Groups[int]
    ) -> list[Filled]:
        """Return the records of filled tiles; none if the executor lost them and gets them again.

        A dask scheduler that was restarted knows no future that it was given before.

        Raises
        ------
        CancelledError
            If the tiles were lost too often.
        """
        try:
            return future.result()
        except CancelledError:
            if not executors.is_remote(self.executor) or not groups.give_back(group):
                raise
            return []

    def _check_intact(self) -> None:
        if not self.job.is_intact():
            raise DestinationError(
                f"{self.job.target.directory}: the unfinished work was removed while it was built; "
                "start again"
            )

    def _filler(self, i: int, p: Pass) -> Callable[[Sequence[int]], list[Filled]]:
        """Return the callable that fills tiles by their numbers, here or in another process."""
        if executors.is_remote(self.executor):
            assert self.executor is not None
            self._token = uuid.uuid4().hex
            return executors.filler(self.job, i, self.executor, self._token)
        filler = self.job.filler(p, check=self._check)
        return partial(_fill_each, filler)

    def _threads(self, number: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(
            number,
            thread_name_prefix="napari-pyramid",
            initializer=partial(give_way, "build") if self.gives_way else None,
        )

    def _stop_all(self, own: ThreadPoolExecutor | None, pending: Mapping[Future[Any], Any]) -> None:
        """Cancel pending calls and wait for running ones: after a stop nothing is written."""
        if pending:
            self._stop.set()
        for future in pending:
            future.cancel()
        if own is not None:
            own.shutdown(cancel_futures=True)
            return
        if self._token:
            executors.recall(self.job, self._token)
        wait([f for f in pending if not f.cancelled()])

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _count(self, p: Pass, filled: Filled, journal: TileJournal | None) -> None:
        if filled.unreadable:
            self._remember_unreadable(p, filled.unreadable)
        if journal is not None:
            journal.mark(filled.number)
        self._meter.filled(p, filled.bytes_read, filled.bytes_written)

    def _remember_unreadable(self, p: Pass, regions: Sequence[Region]) -> None:
        """Save regions before their tile is marked, so that a resumed build still lists them."""
        found = [UnreadableRegion.of(p.reads, region) for region in regions]
        self._state = self._state.with_unreadable(found)
        self.job.target.workspace.save_state(self._state)

    def _compile(self) -> Iterator[Progress]:
        """Compile the kernels, or load them from numba's cache.

        This runs in a daemon thread, so that a stop need not wait for it.
        """
        spec, reduction, steps = self.job.spec, self.job.spec.reduction, self.job.compiled_steps

        def warm_up() -> None:
            try:
                for factors in steps:
                    for extra in (0, 1):
                        sample = np.zeros(
                            [2 * f + (extra if f > 1 else 0) for f in factors], spec.dtype
                        )
                        reduction.reduce(sample, factors)
            except Exception as exc:
                failed.append(exc)

        failed: list[Exception] = []
        thread = threading.Thread(target=warm_up, name="napari-pyramid-compile", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(HEARTBEAT)
            yield self._meter.progress(self.job.passes[0].last if self.job.passes else 0)
        for exc in failed:
            raise exc

    def _verify(self) -> Iterator[Progress]:
        """Recompute the levels and compare them with the stored ones.

        Raises
        ------
        VerificationError
            At the first region that differs.
        """
        own = self._threads(self.job.comparing_workers)
        pending: dict[Future[Difference | None], Region] = {}
        try:
            for path, comparer in self.job.comparers(self._check):
                for done in spread(
                    own,
                    comparer.compare,
                    comparer.regions(),
                    lambda: 2 * self.job.comparing_workers,
                    pending,
                ):
                    self._meter.compared(len(done))
                    for found in filter(None, (future.result() for future, _ in done)):
                        raise VerificationError(
                            f"level {path} differs from what it was computed from in {found}: "
                            "what was built is removed; look at the disk and the memory of this "
                            "machine, and build it again"
                        )
                    if self._meter.is_due():
                        yield self._meter.progress(len(self.job.spec.levels) - 1)
        finally:
            self._stop_all(own, pending)


def _fill_each(filler: TileFiller, numbers: Sequence[int]) -> list[Filled]:
    return [filler.fill(number) for number in numbers]
