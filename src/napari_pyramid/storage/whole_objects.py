"""Keep whole objects in memory, for servers that do not send parts of an object."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from napari_pyramid.storage.transport import Answer

__all__ = ["WholeObjects"]

_MOST_BYTES = 256 * 2**20
"""Most bytes of whole objects in memory. One object is kept whatever its size."""
_ENOUGH_REFUSALS = 3
"""Number of objects without ranges after which all objects of a server are read whole."""


class WholeObjects:
    """Objects of one server that were read whole. Threads may share it."""

    def __init__(self) -> None:
        self._without_ranges: set[str] = set()
        self._kept: OrderedDict[str, Future[Answer]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def are_needed(self) -> bool:
        """Whether the server did not send a part of some object."""
        return bool(self._without_ranges)

    def is_needed(self, key: str) -> bool:
        """Return whether an object is to be read whole if a part of it is wanted."""
        return key in self._without_ranges or len(self._without_ranges) >= _ENOUGH_REFUSALS

    async def get(self, key: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return an object from `request`, and keep it for the requests of its other parts.

        Requests for the same key wait for the first one.
        """
        with self._lock:
            future = self._kept.get(key)
            is_mine = future is None
            if future is None:
                future = self._kept[key] = Future()
            self._kept.move_to_end(key)
        if not is_mine:
            return await asyncio.wrap_future(future)
        try:
            answer = await request()
        except BaseException as error:
            self.forget(key)
            future.set_exception(error)
            future.exception()  # seen, also when nobody else waits
            raise
        future.set_result(answer)
        return answer

    def forget(self, key: str) -> None:
        """Remove an object from memory."""
        with self._lock:
            self._kept.pop(key, None)

    def note_success(self, key: str) -> bool:
        """Note that a part of an object was taken from the whole, and drop the oldest objects.

        Returns
        -------
        bool
            Whether it is the first object of the server without ranges.
        """
        if key not in self._kept or key in self._without_ranges:
            return False
        is_first = not self._without_ranges
        self._without_ranges.add(key)
        with self._lock:
            done = [f.result() for f in self._kept.values() if f.done() and not f.exception()]
            size = sum(len(answer.content) for answer in done)
            while size > _MOST_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                size -= len(oldest.result().content) if oldest.done() else 0
        return is_first
