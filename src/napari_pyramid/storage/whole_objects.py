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
        self._drop_oldest()
        return answer

    def _drop_oldest(self) -> None:
        """Keep the objects that were asked for last, of `_MOST_BYTES` in all but at least one."""
        with self._lock:
            sizes = {
                key: len(future.result().content)
                for key, future in self._kept.items()
                if future.done() and not future.exception()
            }
            excess = sum(sizes.values()) - _MOST_BYTES
            for key in [*sizes][:-1]:
                if excess <= 0:
                    break
                del self._kept[key]
                excess -= sizes[key]

    def forget(self, key: str) -> None:
        """Remove an object from memory."""
        with self._lock:
            self._kept.pop(key, None)

    def note_success(self, key: str) -> bool:
        """Note that a part of an object was taken from the whole.

        Returns
        -------
        bool
            Whether it is the first object of the server without ranges.
        """
        if key not in self._kept or key in self._without_ranges:
            return False
        is_first = not self._without_ranges
        self._without_ranges.add(key)
        return is_first
