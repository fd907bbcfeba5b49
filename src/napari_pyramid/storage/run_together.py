"""Call a function for each item on threads that end with the call: `run_together`."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["THREADS", "run_together"]

T = TypeVar("T")

THREADS = max(1, min(8, os.cpu_count() or 1))
"""Number of threads that decode at once."""
_FIRST = 4 * THREADS
"""Number of threads that are started first."""
_MOMENT = 0.006
"""Seconds without the end of a call after which more threads are started."""


def run_together(
    function: Callable[[T], object], items: Iterable[T], *, threads: int | None = None
) -> None:
    """Call `function` for each item on up to `threads` threads, and wait for all calls.

    Up to `THREADS` threads if `threads` is None. More are for calls that wait for a server: a few
    are started at first, and four times as many whenever no call has ended for a moment. A distant
    server needs many requests at once. One that answers immediately is read faster by few threads,
    because many would wait for the interpreter's lock.

    The threads are started for the call and end with it, so a function may itself call
    `run_together`. The first exception is raised; items not started by then are left out.
    """
    left = deque(items)
    errors: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                item = left.popleft()
            except IndexError:
                return
            try:
                function(item)
            except BaseException as error:  # raised again in the caller's thread
                errors.append(error)
                left.clear()

    helpers: list[threading.Thread] = []

    def start(n: int) -> None:
        for _ in range(n):
            helper = threading.Thread(target=work, daemon=True)
            helpers.append(helper)
            helper.start()

    most = min(threads or THREADS, len(left))
    try:
        # The main thread only waits: in it, numcodecs' blosc starts threads for each chunk.
        is_main = threading.current_thread() is threading.main_thread()
        if most <= 1 or (most <= _FIRST and not is_main):
            start(most - 1)
            work()
        else:
            start(min(_FIRST, most))
        while left and len(helpers) < most:
            n_left = len(left)
            helpers[0].join(_MOMENT)
            if len(left) == n_left:
                start(min(3 * len(helpers), most - len(helpers)))
        for helper in helpers:
            helper.join()
    finally:
        left.clear()
        for helper in helpers:
            helper.join()
    if errors:
        raise errors[0]
