"""Renew an object in a bucket from a thread, until the thread is stopped: `Renewal`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Renewal"]


class Renewal:
    """A daemon thread that renews an object, from its creation until `stop`.

    Parameters
    ----------
    renew
        Called every `seconds`; returns whether the object is to be renewed again. An OSError is
        ignored: the next call may succeed, and others see that the object is not renewed.
    name
        Name of the thread.
    """

    def __init__(self, renew: Callable[[], bool], seconds: float, name: str) -> None:
        self._renew, self._seconds = renew, seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the renewals, and wait for one that is under way: it would bring the object back."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            with suppress(OSError):
                if not self._renew():
                    return
