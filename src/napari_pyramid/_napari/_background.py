"""Run functions on threads of a window's own, and deliver their results in the GUI thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.storage.layout_warnings import collected_warnings

__all__ = ["NAME", "Background", "BackgroundTask", "Outcome"]

NAME = "napari-pyramid-browse"
"""Name of the threads, unless another is given."""

_EVERY = 15
"""Milliseconds between two deliveries."""
_AT_MOST = 0.008
"""Seconds that one delivery may take in the GUI thread."""


_Results = queue.SimpleQueue[tuple["BackgroundTask", Callable[[], None], bool]]
"""Task, what to call in the GUI thread, and whether the task has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of a job: a result, an error, or neither if the job was cancelled."""

    result: Any = None
    error: Exception | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundTask:
    """A function that runs in the background. `stop` ends a generator at its next value."""

    stopped: threading.Event

    def stop(self) -> None:
        """Deliver nothing more of the task."""
        self.stopped.set()


class Background(QObject):
    """A few threads that end with their window; results come in the GUI thread, a few at a time.

    The threads are daemons: a server that does not answer does not keep the application open.

    Parameters
    ----------
    parent
        Everything ends when it is destroyed.
    on_warnings
        Called in the GUI thread with the warnings of a task about the store.
    name
        Name of the threads.
    nested
        Whether results arrive while the receiver of another result handles events: in a dialog, or
        where napari's progress bars do it.
    """

    def __init__(
        self,
        parent: QObject,
        *,
        threads: int = 1,
        on_warnings: Callable[[list[LayoutWarning]], None] = lambda warnings: None,
        name: str = NAME,
        nested: bool = False,
    ) -> None:
        super().__init__(parent)
        self._on_warnings, self._nested = on_warnings, nested
        self._results: _Results = queue.SimpleQueue()
        pool = self._pool = _Pool(threads, name)
        self.destroyed.connect(lambda *_: pool.close())  # this object is gone by then
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY)
        self._timer.timeout.connect(self._deliver)

    @property
    def is_busy(self) -> bool:
        """Whether a task is waiting, running or not delivered."""
        return bool(self._pool.running)

    def run(self, function: Callable[[], Any], on_end: Callable[[Outcome], None]) -> BackgroundTask:
        """Call `function` on a thread, then `on_end` with its outcome in the GUI thread."""
        return self.stream(_only_result(function), lambda value: None, on_end)

    def stream(
        self,
        steps: Iterator[Any],
        on_value: Callable[[Any], None],
        on_end: Callable[[Outcome], None],
    ) -> BackgroundTask:
        """Iterate over `steps` on a thread; `on_value` and `on_end` are called in the GUI thread.

        The result in the outcome is the value that a generator returns.
        """
        task = BackgroundTask(threading.Event())
        self._pool.put(task, lambda: self._work(task, steps, on_value, on_end))
        self._timer.start()
        return task

    def close(self) -> None:
        """Stop all tasks; nothing is delivered any more, and the threads end."""
        self._pool.close()
        self._timer.stop()

    def _work(
        self,
        task: BackgroundTask,
        steps: Iterator[Any],
        on_value: Callable[[Any], None],
        on_end: Callable[[Outcome], None],
    ) -> None:
        """Run one task on a thread of the pool."""
        outcome = Outcome()
        with collected_warnings() as collected:
            try:
                while not task.stopped.is_set():
                    self._results.put((task, partial(on_value, next(steps)), False))
            except StopIteration as end:
                outcome = Outcome(result=end.value, complete=True)
            except Exception as error:  # the GUI thread shows it, whatever it is
                outcome = Outcome(error=error)
            if isinstance(steps, Generator):
                with suppress(Exception):
                    steps.close()

        def end_task() -> None:
            if collected:
                self._on_warnings(collected)
            on_end(outcome)

        self._results.put((task, end_task, True))

    def _deliver(self) -> None:
        if self._nested:
            self._timer.start()  # Qt would not call this again while a nested event loop runs
        end = time.monotonic() + _AT_MOST
        while time.monotonic() < end:
            try:
                task, call, is_last = self._results.get_nowait()
            except queue.Empty:
                break
            if is_last:
                self._pool.running.discard(task)
            if not task.stopped.is_set():
                call()
        if not self._pool.running:
            self._timer.stop()


class _Pool:
    """Threads that take functions from a queue. No QObject, so that it outlives its window."""

    def __init__(self, most: int, name: str) -> None:
        self.running: set[BackgroundTask] = set()
        self._most, self._name = most, name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def put(self, task: BackgroundTask, job: Callable[[], None]) -> None:
        self.running.add(task)
        self._jobs.put(job)
        if len(self._threads) < min(self._most, len(self.running)):
            serve = partial(_serve, self._jobs)
            thread = threading.Thread(target=serve, daemon=True, name=self._name)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        for task in self.running:
            task.stop()
        self.running.clear()
        for _thread in self._threads:
            self._jobs.put(None)
        self._threads.clear()


def _serve(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


def _only_result(function: Callable[[], Any]) -> Generator[Any, None, Any]:
    yield from ()
    return function()
