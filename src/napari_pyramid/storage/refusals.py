"""Decide whether an object that a server refuses is a missing one.

Public hosts answer a missing key with 404, 403 (S3 without the right to list), 400, or a web page
with status 200. All of these answers mean "missing" here, as long as the server still sends an
object that it sent before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from napari_pyramid.storage.transport import RefusedError, TransportError

__all__ = ["Refusals"]


class Refusals:
    """Record of the answers of one server. Event loops and threads may share it."""

    def __init__(self) -> None:
        self._sent: str | None = None
        """Key of the first object that the server sent."""
        self._has_answered = False
        self._first: str | None = None
        self._proved = -1.0
        self._proving: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    @property
    def of_everything(self) -> str | None:
        """The first refusal if the server refused every request, else None."""
        return None if self._has_answered else self._first

    @property
    def of_objects(self) -> str | None:
        """The first refusal if the server sent no object, else None."""
        return None if self._sent is not None else self._first

    def note_sent(self, key: str) -> None:
        """Record that the server sent an object."""
        self._has_answered = True
        self._sent = self._sent or key

    def note_missing(self) -> None:
        """Record that the server answered that an object is missing."""
        self._has_answered = True

    def note_refused(self, refusal: RefusedError) -> None:
        """Record a refusal."""
        self._first = self._first or str(refusal)

    async def take_for_missing(
        self, name: str, refusal: RefusedError, request: Callable[[str], Awaitable[None]]
    ) -> None:
        """Return if a refused object is a missing one; raise if the server now refuses everything.

        Chunks must not turn into fill value when a signature expires, so an object that the server
        sent before is requested again.

        Parameters
        ----------
        name
            The refused object, for the message.
        request
            Requests a key, and raises if the object does not come.

        Raises
        ------
        OSError
            If the server no longer sends the object that it sent before.
        """
        self.note_refused(refusal)
        if self._sent is None:
            return
        arrived = time.monotonic()
        lock = self._proving.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            if self._proved >= arrived:
                return
            started = time.monotonic()
            try:
                await request(self._sent)
            except (TransportError, FileNotFoundError) as error:
                raise OSError(
                    f"{name}: the server answers {refusal}, and no longer gives out "
                    f"what it did before ({error}): open the store again, with a new signature "
                    "or login"
                ) from None
            self._proved = started
