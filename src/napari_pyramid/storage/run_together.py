"""Call a function for each item on a few threads that end with the call: `run_together`."""

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


def run_together(
    function: Callable[[T], object], items: Iterable[T], *, threads: int | None = None
) -> None:
    """Call `function` for each item on up to `threads` threads, and wait for all calls.

    As many threads as processors are started if `threads` is None.

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

    n_threads = min(threads or THREADS, len(left))
    # The main thread only waits: in it, numcodecs' blosc starts threads for each chunk.
    works = n_threads <= 1 or threading.current_thread() is not threading.main_thread()
    helpers = [threading.Thread(target=work, daemon=True) for _ in range(n_threads - works)]
    for helper in helpers:
        helper.start()
    try:
        if works:
            work()
        for helper in helpers:
            helper.join()
    finally:
        left.clear()
        for helper in helpers:
            helper.join()
    if errors:
        raise errors[0]
