"""Try a request with each set of credentials in turn, and repeat it if the connection breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from napari_pyramid.storage.connection import Connection
from napari_pyramid.storage.transport import (
    RefusedError,
    Transport,
    TransportError,
    UnusualAnswerError,
)

__all__ = ["Attempts"]

T = TypeVar("T")


class Attempts:
    """Requests over the transports of a connection; the first one that is accepted is kept.

    Parameters
    ----------
    most
        Number of times that a request is made whose answer is cut short.
    """

    def __init__(self, connection: Connection, most: int) -> None:
        self.most = most
        self._connection = connection
        self._transports = list(connection.transports())
        self.is_settled = len(self._transports) == 1
        """Whether the transport is known to be accepted, or the only one."""

    @property
    def transport(self) -> Transport:
        """The transport that the next request is made with."""
        return self._transports[0]

    async def by_any(self, request: Callable[[Transport], Awaitable[T]]) -> T:
        """Return the answer over the first transport that is not refused.

        Raises
        ------
        FileNotFoundError, TransportError
            As the methods of `Transport`.
        """
        while True:
            transport = self.transport
            try:
                result = await self.repeated(partial(request, transport))
            except RefusedError:
                others = [] if self.is_settled else self._transports[1:]
                for other in others:
                    try:
                        result = await self.repeated(partial(request, other))
                    except (RefusedError, FileNotFoundError):
                        continue  # a missing object does not prove access
                    self._transports, self.is_settled = [other], True
                    return result
                raise
            except UnusualAnswerError:
                fallback = self._connection.fallback()
                if fallback is None or not self._replace(transport, fallback):
                    raise
                continue
            self.is_settled = True
            return result

    def _replace(self, transport: Transport, fallback: Transport) -> bool:
        """Use `fallback` from now on; return False if it is in use already."""
        if self.transport is transport:
            if type(transport) is type(fallback):
                return False
            self._transports, self.is_settled = [fallback], True
        return True

    async def repeated(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request, and repeat it if the answer is cut short.

        obstore itself repeats only requests without any answer.
        """
        pause = 0.05
        for left in reversed(range(self.most)):
            try:
                return await request()
            except TransportError as error:
                if not error.again or not left:
                    raise
            await asyncio.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, 5.0)
        raise AssertionError("unreachable")
