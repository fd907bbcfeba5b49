"""Submit calls to an executor with a bounded number of them pending, and collect what finishes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

__all__ = ["HEARTBEAT", "Groups", "spread"]

A = TypeVar("A")
B = TypeVar("B")

HEARTBEAT = 0.1
"""Longest time between two steps in seconds, so that the caller can stop the build."""
LOSSES = 3
"""Times that a group is handed out again because its executor has lost it."""


class Groups(Generic[A]):
    """An iterator over groups of items; a lost group can be given back a few times.

    Parameters
    ----------
    size
        Function that returns the number of items of the next group.
    """

    def __init__(self, items: Iterator[A], size: Callable[[], int]) -> None:
        self._items, self._size = items, size
        self._back: deque[tuple[A, ...]] = deque()
        self._losses: Counter[tuple[A, ...]] = Counter()

    def __iter__(self) -> Iterator[tuple[A, ...]]:
        return self

    def __next__(self) -> tuple[A, ...]:
        group = self._back.popleft() if self._back else tuple(islice(self._items, self._size()))
        if not group:
            raise StopIteration
        return group

    def give_back(self, group: tuple[A, ...]) -> bool:
        """Have a group come again; return False if it was given back too often."""
        self._losses[group] += 1
        if self._losses[group] > LOSSES:
            return False
        self._back.append(group)
        return True


def spread(
    executor: Executor,
    fn: Callable[[A], B],
    items: Iterator[A],
    window: Callable[[], int],
    pending: dict[Future[B], A],
) -> Iterator[list[tuple[Future[B], A]]]:
    """Submit `fn` for every item, with at most `window()` futures in `pending`.

    Yield the futures that finished since the last yield with their items, possibly none, at least
    every `HEARTBEAT` seconds.
    """
    finished: SimpleQueue[Future[B]] = SimpleQueue()
    while True:
        for item in islice(items, max(0, window() - len(pending))):
            # One by one: if the executor refuses a call, the caller can stop the earlier ones.
            future = executor.submit(fn, item)
            pending[future] = item
            # Waiting for the first of n futures costs n locks, and so each tile n of them.
            future.add_done_callback(finished.put)
        if not pending:
            return
        yield [(future, pending.pop(future)) for future in _taken(finished)]


def _taken(finished: SimpleQueue[Future[B]]) -> list[Future[B]]:
    """Return all futures in a queue, after waiting at most `HEARTBEAT` seconds for the first."""
    taken: list[Future[B]] = []
    try:
        taken.append(finished.get(timeout=HEARTBEAT))
        while True:
            taken.append(finished.get_nowait())
    except Empty:
        return taken
